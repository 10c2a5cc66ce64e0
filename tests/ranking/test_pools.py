"""Pools: any sequence of nights that carries over gives the lists of the same nights computed in full, bit for bit."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.core.sections import RerankingSettings
from nocturne.core.settings import load_settings
from nocturne.ingestion.interactions import EPOCH, UNIT
from nocturne.kernel.layout import lay_out_items
from nocturne.ranking.eligibility import Markets, markets
from nocturne.ranking.item_traits import traits
from nocturne.ranking.ranker import Ranker, RankingStats
from nocturne.ranking.reranker import Reranker
from nocturne.storage.contracts import contract
from nocturne.training.item_counts import ItemCounts
from nocturne.training.model import Model
from nocturne.training.principal_axes import principal_axes

if TYPE_CHECKING:
    from collections.abc import Callable

ITEMS, WIDTH = 14, 3
FIRST = date(2025, 3, 1)
MARKETS = ("SE", "US", None)
DEFAULTS = load_settings()
IDS = pa.array([f"i{index}" for index in range(10)])
POOLS = pa.schema(each.with_nullable(True) for each in contract("pools").arrow_schema if each.name != "run_date")


@dataclass
class Service:
    """The inputs of a night: changed by events, read by both chains of nights."""

    day: int = 0
    model_seed: int = 0
    heard: dict[str, dict[int, int]] = field(default_factory=dict)
    market: dict[str, str | None] = field(default_factory=dict)
    rules: dict[int, dict[str, object]] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=lambda: {"top_k": 3, "candidates": 1, "reserve": 2})
    reranking: dict[str, object] = field(default_factory=dict)

    @property
    def run_date(self) -> date:
        return FIRST + timedelta(days=self.day)

    def hear(self, user: int, item: int, days_ago: int) -> None:
        name = f"u{user}"
        self.market.setdefault(name, MARKETS[user % 3])
        last = self.heard.setdefault(name, {})
        last[item] = max(last.get(item, -99), self.day - days_ago)

    def model(self) -> Model:
        """Items 0 to 9 have factors, those beyond are too new for the model."""
        rng = np.random.default_rng(self.model_seed)
        factors, spectrum = principal_axes(rng.normal(size=(10, WIDTH)).astype(np.float32))
        ones = np.ones(10)
        als = DEFAULTS.als.model_copy(update={"factors": WIDTH, "regularization": 0.5})
        ids = pa.array([f"i{index}" for index in range(10)])
        heard = {"SE": ItemCounts(np.arange(1, 10), np.arange(1, 10))}
        neighbours = (np.arange(10, dtype=np.int32)[:, None] + np.array([1, 4, 7], np.int32)) % 10
        return Model(
            f"model-{self.model_seed}", als, FIRST, 10.0, np.arange(10, dtype=np.int32), ids, factors, spectrum,
            ones, 1.0 + np.arange(10) % 3, np.arange(1, 11, dtype=np.int64), heard,
            neighbours, rng.random((10, 3), dtype=np.float32),
            neighbours[:, :0], np.zeros((10, 0), np.float32),
        )  # fmt: skip

    def rows(self) -> pa.RecordBatch:
        users = sorted(self.heard)
        of = [sorted(self.heard[user].items()) for user in users]
        return pa.RecordBatch.from_pydict(
            {
                "user_id": pa.array(users),
                "market": pa.array([self.market[user] for user in users], pa.string()),
                "period": pa.array([2000] * len(users), pa.int32()),
                "item_indexes": pa.array([[item for item, _ in row] for row in of], pa.list_(pa.int32())),
                "play_sums": pa.array([[UNIT * (1 + item % 3) for item, _ in row] for row in of]),
                "second_sums": pa.array([[0 for _ in row] for row in of]),
                "last_heard": pa.array(
                    [[FIRST + timedelta(days=last) for _, last in row] for row in of], pa.list_(pa.date32())
                ),
                "digest": pa.array([f"{row} {self.market[user]}" for user, row in zip(users, of, strict=True)]),
            }
        )

    def catalogue(self) -> pa.Table:
        schema = contract("items").arrow_schema
        plain = {each.name: None for each in schema} | {"run_date": self.run_date, "content_type": "track"}
        rows = [
            plain | {"item_id": f"i{item}", "creator": f"c{item % 4}", "tags": [f"t{item % 3}"]}
            | self.rules.get(item, {})
            for item in range(ITEMS)
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=schema)

    def eligible(self) -> Markets:
        blocked = self.settings.get("explicit_blocked_markets", ())
        return markets(IDS, self.catalogue(), self.run_date, blocked)

    def reranker(self) -> Reranker | None:
        if not self.reranking:
            return None
        chosen = RerankingSettings.model_validate(DEFAULTS.reranking.model_dump() | self.reranking)
        of_items = traits(IDS, self.catalogue(), pa.nulls(10, pa.date32()), self.run_date, chosen.fresh_nights)
        return Reranker(chosen, of_items, (self.run_date - EPOCH).days)


class Nights:
    """A chain of nights in which pools are carried over, or not."""

    def __init__(self, *, carry_over: bool) -> None:
        self.carry_over = carry_over
        self.pools: pa.Table = POOLS.empty_table()
        self.then: Callable[[Service], Markets] | None = None
        self.stats = RankingStats()

    def rank(self, service: Service) -> tuple[pa.Table, pa.Table]:
        model = service.model()
        ranking = DEFAULTS.ranking.model_copy(update=service.settings | {"carry_over": self.carry_over})
        order = np.argsort(np.argsort(model.item_ids.to_numpy(zero_copy_only=False)))
        items = lay_out_items(model.factors, model.score_multipliers, order)
        previous_markets = self.then(service) if self.then else None
        ranker = Ranker(
            model, items, service.eligible(), previous_markets, service.run_date, ranking, audit_share=1.0,
            reranker=service.reranker(),
        )  # fmt: skip
        rows = service.rows()
        self.stats = RankingStats()
        aligned = self.pools.take(pa.compute.index_in(rows.column("user_id"), self.pools["user_id"].combine_chunks()))
        pools, lists = ranker.rank(rows, aligned, self.stats)
        assert self.stats.mismatches == 0
        return pools, lists

    def keep(self, service: Service, pools: pa.Table) -> None:
        """Keep the pools and the rules of a night, for the next one to carry over from."""
        self.pools = pools
        frozen = replace(service, rules=dict(service.rules))
        self.then = lambda later: replace(frozen, settings=later.settings).eligible()


EVENTS = st.one_of(
    st.tuples(st.just("hear"), st.integers(0, 7), st.integers(0, ITEMS - 1), st.just(0)),
    st.tuples(st.just("late"), st.integers(0, 7), st.integers(0, ITEMS - 1), st.integers(1, 3)),
    st.tuples(st.just("takedown"), st.integers(0, 9)),
    st.tuples(st.just("restrict"), st.integers(0, 9), st.sampled_from([["SE"], ["US"], []])),
    st.tuples(st.just("explicit"), st.integers(0, 9)),
    st.tuples(st.just("let back"), st.integers(0, 9)),
    st.tuples(st.just("model"), st.integers(0, 3)),
    st.tuples(st.just("moves"), st.integers(0, 7), st.sampled_from(MARKETS)),
    st.tuples(
        st.just("settings"),
        st.fixed_dictionaries(
            {
                "top_k": st.integers(1, 6),
                "candidates": st.integers(1, 7),
                "reserve": st.integers(0, 4),
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
    st.tuples(st.just("missed night")),
)


def happen(service: Service, kind: str, *what: object) -> None:
    if kind in {"hear", "late"}:
        service.hear(*what)
    elif kind == "moves" and f"u{what[0]}" in service.market:
        service.market[f"u{what[0]}"] = what[1]
    elif kind == "takedown":
        service.rules[what[0]] = {"available_until": FIRST - timedelta(days=9)}
    elif kind == "restrict":
        service.rules[what[0]] = {"markets": what[1]}
    elif kind == "explicit":
        service.rules[what[0]] = {"explicit": True}
    elif kind == "let back":
        service.rules.pop(what[0], None)
    elif kind == "model":
        service.model_seed = what[0]
    elif kind in {"settings", "reranking"}:
        setattr(service, kind, what[0])
    elif kind == "missed night":
        service.day += 1


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
        carried, lists = carrying.rank(service)
        computed, expected = full.rank(service)
        assert lists.equals(expected)
        if again:
            assert carrying.rank(service)[1].equals(expected)
        carrying.keep(service, carried)
        full.keep(service, computed)
        service.day += 1


def test_a_change_of_reranking_changes_lists_and_their_digests_and_no_pool() -> None:
    service, nights = first_night(CROWD)
    service.settings = {"top_k": 3, "candidates": 4, "reserve": 1}
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
    pools, _ = nights.rank(service)
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
        (("model", 1), {"model_changed": 3}),
        (("settings", {"top_k": 3, "candidates": 1, "reserve": 4}), {"build_changed": 3}),
        (("settings", {"top_k": 4, "candidates": 1, "reserve": 1}), {"carried": 3}),
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
    pools, _ = nights.rank(service)
    nights.keep(service, pools)
    happen(service, "let back", 3)
    service.day += 1
    carried, lists = nights.rank(service)
    full, expected = Nights(carry_over=False).rank(service)
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
    pools, _ = nights.rank(service)
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
    pools, _ = nights.rank(service)
    assert sorted(pools["items"][0].as_py()) == [1, 2]
    nights.keep(service, pools)
    happen(service, "let back", 3)
    carried, _ = nights.rank(service)
    assert sorted(carried["items"][0].as_py()) == [1, 2, 3]
    assert nights.stats.reasons["merged"] == 1


def test_a_pool_ends_on_the_night_on_which_an_item_is_let_back_to_the_listener() -> None:
    settings = {"top_k": 3, "candidates": 1, "reserve": 2, "let_back_after_days": 3}
    service, nights = Service(settings=settings), Nights(carry_over=True)
    service.hear(0, 0, 0)
    service.hear(0, 1, 1)
    pools, _ = nights.rank(service)
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
