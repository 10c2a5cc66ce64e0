"""The arithmetic of contents: rows beside last night's, items among others, and restrictions that are lifted."""

from collections.abc import Callable
from datetime import date, timedelta

import pyarrow as pa
import pytest

from nocturne.core.night import Night
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.validation.profiles.catalogue_changes import catalogue_changes
from nocturne.validation.profiles.history_balance import RowBalance, compare_rows
from tests.fixtures import two_listeners

SINCE, TONIGHT = date(2025, 3, 1), date(2025, 3, 2)
COLUMNS = {
    "user_id": pa.string(),
    "period": pa.int32(),
    "item_indexes": pa.list_(pa.int32()),
    "play_sums": pa.list_(pa.int64()),
    "second_sums": pa.list_(pa.int64()),
    "digest": pa.string(),
}


def test_rows_are_aligned_with_listeners_across_batches() -> None:
    batches = [pa.record_batch({"user_id": users}) for users in (["ana", "ben"], ["cleo"], ["dan", "eva"])]
    rows = AlignedRows("interactions", ["user_id"], batches)

    asked = [rows.of(pa.array(users)) for users in (["ana"], ["ben", "bob", "dan"], ["eva", "fay"])]

    aligned = [table["user_id"].to_pylist() for table in asked]
    assert aligned == [["ana"], ["ben", None, "dan"], ["eva", None]]


def test_a_table_without_rows_has_none_to_align() -> None:
    assert AlignedRows("interactions", ["user_id"], []).of(pa.array(["ana"]))["user_id"].to_pylist() == [None]


def balance(now: list[dict[str, object]], before: list[dict[str, object] | None]) -> RowBalance:
    rows = pa.RecordBatch.from_pylist(now, schema=pa.schema({**COLUMNS, "changed_on": pa.date32()}))
    earlier = pa.Table.from_pylist([row or {} for row in before], schema=pa.schema(COLUMNS))
    return compare_rows(rows, earlier, SINCE, items=4)


def row(period: int, plays: dict[int, int], digest: str = "a", changed_on: date = TONIGHT) -> dict[str, object]:
    sums = {"play_sums": list(plays.values()), "second_sums": [0] * len(plays)}
    return {
        "user_id": "ana",
        "period": period,
        "item_indexes": list(plays),
        "digest": digest,
        "changed_on": changed_on,
    } | sums


def test_a_row_gains_what_it_has_beyond_last_nights_halved_once_a_period() -> None:
    result = balance([row(7, {0: 12, 1: 1, 3: 5})], [row(6, {0: 5, 1: 3})])

    assert (result.lost, result.rewritten, result.gains[0].tolist()) == (0, 0, [10, 0, 0, 5])


def test_a_new_listener_gains_the_whole_row() -> None:
    assert balance([row(7, {2: 12})], [None]).gains[0].tolist() == [0, 0, 12, 0]


@pytest.mark.parametrize("plays", [{0: 4}, {0: 5, 1: 2}, {1: 3, 2: 9}])
def test_a_row_that_lacks_an_item_or_plays_has_lost_history(plays: dict[int, int]) -> None:
    assert balance([row(6, plays)], [row(6, {0: 5, 1: 3})]).lost == 1


@pytest.mark.parametrize(("plays", "digest"), [({0: 5, 1: 3}, "b"), ({0: 6, 1: 3}, "a"), ({0: 5, 1: 3, 2: 1}, "a")])
def test_a_row_without_listens_that_is_another_is_rewritten(plays: dict[int, int], digest: str) -> None:
    untouched = row(6, plays, digest, changed_on=SINCE)

    assert balance([untouched], [row(6, {0: 5, 1: 3})]).rewritten == 1


def test_a_row_without_listens_that_is_the_same_is_sound_and_gains_nothing() -> None:
    result = balance([row(6, {0: 5}, changed_on=SINCE)], [row(6, {0: 5})])

    assert (result.lost, result.rewritten, result.gains.sum()) == (0, 0, 0)


def test_restrictions_that_are_lifted_are_told_of_the_market_where_most_are(night: Callable[..., Night]) -> None:
    tonight = night(TONIGHT, *two_listeners.SETTINGS)
    items = [
        {"item_id": f"item-{number}", "content_type": "track", "markets": ["SE"], "explicit": True, "absent": False}
        for number in range(10)
    ]
    two_listeners.write(tonight.on(SINCE), "items", [item | {"run_date": SINCE} for item in items])
    changed = [
        *(item | {"markets": ["SE", "NO"]} for item in items[:4]),
        *(item | {"explicit": None} for item in items[4:9]),
        items[9] | {"available_until": TONIGHT - timedelta(days=1)},
    ]
    two_listeners.write(tonight, "items", [item | {"run_date": TONIGHT} for item in changed])

    assert catalogue_changes(tonight, tonight.on(SINCE)) == {
        "share_licences_lifted": 0.4,
        "share_explicit_lifted": 0.5,
        "least_listable_vs_last_night": 0.9,
    }
