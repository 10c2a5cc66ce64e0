"""Lists by plans: obeyed by whoever asks, in the exact order, the night's own without a plan, and told of."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nocturne.serving.full_ranking import blended, rank_catalogue, scored
from nocturne.serving.now_playing import Filters, nightly_list, not_let_back, now_playing
from nocturne.serving.reader import Served
from nocturne.serving.steered import Steered, SteerRequest, steer
from nocturne.steering.bitmaps import MissingFieldError
from nocturne.steering.conditions import Duration, Match, Rule, Years
from nocturne.steering.contradictions import contradictions
from nocturne.steering.obedience import broken_rules
from nocturne.steering.plan import ContradictionError, Leanings, Plan, Size, Wish
from tests.fixtures.random_generations import PLANS, WORLDS, World, world
from tests.fixtures.served_world import ITEMS


def ask(served: Served, user_id: str, plan: Plan, **request: object) -> Steered:
    return steer(served.items, served.row(user_id), SteerRequest(plan, **request))


def ids(steered: Steered) -> list[str]:
    return [ITEMS[suggestion.number] for suggestion in steered.answer.suggestions]


def never(**fields: object) -> Plan:
    return Plan(never=(Rule(**fields),))


def only(**fields: object) -> Plan:
    return Plan(only=(Rule(**fields),))


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        # by the first factor alone: bay .9, fir .8, gum .7, cob .5, elm .1, dew 0; the model lacks hop, ash was heard
        (never(tags=("christmas",)), ["fir", "gum", "cob", "elm", "dew", "hop"]),
        (Plan(never=(Rule(tags=("christmas",)),), unknown="barred"), ["fir", "gum", "cob", "dew"]),
        (only(tags=("rock",)), ["bay", "fir"]),
        (only(genres=("JAZZ",)), ["gum", "cob"]),
        (only(creators=("yew",)), ["fir", "gum", "elm", "hop"]),
        (only(content_types=("podcast_episode", "audiobook")), ["elm", "dew", "hop"]),
        (never(explicit=True), ["bay", "gum", "cob", "elm", "dew", "hop"]),
        (only(explicit=False), ["bay", "gum", "cob", "dew", "hop"]),
        (only(duration=Duration(at_most=180)), ["bay", "fir", "gum", "cob", "elm", "dew"]),
        (only(heard=True), ["ash"]),
        (never(item_ids=("bay", "gum")), ["fir", "cob", "elm", "dew", "hop"]),
        (never(markets=("NO",)), ["gum"]),
        (never(tags=("rock",), unless=(Match(creators=("Yew",)),)), ["fir", "gum", "cob", "elm", "dew", "hop"]),
        (never(content_types=("track",), explicit=True), ["bay", "gum", "cob", "elm", "dew", "hop"]),
        (Plan(only=(Rule(content_types=("track",)),), max_per_creator=1), ["bay", "fir"]),
        (Plan(only=(Rule(content_types=("track",)),), size=Size(minutes=7)), ["bay", "fir"]),
        (Plan(only=(Rule(content_types=("track",)),), size=Size(items=3)), ["bay", "fir", "gum"]),
        (only(creators=("nobody",)), []),
    ],
)
def test_rules_are_obeyed_over_the_whole_catalogue_in_the_order_of_the_exact_ranking(
    served: Served, plan: Plan, expected: list[str]
):
    assert ids(ask(served, "ann", plan)) == expected


def test_a_plan_that_asks_nothing_gives_the_nights_list_item_for_item(served: Served):
    for user_id in ("ann", "bob", "cec", "dan"):
        row = served.row(user_id)
        assert row is not None
        assert ask(served, user_id, Plan()).answer == nightly_list(served.items, row, Filters())
        two = ask(served, user_id, Plan(size=Size(items=2), holds="always"))
        assert two.answer == nightly_list(served.items, row, Filters(limit=2))


def test_a_plan_that_asks_nothing_gives_what_comes_next_where_something_plays(served: Served):
    steered = ask(served, "ann", Plan(), playing="ash", recent=["dew"])
    assert steered.answer == now_playing(served.items, served.row("ann"), "ash", ["dew"], Filters())


def test_a_receipt_tells_what_each_rule_removed_and_what_is_unknown(served: Served):
    plan = Plan(only=(Rule(content_types=("track", "podcast_episode")),), never=(Rule(tags=("Christmas", "metal")),))
    receipt = ask(served, "ann", plan).receipt
    # of eight items ash was heard: seven might be listed
    assert (receipt.might, receipt.left, receipt.unknown) == (7, 5, "allowed")
    types, christmas = receipt.rules
    assert (types.kind, types.rule, types.removed, types.unknown) == ("only", "tracks or podcast episodes", 1, 0)
    assert (christmas.kind, christmas.removed, christmas.unknown, christmas.nobody) == ("never", 1, 2, ("metal",))
    assert receipt.short == "5 items obey the rules"
    barred = ask(served, "ann", plan.refine(Plan(unknown="barred"))).receipt
    assert (barred.rules[1].removed, barred.rules[1].unknown, barred.unknown) == (3, 2, "barred")


def test_wishes_raise_and_lower_what_obeys_and_the_receipt_says_by_how_much(served: Served):
    plan = Plan(more=(Wish(about="tag", value="jazz", strength=0.3),), never=(Rule(tags=("christmas",)),))
    steered = ask(served, "ann", plan)
    # liking is a share of fir's .8: gum .875 + .3, fir 1, cob .625 + .3, elm .125, dew 0
    assert ids(steered) == ["gum", "fir", "cob", "elm", "dew", "hop"]
    gum, fir, *_ = steered.receipt.items
    assert (gum.liking, gum.wishes) == (pytest.approx(0.875), (("more jazz", pytest.approx(0.3)),))
    assert fir.wishes == ()
    assert [each.why for each in steered.answer.suggestions[:2]] == ["more jazz", "for you"]
    lowered = ask(served, "ann", Plan(less=(Wish(about="creator", value="oak", strength=1.0),)))
    assert ids(lowered) == ["fir", "gum", "elm", "bay", "hop", "cob", "dew"]


def test_a_wish_brings_what_lies_below_the_candidates(served: Served):
    assert ids(ask(served, "ann", Plan(more=(Wish(about="content_type", value="audiobook", strength=1.0),))))[:2] == [
        "bay",
        "hop",
    ]


def test_leanings_order_along_their_scale(served: Served):
    # heard: ash 5, dew 4, gum 3, bay 2, cob 1 listeners
    plan = Plan(leanings=Leanings(popularity=1.0), only=(Rule(content_types=("track",)),))
    steered = ask(served, "ann", plan)
    assert [round(each.wishes[0][1], 2) if each.wishes else 0 for each in steered.receipt.items] == [0.4, 0.6, 0, 0.2]
    assert ids(steered) == ["bay", "gum", "fir", "cob"]
    assert ids(ask(served, "ann", Plan(leanings=Leanings(familiarity=1.0))))[0] == "ash"


def test_listeners_without_factors_get_what_is_listed_or_popular_under_the_rules(served: Served):
    tracks = only(content_types=("track",))
    assert ids(ask(served, "cec", tracks)) == ["ash", "gum", "bay", "cob", "fir"]
    assert ids(steer_unknown(served, tracks)) == ["ash", "bay", "cob", "fir"]
    assert ids(steer_unknown(served, tracks, playing="ash")) == ["bay", "fir", "cob"]


def steer_unknown(served: Served, plan: Plan, **request: object) -> Steered:
    return steer(served.items, None, SteerRequest(plan, **request))


def test_what_plays_orders_what_obeys(served: Served):
    plan = only(content_types=("track",))
    steered = ask(served, "bob", plan, playing="dew")
    # bob likes the second factor, and so does dew
    assert ids(steered)[0] == "cob"
    # of ann's, who likes the first one, cob fits best
    cob = next(
        each for each in ask(served, "ann", plan, playing="dew").answer.suggestions if ITEMS[each.number] == "cob"
    )
    assert cob.why == "goes with Dew"


def test_what_the_catalogue_has_no_field_for_is_refused(served: Served):
    with pytest.raises(MissingFieldError, match="no field for years"):
        ask(served, "ann", only(years=(Years(first=1980),)))
    with pytest.raises(MissingFieldError, match="no field for energy"):
        ask(served, "ann", Plan(leanings=Leanings(energy=0.5)))


def test_a_plan_that_contradicts_itself_is_refused(served: Served):
    with pytest.raises(ContradictionError, match="only tracks and never tracks"):
        ask(served, "ann", Plan(only=(Rule(content_types=("track",)),), never=(Rule(content_types=("track",)),)))


def test_reasons_name_neither_what_is_barred_nor_what_the_listener_never_wants(served: Served):
    assert [each.number for each in ask(served, "ann", Plan()).receipt.items[0].because] == [ITEMS.index("ash")]
    assert all(not each.because for each in ask(served, "ann", never(tags=("rock",))).receipt.items)


def facts_of(base: World, steered: Steered) -> list[object]:
    return base.items.fields.facts([suggestion.number for suggestion in steered.answer.suggestions])


@settings(deadline=None)
@given(base=WORLDS, plan=PLANS, listener=st.integers(0, 3), playing=st.sampled_from([None, "i0000", "i0005"]))
def test_no_answer_ever_breaks_a_hard_rule(base: World, plan: Plan, listener: int, playing: str | None):
    assume(not contradictions(plan) and plan.fields() <= base.items.fields.available)
    row = base.listeners[listener]
    steered = steer(base.items, row, SteerRequest(plan, playing))
    shown = [suggestion.number for suggestion in steered.answer.suggestions]
    heard = set() if row is None else {base.items.describe(number).item_id for number in row.heard.tolist()}
    assert len(set(shown)) == len(shown) <= (plan.size.items or 100)
    for number, facts in zip(shown, facts_of(base, steered), strict=True):
        assert base.items.may_list(row.market if row else None)[number]
        assert facts.item_id != playing
        if not plan.as_at_night:
            assert broken_rules(plan, facts, heard, lambda m, n=number: bool(base.items.may_list(m)[n])) == ()
    if plan.size.minutes and not plan.as_at_night:
        assert sum(each.seconds for each in facts_of(base, steered)) <= 60 * plan.size.minutes


@settings(deadline=None)
@given(base=WORLDS, plan=PLANS, listener=st.integers(0, 1))
def test_without_wishes_the_order_is_that_of_the_exact_filter_on_the_whole_catalogue(
    base: World, plan: Plan, listener: int
):
    plan = Plan(only=plan.only, never=plan.never, unknown=plan.unknown)
    assume(not contradictions(plan) and plan.fields() <= base.items.fields.available and not plan.as_at_night)
    row = base.listeners[listener]
    assert row is not None
    assert row.factors is not None
    heard = {base.items.describe(number).item_id for number in row.heard.tolist()}
    barred = set() if plan.wants_heard else set(not_let_back(base.items, row).tolist())
    obeying = [
        number
        for number in range(len(base.items))
        if base.items.may_list(row.market)[number]
        and number not in barred
        and base.items.inverse_norms[number] > 0
        and not broken_rules(
            plan, base.items.fields.facts([number])[0], heard, lambda m, n=number: bool(base.items.may_list(m)[n])
        )
    ]
    top = scored(base.items, row.factors, np.array(obeying, np.int32))
    best = blended(base.items, row, type(top)(top.numbers[:20], top.scores[:20])).numbers
    steered = steer(base.items, row, SteerRequest(plan, limit=20))
    assert [each.number for each in steered.answer.suggestions][: len(best)] == best.tolist()


def test_a_rule_that_removes_nothing_ranks_as_the_night_does():
    base = world(3, 130, gaps=0.0)
    row = base.listeners[0]
    assert row is not None
    steered = steer(base.items, row, SteerRequest(never(tags=("nobody's",)), limit=10))
    allowed = base.items.may_list(row.market).copy()
    allowed[not_let_back(base.items, row)] = False
    assert [each.number for each in steered.answer.suggestions] == rank_catalogue(base.items, row, allowed, 10)[
        0
    ].tolist()
