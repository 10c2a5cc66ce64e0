"""The matrix: sums derivable by hand, and a night added gives exactly what a rebuild gives."""

import itertools
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nocturne.ingestion.interactions import (
    EPOCH,
    UNIT,
    WEIGHTED,
    add_listens,
    index_new_items,
    strength_scale,
    weigh_listens,
)
from nocturne.storage.contracts import contract

INDEX = contract("item_index").arrow_schema
ROW = pa.schema(field for field in contract("interactions").arrow_schema if field.name not in {"run_date", "bucket"})
HALF_LIFE = 4.0
Row = dict[str, Any]


def day(number: int) -> date:
    return EPOCH + timedelta(days=number)


def listen(
    night: int,
    user: str,
    item: str,
    *,
    on: int | None = None,
    ms: int | None = None,
    plays: int = 1,
    market: str | None = None,
) -> Row:
    heard = datetime.combine(day(night if on is None else on), time(9), UTC)
    return {
        "run_date": day(night),
        "user_id": user,
        "item_index": "abc".index(item),
        "listened_at": heard,
        "ms_played": ms,
        "plays": plays,
        "market": market,
    }


LISTENS = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_index", pa.int32()),
        ("listened_at", pa.timestamp("us", "UTC")),
        ("ms_played", pa.int64()),
        ("plays", pa.int64()),
        ("market", pa.string()),
    ]
)


def add(listens: list[Row], previous: list[Row] | None = None) -> list[Row]:
    nights = {row["run_date"] for row in listens}
    weighted = [
        weigh_listens(
            pa.Table.from_pylist([row for row in listens if row["run_date"] == night], LISTENS), night, HALF_LIFE
        )
        for night in sorted(nights)
    ]
    earlier = pa.Table.from_pylist(previous or [], ROW)
    rows = add_listens(earlier, pa.concat_tables([WEIGHTED.empty_table(), *weighted]))
    assert rows.column_names == ROW.names
    return rows.to_pylist()


def test_a_play_is_worth_one_on_the_first_day_of_a_period_and_twice_that_a_half_life_later() -> None:
    (row,) = add([listen(8, "u", "a"), listen(10, "u", "b", plays=3), listen(8, "u", "c", on=4, ms=2500)])
    assert row["item_indexes"] == [0, 1, 2]
    assert row["play_sums"] == [UNIT, 3 * round(UNIT * 2**0.5), UNIT // 2]
    assert row["second_sums"] == [0, 0, 3 * UNIT // 2]
    assert row["last_heard"] == [day(8), day(10), day(4)]
    assert row["recent_items"] == [2, 0, 1]
    assert [moment.date() for moment in row["recent_times"]] == [day(4), day(8), day(10)]
    assert (row["period"], row["changed_on"]) == (2, day(10))


def test_what_was_there_halves_once_per_period() -> None:
    previous = add([listen(8, "u", "a"), listen(8, "u", "b")])
    (row,) = add([listen(16, "u", "b")], previous)
    assert row["play_sums"] == [UNIT // 4, UNIT // 4 + UNIT]
    assert row["period"] == 4


def test_a_listener_without_new_listens_keeps_every_byte() -> None:
    previous = add([listen(8, "u", "a"), listen(8, "v", "b")])
    after = add([listen(30, "v", "c")], previous)
    assert after[0] == previous[0]
    assert after[1]["digest"] != previous[1]["digest"]


def test_the_market_is_that_of_the_latest_listen_that_names_one() -> None:
    previous = add([listen(8, "u", "a", market="SE"), listen(9, "u", "a")])
    assert previous[0]["market"] == "SE"
    with_late_listen = add([listen(10, "u", "a", on=7, market="NO")], previous)
    assert with_late_listen[0]["market"] == "SE"
    moved = add([listen(10, "u", "a", market="NO")], previous)
    assert moved[0]["market"] == "NO"


def test_sums_are_brought_to_the_anchor_date() -> None:
    assert strength_scale(2, day(8), 4.0) * UNIT == 1.0
    assert strength_scale(2, day(12), 4.0) * UNIT == 0.5


def random_listens(seed: int, worlds: int, nights: int) -> list[Row]:
    """Listens of many small worlds at once: listeners of one world share nothing with another's."""
    rng = np.random.default_rng(seed)
    listens = []
    for world in range(worlds):
        for _ in range(rng.integers(1, 15)):
            night = int(rng.integers(0, nights))
            late = int(rng.integers(0, 3))
            listens.append(
                listen(
                    100 + night,
                    f"w{world}-u{rng.integers(3)}",
                    "abc"[rng.integers(3)],
                    on=100 + night - late,
                    ms=int(rng.integers(0, 10**7)) if rng.random() < 0.7 else None,
                    plays=int(rng.integers(1, 1000)),
                    market=[None, "SE", "NO"][rng.integers(3)],
                )
            )
    return listens


@pytest.mark.parametrize("seed", [1, 2])
def test_adding_night_by_night_in_any_steps_equals_a_rebuild_from_all_listens(seed: int) -> None:
    nights = 24  # six half-lives
    listens = random_listens(seed, worlds=150, nights=nights)
    rebuilt = add(listens)
    steps = sorted({0, nights, *np.random.default_rng(seed).integers(1, nights, 4).tolist()})
    rows: list[Row] = []
    for start, end in itertools.pairwise(steps):
        tonight = [row for row in listens if day(100 + start) <= row["run_date"] < day(100 + end)]
        rows = add(tonight, rows)
    assert rows == rebuilt
    assert len(rows) > 150


def test_a_century_of_listening_does_not_overflow() -> None:
    previous = add([listen(8, "u", "a", plays=10**6, ms=86_400_000)])
    (row,) = add([listen(36_000, "u", "b", plays=10**6)], previous)
    assert row["play_sums"] == [0, 10**6 * UNIT]
    assert row["second_sums"] == [0, 0]


def indexed(items: list[str], index: list[tuple], night: int) -> list[tuple]:
    given = pa.Table.from_pylist([dict(zip(INDEX.names, row, strict=True)) for row in index], INDEX)
    rows = index_new_items(pa.array(items), given, day(night))
    assert rows.schema.equals(INDEX)
    return [tuple(row.values()) for row in rows.to_pylist()]


def test_new_items_get_the_next_indexes_in_order_of_id_and_old_ones_keep_theirs() -> None:
    first = indexed(["m", "k", "m"], [], 1)
    assert first == [(day(1), 0, "k"), (day(1), 1, "m")]
    second = indexed(["m", "z", "a"], first, 2)
    assert second == [(day(2), 2, "a"), (day(2), 3, "z")]
    assert indexed(["m", "z", "a"], [*first, *second], 2) == second
    assert indexed(["k", "b"], [*first, *second], 1) == [*first, (day(1), 4, "b")]


def test_a_listen_of_an_item_without_an_index_is_refused() -> None:
    listens = pa.Table.from_pylist([listen(8, "u", "a") | {"item_index": None}], LISTENS)
    with pytest.raises(ValueError, match="item_index"):
        weigh_listens(listens, day(8), HALF_LIFE)
