"""Obedience, item by item: a second reading of the hard rules, from what is known of each item, without any bitmap.

It shares nothing with `bitmaps` but the plan: an answer is looked through by it before anybody sees it.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

from nocturne.core.errors import NocturneError
from nocturne.steering.conditions import Match, Rule
from nocturne.steering.plan import Plan


class DisobedienceError(NocturneError):
    """An answer that breaks a rule of its plan: a mistake of the program, and nothing is shown."""


class Facts(Protocol):
    """All that is known of one item, as `nocturne.steering.item_fields.ItemFacts`."""

    @property
    def item_id(self) -> str:
        """The item."""

    @property
    def content_type(self) -> str:
        """Its content type."""

    @property
    def creator(self) -> str | None:
        """Its creator, if known."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags; none: nothing is known."""

    @property
    def language(self) -> str | None:
        """Its language, if known."""

    @property
    def year(self) -> int | None:
        """Its year of release, if known."""

    @property
    def explicit(self) -> bool | None:
        """True if marked explicit, False if marked not to be; None if unknown."""

    @property
    def seconds(self) -> float | None:
        """Its length, if known."""


def broken_rules(plan: Plan, facts: Facts, heard: Collection[str], plays_in: Callable[[str], bool]) -> tuple[str, ...]:
    """The rules of a plan that an item breaks, in words.

    Args:
        heard: ids of the items that the listener has heard.
        plays_in: True of markets in which the item may be played.
    """
    broken = [
        f"only {rule.in_words()}"
        for rule in plan.only
        if _answer(rule, facts, heard, plays_in) is not True and not _excused(rule, facts, heard, plays_in)
    ]
    barring = {True, None} if plan.unknown_is == "barred" else {True}
    broken += [
        f"never {rule.in_words()}"
        for rule in plan.never
        if _answer(rule, facts, heard, plays_in) in barring and not _excused(rule, facts, heard, plays_in)
    ]
    return tuple(broken)


def require_obedience(
    plan: Plan, items: Sequence[Facts], heard: Collection[str], plays_in: Callable[[str, str], bool]
) -> None:
    """Look through an answer.

    Args:
        plays_in: True of an item_id and a market in which it may be played.

    Raises:
        DisobedienceError: an item breaks a rule, or the list its size.
    """
    broken = [rule for facts in items for rule in broken_rules(plan, facts, heard, partial(plays_in, facts.item_id))]
    if plan.size.items is not None and len(items) > plan.size.items:
        broken.append(f"at most {plan.size.items} items")
    if plan.size.minutes is not None:
        lengths = [facts.seconds for facts in items]
        if None in lengths or sum(each or 0 for each in lengths) > 60 * plan.size.minutes * (1 + 1e-9):
            broken.append(f"at most {plan.size.minutes:g} minutes")
    if plan.max_per_creator is not None:
        by_creator = Counter(facts.creator for facts in items if facts.creator is not None)
        if by_creator and max(by_creator.values()) > plan.max_per_creator:
            broken.append(f"at most {plan.max_per_creator} by the same creator")
    if broken:
        raise DisobedienceError(
            "an answer would have broken its plan, and was not given",
            found="; ".join(dict.fromkeys(broken)),
            fix="report it with the plan and the generation",
        )


def _excused(rule: Rule, facts: Facts, heard: Collection[str], plays_in: Callable[[str], bool]) -> bool:
    return any(_answer(each, facts, heard, plays_in) is True for each in rule.unless)


def _answer(condition: Match, facts: Facts, heard: Collection[str], plays_in: Callable[[str], bool]) -> bool | None:
    """True if an item matches, False if not, None if the catalogue does not say."""
    answers = [
        _one_of(condition.content_types, (facts.content_type,)),
        _one_of(condition.item_ids, (facts.item_id,)),
        _named(condition.creators, facts.creator),
        _named(condition.languages, facts.language),
        *(_tagged(names, facts.tags) for names in (condition.tags, condition.genres, condition.moods)),
        _among(condition.explicit, facts.explicit),
        _among(condition.heard, facts.item_id in heard),
        any(map(plays_in, condition.markets)) if condition.markets else True,
    ]
    if condition.years:
        ends = [(each.first, each.last) for each in condition.years]
        answers.append(None if facts.year is None else any(_between(facts.year, *each) for each in ends))
    if condition.duration:
        low, high = condition.duration.at_least, condition.duration.at_most
        answers.append(None if facts.seconds is None else _between(facts.seconds, low, high))
    if False in answers:
        return False
    return None if None in answers else True


def _one_of(wanted: tuple[str, ...], values: tuple[str, ...]) -> bool:
    return not wanted or any(value in wanted for value in values)


def _named(wanted: tuple[str, ...], name: str | None) -> bool | None:
    if not wanted:
        return True
    return None if name is None else _plain(name) in set(map(_plain, wanted))


def _tagged(wanted: tuple[str, ...], tags: tuple[str, ...]) -> bool | None:
    if not wanted:
        return True
    return bool(set(map(_plain, wanted)) & set(map(_plain, tags))) if tags else None


def _among(wanted: bool | None, value: bool | None) -> bool | None:
    if wanted is None:
        return True
    return None if value is None else value == wanted


def _between(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()
