"""Rows without some listens: by hand, and as if these had never been, whatever was asked for when."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.ingestion.interactions import EPOCH, ROW, UNIT, WEIGHTED, add_listens, weigh_listens
from nocturne.ingestion.set_aside import has_sums, in_place, learned_rows, older_rows

HALF_LIFE = 4.0
Row = dict[str, Any]
SUMS = ("play_sums", "second_sums")
_LISTENS = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_index", pa.int32()),
        ("listened_at", pa.timestamp("us", "UTC")),
        ("ms_played", pa.int64()),
        ("plays", pa.int64()),
        ("market", pa.string()),
    ]
)


def day(number: int) -> date:
    return EPOCH + timedelta(days=number)


def weighed(*listens: tuple[int, int], user: str = "u") -> pa.Table:
    """Listens of a night and an item each."""
    rows = [WEIGHTED.empty_table()]
    for night, item in listens:
        heard_at = datetime.combine(day(night), time(9), UTC)
        row = {"user_id": user, "item_index": item, "listened_at": heard_at, "ms_played": 5000, "plays": 3}
        rows.append(weigh_listens(pa.Table.from_pylist([row | {"market": None}], _LISTENS), day(night), HALF_LIFE))
    return pa.concat_tables(rows)


def row_of(rows: pa.Table) -> Row:
    (row,) = rows.to_pylist()
    return row


def taste(row: Row) -> dict[str, object]:
    """All that is learned from: sums that are not 0, and the last listens."""
    entries = zip(row["item_indexes"], *(row[name] for name in SUMS), strict=True)
    return {
        "entries": [entry for entry in entries if any(entry[1:])],
        "listens": [*zip(row["recent_items"], row["recent_times"], strict=True)],
    }


def test_what_is_set_aside_has_no_sums_and_is_heard_all_the_same() -> None:
    kept, aside = weighed((8, 0)), weighed((8, 1), (10, 0))
    whole = add_listens(ROW.empty_table(), pa.concat_tables([kept, aside]))
    learned = row_of(learned_rows(whole, ROW.empty_table(), kept))
    assert learned["item_indexes"] == [0, 1]
    assert learned["play_sums"] == [3 * UNIT, 0]
    assert learned["second_sums"] == [5 * UNIT, 0]
    assert learned["last_heard"] == [day(10), day(8)]
    assert learned["recent_items"] == [0]
    assert (learned["period"], learned["changed_on"]) == (2, day(10))
    assert learned["digest"] != row_of(whole)["digest"]


def test_a_listener_of_whom_nothing_is_kept_has_a_row_of_what_was_heard() -> None:
    whole = add_listens(ROW.empty_table(), weighed((8, 1)))
    learned = row_of(learned_rows(whole, ROW.empty_table(), weighed()))
    assert (learned["item_indexes"], learned["play_sums"], learned["recent_items"]) == ([1], [0], [])


def test_what_is_older_than_the_listens_that_are_told_of_stays() -> None:
    expired, told = weighed((4, 0), (4, 1)), weighed((8, 0))
    whole = add_listens(ROW.empty_table(), pa.concat_tables([expired, told]))
    older = row_of(older_rows(whole.select(ROW.names), told))
    assert older["item_indexes"] == [0, 1]
    assert older["play_sums"] == [3 * UNIT // 2, 3 * UNIT // 2]
    assert older["recent_items"] == [0, 1]
    assert has_sums(older)
    learned = row_of(learned_rows(whole, pa.Table.from_pylist([older], ROW), weighed()))
    assert learned["play_sums"] == [3 * UNIT // 2, 3 * UNIT // 2]


def test_nothing_is_older_than_all_listens() -> None:
    listens = weighed((4, 0), (9, 1), (33, 0))
    older = row_of(older_rows(add_listens(ROW.empty_table(), listens).select(ROW.names), listens))
    assert older["item_indexes"] == older["recent_items"] == []
    assert not has_sums(older)


def test_rows_of_others_are_left_as_they_are() -> None:
    rows = add_listens(ROW.empty_table(), pa.concat_tables([weighed((8, 0), user=user) for user in "abc"]))
    instead = learned_rows(rows, ROW.empty_table(), weighed()).filter(pa.array([False, True, False]))
    put = in_place(rows, instead, ["b", "z"])
    assert put.column_names == rows.column_names
    assert put["user_id"].to_pylist() == ["a", "b", "c"]
    assert [put.slice(at, 1).equals(rows.slice(at, 1)) for at in range(3)] == [True, False, True]


NIGHTS = 30
EVENTS = st.lists(st.tuples(st.integers(0, NIGHTS - 1), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.lists(st.tuples(st.integers(0, NIGHTS), st.sets(st.integers(0, 3))), max_size=4), st.integers(1, 7))
def test_rows_are_those_without_the_listens_whatever_was_asked_for_when(
    events: list[tuple[int, int]], requests: list[tuple[int, set[int]]], step: int
) -> None:
    """Night by night, a request for some items at some nights; the last one stands."""
    whole, learned = ROW.empty_table(), ROW.empty_table()
    latest_first = sorted(requests, key=lambda each: each[0], reverse=True)
    past, stood = [WEIGHTED.empty_table()], set[int]()
    for until in range(step, NIGHTS + step, step):
        tonight = weighed(*[event for event in sorted(events) if until - step <= event[0] < until])
        out = next((items for night, items in latest_first if night < until), set())
        before, whole = whole, add_listens(whole, tonight).select(ROW.names)
        told = pa.concat_tables(past)
        base, heard = (
            (learned, tonight) if out == stood else (older_rows(before, told), pa.concat_tables([told, tonight]))
        )
        kept = heard.filter(pa.array(~np.isin(heard["item_index"].to_numpy(), [*out])))
        learned = learned_rows(whole, base, kept).select(ROW.names)
        past, stood = [*past, tonight], out
        everything = pa.concat_tables(past)
        never_heard = everything.filter(pa.array(~np.isin(everything["item_index"].to_numpy(), [*out])))
        if not everything.num_rows:
            continue
        expected = add_listens(ROW.empty_table(), never_heard).to_pylist()
        row = row_of(learned)
        if not out:
            assert learned.equals(whole)
        if not expected:
            assert taste(row) == {"entries": [], "listens": []}
            continue
        halvings = row["period"] - expected[0]["period"]
        decayed = {name: [amount >> halvings for amount in expected[0][name]] for name in SUMS}
        assert taste(row) == taste(expected[0] | decayed)
