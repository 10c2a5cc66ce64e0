"""Plans that hold, at read time: lists go on under them, what comes next obeys, and requests refine them."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nocturne.serving.now_playing import Answer, Filters
from nocturne.serving.reader import Served
from nocturne.serving.standing import nightly_list, now_playing, on_top
from nocturne.steering.conditions import Rule
from nocturne.steering.contradictions import contradictions
from nocturne.steering.obedience import broken_rules
from nocturne.steering.plan import ContradictionError, Plan, Size, Wish
from tests.fixtures.random_generations import PLANS, WORLDS, World
from tests.fixtures.served_world import ITEMS

NO_FIR = Plan(never=(Rule(item_ids=("fir",)),), holds="always")
TRACKS = Plan(only=(Rule(content_types=("track",)),), holds="always")


def ids(answer: Answer) -> list[str]:
    return [ITEMS[suggestion.number] for suggestion in answer.suggestions]


@pytest.mark.parametrize(
    ("plan", "filters", "expected"),
    [
        # the night's list is bay, fir, cob
        (NO_FIR, Filters(), ["bay", "cob", "gum", "elm", "dew", "hop"]),
        (NO_FIR, Filters(limit=1), ["bay"]),
        (TRACKS, Filters(), ["bay", "fir", "cob", "gum"]),
        (TRACKS, Filters(explicit=False), ["bay", "cob", "gum"]),
        (TRACKS, Filters(market="NO"), ["bay", "fir", "cob"]),
        (TRACKS, Filters(content_types=frozenset({"audiobook"})), []),
        (NO_FIR.refine(Plan(size=Size(items=2))), Filters(), ["bay", "gum"]),
        (NO_FIR.refine(Plan(more=(Wish(about="tag", value="jazz", strength=1.0),))), Filters(limit=2), ["gum", "cob"]),
    ],
)
def test_a_list_by_a_plan_goes_on_under_the_plan(served: Served, plan: Plan, filters: Filters, expected: list[str]):
    row = served.row("ann")
    assert row is not None
    assert ids(nightly_list(served.items, row, plan, filters)) == expected


def test_what_comes_next_obeys_too(served: Served):
    row = served.row("ann")
    assert ids(now_playing(served.items, row, NO_FIR, "ash", [], Filters(limit=3))) == ["bay", "gum", "cob"]
    assert ids(now_playing(served.items, None, TRACKS, "ash", [], Filters())) == ["bay", "fir", "cob"]
    assert ids(now_playing(served.items, row, NO_FIR, None, [], Filters(limit=2))) == ["bay", "cob"]


def test_a_request_for_the_session_refines_what_holds_and_one_that_holds_takes_its_place():
    clean = Plan(never=(Rule(explicit=True),))
    assert on_top(None, clean) == clean
    assert on_top(NO_FIR, clean) == Plan(never=(*NO_FIR.never, *clean.never))
    lasting = replace_holds(clean)
    assert on_top(NO_FIR, lasting) == lasting
    assert on_top(NO_FIR, Plan()) == Plan(never=NO_FIR.never)
    with pytest.raises(ContradictionError):
        on_top(TRACKS, Plan(never=(Rule(content_types=("track",)),)))


def replace_holds(plan: Plan) -> Plan:
    return plan.model_copy(update={"holds": "always"})


def test_a_generation_knows_the_plans_that_hold(served: Served):
    assert served.items.plan_of("ann") is None
    info = served.items.info
    try:
        served.items.info = replace(info, plans=[NO_FIR.to_json()], planned={"ann": 0})
        assert served.items.plan_of("ann") == NO_FIR
        assert served.items.plan_of("bob") is None
    finally:
        served.items.info = info


@settings(deadline=None)
@given(base=WORLDS, plan=PLANS, listener=st.integers(0, 3), playing=st.sampled_from([None, "i0003"]))
def test_nothing_that_is_shown_breaks_a_plan_that_holds(base: World, plan: Plan, listener: int, playing: str | None):
    assume(not contradictions(plan) and not plan.as_at_night)
    row = base.listeners[listener]
    filters = Filters(limit=30, explicit=listener % 2 == 0)
    answer = now_playing(base.items, row, plan, playing, [], filters)
    numbers = [suggestion.number for suggestion in answer.suggestions]
    heard = set() if row is None else {base.items.describe(number).item_id for number in row.heard.tolist()}
    assert len(set(numbers)) == len(numbers)
    for number, facts in zip(numbers, base.items.fields.facts(numbers), strict=True):
        assert broken_rules(plan, facts, heard, lambda market, n=number: bool(base.items.may_list(market)[n])) == ()
        assert filters.explicit or facts.explicit is not True
