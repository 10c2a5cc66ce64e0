"""Contradictions of a plan: rules of which no item of any catalogue can obey all, in sentences."""

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from nocturne.steering.conditions import Match, Rule

if TYPE_CHECKING:
    from nocturne.steering.plan import Plan

_ONE_OF_EACH = ("content_types", "creators", "languages", "item_ids")
"""Fields of which an item has one value: two rules that name different ones exclude each other."""


class Contradiction(NamedTuple):
    """Two members of a plan that nothing can obey together.

    Attributes:
        one, other: their places, such as `only.0` and `never.1`.
        in_words: for people.
    """

    one: str
    other: str
    in_words: str


def contradictions(plan: "Plan") -> tuple[Contradiction, ...]:
    """Contradictions of a plan; none if an item could obey every rule.

    Found are an `only` that a `never` takes back, two `only` without a value in common, a subject that is wished for
    more and less, and listens from which nothing is learned by a plan that is over before the next night. Rules with
    exceptions are taken to leave something.
    """
    strict = [(f"only.{place}", rule) for place, rule in enumerate(plan.only) if not rule.unless]
    barring = [(f"never.{place}", rule) for place, rule in enumerate(plan.never) if not rule.unless]
    found = [
        Contradiction(one, other, f"only {wanted.in_words()} and never {barred.in_words()}")
        for one, wanted in strict
        for other, barred in barring
        if _covers(barred, wanted)
    ]
    found += [
        Contradiction(one, other, f"only {wanted.in_words()} and only {also.in_words()}")
        for (one, wanted), (other, also) in combinations(strict, 2)
        if any(_disjoint(wanted, also))
    ]
    less = {(wish.about, wish.value.casefold()): place for place, wish in enumerate(plan.less)}
    found += [
        Contradiction(f"more.{place}", f"less.{less[subject]}", f"more and less {wish.in_words()}")
        for place, wish in enumerate(plan.more)
        if (subject := (wish.about, wish.value.casefold())) in less
    ]
    found += [
        Contradiction(place, "holds", f"only {rule.in_words()} in nightly lists, which hold nothing that was heard")
        for place, rule in strict
        if rule.heard and plan.lasts
    ]
    if not plan.lasts:
        found += [
            Contradiction(f"not_taste.{place}", "holds", f"nothing is learned from {each.in_words()}, for a session")
            for place, each in enumerate(plan.not_taste)
        ]
    return tuple(found)


def _covers(barred: Rule, wanted: Match) -> bool:
    """True if whatever matches `wanted` matches `barred`."""
    return all(_within(name, wanted, barred) for name in barred.fields())


def _within(name: str, wanted: Match, barred: Match) -> bool:
    inner, outer = getattr(wanted, name), getattr(barred, name)
    if inner in ((), None):
        return False
    if name == "years":
        return all(any(_contains(o.first, o.last, i.first, i.last) for o in outer) for i in inner)
    if name == "duration":
        return _contains(outer.at_least, outer.at_most, inner.at_least, inner.at_most)
    if isinstance(inner, bool):
        return bool(inner == outer)
    return _folded(name, inner) <= _folded(name, outer)


def _contains(low: float | None, high: float | None, inner_low: float | None, inner_high: float | None) -> bool:
    starts = low is None or (inner_low is not None and inner_low >= low)
    return starts and (high is None or (inner_high is not None and inner_high <= high))


def _disjoint(one: Match, other: Match) -> Iterator[bool]:
    """For each field that both name, True if no item can match both."""
    for name in _ONE_OF_EACH:
        mine, others = getattr(one, name), getattr(other, name)
        yield bool(mine and others and not _folded(name, mine) & _folded(name, others))
    for name in ("explicit", "heard"):
        mine, others = getattr(one, name), getattr(other, name)
        yield mine is not None and others is not None and mine != others
    if one.years and other.years:
        yield not any(_meet(a.first, a.last, b.first, b.last) for a in one.years for b in other.years)
    if one.duration and other.duration:
        a, b = one.duration, other.duration
        yield not _meet(a.at_least, a.at_most, b.at_least, b.at_most)


def _meet(low: float | None, high: float | None, other_low: float | None, other_high: float | None) -> bool:
    before = high is not None and other_low is not None and high < other_low
    return not before and not (low is not None and other_high is not None and other_high < low)


def _folded(name: str, values: tuple[str, ...]) -> frozenset[str]:
    """Values as they are compared: names without regard to case, ids as they are."""
    return frozenset(values if name == "item_ids" else (value.casefold() for value in values))
