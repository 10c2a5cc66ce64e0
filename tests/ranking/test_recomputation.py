"""Every pool and list is what a recomputation from the documentation gives, whatever happens between nights.

The recomputation shares no code with ranking (tests/fixtures/dense_recomputation.py). Both see the same rows; ranking
also gets its own pools of the night before, and carries over what it may.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.core.sections import AlsSettings, RerankingSettings
from nocturne.core.settings import load_settings
from nocturne.kernel.layout import lay_out_items
from nocturne.ranking.eligibility import markets
from nocturne.ranking.item_traits import traits
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.reranker import Reranker
from nocturne.ranking.stats import RankingStats
from nocturne.storage.contracts import contract
from nocturne.training.item_counts import ItemCounts
from nocturne.training.model import Model
from tests.fixtures.dense_recomputation import EPOCH, UNITS_PER_PLAY, DenseNight, Recomputed

pytestmark = pytest.mark.slow

DEFAULTS = load_settings()
FIRST = date(2025, 3, 1)
PERIOD, HALF_LIFE_DAYS = 2014, 10.0
"""The period of the first night: it began on day 20,140, and the night is day 20,148."""

SIGNS = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
"""Items come in groups of four, one vector with each row of signs: the sum of their outer products is diagonal."""

LISTENERS, GROUPS = 16, 9
WINDOW = 5
ITEMS = len(SIGNS) * GROUPS
ITEM_IDS = [f"i{index * 7 % ITEMS:02d}" for index in range(ITEMS)]
"""By item index; the order of ids is another one."""

MARKETS = ("SE", "US", "FI", None)
"""Of listeners; no rule names FI."""

TOLERANCE = 1e-9
"""Scores are of the order of 1, and two ways to work them out in float64 agree to some 1e-13."""

Row = dict[str, Any]


def of_all(counts: np.ndarray) -> ItemCounts:
    """The counts of all items as those of the items that have any."""
    items = np.flatnonzero(counts)
    return ItemCounts(items, counts[items])


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


@dataclass
class World:
    """The input of a night, changed by events.

    Attributes:
        rows: of `interactions`, by listener.
        rules: what the catalogue says of an item beside its id; None for items that it lacks.
        lists: of the last night, by listener.
    """

    seed: int
    day: int = 0
    model_seed: int = 0
    rows: dict[str, Row] = field(default_factory=dict, repr=False)
    rules: list[Row | None] = field(default_factory=list, repr=False)
    lists: dict[str, list[int]] = field(default_factory=dict, repr=False)
    ranking: Row = field(default_factory=dict)
    max_per_creator: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        kinds = rng.choice(["plain", "absent", "explicit", "markets", "window"], ITEMS, p=[0.6, 0.1, 0.1, 0.1, 0.1])
        for kind, first, last in zip(kinds, rng.integers(-2, 4, ITEMS), rng.integers(0, 6, ITEMS), strict=True):
            window = {"available_from": day(int(first)), "available_until": day(int(last))}
            rules = {"plain": {}, "absent": None, "explicit": {"explicit": True}, "markets": {"markets": ["SE", "NO"]}}
            self.rules.append({**rules, "window": window}[str(kind)])
        for listener in range(LISTENERS):
            for item in rng.choice(ITEMS, rng.choice([1, 1, 2, 4, 8]), replace=False):
                self.hear(listener, int(item), int(rng.integers(0, 4)))

    def hear(self, listener: int, item: int, days_ago: int) -> None:
        """Add to a row; a fifth of all sums have faded to nothing."""
        rng = np.random.default_rng([self.seed, self.day, listener, item])
        row = self.rows.setdefault(f"u{listener:02d}", {"market": MARKETS[listener % 4], "heard": {}})
        plays, seconds = rng.integers(1, 5 * UNITS_PER_PLAY, 2) * (rng.random(2) > 0.2)
        last_heard = max(day(self.day - days_ago), row["heard"].get(item, (0, 0, EPOCH))[2])
        row["heard"][item] = (int(plays), int(60 * seconds), last_heard)
        row["period"] = PERIOD + (self.day + 8) // 10
        row.setdefault("recent", []).extend([item] * int(rng.integers(1, 4)))

    def interactions(self) -> list[Row]:
        rows = []
        for user_id, row in sorted(self.rows.items()):
            heard = sorted(row["heard"].items())
            rows.append(
                {
                    "user_id": user_id,
                    "market": row["market"],
                    "period": row["period"],
                    "item_indexes": [item for item, _ in heard],
                    "play_sums": [plays for _, (plays, _, _) in heard],
                    "second_sums": [seconds for _, (_, seconds, _) in heard],
                    "last_heard": [last_heard for _, (_, _, last_heard) in heard],
                    "recent_items": row["recent"][-WINDOW:],
                    "digest": f"{row}",
                }
            )
        return rows

    def catalogue(self) -> list[Row]:
        """Rows of `items`; every fifth item has no creator."""
        plain: Row = dict.fromkeys(name for name in contract("items").arrow_schema.names)
        plain |= {"run_date": day(self.day), "content_type": "track"}
        return [
            plain | {"item_id": ITEM_IDS[item], "creator": f"c{item % 5}" if item % 5 else None} | rules
            for item, rules in enumerate(self.rules)
            if rules is not None
        ]

    def night(self) -> DenseNight:
        ranking = DEFAULTS.ranking.model_copy(update=self.ranking)
        catalogue = {row["item_id"]: row for row in self.catalogue()}
        return DenseNight(day(self.day), ranking, model(self.seed, self.model_seed), catalogue, self.max_per_creator)


def model(world_seed: int, seed: int) -> Model:
    """Most groups of items: one the twin of another, to be told apart by id alone, and perhaps one without factors.

    An odd seed gives the items of the seed before it.
    """
    rng = np.random.default_rng([world_seed, seed // 2])
    groups = np.sort(rng.choice(GROUPS, rng.integers(3, GROUPS), replace=False))
    rng = np.random.default_rng([world_seed, seed])
    vectors = rng.normal(size=(GROUPS, len(SIGNS))) * rng.choice([0.2, 1.0, 1.0], (GROUPS, 1))
    multipliers = rng.uniform(0.5, 2.0, (GROUPS, len(SIGNS)))
    if seed % 2:
        vectors[groups[2]] = 0.0
    vectors[groups[1]], multipliers[groups[1]] = vectors[groups[0]], multipliers[groups[0]]
    factors = (SIGNS * vectors[groups][:, None, :]).reshape(-1, len(SIGNS)).astype(np.float32)
    spectrum = (factors.astype(np.float64) ** 2).sum(axis=0)
    axes = np.argsort(-spectrum)
    indexes = (len(SIGNS) * groups[:, None] + np.arange(len(SIGNS))).ravel().astype(np.int32)
    count, width = len(indexes), int(rng.choice([0, 3, 6]))
    # Ascending, and -1 behind them where there are fewer.
    near = [np.sort(rng.choice(count, rng.integers(0, width + 1), replace=False)) for _ in range(count)]
    neighbours = np.array([[*row, *[-1] * (width - len(row))] for row in near], np.int32).reshape(count, width)
    als = DEFAULTS.als.model_dump() | {
        "factors": len(SIGNS),
        "regularization": 0.5,
        "regularization_exponent": float(rng.choice([0.0, 0.4])),
        "alpha": float(rng.choice([0.7, 5.0])),
        "play_weight": float(rng.choice([0.0, 1.0])),
        "minute_weight": 0.5,
        "transform": str(rng.choice(["linear", "log1p", "sqrt", "binary"])),
        "recency": float(rng.choice([1.0, 0.8])),
        "activity_exponent": float(rng.choice([0.0, 0.3])),
        "neighbours": width,
        "neighbour_weight": float(rng.choice([0.0, 0.5, 0.5, 3.0])),
    }
    return Model(
        version=f"als-{seed}",
        settings=AlsSettings.model_validate(als),
        anchor_date=day(seed),
        half_life_days=HALF_LIFE_DAYS,
        item_indexes=indexes,
        item_ids=pa.array([ITEM_IDS[index] for index in indexes]),
        factors=np.ascontiguousarray(factors[:, axes]),
        spectrum=spectrum[axes],
        confidence_weights=rng.uniform(0.3, 1.0, count),
        score_multipliers=multipliers[groups].ravel(),
        listeners=rng.integers(0, 5, count),
        market_listeners={market: of_all(rng.integers(0, 3, count)) for market in ("FI", "SE")},
        neighbours=neighbours,
        similarities=np.where(neighbours >= 0, rng.uniform(0.0, 1.0, (count, width)), 0.0).astype(np.float32),
        predecessors=neighbours[:, :0],
        predecessor_weights=np.zeros((count, 0), np.float32),
        added_on=np.zeros(count, np.int64),
    )


@dataclass(frozen=True)
class Ranked:
    """A night as it was ranked: its pools, its lists, and the catalogue that they were made in."""

    run_date: date
    catalogue: list[Row]
    pools: pa.Table
    lists: list[Row]


POOLS = pa.schema(each.with_nullable(True) for each in contract("pools").arrow_schema if each.name != "run_date")
ROWS = pa.schema([contract("interactions").arrow_schema.field(name) for name in World(0).interactions()[0]])


def rank(world: World, earlier: Ranked | None) -> Ranked:
    """Have the night ranked by the library, which may carry over the pools of an earlier one."""
    night, rows = world.night(), pa.RecordBatch.from_pylist(world.interactions(), schema=ROWS)
    ids = night.model.item_ids

    def listable(catalogue: list[Row], run_date: date) -> Any:
        table = pa.Table.from_pylist(catalogue, schema=contract("items").arrow_schema)
        return markets(ids, table, run_date, night.ranking.explicit_blocked_markets)

    reranker = None
    if world.max_per_creator:
        table = pa.Table.from_pylist(world.catalogue(), schema=contract("items").arrow_schema)
        reranking = RerankingSettings.model_validate(
            DEFAULTS.reranking.model_dump() | {"max_per_creator": world.max_per_creator}
        )
        item_traits = traits(ids, table, pa.nulls(len(ids), pa.date32()), night.run_date, reranking.fresh_nights)
        reranker = Reranker(reranking, item_traits, (night.run_date - EPOCH).days)
    tie_order = np.argsort(np.argsort(np.array(ids.to_pylist())))
    ranker = Ranker(
        model=night.model,
        items=lay_out_items(night.model.factors, night.model.score_multipliers, tie_order),
        markets=listable(world.catalogue(), night.run_date),
        previous_markets=listable(earlier.catalogue, earlier.run_date) if earlier else None,
        run_date=night.run_date,
        settings=night.ranking,
        audit_share=0.0,
        reranker=reranker,
    )
    stored = earlier.pools if earlier else POOLS.empty_table()
    aligned = stored.take(pa.compute.index_in(rows.column("user_id"), stored["user_id"].combine_chunks()))
    pools, lists, _ = ranker.rank(rows, aligned, RankingStats())
    return Ranked(night.run_date, world.catalogue(), pools, lists.to_pylist())


def assert_recomputed(world: World, earlier: Ranked | None, ranked: Ranked, outcomes: Counter[str]) -> None:
    night = world.night()
    previous = {row["user_id"]: row for row in earlier.pools.to_pylist()} if earlier else {}
    pools = {row["user_id"]: row for row in ranked.pools.to_pylist()}
    rows = world.interactions()
    assert [row["user_id"] for row in ranked.lists] == [row["user_id"] for row in rows]
    for row, listed in zip(rows, ranked.lists, strict=True):
        pool, expected = pools.pop(row["user_id"], None), night.recompute(row, previous.get(row["user_id"]))
        assert_list_recomputed(night, listed, expected)
        outcomes[expected.source] += 1
        assert (pool is not None) == (expected.source in {"als", "previous"})
        if pool is not None:
            assert pool["source"] == expected.source
            in_pool = [ITEM_IDS[pool["items"][place]] for place in pool["listed"]]
            assert in_pool == [item["item_id"] for item in listed["items"]]
            assert (pool["model_version"], pool["row_digest"]) == (night.model.version, row["digest"])
            assert pool["valid_until"] == expected.valid_until
        if expected.source == "als":
            carried = pool["computed_on"] < night.run_date
            outcomes["carried" if carried else "computed"] += 1
            before = previous.get(row["user_id"], {})
            alike = all(pool[name] == before.get(name) for name in ("source", "row_digest", "model_version"))
            assert_pool_recomputed(night, pool, expected, stood=alike)
        elif pool is not None:
            assert [ITEM_IDS[item] for item in pool["items"]] == expected.listed
    assert not pools


def assert_list_recomputed(night: DenseNight, listed: Row, expected: Recomputed) -> None:
    assert (listed["source"], listed["candidates"]) == (expected.source, expected.candidates)
    assert listed["model_version"] == night.model.version
    items = {item["item_id"]: item["score"] for item in listed["items"]}
    assert len(items) == len(listed["items"]) == len(expected.listed)
    if expected.source == "als":
        assert_same_order(night, items, expected.listed, expected.values)
    else:
        assert list(items.items()) == list(expected.values.items())


def assert_pool_recomputed(night: DenseNight, pool: Row, expected: Recomputed, *, stood: bool) -> None:
    """A pool that was computed is full; one that was carried over or merged holds what a list is chosen from."""
    items = {ITEM_IDS[item]: score for item, score in zip(pool["items"], pool["scores"], strict=True)}
    full, chosen_from = len(expected.pool), max(night.ranking.top_k, night.ranking.candidates)
    assert len(items) == len(pool["items"])
    assert (min(full, chosen_from) if stood else full) <= len(items) <= full
    assert_same_order(night, items, expected.pool[: len(items)], expected.scores)
    assert abs(pool["norm"] - expected.norm) <= TOLERANCE
    unlisted = [score for item, score in expected.scores.items() if item not in items]
    assert max(unlisted, default=-np.inf) <= (-np.inf if pool["bound"] is None else pool["bound"] + TOLERANCE)


def assert_same_order(
    night: DenseNight, items: Mapping[str, float], expected: list[str], scores: Mapping[str, float]
) -> None:
    """The same items in the same places with the same scores; only what scores cannot tell apart may change places.

    Twins have the very same score, and are told apart by id.
    """
    assert items.keys() <= scores.keys()
    places = {item: place for place, item in enumerate(night.item_ids)}
    for (item, score), instead in zip(items.items(), expected, strict=True):
        assert abs(score - scores[item]) <= TOLERANCE * max(1.0, abs(score))
        if item != instead:
            assert abs(scores[item] - scores[instead]) <= TOLERANCE
            assert not np.array_equal(night.factors[places[item]], night.factors[places[instead]])


def test_the_recomputation_gives_what_one_listener_comes_to_by_hand() -> None:
    """Three plays on the anchor date; 3 x 1 = (1 + 4 + 1 + 2 x 1) x u, so that u = .375 and a score is .375 x 2 x 4."""
    als = {"factors": 1, "regularization": 1.0, "alpha": 1.0, "transform": "linear", "activity_exponent": 0.0}
    by_hand = replace(
        model(0, 0),
        settings=DEFAULTS.als.model_copy(update=als | {"neighbours": 1, "neighbour_weight": 0.5}),
        anchor_date=EPOCH + timedelta(days=20_150),
        item_indexes=np.array([0, 1], np.int32),
        item_ids=pa.array(["heard", "similar"]),
        factors=np.array([[1.0], [2.0]], np.float32),
        confidence_weights=np.ones(2),
        score_multipliers=np.array([1.0, 4.0]),
        neighbours=np.array([[-1], [0]], np.int32),
        similarities=np.array([[0.0], [1.0]], np.float32),
    )
    # Six plays of the first day of period 2014, day 20,140, are one half-life old on the anchor date.
    row = {"market": None, "period": 2014, "item_indexes": [0], "play_sums": [6 * 2**20], "second_sums": [0]}
    row |= {"recent_items": [0]}
    night = DenseNight(FIRST, DEFAULTS.ranking, by_hand, {}, 0)
    assert night.recompute(row | {"last_heard": [FIRST]}, None) == Recomputed(
        "als", 1, {"similar": 3.0}, ["similar"], 0.375, None, {"similar": 1.5}, ["similar"]
    )


LISTENER, ITEM, DAYS = st.integers(0, LISTENERS + 1), st.integers(0, ITEMS - 1), st.integers(-1, 2)
RULES = st.one_of(
    st.sampled_from([{}, None, {"explicit": True}, {"markets": ["SE"]}, {"markets": ["US", "NO"]}, {"markets": []}]),
    st.fixed_dictionaries({"starts": DAYS}),
    st.fixed_dictionaries({"ends": DAYS}),
)
SETTINGS = st.fixed_dictionaries(
    {
        "top_k": st.integers(1, 6),
        "candidates": st.integers(1, 8),
        "reserve": st.integers(0, 6),
        "let_back_after_days": st.sampled_from([0, 2, 4]),
        "explicit_blocked_markets": st.sampled_from([(), ("US",), ("*",)]),
    }
)
LOCAL = (
    st.tuples(st.just("hear"), LISTENER, ITEM, st.integers(0, 3)),
    st.tuples(st.just("follow"), LISTENER, st.integers(0, 2)),
    st.tuples(st.just("withdraw"), LISTENER, st.integers(1, 2)),
    st.tuples(st.just("rules"), ITEM, RULES),
    st.tuples(st.just("rules"), ITEM, st.just({})),
    st.tuples(st.just("move"), LISTENER, st.sampled_from(MARKETS)),
)
GLOBAL = (
    st.tuples(st.just("max_per_creator"), st.integers(0, 2)),
    st.tuples(st.just("skip"), st.integers(1, 2)),
    st.tuples(st.just("model_seed"), st.integers(0, 5)),
    st.tuples(st.just("ranking"), SETTINGS),
)
EVENTS = st.lists(st.one_of(*4 * LOCAL, *GLOBAL), max_size=5)
"""What has every pool computed is rarer than what has one."""


def happen(world: World, kind: str, *what: Any) -> None:
    if kind == "hear":
        world.hear(*what)
    elif kind == "follow":
        for item in world.lists.get(f"u{what[0]:02d}", [])[what[1] : what[1] + 1]:
            world.hear(what[0], item, 0)
    elif kind == "withdraw":
        for item in world.lists.get(f"u{what[0]:02d}", [])[: what[1]]:
            world.rules[item] = {"markets": []}
    elif kind == "rules":
        item, rules = what
        dates = {"starts": "available_from", "ends": "available_until"}
        world.rules[item] = rules and {
            dates.get(name, name): day(world.day + value) if name in dates else value for name, value in rules.items()
        }
    elif kind == "move" and f"u{what[0]:02d}" in world.rows:
        world.rows[f"u{what[0]:02d}"]["market"] = what[1]
    elif kind == "skip":
        world.day += what[0]
    elif kind in {"model_seed", "ranking", "max_per_creator"}:
        setattr(world, kind, what[0])


NIGHTS = st.lists(st.tuples(EVENTS, st.none() | EVENTS, st.sampled_from([True] * 6 + [False])), min_size=4, max_size=7)
"""Before each night; before it is ranked once more, if it is; and whether its catalogue stays as it was afterwards."""


def test_every_pool_and_list_is_what_the_documentation_gives_night_after_night() -> None:
    outcomes: Counter[str] = Counter()

    @settings(max_examples=100, deadline=None)
    @given(world=st.builds(World, st.integers(0, 2**32 - 1), ranking=SETTINGS), nights=NIGHTS)
    def check(world: World, nights: list[Any]) -> None:
        earlier = None
        for *several, catalogue_stays in nights:
            for events in (events for events in several if events is not None):
                for event in events:
                    happen(world, *event)
                ranked = rank(world, earlier)
                assert_recomputed(world, earlier, ranked, outcomes)
            world.lists = {
                row["user_id"]: [ITEM_IDS.index(item["item_id"]) for item in row["items"]] for row in ranked.lists
            }
            earlier = ranked if catalogue_stays else replace(ranked, catalogue=[])
            world.day += 1

    check()
    assert outcomes["carried"] >= outcomes["computed"] / 5
    assert min(outcomes[source] for source in ("als", "previous", "market_popular", "global_popular")) > 0
