"""Contradictions: rules of which no item of any catalogue can obey all, and those that are none."""

import pytest

from nocturne.steering.conditions import Duration, Match, Rule, Years
from nocturne.steering.contradictions import contradictions
from nocturne.steering.plan import Plan, Wish

OAK = (Match(creators=("Oak",)),)


def plan(only: list[Rule] | None = None, never: list[Rule] | None = None, **rest: object) -> Plan:
    return Plan(only=tuple(only or ()), never=tuple(never or ()), **rest)


@pytest.mark.parametrize(
    ("contradicting", "places"),
    [
        (plan([Rule(tags=("rap",))], [Rule(tags=("RAP", "rock"))]), ("only.0", "never.0")),
        (plan([Rule(tags=("rap",), explicit=True)], [Rule(heard=True), Rule(explicit=True)]), ("only.0", "never.1")),
        (plan([Rule(content_types=("track",)), Rule(content_types=("audiobook",))]), ("only.0", "only.1")),
        (plan([Rule(creators=("Oak",)), Rule(creators=("Yew",))]), ("only.0", "only.1")),
        (plan([Rule(heard=True), Rule(heard=False)]), ("only.0", "only.1")),
        (plan([Rule(years=(Years(last=1999),)), Rule(years=(Years(first=2000),))]), ("only.0", "only.1")),
        (plan([Rule(years=(Years(first=1980, last=1989),))], [Rule(years=(Years(last=1990),))]), ("only.0", "never.0")),
        (plan([Rule(duration=Duration(at_most=60)), Rule(duration=Duration(at_least=61))]), ("only.0", "only.1")),
        (plan([Rule(heard=True)], holds="always"), ("only.0", "holds")),
        (
            plan(more=(Wish(about="tag", value="rap"),), less=(Wish(about="tag", value="Rap"),)),
            ("more.0", "less.0"),
        ),
    ],
)
def test_rules_that_exclude_each_other_are_found(contradicting: Plan, places: tuple[str, str]):
    (found,) = contradictions(contradicting)
    assert (found.one, found.other) == places
    assert found.in_words


@pytest.mark.parametrize(
    "possible",
    [
        Plan(),
        plan([Rule(heard=True)], holds="session"),
        plan([Rule(tags=("rap",)), Rule(tags=("rock",))]),  # an item may have both
        plan([Rule(tags=("rap", "rock"))], [Rule(tags=("rap",))]),
        plan([Rule(tags=("rap",))], [Rule(tags=("rap",), explicit=True)]),
        plan([Rule(tags=("rap",))], [Rule(tags=("rap",), unless=OAK)]),
        plan([Rule(tags=("rap",), unless=OAK)], [Rule(tags=("rap",))]),
        plan([Rule(years=(Years(first=1980, last=1989),))], [Rule(years=(Years(last=1985),))]),
        plan([Rule(years=(Years(last=1999),)), Rule(years=(Years(first=1999),))]),
        plan(more=(Wish(about="tag", value="rap"),), less=(Wish(about="creator", value="rap"),)),
    ],
)
def test_rules_that_an_item_can_obey_are_none(possible: Plan):
    assert contradictions(possible) == ()
