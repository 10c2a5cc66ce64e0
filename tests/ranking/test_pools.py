"""Pools: any sequence of nights that carries over gives the lists of the same nights computed in full, bit for bit."""

from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.ranking.ranker import Ranked
from nocturne.steering.conditions import Rule
from nocturne.steering.item_fields import ItemFacts
from nocturne.steering.obedience import broken_rules
from nocturne.steering.plan import Plan
from tests.fixtures.pool_nights import FIRST, ITEMS, MARKETS, SETTINGS, TYPES, Nights, Service, happen

EVENTS = st.one_of(
    st.tuples(st.just("hear"), st.integers(0, 7), st.integers(0, ITEMS - 1), st.just(0)),
    st.tuples(st.just("late"), st.integers(0, 7), st.integers(0, ITEMS - 1), st.integers(1, 3)),
    st.tuples(st.just("takedown"), st.integers(0, 9)),
    st.tuples(st.just("restrict"), st.integers(0, 9), st.sampled_from([["SE"], ["US"], []])),
    st.tuples(st.just("explicit"), st.integers(0, 9)),
    st.tuples(st.just("let back"), st.integers(0, 9)),
    st.tuples(st.just("type"), st.integers(0, 9), st.sampled_from(TYPES)),
    st.tuples(st.just("model_seed"), st.integers(0, 3)),
    st.tuples(st.just("moves"), st.integers(0, 7), st.sampled_from(MARKETS)),
    st.tuples(
        st.just("settings"),
        st.fixed_dictionaries(
            {
                "top_k": st.integers(1, 6),
                "candidates": st.integers(1, 7),
                "reserve": st.integers(0, 4),
                "shelf_types": st.sampled_from([TYPES, TYPES[1:], ("audiobook", "other")]),
                "shelf_items": st.integers(1, 4),
                "shelf_reserve": st.integers(0, 2),
                "let_back_after_days": st.sampled_from([0, 2]),
                "explicit_blocked_markets": st.sampled_from([(), ("US",), ("*",)]),
            }
        ),
    ),
    st.tuples(
        st.just("reranking"),
        st.fixed_dictionaries(
            {
                "max_per_creator": st.integers(0, 2),
                "diversity": st.sampled_from([0.0, 0.4]),
                "genre_calibration": st.sampled_from([0.0, 0.4]),
                "exploration_places": st.sampled_from([(), (2,), (1, 3)]),
            }
        ),
    ),
    st.tuples(st.just("plan"), st.integers(0, 7), st.deferred(lambda: st.sampled_from(PLANS))),
    st.tuples(st.just("missed night")),
)
PLANS = (
    Plan(),
    Plan(never=(Rule(tags=("t1",)),)),
    Plan(only=(Rule(creators=("c2", "c3")),)),
    Plan(only=(Rule(content_types=("track",)),), never=(Rule(item_ids=("i0", "i3")),)),
    Plan(never=(Rule(explicit=True),), unknown="barred"),
    Plan(never=(Rule(heard=True),)),
    Plan(only=(Rule(creators=("nobody",)),)),
)


@settings(max_examples=150, deadline=None)
@given(
    nights=st.lists(st.tuples(st.lists(EVENTS, max_size=4), st.booleans()), min_size=2, max_size=6),
    crowd=st.lists(st.tuples(st.integers(0, 7), st.integers(0, ITEMS - 1), st.just(0)), max_size=25),
)
def test_nights_that_carry_over_give_the_lists_of_nights_in_full(nights, crowd) -> None:
    service, carrying, full = Service(), Nights(carry_over=True), Nights(carry_over=False)
    for user, item, days_ago in [(0, 0, 0), *crowd]:
        service.hear(user, item, days_ago)
    for events, again in nights:
        for event in events:
            happen(service, *event)
        carried, computed = carrying.rank(service), full.rank(service)
        assert carried[1:] == computed[1:]
        require_obedience(service, computed)
        if again:
            assert carrying.rank(service)[1:] == computed[1:]
        carrying.keep(service, carried.pools)
        full.keep(service, computed.pools)
        service.day += 1


def require_obedience(service: Service, ranked: Ranked) -> None:
    """Everything that is kept or listed for a listener obeys their plan, read item by item."""
    catalogue = {row["item_id"]: row for row in service.catalogue().to_pylist()}
    pools = {
        row["user_id"]: [f"i{item}" for item in row["items"] + row["shelf_items"]] for row in ranked.pools.to_pylist()
    }
    for row in (*ranked.lists.to_pylist(), *ranked.shelf_lists.to_pylist()):
        user_id, plan = row["user_id"], service.plans.get(row["user_id"], Plan())
        heard = {f"i{item}" for item in service.heard[user_id]}
        for item_id in (*(entry["item_id"] for entry in row["items"]), *pools.get(user_id, ())):
            item = catalogue[item_id]
            facts = ItemFacts(
                item_id, item["content_type"], item["creator"], tuple(item["tags"]), None, None, item["explicit"], None
            )
            assert broken_rules(plan, facts, heard, lambda _market: True) == ()


def test_listeners_without_a_plan_keep_theirs_to_the_bit_and_a_plan_costs_its_own_pool_alone() -> None:
    service, nights = first_night(CROWD)
    plain = nights.rank(service)
    happen(service, "plan", 1, Plan(never=(Rule(item_ids=("i5",)),)))
    assert reasons_of_next_night(service, nights) == {"carried": 2, "plan_changed": 1}
    planned = nights.rank(service)
    for before, after in zip((plain.pools, plain.lists), (planned.pools, planned.lists), strict=True):
        others = [row for row in before.to_pylist() if row["user_id"] != "u1"]
        assert [row for row in after.to_pylist() if row["user_id"] != "u1"] == others
    nights.keep(service, planned.pools)
    service.day += 1
    assert reasons_of_next_night(service, nights) == {"carried": 3}
    happen(service, "plan", 1, Plan())
    assert reasons_of_next_night(service, nights) == {"carried": 2, "plan_changed": 1}


def test_a_change_of_reranking_changes_lists_and_their_digests_and_no_pool() -> None:
    service, nights = first_night(CROWD)
    service.settings = SETTINGS | {"candidates": 4, "reserve": 1}
    plain = nights.rank(service)[1].to_pylist()
    service.reranking = {"exploration_places": [1]}
    assert reasons_of_next_night(service, nights) == {"carried": 3}
    explored = nights.rank(service)[1].to_pylist()
    assert [row["propensities"] for row in plain] == [None] * 3
    # Two of four candidates are listed as they are, one of the other two is drawn for the first place.
    assert [row["propensities"] for row in explored] == [[0.5, 1.0, 1.0]] * 3
    for as_scored, drawn in zip(plain, explored, strict=True):
        assert drawn["items"][1:] == as_scored["items"][:2]
        assert drawn["digest"] != as_scored["digest"]


def test_neutral_reranking_gives_the_same_bytes_as_none() -> None:
    service, nights = first_night(CROWD)
    plain = nights.rank(service)
    service.reranking = {"seed": 2}
    neutral = nights.rank(service)
    assert neutral[0].equals(plain[0])
    assert neutral[1].equals(plain[1])


def first_night(heard: dict[int, list[int]]) -> tuple[Service, Nights]:
    service, nights = Service(), Nights(carry_over=True)
    for user, items in heard.items():
        for item in items:
            service.hear(user, item, 0)
    pools = nights.rank(service).pools
    nights.keep(service, pools)
    service.day += 1
    return service, nights


def reasons_of_next_night(service: Service, nights: Nights) -> dict[str, int]:
    nights.rank(service)
    return {reason: count for reason, count in nights.stats.reasons.items() if count}


CROWD = {0: [0, 1], 1: [2, 3], 2: [4, 0]}


@pytest.mark.parametrize(
    ("event", "reasons"),
    [
        (("missed night",), {"carried": 3}),
        (("hear", 0, 5, 0), {"carried": 2, "row_changed": 1}),
        (("hear", 3, 5, 0), {"carried": 3, "new_listener": 1}),
        (("hear", 3, 12, 0), {"carried": 3, "market_popular": 1}),
        (("model_seed", 1), {"model_changed": 3}),
        (("settings", SETTINGS | {"reserve": 4}), {"build_changed": 3}),
        (("settings", SETTINGS | {"top_k": 4, "reserve": 1}), {"carried": 3}),
        (("takedown", 9), {"carried": 3}),
    ],
)
def test_a_pool_is_computed_for_its_reason_and_for_no_other(event, reasons) -> None:
    service, nights = first_night(CROWD)
    happen(service, *event)
    assert reasons_of_next_night(service, nights) == reasons


def test_nights_that_carry_nothing_over_are_counted_as_asked_for() -> None:
    service, _ = first_night(CROWD)
    assert reasons_of_next_night(service, Nights(carry_over=False)) == {"asked_for": 3}


def test_a_pool_that_withdrawals_leave_shorter_than_a_list_is_computed() -> None:
    service, nights = first_night({0: [0, 1]})
    pool = nights.pools["items"][0].as_py()
    for item in pool[:2]:
        happen(service, "takedown", item)
    assert reasons_of_next_night(service, nights) == {"carried": 1}
    happen(service, "takedown", pool[2])
    assert reasons_of_next_night(service, nights) == {"pool_short": 1}


def test_an_item_that_may_be_listed_again_is_merged_into_the_pools_that_it_reaches_and_changes_no_other() -> None:
    service, nights = Service(rules={3: {"available_until": FIRST - timedelta(days=9)}}), Nights(carry_over=True)
    for user, items in CROWD.items():
        for item in items:
            service.hear(user, item, 0)
    pools = nights.rank(service).pools
    nights.keep(service, pools)
    happen(service, "let back", 3)
    service.day += 1
    carried, lists, _ = nights.rank(service)
    full, expected, _ = Nights(carry_over=False).rank(service)
    assert lists.equals(expected)
    assert carried["items"].equals(full["items"])
    entered = [3 in row for row in full["items"].to_pylist()]
    # The second listener heard the item.
    assert entered == [True, False, True]
    assert reasons_of_next_night(service, nights) == {"carried": 1, "merged": 2}
    assert carried["computed_on"].to_pylist() == [FIRST] * 3


def test_pools_are_computed_where_more_than_a_third_of_the_items_were_added() -> None:
    hidden = {item: {"available_until": FIRST - timedelta(days=9)} for item in (5, 6, 7, 8)}
    service, nights = Service(rules=hidden), Nights(carry_over=True)
    service.hear(0, 0, 0)
    pools = nights.rank(service).pools
    nights.keep(service, pools)
    happen(service, "let back", 5)
    happen(service, "let back", 6)
    happen(service, "let back", 7)
    assert reasons_of_next_night(service, nights).keys() <= {"carried", "merged"}
    happen(service, "let back", 8)
    assert reasons_of_next_night(service, nights) == {"item_added": 1}


def test_a_pool_of_everything_takes_what_is_added_behind_its_end() -> None:
    hidden = {item: {"available_until": FIRST - timedelta(days=9)} for item in range(3, 10)}
    service, nights = Service(rules=hidden), Nights(carry_over=True)
    service.hear(0, 0, 0)
    pools = nights.rank(service).pools
    assert sorted(pools["items"][0].as_py()) == [1, 2]
    nights.keep(service, pools)
    happen(service, "let back", 3)
    carried = nights.rank(service).pools
    assert sorted(carried["items"][0].as_py()) == [1, 2, 3]
    assert nights.stats.reasons["merged"] == 1


def test_a_shelf_that_is_not_the_top_of_its_type_is_found() -> None:
    service, nights = first_night(CROWD)
    rows = nights.pools.to_pylist()
    shelf = next(
        row["shelf_items"] for row in rows if [item % 3 for item in row["shelf_items"]][:2] in ([0, 0], [1, 1], [2, 2])
    )
    shelf[:2] = shelf[1], shelf[0]
    nights.pools = pa.Table.from_pylist(rows, schema=nights.pools.schema)
    with pytest.raises(AssertionError):
        nights.rank(service)
    assert nights.stats.mismatches == 1


def test_shelves_hold_what_the_pool_lacks_of_each_type_and_an_item_of_another_type_moves() -> None:
    service, nights = first_night({0: [0]})
    lists = {row["content_type"]: ids_of(row) for row in nights.rank(service).shelf_lists.to_pylist()}
    assert {kind: {item % 3 for item in items} for kind, items in lists.items()} == {
        "track": {0},
        "audiobook": {1},
        "podcast_episode": {2},
    }
    assert {len(items) for items in lists.values()} == {2}
    moved = lists["track"][0]
    happen(service, "type", moved, "podcast_episode")
    assert reasons_of_next_night(service, nights) == {"carried": 1}
    after = {row["content_type"]: ids_of(row) for row in nights.rank(service).shelf_lists.to_pylist()}
    full = {row["content_type"]: ids_of(row) for row in Nights(carry_over=False).rank(service).shelf_lists.to_pylist()}
    assert after == full
    assert moved not in after["track"]
    assert len(after["track"]) == 2


def ids_of(row: dict[str, list[dict[str, str]]]) -> list[int]:
    return [int(entry["item_id"].removeprefix("i")) for entry in row["items"]]


def test_a_pool_ends_on_the_night_on_which_an_item_is_let_back_to_the_listener() -> None:
    settings = SETTINGS | {"let_back_after_days": 3}
    service, nights = Service(settings=settings), Nights(carry_over=True)
    service.hear(0, 0, 0)
    service.hear(0, 1, 1)
    pools = nights.rank(service).pools
    assert pools["valid_until"][0].as_py() == FIRST + timedelta(days=2)
    nights.keep(service, pools)
    service.day = 1
    assert reasons_of_next_night(service, nights) == {"carried": 1}
    service.day = 2
    assert reasons_of_next_night(service, nights) == {"item_let_back": 1}


def test_pools_of_a_night_whose_catalogue_was_changed_afterwards_are_not_trusted() -> None:
    service, nights = first_night(CROWD)
    nights.then = lambda later: replace(service, rules={5: {"explicit": True, "markets": []}}).eligible()
    assert reasons_of_next_night(service, nights) == {"catalogue_unknown": 3}
