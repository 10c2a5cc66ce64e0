"""Merging: rows without listens pass through, and no order of rows matters."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nocturne.ingestion.interactions import WEIGHTED
from nocturne.ingestion.row_merge import HISTORY, LISTENER, WINDOW_LISTENS, merge_listens
from nocturne.storage.contracts import contract

EARLIER = pa.schema(contract("interactions").arrow_schema.field(name) for name in LISTENER + HISTORY)
DAY = date(2025, 1, 1)


def listen(user: str, item: int, period: int, amount: int = 1, market: str | None = None) -> dict[str, object]:
    heard_at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=amount % 3)
    listener = {"user_id": user, "market": market, "market_heard_at": heard_at if market else None}
    values = {"item_index": item, "plays": amount, "seconds": 2 * amount, "heard_at": heard_at}
    return listener | values | {"period": period, "changed_on": DAY}


def merged(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    listens = [row for row in rows if "item_index" in row]
    earlier = [row for row in rows if "item_index" not in row]
    return merge_listens(pa.Table.from_pylist(listens, WEIGHTED), pa.Table.from_pylist(earlier, EARLIER)).to_pylist()


LISTENS = st.lists(
    st.builds(
        listen,
        user=st.sampled_from("uvw"),
        item=st.integers(0, 3),
        period=st.integers(0, 70),
        amount=st.integers(0, 2**40),
        market=st.sampled_from([None, "NO", "SE"]),
    ),
    min_size=1,
    max_size=30,
)


@given(LISTENS, st.randoms(use_true_random=False))
def test_the_order_of_listens_does_not_matter(listens: list[dict[str, object]], random: Random) -> None:
    shuffled = random.sample(listens, len(listens))
    assert merged(shuffled) == merged(listens)


@given(LISTENS, st.integers(0, 30))
def test_listens_added_later_give_what_all_at_once_give(listens: list[dict[str, object]], cut: int) -> None:
    in_time = sorted(listens, key=lambda row: row["period"])
    early, late = in_time[:cut], in_time[cut:]
    assert merged((merged(early) if early else []) + late) == merged(listens)


def test_a_row_without_listens_is_as_it_was() -> None:
    (row,) = merged([listen("u", 3, 5, 7, "SE"), listen("u", 1, 4, 9)])
    assert merged([row]) == [row]
    assert merged([row, listen("v", 0, 90)])[0] == row
    assert (row["item_indexes"], row["play_sums"], row["second_sums"]) == ([1, 3], [4, 7], [9, 14])


def test_a_row_keeps_its_last_listens_by_time_and_then_by_item() -> None:
    (row,) = merged([listen("u", 3, 5, 2), listen("u", 7, 5, 1), listen("u", 1, 5, 5), listen("u", 3, 5, 0)])
    assert row["recent_items"] == [3, 7, 1, 3]
    midnight = datetime(2025, 1, 1, tzinfo=UTC)
    assert row["recent_times"] == [midnight + timedelta(minutes=minute) for minute in (0, 1, 2, 2)]


@given(st.lists(st.integers(0, 10**6), min_size=70, max_size=90), st.integers(0, 90), st.randoms(use_true_random=False))
def test_the_last_listens_are_the_same_however_late_some_of_them_came(
    minutes: list[int], cut: int, random: Random
) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    listens = [listen("u", minute % 7, 5) | {"heard_at": start + timedelta(minutes=minute)} for minute in minutes]
    early, late = listens[:cut], listens[cut:]
    (row,) = merged((merged(early) if early else []) + random.sample(late, len(late)))
    expected = sorted((start + timedelta(minutes=minute), minute % 7) for minute in minutes)[-WINDOW_LISTENS:]
    assert list(zip(row["recent_times"], row["recent_items"], strict=True)) == expected
