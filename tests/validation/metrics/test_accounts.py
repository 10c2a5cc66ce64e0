"""Metrics of the catalogue, of accounts, of arms and of what was shown, derived by hand."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest

from nocturne.validation.metrics.accounts import account_metrics, cost_metrics, producer, reject_metrics
from nocturne.validation.metrics.arms import arm_metrics
from nocturne.validation.metrics.catalogue import catalogue_metrics
from nocturne.validation.metrics.exposures import (
    ShownLists,
    add_exposures,
    add_listed,
    add_shown_lists,
    exposure_metrics,
)
from nocturne.validation.metrics.lists import Rows
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import Labels, SegmentSums

CATALOGUE = pa.schema(
    {
        "item_id": pa.string(),
        "content_type": pa.string(),
        "title": pa.string(),
        "creator": pa.string(),
        "duration_ms": pa.int64(),
        "explicit": pa.bool_(),
        "markets": pa.list_(pa.string()),
        "available_from": pa.date32(),
        "available_until": pa.date32(),
        "absent": pa.bool_(),
    }
)


def items(**changes: dict[str, object]) -> pa.Table:
    """Items a to d, of which d is no longer named."""
    rows = [
        {
            "item_id": item,
            "content_type": "track",
            "title": item,
            "creator": "ann",
            "duration_ms": 1000,
            "absent": False,
        }
        for item in "abcd"
    ]
    rows[3]["absent"] = True
    return pa.Table.from_pylist([row | changes.get(str(row["item_id"]), {}) for row in rows], schema=CATALOGUE)


def told(metrics: tuple[Metric, ...]) -> dict[tuple[str, str, str], float]:
    return {(each.name, each.segment_kind, each.segment): each.value for each in metrics}


def test_the_catalogue_is_told_by_type_market_and_creator() -> None:
    tonight = items(
        a={"markets": ["SE", "DE"]},
        b={"content_type": "audiobook", "explicit": True},
        c={"creator": None, "markets": ["SE"]},
    )
    found = told(catalogue_metrics(tonight, np.array([False, False, True, True]), None))

    assert (found["items", "all", ""], found["items", "content_type", "track"]) == (3, 2)
    assert found["share", "content_type", "audiobook"] == pytest.approx(1 / 3)
    assert (found["share_explicit", "content_type", "audiobook"], found["share_explicit", "content_type", "track"]) == (
        1,
        0,
    )
    assert [found["share_licensed", "market", market] for market in ("SE", "DE")] == [1, 0.5]
    assert (found["share_absent", "all", ""], found["share_barred", "content_type", "track"]) == (0.25, 0.5)
    assert found["share", "creator_rank", "1"] == pytest.approx(2 / 3)
    assert found["duration_ms", "quantile", "0.5"] == 1000


def test_the_catalogue_is_compared_with_last_nights_item_by_item() -> None:
    before = items(
        a={"title": "another"},
        b={"creator": "bo", "markets": ["SE"], "available_until": date(2025, 3, 1)},
        c={"item_id": "gone"},
        d={"absent": False},
    )
    found = told(catalogue_metrics(items(), np.zeros(4, bool), before))

    assert found["share_new", "all", ""] == pytest.approx(1 / 3)
    assert found["share_gone", "all", ""] == 0.5
    changed = {name: value for (name, _, _), value in found.items() if name.startswith("share_changed_")}
    assert changed == {
        "share_changed_title": 0.5,
        "share_changed_creator": 0.5,
        "share_changed_content_type": 0,
        "share_changed_explicit": 0,
        "share_changed_markets": 0.5,
        "share_changed_available_from": 0,
        "share_changed_available_until": 0.5,
        "share_changed_duration_ms": 0,
    }


def test_rejected_rows_are_told_by_reason_and_by_who_wrote_them() -> None:
    files = [producer(file) for file in ("web-0001.jsonl.gz", "web-0002.jsonl.gz", "events.parquet", "7.csv")]

    assert files == ["web", "web", "events", "7.csv"]
    found = told(reject_metrics(["bot", "bot", "unparsable", "bot"], files))
    assert found["rejected", "all", ""] == 4
    assert (found["share", "reason", "bot"], found["share", "producer", "web"]) == (0.75, 0.5)


def test_an_account_tells_counts_and_reasons_as_shares_of_what_was_read() -> None:
    found = account_metrics({"rows_read": 10, "late": 1}, {"bot": 2}, "rows_read")

    assert found == (Metric("rows_read", 10), Metric("late", 1), Metric("share_rejected", 0.2, "reason", "bot", 10))
    assert account_metrics({"lines": 0}, {}, "lines") == (Metric("lines", 0),)


def test_costs_are_told_by_stage() -> None:
    row = {"stage": "rank_users", "seconds": 1.5, "rows_read": 2, "rows_written": 3, "bytes_written": 4}

    assert cost_metrics([row])[0] == Metric("seconds", 1.5, "stage", "rank_users")
    assert [each.value for each in cost_metrics([row])] == [1.5, 2, 3, 4]


def test_arms_without_listeners_are_left_out() -> None:
    assert arm_metrics(["bold/control", "bold/wide", "holdback/holdback"], np.array([3.0, 1.0, 0.0])) == (
        Metric("listeners", 3, "arm", "bold/control"),
        Metric("listeners", 1, "arm", "bold/wide"),
        Metric("share", 0.75, "arm", "bold/control", 4),
        Metric("share", 0.25, "arm", "bold/wide", 4),
    )


def test_what_was_shown_is_held_against_what_was_computed() -> None:
    batch = pa.record_batch(
        {
            "user_id": pa.array(["ana", "ben"]),
            "shown_at": pa.array([datetime(2025, 3, 2, 7, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
            "surface": pa.array(["list", "now_playing"]),
            "arm": pa.array(["control", "control"]),
            "source": pa.array(["als", "als"]),
            "market": pa.array(["SE", None]),
            "items": pa.array(
                [
                    [{"item_id": "a", "propensity": 1.0}, {"item_id": "b", "propensity": 0.5}],
                    [{"item_id": "c", "propensity": 1.0}],
                ]
            ),
        }
    )
    sums = SegmentSums()
    add_exposures(sums, batch)
    shown, computed = (Rows.of(np.array(items), np.array([len(items)])) for items in ([0, 1, 2], [0, 2, 3]))
    add_shown_lists(sums, ShownLists(shown, computed, Labels.of(pa.array(["control"])), Labels.of(pa.array(["SE"]))))
    add_listed(sums, Labels.of(pa.array(["control", "bold/wide"])), np.array([True, False]))
    found = told(exposure_metrics(sums))

    assert (found["exposures", "all", ""], found["share", "surface", "list"], found["share", "hour", "7"]) == (
        2,
        0.5,
        1,
    )
    assert [found["share_of_places", "position", place] for place in "12"] == pytest.approx([2 / 3, 1 / 3])
    assert found["share_drawn", "surface", "list"] == 0.5
    assert found["share_as_computed", "all", ""] == pytest.approx(2 / 3)
    assert found["share_in_place", "market", "SE"] == pytest.approx(1 / 3)
    assert [found["share_of_lists_shown", "arm", arm] for arm in ("control", "bold/wide")] == [1, 0]
