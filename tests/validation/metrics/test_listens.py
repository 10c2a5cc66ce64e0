"""Metrics of listens and of listeners' rows, derived by hand."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.validation.metrics.interactions import add_rows, interaction_metrics
from nocturne.validation.metrics.item_traits import ItemTraits
from nocturne.validation.metrics.listens import ListenerRuns, add_listens, listen_metrics
from nocturne.validation.metrics.pools import add_pools, pool_metrics
from nocturne.validation.metrics.sums import SegmentSums

TONIGHT = date(2025, 3, 2)
TRAITS = ItemTraits.of(
    pa.table(
        {
            "content_type": ["track", "track", "audiobook"],
            "creator": ["ann", "bo", "bo"],
            "explicit": [False, True, None],
            "duration_ms": pa.array([1000, 2000, None], pa.int64()),
        }
    )
)
SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "item": pa.int64(),
        "listened_at": pa.timestamp("us", "UTC"),
        "ms_played": pa.int64(),
        "plays": pa.int64(),
        "context": pa.string(),
        "device": pa.string(),
        "market": pa.string(),
    }
)


def listen(
    user: str, item: int, day: int, hour: int, ms: int | None, plays: int, market: str | None
) -> dict[str, object]:
    return {
        "user_id": user,
        "item": item,
        "listened_at": datetime(2025, 3, day, hour, tzinfo=UTC),
        "ms_played": ms,
        "plays": plays,
        "context": "radio",
        "device": None,
        "market": market,
    }


LISTENS = [
    listen("ana", 0, 2, 7, 500, 1, "SE"),
    listen("ana", 1, 2, 7, 4000, 2, "SE"),
    listen("ana", 2, 1, 23, None, 1, "SE"),
    listen("ben", 1, 2, 9, 1000, 1, None),
    listen("cleo", -1, 2, 9, 900, 1, "DE"),
]


def summed(*parts: list[dict[str, object]]) -> SegmentSums:
    sums = SegmentSums()
    batches = [pa.RecordBatch.from_pylist(part, schema=SCHEMA) for part in parts]
    for batch in batches:
        add_listens(sums, batch, batch["item"].to_numpy(), TRAITS, TONIGHT)
    runs = ListenerRuns()
    for batch in batches:
        runs.add(sums, batch["user_id"], batch["plays"].to_numpy())
    runs.close(sums)
    return sums


def told(sums: SegmentSums) -> dict[tuple[str, str, str], float]:
    return {(each.name, each.segment_kind, each.segment): each.value for each in listen_metrics(sums, TRAITS)}


def test_listens_are_counted_by_where_when_and_what() -> None:
    found = told(summed(LISTENS))

    assert found["listens", "all", ""] == 5
    assert [found["listens", "market", name] for name in ("SE", "DE", "")] == [3, 1, 1]
    assert [found["listens", "content_type", name] for name in ("track", "audiobook", "unknown")] == [3, 1, 1]
    assert [found["share", "hour", hour] for hour in ("7", "9", "23")] == [0.4, 0.4, 0.2]
    assert [found["share", "days_late", days] for days in "01"] == [0.8, 0.2]
    assert (found["share", "context", "radio"], found["share", "device", ""]) == (1, 1)


def test_items_that_are_unknown_explicit_or_untimed_are_shares_of_listens() -> None:
    found = told(summed(LISTENS))

    assert (found["share_unknown", "all", ""], found["share_unknown", "market", "DE"]) == (0.2, 1)
    assert (found["share_explicit", "all", ""], found["share_timed", "content_type", "audiobook"]) == (0.4, 0)
    assert found["plays_per_listen", "all", ""] == 1.2


def test_time_is_told_for_each_play() -> None:
    found = told(summed(LISTENS))

    assert [found["ms_played", "quantile", share] for share in ("0.05", "0.5", "0.95")] == [500, 900, 2000]
    assert found["median_ms_played", "content_type", "track"] == 1000
    # A play of half of item 0, a whole one and a half one of item 1.
    assert [found["share_of_length", "quantile", share] for share in ("0.5", "0.95")] == [0.5, 1]


def test_plays_of_listeners_and_of_items() -> None:
    found = told(summed(LISTENS))

    assert found["listeners", "all", ""] == 3
    assert [found["plays_per_listener", "quantile", share] for share in ("0.5", "0.95")] == [1, 4]
    assert found["share_of_top_listeners", "all", ""] == pytest.approx(4 / 6)
    assert (found["items_heard", "all", ""], found["share_of_top_item", "all", ""]) == (3, 0.6)
    assert found["share_of_plays", "creator_rank", "1"] == 0.8


@given(st.lists(st.sampled_from(LISTENS), min_size=2, max_size=12), st.integers(1, 11))
def test_sums_of_parts_make_the_metrics_of_the_whole(listens: list[dict[str, object]], cut: int) -> None:
    ordered = sorted(listens, key=lambda row: str(row["user_id"]))
    parts = [part for part in (ordered[:cut], ordered[cut:]) if part]

    assert told(summed(*parts)) == pytest.approx(told(summed(ordered)), rel=1e-8)


def test_rows_of_listeners_tell_what_tonights_listens_added() -> None:
    batch = pa.record_batch(
        {
            "market": pa.array(["SE", "DE", "SE"]),
            "item_indexes": pa.array([[0, 1], [2], [1, 2, 3]], pa.list_(pa.int32())),
            "play_sums": pa.array([[2**20, 2**21], [2**20], [2**20] * 3], pa.list_(pa.int64())),
        }
    )
    sums = SegmentSums()
    add_rows(
        sums,
        batch,
        changed=np.array([True, True, True]),
        known=np.array([True, True, False]),
        gains=np.array([4.0, 4.0, 3.0]),
        familiar=np.array([4.0, 2.0, 0.0]),
        previous_market=pa.array(["DE", "DE", None]),
    )
    found = {(each.name, each.segment_kind, each.segment): each.value for each in interaction_metrics(sums)}

    assert (found["listeners", "all", ""], found["share_new", "market", "SE"]) == (3, 0.5)
    assert (found["share_familiar", "all", ""], found["share_familiar", "market", "DE"]) == (0.75, 0.5)
    assert (found["share_moved", "all", ""], found["share_moved", "market", "SE"]) == (0.5, 1)
    assert [found["items_per_listener", "quantile", share] for share in ("0.05", "0.5", "0.95")] == [1, 2, 3]
    assert found["plays_per_listener", "quantile", "0.95"] == 3


def test_pools_tell_the_scale_of_scores_and_what_was_carried_over() -> None:
    batch = pa.record_batch(
        {
            "source": pa.array(["als", "als", "previous"]),
            "scores": pa.array([[3.0, 1.0], [-2.0], []], pa.list_(pa.float64())),
            "norm": pa.array([4.0, 2.0, None]),
            "computed_on": pa.array([TONIGHT, date(2025, 3, 1), TONIGHT]),
        }
    )
    sums = SegmentSums()
    add_pools(sums, batch, TONIGHT)
    found = {(each.name, each.segment_kind, each.segment): each.value for each in pool_metrics(sums)}

    assert (found["pools", "all", ""], found["share_carried", "source", "als"]) == (3, 0.5)
    assert [found["top_score", "quantile", share] for share in ("0.05", "0.95")] == [-2, 3]
    assert [found["last_score", "quantile", share] for share in ("0.05", "0.95")] == [-2, 1]
    assert (found["pool_length", "quantile", "0.95"], found["listener_norm", "quantile", "0.95"]) == (2, 4)
