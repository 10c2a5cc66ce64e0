"""Metrics of `listens`: who heard how much of what, when and where.

`add_listens` sums a batch up, `ListenerRuns` the listeners of a file; `listen_metrics` is made of both.
"""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Positions
from nocturne.validation.metrics.concentration import by_creator, creator_metrics, gini, largest_share
from nocturne.validation.metrics.item_traits import ItemTraits
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sketches import share_of_largest
from nocturne.validation.metrics.sums import (
    ALL,
    Labels,
    SegmentSums,
    by_segment,
    counted,
    median,
    metric,
    quantiles,
    ratios,
    shares,
)

COLUMNS = ("item_id", "listened_at", "ms_played", "plays", "context", "device", "market", "late")

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
"""In microseconds."""

_EPOCH = date(1970, 1, 1)
_SHARED = ("market", "content_type", "context", "device", "hour", "days_late")
_COUNTED = ("market", "content_type", "hour")
_UNTIMED = -1


def add_listens(sums: SegmentSums, batch: pa.RecordBatch, item: Positions, traits: ItemTraits, run_date: date) -> None:
    """Add some listens.

    Args:
        batch: COLUMNS, but for item_id; texts may be stored as dictionaries.
        item: number of the item of each listen; -1 for one that the catalogue does not have; shape (listens,).
        run_date: the night that ingested them.
    """
    at = batch["listened_at"].cast(pa.int64()).to_numpy()
    day = (run_date - _EPOCH).days
    market, content_type = Labels.of(batch["market"]), traits.types(item)
    segments = {
        "market": market,
        "content_type": content_type,
        "context": Labels.of(batch["context"]),
        "device": Labels.of(batch["device"]),
        "hour": Labels.of_numbers(at // _HOUR % 24),
        "days_late": Labels.of_numbers(np.clip(day - at // _DAY, 0, None)),
    }
    sums.add_by(segments, {"listens": np.ones(batch.num_rows)})
    some = {"market": market, "content_type": content_type}
    plays = batch["plays"].to_numpy()
    of_all = {"unknown": item < 0, "plays": plays, "explicit": traits.explicit[item]}
    sums.add_by({"market": market}, of_all)
    timed = pc.is_valid(batch["ms_played"]).to_numpy(zero_copy_only=False)
    sums.add_by(some, {"timed": timed})
    played = pc.fill_null(batch["ms_played"], _UNTIMED).to_numpy()[timed] / plays[timed]
    rows = np.flatnonzero(timed)
    sums.add_numbers("ms_played", played, {kind: labels.take(rows) for kind, labels in some.items()})
    sums.add_numbers("share_of_length", played / np.maximum(traits.duration_ms[item[timed]], 1.0))
    known = item >= 0
    sums.add_of_items("plays", np.bincount(item[known], plays[known], minlength=len(traits)))


class ListenerRuns:
    """Plays of listeners whose listens come side by side, a batch at a time; the last one is open until the end."""

    def __init__(self) -> None:
        self._user: str | None = None
        self._plays = 0

    def add(self, sums: SegmentSums, users: pa.Array, plays: Counts) -> None:
        """Add listens, in the order of listeners: who is complete is added to sums.

        Args:
            users, plays: of each listen; shape (listens,).
        """
        if not len(users):
            return
        starts = np.append(0, 1 + np.flatnonzero(pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)))
        of_listeners = np.add.reduceat(plays, starts)
        if users[0].as_py() == self._user:
            of_listeners[0] += self._plays
        else:
            self.close(sums)
        self._user, self._plays = users[-1].as_py(), int(of_listeners[-1])
        _add_listeners(sums, of_listeners[:-1])

    def close(self, sums: SegmentSums) -> None:
        """Add the open one to sums."""
        if self._user is not None:
            _add_listeners(sums, np.array([self._plays]))
        self._user = None


def _add_listeners(sums: SegmentSums, plays: Counts) -> None:
    sums.add("listeners", len(plays))
    sums.add_numbers("plays_per_listener", plays)


def listen_metrics(sums: SegmentSums, traits: ItemTraits) -> tuple[Metric, ...]:
    """The metrics of all listens of a night.

    Args:
        traits: that listens were summed up with.
    """
    metrics = [
        *counted(sums, "listens", (ALL, *_COUNTED)),
        *shares(sums, "listens", _SHARED),
        *ratios(sums, "share_unknown", "unknown", "listens", (ALL, "market")),
        *ratios(sums, "share_explicit", "explicit", "listens", (ALL, "market")),
        *ratios(sums, "plays_per_listen", "plays", "listens", (ALL, "market")),
        *ratios(sums, "share_timed", "timed", "listens", (ALL, "market", "content_type")),
        *quantiles(sums, "ms_played"),
        *by_segment(sums, "median_ms_played", "ms_played", median, (ALL, "market", "content_type")),
        *quantiles(sums, "share_of_length"),
        *counted(sums, "listeners", (ALL,)),
        *quantiles(sums, "plays_per_listener"),
        *by_segment(
            sums, "share_of_top_listeners", "plays_per_listener", lambda of: share_of_largest(of, 0.01), (ALL,)
        ),
    ]
    for key, plays in sums.of_items.items():
        if key.metric == "plays" and plays.sum():
            heard = float((plays > 0).sum())
            of_creators = by_creator(plays, traits.creator_of[:-1])[:-1]
            metrics += [
                metric("items_heard", heard),
                metric("gini_of_items", gini(plays), count=heard),
                metric("gini_of_creators", gini(of_creators), count=float((of_creators > 0).sum())),
                metric("share_of_top_item", largest_share(plays), count=float(plays.sum())),
                *creator_metrics(plays, traits.creator_of[:-1], "share_of_plays"),
            ]
    return tuple(metrics)
