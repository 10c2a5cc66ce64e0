"""Rules as bitmaps: items of a catalogue that match, those that might for all that is known, and what a rule removes.

A condition has three answers for an item: yes, no, and unknown, where the catalogue lacks the field of the item. Fields
are joined as Kleene's logic has it: one no is no, else one unknown is unknown.

- `only` lets in what is known to match, or to be excused.
- `never` bars what is known to match, and with `unknown: barred` what might, unless it is known to be excused.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import NamedTuple, Protocol

import numpy as np

from nocturne.core.arrays import Floats, Indexes, Mask
from nocturne.core.errors import UsageError
from nocturne.steering.conditions import Match, Rule
from nocturne.steering.plan import Plan

_NAMED = ("content_types", "creators", "tags", "genres", "moods", "languages", "item_ids")


class MissingFieldError(UsageError):
    """A rule or wish on a field that the catalogue lacks: leave it out, or land the field.

    Attributes:
        lacking: names of the fields, for people.
    """

    def __init__(self, lacking: str, *, found: str, available: str) -> None:
        super().__init__(
            f"the catalogue has no field for {lacking}",
            found=found,
            expected=f"rules and wishes on {available}",
            fix="leave them out of the plan, or land a catalogue that has them",
        )
        self.lacking = lacking


class Catalogue(Protocol):
    """The fields of a catalogue's items, as `nocturne.steering.item_fields` has them."""

    @property
    def available(self) -> frozenset[str]:
        """Names of the fields of which the catalogue says something."""

    @property
    def explicit(self) -> Mask:
        """True for items that are marked explicit; shape (items,)."""

    @property
    def explicit_known(self) -> Mask:
        """True for items of which it is known whether they are explicit; shape (items,)."""

    def __len__(self) -> int: ...

    def matching(self, field: str, value: str) -> Mask:
        """True for items with a value in a field of names; shape (items,)."""

    def known(self, field: str) -> Mask | None:
        """True for items of which a field says something; shape (items,). None: of all of them."""

    def amounts(self, field: str) -> Floats:
        """Years, or `duration` in seconds; NaN where the catalogue does not say; shape (items,)."""

    def amounts_known(self, field: str) -> Mask:
        """True for items of which the catalogue says the amount; shape (items,)."""


class Answers(NamedTuple):
    """A condition's answers; shape (items,) each.

    Attributes:
        yes: items that match.
        maybe: items that match or might.
    """

    yes: Mask
    maybe: Mask


class RuleReceipt(NamedTuple):
    """The doing of one rule.

    Attributes:
        rule: in words.
        removed: items that it removes of those that might have been listed, counted for itself.
        unknown: those among them of which the catalogue does not say whether they match; of `never` those that it lets
            in or bars as the plan's setting has it.
        nobody: values that no item of the catalogue has.
    """

    kind: str
    rule: str
    removed: int
    unknown: int
    nobody: tuple[str, ...]


class Obeying(NamedTuple):
    """The items that obey a plan; masks of shape (items,).

    Attributes:
        rules: what each rule did.
        unbarred: True for what no `never` bars, but for those on what was heard: what may be spoken of.
    """

    allowed: Mask
    rules: tuple[RuleReceipt, ...]
    unbarred: Mask


def require_fields(plan: Plan, catalogue: Catalogue) -> None:
    """Look for rules and wishes that the catalogue has no field for.

    Raises:
        MissingFieldError: there are some.
    """
    missing = sorted(plan.fields() - catalogue.available)
    if missing:
        raise MissingFieldError(
            " and ".join(missing), found=plan.in_words(), available=", ".join(sorted(catalogue.available))
        )


def obeying(plan: Plan, catalogue: Catalogue, heard: Indexes, playable: Callable[[str], Mask], listed: Mask) -> Obeying:
    """The items that obey the hard rules of a plan, among those that might be listed without it.

    Args:
        heard: numbers of the items that the listener has heard.
        playable: the mask of what may be played in a market; shape (items,).
        listed: what might be listed without the plan; shape (items,).
    """
    receipts, allowed, unbarred = [], listed.copy(), np.ones(len(listed), bool)
    reading = _Reading(catalogue, heard, playable)
    for kind, rule in (*(("only", rule) for rule in plan.only), *(("never", rule) for rule in plan.never)):
        answers, excused = reading.match(rule), reading.excused(rule)
        barred = answers.maybe if plan.unknown_is == "barred" else answers.yes
        passes = answers.yes if kind == "only" else ~barred
        undecided = answers.maybe ^ answers.yes if answers.maybe is not answers.yes else None
        if excused is not None:
            passes = passes | excused
            undecided = None if undecided is None else undecided & ~excused
        receipts.append(
            RuleReceipt(
                kind,
                rule.in_words(),
                int(np.count_nonzero(listed > passes)),
                0 if undecided is None else int(np.count_nonzero(listed & undecided)),
                reading.nobody(rule),
            )
        )
        allowed &= passes
        if kind == "never" and "heard" not in rule.all_fields():
            unbarred &= passes
    return Obeying(allowed, tuple(receipts), unbarred)


class _Reading:
    """A catalogue and a listener as conditions are answered from them."""

    def __init__(self, catalogue: Catalogue, heard: Indexes, playable: Callable[[str], Mask]) -> None:
        self._catalogue, self._heard, self._playable = catalogue, heard, playable

    def match(self, condition: Match) -> Answers:
        """The answers of all fields together; `maybe` is `yes` itself where nothing is unknown."""
        answers = [self._field(name, condition) for name in condition.fields()]
        yes = _all(each.yes for each in answers)
        if all(each.maybe is each.yes for each in answers):
            return Answers(yes, yes)
        return Answers(yes, _all(each.maybe for each in answers))

    def excused(self, rule: Rule) -> Mask | None:
        """The items that are let through in any case; None: there is no exception."""
        return _any(self.match(condition).yes for condition in rule.unless) if rule.unless else None

    def nobody(self, rule: Rule) -> tuple[str, ...]:
        """Values of a rule that no item has."""
        values = (
            value
            for condition in (rule, *rule.unless)
            for name in condition.fields()
            if name in _NAMED
            for value in getattr(condition, name)
            if not self._catalogue.matching(name, value).any()
        )
        return tuple(dict.fromkeys(values))

    def _field(self, name: str, condition: Match) -> Answers:
        if name in _NAMED:
            yes = _any(self._catalogue.matching(name, value) for value in getattr(condition, name))
            return _with_unknown(yes, self._catalogue.known(name))
        if name == "markets":
            yes = _any(self._playable(market) for market in condition.markets)
            return Answers(yes, yes)
        if name == "heard":
            heard = np.zeros(len(self._catalogue), bool)
            heard[self._heard] = True
            yes = heard if condition.heard else ~heard
            return Answers(yes, yes)
        if name == "explicit":
            known = self._catalogue.explicit_known
            explicit = self._catalogue.explicit
            return _with_unknown(known & explicit if condition.explicit else known > explicit, known)
        ranges: list[tuple[float | None, float | None]] = [(each.first, each.last) for each in condition.years]
        if name == "duration":
            assert condition.duration
            ranges = [(condition.duration.at_least, condition.duration.at_most)]
        amounts, known = self._catalogue.amounts(name), self._catalogue.amounts_known(name)
        return _with_unknown(_any(_within(amounts, *each) for each in ranges), known)


def _within(amounts: Floats, low: float | None, high: float | None) -> Mask:
    """True for amounts within a range, never for NaN."""
    above: Mask | None = None if low is None else amounts >= low
    below: Mask | None = None if high is None else amounts <= high
    if above is not None and below is not None:
        return above & below
    within = above if above is not None else below
    assert within is not None
    return within


def _with_unknown(yes: Mask, known: Mask | None) -> Answers:
    return Answers(yes, yes if known is None or known.all() else yes | ~known)


def _any(masks: Iterable[Mask]) -> Mask:
    """True where one of the masks is, of which there is one at least."""
    return reduce(np.logical_or, masks)


def _all(masks: Iterable[Mask]) -> Mask:
    """True where all of the masks are, of which there is one at least."""
    return reduce(np.logical_and, masks)
