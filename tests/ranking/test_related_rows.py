"""Rows of related items over nights: whatever is carried over, they are those of a night that computes everything."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.settings import load_settings
from nocturne.ranking.known_items import KnownItems, all_ids
from nocturne.ranking.related_rows import Previous, RelatedNight
from nocturne.storage.contracts import contract
from nocturne.training.model import Model

FIRST = date(2025, 3, 1)
DEFAULTS = load_settings(overrides=["als.factors=3", "als.neighbours=4"])
IN_MODEL, ITEMS = 12, 16
"""The last items have no factors, and the last two of them are in no index."""
TYPES = ("audiobook", "track")
MEASURED = ("reserve", "computed_on")
Row = dict[str, Any]


def item(number: int) -> str:
    return f"i{number:02d}"


def model(seed: int, kind: str = "normal") -> Model:
    rng = np.random.default_rng(seed)
    factors = (
        rng.normal(size=(IN_MODEL, 3)) if kind == "normal" else rng.integers(-1, 2, (IN_MODEL, 3)) + np.array([0, 0, 3])
    )
    before = np.full((IN_MODEL, 4), -1, np.int32)
    for after in range(IN_MODEL):
        others = np.setdiff1d(rng.permutation(IN_MODEL)[: rng.integers(0, 5)], [after])
        before[after, : len(others)] = others
    return Model(
        f"model-{seed}", DEFAULTS.als, FIRST, 10.0, np.arange(IN_MODEL, dtype=np.int32),
        pa.array([item(number) for number in range(IN_MODEL)]), factors.astype(np.float32), np.ones(3),
        np.ones(IN_MODEL), np.ones(IN_MODEL), rng.integers(1, 5, IN_MODEL), {}, before[:, :0],
        np.zeros((IN_MODEL, 0), np.float32), before, rng.choice([0.25, 0.5, 1.0], before.shape).astype(np.float32),
        np.zeros(IN_MODEL, np.int64),
    )  # fmt: skip


@dataclass(frozen=True)
class World:
    """A service on a night.

    Attributes:
        rules: what the catalogue says of items beside their names.
        unnamed: items that no catalogue has named yet.
    """

    run_date: date = FIRST
    model: Model | None = field(default_factory=lambda: model(1))
    rules: dict[int, Row] = field(default_factory=dict)
    unnamed: frozenset[int] = frozenset()
    blocked: tuple[str, ...] = ()
    related: Row = field(default_factory=lambda: {"depth": 3, "reserve": 2, "neighbour_weight": 1.0})

    def catalogue(self) -> pa.Table:
        schema = contract("items").arrow_schema
        plain = {each.name: None for each in schema} | {"run_date": self.run_date, "absent": False}
        rows = [
            plain
            | {"item_id": item(number), "content_type": TYPES[number % 2], "creator": f"c{number % 3}"}
            | self.rules.get(number, {})
            for number in range(ITEMS)
            if number not in self.unnamed
        ]
        return pa.Table.from_pylist(rows, schema=schema)

    def night(self, **changes: Any) -> RelatedNight:
        catalogue, index = self.catalogue(), pa.table({"item_id": [item(number) for number in range(ITEMS - 2)]})
        return RelatedNight(
            run_date=self.run_date,
            known=KnownItems.of(all_ids(catalogue, index), catalogue, self.run_date, self.blocked),
            model=self.model,
            settings=DEFAULTS.related.model_copy(update=self.related | changes),
            memory_mb=64,
            threads=1,
        )

    def then(self, blocked: tuple[str, ...], of: Model) -> KnownItems:
        """The items of a model as a later night sees this one."""
        return KnownItems.of(of.item_ids, self.catalogue(), self.run_date, blocked)


@dataclass(frozen=True)
class Tables:
    rows: pa.Table
    carried: int


def tables_of(world: World, previous: pa.Table | None = None, before: World | None = None, **changes: Any) -> Tables:
    night = world.night(**changes)
    earlier = None
    if previous is not None and before is not None and world.model is not None:
        earlier = Previous(previous, before.then(world.blocked, world.model))
    parts = [night.table(name, earlier) for name in night.known.types]
    empty = contract("related_items").arrow_schema.empty_table()
    return Tables(pa.concat_tables([empty, *(rows for rows, _ in parts)]), sum(carried for _, carried in parts))


Change = Callable[[World], World]


def rule(number: int, **rules: Any) -> Change:
    return lambda world: replace(world, rules=world.rules | {number: rules})


def changes() -> st.SearchStrategy[Change]:
    numbers = st.integers(0, ITEMS - 1)
    rules = st.one_of(
        st.just({}),
        st.just({"absent": True}),
        st.just({"explicit": True}),
        st.just({"creator": None}),
        st.sampled_from([{"content_type": name} for name in (*TYPES, "other")]),
        st.sampled_from([{"markets": markets} for markets in ([], ["SE"], ["SE", "NO"])]),
        st.integers(0, 4).map(lambda days: {"available_from": FIRST + timedelta(days=days)}),
        st.integers(0, 4).map(lambda days: {"available_until": FIRST + timedelta(days=days)}),
    )
    return st.one_of(
        st.builds(lambda number, rules: rule(number, **rules), numbers, rules),
        st.builds(lambda number, rules: rule(number, **rules), numbers, rules),
        st.builds(lambda number: lambda world: replace(world, unnamed=world.unnamed ^ {number}), numbers),
        st.sampled_from([(), ("SE",), ("*",)]).map(lambda markets: lambda world: replace(world, blocked=markets)),
        st.sampled_from([None, 1, 1, 2]).map(
            lambda seed: lambda world: replace(world, model=seed and model(seed, "alike" if seed == 2 else "normal"))
        ),
        st.builds(
            lambda name, value: lambda world: replace(world, related=world.related | {name: value}),
            st.sampled_from(["depth", "reserve"]),
            st.integers(1, 4),
        ),
    )


@given(st.integers(1, 2), st.lists(st.lists(changes(), max_size=4), min_size=1, max_size=5))
def test_nights_that_carry_over_have_the_rows_of_nights_that_compute_everything(
    seed: int, nights: list[list[Change]]
) -> None:
    world = World(model=model(seed, "alike" if seed == 2 else "normal"))
    rows = tables_of(world).rows
    for changed in nights:
        before, world = world, replace(world, run_date=world.run_date + timedelta(days=1))
        for change in changed:
            world = change(world)
        rows = tables_of(world, rows, before).rows
        afresh = tables_of(world).rows
        assert rows.drop(MEASURED).to_pylist() == afresh.drop(MEASURED).to_pylist()
        assert set(rows["computed_on"].to_pylist()) <= {FIRST + timedelta(days=day) for day in range(7)}


def next_night(*changed: Change, **settings: Any) -> tuple[Tables, Tables]:
    """A night, and the one after it with some changes."""
    world = World()
    first, after = tables_of(world), replace(world, run_date=FIRST + timedelta(days=1))
    for change in changed:
        after = change(after)
    return first, tables_of(after, first.rows, world, **settings)


def row_of(rows: pa.Table, item_id: str, content_type: str = "track") -> Row:
    (row,) = [row for row in rows.to_pylist() if (row["item_id"], row["content_type"]) == (item_id, content_type)]
    return row


def ids(entries: list[Row]) -> list[str]:
    return [entry["item_id"] for entry in entries]


def test_where_nothing_changed_every_row_of_the_model_is_carried_over_as_it_is() -> None:
    first, second = next_night()
    assert second.carried == IN_MODEL * len(TYPES)
    assert row_of(second.rows, "i00") == row_of(first.rows, "i00") | {"run_date": FIRST + timedelta(days=1)}
    cold = row_of(second.rows, item(ITEMS - 1))
    assert (cold["source"], cold["computed_on"]) == ("creator", FIRST + timedelta(days=1))


def test_what_is_withdrawn_leaves_and_the_reserve_moves_up() -> None:
    first = row_of(tables_of(World()).rows, "i00")
    gone = int(first["items"][0]["item_id"][1:])
    _, second = next_night(rule(gone, absent=True))
    trimmed = row_of(second.rows, "i00")
    assert ids(trimmed["items"]) == [*ids(first["items"])[1:], first["reserve"][0]["item_id"]]
    assert trimmed["items"][:-1] == first["items"][1:]
    assert ids(trimmed["reserve"]) == ids(first["reserve"])[1:]
    assert trimmed["computed_on"] == FIRST


def test_a_row_that_lost_more_than_its_reserve_is_computed_afresh() -> None:
    first = row_of(tables_of(World()).rows, "i00")
    gone = [int(each[1:]) for each in ids(first["items"])]
    _, second = next_night(*(rule(number, absent=True) for number in gone))
    afresh = row_of(second.rows, "i00")
    assert afresh["computed_on"] == FIRST + timedelta(days=1)
    assert ids(afresh["items"])[:2] == ids(first["reserve"])


def test_what_comes_back_is_in_the_rows_that_it_belongs_to() -> None:
    best = int(row_of(tables_of(World()).rows, "i00")["items"][0]["item_id"][1:])
    without = replace(World(), rules={best: {"absent": True}})
    rows = tables_of(without).rows
    back = replace(World(), run_date=FIRST + timedelta(days=1))
    second = tables_of(back, rows, without)
    assert row_of(second.rows, "i00")["items"][0]["item_id"] == item(best)
    assert row_of(second.rows, "i00")["computed_on"] == back.run_date
    assert 0 < second.carried < IN_MODEL * len(TYPES)


def test_another_model_or_setting_carries_nothing_over() -> None:
    for change in (
        lambda world: replace(world, model=model(2)),
        lambda world: replace(world, related=world.related | {"depth": 2}),
        lambda world: replace(world, related=world.related | {"neighbour_weight": 0.5}),
    ):
        assert next_night(change)[1].carried == 0
    assert next_night(carry_over=False)[1].carried == 0


def test_a_catalogue_that_was_changed_afterwards_carries_nothing_over() -> None:
    world = World()
    rows = tables_of(world).rows
    other = replace(world, rules={3: {"absent": True}})
    second = tables_of(replace(world, run_date=FIRST + timedelta(days=1)), rows, other)
    track = [row for row in second.rows.to_pylist() if row["content_type"] == "track"]
    assert {row["computed_on"] for row in track} == {FIRST + timedelta(days=1)}


def test_every_item_has_a_row_for_every_type_and_the_types_are_those_that_are_named() -> None:
    world = replace(World(), unnamed=frozenset({2}), rules={number: {"absent": True} for number in range(1, ITEMS, 2)})
    rows = tables_of(world).rows.to_pylist()
    # The odd items are tracks, and none of them is named tonight; what was never named counts as other.
    expected = {(item(number), name) for number in range(ITEMS) for name in ("audiobook", "other")}
    assert {(row["item_id"], row["content_type"]) for row in rows} == expected
    assert len(rows) == len(expected)
    assert ids(row_of(tables_of(world).rows, "i00", "other")["items"]) == ["i02"]


def test_an_item_without_factors_has_what_else_its_creator_has_most_heard_first() -> None:
    cold, world = item(IN_MODEL), World(related={"depth": 2, "reserve": 1, "neighbour_weight": 1.0})
    assert world.model is not None
    heard = replace(world.model, listeners=np.array([1, 1, 1, 2, 1, 1, 8, 1, 1, 4, 1, 1]))
    rows = tables_of(replace(world, model=heard)).rows
    # Of creator c0 are 0, 3, 6, 9, 12 and 15; of these even ones are audiobooks.
    assert row_of(rows, cold, "audiobook")["items"] == [
        {"item_id": "i06", "score": 1.0, "source": "creator"},
        {"item_id": "i00", "score": 0.125, "source": "creator"},
    ]
    assert ids(row_of(rows, cold)["items"]) == ["i09", "i03"]
    assert row_of(rows, cold)["source"] == "creator"
    assert row_of(rows, cold)["reserve"] == []


def test_an_item_without_factors_and_creator_has_an_empty_row_that_says_so() -> None:
    world = replace(World(), rules={IN_MODEL: {"creator": None}})
    row = row_of(tables_of(world).rows, item(IN_MODEL))
    assert (row["items"], row["source"], row["model_version"]) == ([], "none", "model-1")


def test_before_there_is_a_model_all_rows_are_of_creators() -> None:
    rows = tables_of(replace(World(), model=None)).rows.to_pylist()
    assert {row["source"] for row in rows} == {"creator"}
    assert {row["model_version"] for row in rows} == {None}
    assert ids(row_of(tables_of(replace(World(), model=None)).rows, "i01")["items"]) == ["i07", "i13"]


def test_without_any_item_there_are_no_rows() -> None:
    catalogue = contract("items").arrow_schema.empty_table()
    known = KnownItems.of(all_ids(catalogue), catalogue, FIRST, ())
    assert known.types == []
