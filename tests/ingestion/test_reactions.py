"""Reactions to lists: a law that can be followed by hand, alike in every arm, and effects that come out as computed."""

from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.arrays import Floats
from nocturne.core.errors import UsageError
from nocturne.core.hashing import hash_ids
from nocturne.ingestion.simulator.liking import Liking
from nocturne.ingestion.simulator.memory import LATELY, MEMORIES, Memory
from nocturne.ingestion.simulator.reactions import (
    APPETITE,
    NOVELTY,
    OPENING,
    Audience,
    World,
    expected_plays,
    play_probabilities,
    true_effect,
)
from nocturne.ingestion.simulator.world import ALWAYS, FACTORS, MAINSTREAM, Items, Listeners, Scenario

START = date(2026, 1, 1)
DAY = date(2026, 1, 3)
NIGHT = 2
ITEMS = ["a", "b", "c"]
LISTENERS = ["ana", "ben", "bot", "new"]


def literal_items() -> Items:
    """Topic 0 has a and topic 1 has b, the mainstream has a and b by halves; c is what nobody plays, in market 1."""
    return Items(
        ids=pa.array(ITEMS),
        topics=np.array([[0, 0], [1, 1], [2, 2]]),
        popularity=np.array([0.5, 0.5, 0.0]),
        first_night=np.zeros(3, np.int64),
        last_night=np.full(3, ALWAYS, np.int64),
        markets=np.array([3, 3, 2]),
        duration_ms=np.array([1000, 2000, 3000]),
        explicit=np.zeros(3, bool),
        drawn=np.array([0, 1, 0, 1]),
        shares=np.array([1.0, 2.0, MAINSTREAM + 0.5, MAINSTREAM + 1.0]),
    )


def literal_audience(night: int = NIGHT) -> Audience:
    """Ana likes topic 0, Ben topic 1; then a bot, and somebody who joins on night 3."""
    items = literal_items()
    scenario = Scenario(len(LISTENERS), len(ITEMS), 1, START, 0.0)
    world = World(scenario, items, Liking.of(items), hash_ids(items.ids, scenario.seed))
    tastes = np.zeros((4, FACTORS))
    tastes[:, [0, 1, MAINSTREAM]] = [[0.6, 0.2, 0.2], [0.0, 1.0, 0.0], [0.6, 0.2, 0.2], [0.6, 0.2, 0.2]]
    listeners = Listeners(
        ids=pa.array(LISTENERS),
        tastes=tastes,
        rate=np.array([5.0, 20.0, 5.0, 5.0]),
        market=np.zeros(4, np.int64),
        first_night=np.array([0, 0, 0, 3]),
        bot=np.array([False, False, True, False]),
    )
    return Audience(world, listeners, night, hash_ids(listeners.ids, scenario.seed))


def lists_of(lists: dict[str, str], arm: str = "control") -> pa.Table:
    """Lists of items separated by blanks."""
    items = [[{"item_id": item, "score": 1.0} for item in text.split()] for text in lists.values()]
    kind = pa.list_(pa.struct({"item_id": pa.string(), "score": pa.float64()}))
    columns = {"user_id": list(lists), "arm": [arm] * len(lists), "items": pa.array(items, kind)}
    return pa.table(columns)


def memories(*rows: tuple[str, str, int, bool]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(MEMORIES.names, row, strict=True)) for row in rows], MEMORIES)


def remembered(*rows: tuple[str, str, int, bool], audience: Audience | None = None) -> Memory:
    audience = audience or literal_audience()
    return Memory.of(memories(*rows), audience.listeners, audience.world.items, audience.night)


@pytest.mark.parametrize(
    ("place", "liking", "days", "heard", "probability"),
    [
        (1, 0.5, 0, False, 0.45),
        (2, 0.5, 0, False, 0.225),
        (1, 0.5, 0, True, 0.3),
        (1, 0.5, 2, False, 0.3645),
        (1, 0.5, 1, True, 0.27),
        (3, 0.25, 0, False, 0.075),
        (1, 0.0, 0, False, 0.0),
    ],
)
def test_the_law_can_be_followed_by_hand(place: int, liking: float, days: int, heard: bool, probability: float) -> None:
    found = play_probabilities(np.array([place]), np.array([liking]), np.array([days]), np.array([heard]))
    assert found == pytest.approx([probability])


@given(
    place=st.integers(1, 500),
    liking=st.floats(0.01, 1),
    days=st.integers(0, LATELY),
    heard=st.booleans(),
)
def test_a_place_lower_a_day_more_and_having_heard_it_lower_a_probability(
    place: int, liking: float, days: int, heard: bool
) -> None:
    def at(place: int, days: int, heard: bool) -> Floats:
        return play_probabilities(np.array([place]), np.array([liking]), np.array([days]), np.array([heard]))

    base = at(place, days, heard)
    assert 0 < base <= APPETITE * (1 + NOVELTY) < 1
    assert at(place + 1, days, heard) < base
    assert at(place, days + 1, heard) < base
    assert at(place, days, True) <= base <= at(place, days, False)
    assert at(place, days, True) < at(place, days, False)


def test_liking_is_the_score_beside_that_of_what_is_typically_played() -> None:
    """Ana: scores .6 + .2 x .5 = .7 and .2 + .2 x .5 = .3, typically .49 + .09 = .58; Ben: 0 and 1, typically 1."""
    audience = literal_audience()
    tastes, liking = audience.listeners.tastes, audience.world.liking
    listener, item = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1])
    assert liking.scores(tastes, listener, item) == pytest.approx([0.7, 0.3, 0, 0, 1])
    assert liking.typical(tastes)[:2] == pytest.approx([0.58, 1])
    assert liking.of_pairs(tastes, listener, item) == pytest.approx([0.7 / 1.28, 0.3 / 0.88, 0, 0, 0.5])


def test_scores_are_those_of_the_dense_factors() -> None:
    world = World.of(Scenario(50, 80, 3, START, 0.0))
    audience = Audience.of(world, 0, START)
    listener, item = np.divmod(np.arange(50 * 80), 80)
    expected = audience.listeners.tastes @ world.items.factors().T.astype(np.float64)
    assert world.liking.scores(audience.listeners.tastes, listener, item) == pytest.approx(expected.ravel())
    assert world.liking.typical(audience.listeners.tastes) == pytest.approx((expected**2).sum(axis=1))


def test_memory_counts_days_once_and_forgets_older_ones_and_those_to_come() -> None:
    audience = literal_audience(night=10)
    memory = remembered(
        ("ana", "a", 9, False),
        ("ana", "a", 9, True),
        ("ana", "a", 9, True),
        ("ana", "a", 3, False),
        ("ana", "a", 2, True),
        ("ana", "b", 10, True),
        ("ana", "b", 4, False),
        ("ben", "a", 9, False),
        ("ben", "b", 2, True),
        ("eve", "a", 9, True),
        ("ana", "z", 9, True),
        audience=audience,
    )
    days, heard = memory.of_pairs(np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1]))
    assert days.tolist() == [2, 1, 0, 1, 0]
    assert heard.tolist() == [True, False, False, False, False]


def test_items_are_viewed_from_the_top_with_the_probability_of_the_law() -> None:
    """Ana was shown b on two days and heard a on one; c is not played in her market, and z by nobody."""
    audience = literal_audience()
    memory = remembered(("ana", "b", 0, False), ("ana", "b", 1, False), ("ana", "a", 1, True))
    rows, own = audience.own(lists_of({"ben": "b", "eve": "a", "ana": "b a c z"}))
    views = audience.look_at(rows, own, memory)
    assert views.listener.tolist() == [0, 0, 0, 0, 1]
    assert views.item.tolist() == [1, 0, 2, -1, 1]
    assert views.place.tolist() == [1, 2, 3, 4, 1]
    expected = [0.9 * 0.3 / 0.88 * 0.81, 0.6 / 2 * 0.7 / 1.28 * 0.9, 0, 0, 0.9 * 0.5]
    assert views.probability == pytest.approx(expected)


def test_whoever_listens_more_opens_more_and_neither_bots_nor_those_to_join_do() -> None:
    assert literal_audience().opening() == pytest.approx([0.5, 0.8, 0, 0])
    assert literal_audience(night=3).opening() == pytest.approx([0.5, 0.8, 0, 0.5])


@pytest.fixture(scope="module")
def crowd() -> Audience:
    return Audience.of(World.of(Scenario(20_000, 200, 1, START, 0.0)), 0, DAY)


def best_lists(audience: Audience, arm: str, length: int = 10) -> pa.Table:
    """The best of each listener; under another arm than control from the worst of them up."""
    scores = audience.listeners.tastes @ audience.world.items.factors().T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :length]
    best = best if arm == "control" else best[:, ::-1]
    items = audience.world.items.ids.take(pa.array(best.ravel()))
    structs = pa.StructArray.from_arrays([items, pa.array(np.ones(best.size))], ["item_id", "score"])
    offsets = pa.array(np.arange(len(best) + 1, dtype=np.int32) * length)
    columns = {"user_id": audience.listeners.ids, "arm": pa.repeat(arm, len(best))}
    return pa.table(columns | {"items": pa.ListArray.from_arrays(offsets, structs)})


def plays_of(audience: Audience, lists: pa.Table, below: int = 0) -> set[tuple[int, int]]:
    """Pairs of listener and item that were played, in a place below some."""
    reaction = audience.react(lists, remembered(audience=audience))
    views, played = reaction.views, reaction.played & (reaction.views.place > below)
    return set(zip(views.listener[played].tolist(), views.item[played].tolist(), strict=True))


def test_the_same_list_is_played_alike_in_every_arm_order_and_company(crowd: Audience) -> None:
    lists = best_lists(crowd, "control")
    plays = plays_of(crowd, lists)
    assert len(plays) > 5_000
    renamed = lists.set_column(1, "arm", pa.repeat("treatment", lists.num_rows))
    shuffled = renamed.take(pa.array(np.random.default_rng(0).permutation(lists.num_rows)))
    assert plays_of(crowd, shuffled) == plays
    some = lists.slice(0, 5_000)
    assert plays_of(crowd, some) == {(listener, item) for listener, item in plays if listener < 5_000}


def test_whoever_plays_an_item_plays_it_a_place_higher_too(crowd: Audience) -> None:
    lists = best_lists(crowd, "control").slice(0, 3_000)
    without_first = [items[1:] for items in lists["items"].to_pylist()]
    higher = lists.set_column(2, "items", pa.array(without_first, lists["items"].type))
    assert plays_of(crowd, lists, below=1) < plays_of(crowd, higher)


def test_chances_are_uniform_and_others_on_another_day_and_under_another_seed(crowd: Audience) -> None:
    chances = crowd.chances(OPENING)
    histogram = np.histogram(chances, bins=10, range=(0, 1))[0]
    assert np.abs(histogram - 2_000).max() < 4 * np.sqrt(20_000 * 0.1 * 0.9)
    tomorrow = replace(crowd, night=crowd.night + 1).chances(OPENING)
    reseeded = replace(crowd, hashes=hash_ids(crowd.listeners.ids, 2)).chances(OPENING)
    for others in (tomorrow, reseeded):
        assert abs(np.corrcoef(chances, others)[0, 1]) < 4 / np.sqrt(20_000)


def test_an_effect_comes_out_as_it_was_computed(crowd: Audience) -> None:
    """Two arms of 10,000 listeners each, against the effect that is computed for all of them under both lists."""
    lists = {arm: best_lists(crowd, arm) for arm in ("control", "treatment")}
    effect = true_effect(crowd.world, lists["control"], lists["treatment"], DAY)
    assert effect.listeners == 20_000
    realised, variance = {}, 0.0
    for arm, first in (("control", 0), ("treatment", 10_000)):
        shown = lists[arm].slice(first, 10_000)
        realised[arm] = len(plays_of(crowd, shown)) / 10_000
        expected = expected_plays(crowd.world, shown, DAY)
        of_plays = expected["variance"].to_numpy().mean()
        between_listeners = expected["mean"].to_numpy().var()
        assert abs(realised[arm] - expected["mean"].to_numpy().mean()) < 3.3 * np.sqrt(of_plays / 10_000)
        variance += (of_plays + between_listeners) / 10_000
    assert abs(realised["treatment"] - realised["control"] - effect.difference) < 3.3 * np.sqrt(variance)
    assert effect.difference < -10 * np.sqrt(variance)


def test_what_was_shown_or_heard_yesterday_is_expected_to_be_played_less() -> None:
    world = World.of(Scenario(200, 50, 1, START, 0.0))
    lists = best_lists(Audience.of(world, 0, DAY), "control")
    users, items = lists["user_id"].to_pylist(), lists["items"].to_pylist()
    pairs = [(user, item["item_id"]) for user, listed in zip(users, items, strict=True) for item in listed]

    def expected(*yesterday: tuple[str, str, int, bool]) -> Floats:
        return np.asarray(expected_plays(world, lists, DAY, lambda _: memories(*yesterday))["mean"])

    fresh = expected()
    assert fresh.sum() > 0
    assert expected(*((*pair, 1, False) for pair in pairs)) == pytest.approx(0.9 * fresh)
    assert expected(*((*pair, 1, True) for pair in pairs)) == pytest.approx(0.6 * fresh)


def test_lists_of_different_listeners_have_no_effect_to_compare() -> None:
    world = World.of(Scenario(3, 5, 1, START, 0.0))
    one, two = lists_of({"u00000000": ""}), lists_of({"u00000001": ""})
    with pytest.raises(UsageError, match="different listeners"):
        true_effect(world, one, two, DAY)


def test_the_same_listeners_lose_their_exposures_on_every_day_in_the_arm_alone(crowd: Audience) -> None:
    lists = best_lists(crowd, "control")
    memory = remembered(audience=crowd)
    reaction = crowd.react(lists, memory, {"control": 0.2, "treatment": 1.0})
    tomorrow = replace(crowd, night=crowd.night + 1)
    again = tomorrow.react(lists, memory, {"control": 0.2})
    lost, lost_again = set(reaction.rows[reaction.lost]), set(again.rows[again.lost])
    kept, kept_again = set(reaction.rows[~reaction.lost]), set(again.rows[~again.lost])
    assert lost & lost_again
    assert not lost & kept_again
    assert not kept & lost_again
    share = len(lost) / len(reaction.rows)
    assert abs(share - 0.2) < 4 * np.sqrt(0.16 / len(reaction.rows))
    assert not crowd.react(lists, memory, {"treatment": 1.0}).lost.any()
    assert crowd.react(lists, memory).counts == reaction.counts | {"lost": 0}
