"""Profiles of `item_index` and `interactions`: every listener's row there, once, and well-formed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nocturne.core.arrays import Floats, Indexes, Mask, Positions
from nocturne.core.night import Night
from nocturne.storage import tables, writing
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.history import interaction_sources, previous_night
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.arithmetic import Profile, counts, ratio, repeated, share, total
from nocturne.validation.profiles.bucket_sums import Sums, metrics_by_item, metrics_table, sum_over_buckets
from nocturne.validation.profiles.history_balance import SUMS, compare_rows, items_out_of_balance

_ALIGNED = ("play_sums", "second_sums", "last_heard")
_COUNTED = (
    "rows",
    "changed",
    "duplicate_listeners",
    "misaligned",
    "unordered",
    "unknown_items",
    "wrong_windows",
    "negative_sums",
    "empty_rows",
    "without_market",
    "history_lost",
    "rewritten",
)
_WINDOW = ("recent_items", "recent_times")
_WINDOW_LISTENS = 64
_COLUMNS = ["user_id", "market", "period", "item_indexes", *_ALIGNED, *_WINDOW, "changed_on", "digest"]
_COMPARED = ["user_id", "period", "item_indexes", *SUMS, "digest"]
_FEWEST_LISTENERS = 100
"""A few listeners who move change the share of a market."""


def item_index(night: Night) -> Profile:
    """Of all indexes given so far: an earlier night made anew appends its new items after those of later nights."""
    rows = tables.rows(night.warehouse, "item_index")
    largest = pc.max(rows["item_index"]).as_py()
    so_far, added = tables.count(night, "item_index"), tables.count_of(night.warehouse, "item_index", [night.run_date])
    return {
        "duplicate_indexes": repeated(rows["item_index"]),
        "duplicate_items": repeated(rows["item_id"]),
        "gaps": 0 if largest is None else largest + 1 - rows.num_rows,
        "share_new": share(added, so_far) if added < so_far else None,
    }


@dataclass(frozen=True)
class RowMeasurement:
    """The measurement of a bucket of rows, as a task runs it.

    Attributes:
        previous: the rows that they were built upon, of the night `since`; None if there is none.
        items: indexes that were given.
    """

    run_date: date
    rows: StoredRows
    previous: StoredRows | None
    since: date | None
    items: int

    def measure(self, buckets: Iterable[int]) -> Iterator[pa.Table]:
        """Sums of the metrics over each bucket, listeners by market, and gains by item over all of them."""
        gains, entries = np.zeros((2, self.items)), np.zeros(self.items)
        for bucket in buckets:
            sums, users, markets = Counter(dict.fromkeys(_COUNTED, 0.0)), [], Counter[str]()
            earlier = self.previous.in_bucket(bucket) if self.previous else ()
            previous = AlignedRows("interactions", _COMPARED, earlier)
            for batch in self.rows.in_bucket(bucket):
                users.append(batch["user_id"])
                sums.update(_measure_batch(batch, self.run_date, self.items))
                markets.update(counts(pc.fill_null(batch["market"], "")))
                balance = compare_rows(batch, previous.of(batch["user_id"]), self.since, self.items)
                sums.update({"history_lost": balance.lost, "rewritten": balance.rewritten})
                gains += balance.gains
                index = batch["item_indexes"].flatten().to_numpy()
                entries += np.bincount(index[(index >= 0) & (index < self.items)], minlength=self.items)
            if users:
                sums["duplicate_listeners"] = repeated(pa.chunked_array(users))
            yield metrics_table(sums)
            yield metrics_by_item("market", list(markets), list(markets.values()))
        for name, values in (*zip(SUMS, gains, strict=True), ("entries", entries)):
            some = np.flatnonzero(values)
            yield metrics_by_item(name, some.astype(str), values[some])


def interactions(spark: SparkSession, night: Night) -> Profile:
    """Of every listener's row."""
    buckets, (since, added) = night.settings.tables.buckets, interaction_sources(night)
    items = tables.count_of(night.warehouse, "item_index", tables.dates(night.warehouse, "item_index"))
    task = RowMeasurement(
        run_date=night.run_date,
        rows=StoredRows.at(night, "interactions", _COLUMNS),
        previous=StoredRows.at(night.on(since), "interactions", _COMPARED) if since else None,
        since=since,
        items=items,
    )
    measured = sum_over_buckets(spark, buckets, task.measure)
    sums = {metric: value for (metric, item), value in measured.items() if item is None}
    gains, entries = _by_item(measured, items)
    rows = sums["rows"]
    placed = tables.read_night(spark, night, "interactions").select("bucket", "user_id")
    misplaced = placed.where(F.col("bucket") != writing.bucket("user_id", buckets))
    previous = previous_night(night, "interactions")
    ingested = total(tables.night_rows(night, "ingests", ["listeners"])["listeners"])
    markets = {str(market): value for (metric, market), value in measured.items() if metric == "market"}
    return {
        "listeners_vs_last_night": ratio(rows, tables.count(previous, "interactions") if previous else None),
        "listeners_left_behind": abs(sums["changed"] - ingested),
        **{
            name: sums[name]
            for name in ("duplicate_listeners", "misaligned", "unordered", "unknown_items", "wrong_windows")
        },
        "misplaced": misplaced.count(),
        "negative_sums": sums["negative_sums"],
        "history_lost": sums["history_lost"],
        "rewritten": sums["rewritten"],
        "items_out_of_balance": items_out_of_balance(spark, night, added, gains, entries),
        "largest_market_shift": _largest_shift(markets, previous) if previous else None,
        "empty_rows": sums["empty_rows"],
        "share_without_market": share(sums["without_market"], rows),
    }


def _by_item(measured: Sums, items: int) -> tuple[Floats, Floats]:
    """Gains and entries by item index."""
    values = {name: np.zeros(items) for name in (*SUMS, "entries")}
    for (metric, item), value in measured.items():
        if item is not None and metric in values:
            values[metric][int(item)] = value
    return np.stack([values[name] for name in SUMS]), values["entries"]


def _largest_shift(markets: dict[str, float], previous: Night) -> float | None:
    """The largest difference of a market's share of all listeners to last night's; None of a few listeners."""
    before = counts(pc.fill_null(tables.night_rows(previous, "interactions", ["market"])["market"], ""))
    now, then = sum(markets.values()), sum(before.values())
    if min(now, then) < _FEWEST_LISTENERS:
        return None
    shift: float = max(
        abs(markets.get(name, 0) / now - before.get(name, 0) / then) for name in markets.keys() | before.keys()
    )
    return shift


def _measure_batch(batch: pa.RecordBatch, run_date: date, items: int) -> dict[str, float]:
    indexes = batch["item_indexes"]
    lengths = pc.list_value_length(indexes)
    misaligned = np.zeros(batch.num_rows, dtype=bool)
    for name in _ALIGNED:
        misaligned |= pc.not_equal(pc.list_value_length(batch[name]), lengths).to_numpy(zero_copy_only=False)
    row, index = pc.list_parent_indices(indexes).to_numpy(), indexes.flatten().to_numpy()
    not_ascending = (row[1:] == row[:-1]) & (index[1:] <= index[:-1])
    negative = sum(int((batch[name].flatten().to_numpy() < 0).sum()) for name in ("play_sums", "second_sums"))
    tonight = pa.scalar(run_date, pa.date32())
    return {
        "rows": batch.num_rows,
        "changed": total(pc.equal(batch["changed_on"], tonight)),
        "misaligned": int(misaligned.sum()),
        "unordered": len(np.unique(row[1:][not_ascending])),
        "unknown_items": int(((index < 0) | (index >= items)).sum()),
        "wrong_windows": int(_wrong_windows(batch, row, index).sum()),
        "negative_sums": negative,
        "empty_rows": total(pc.equal(lengths, 0)),
        "without_market": batch["market"].null_count,
    }


def _wrong_windows(batch: pa.RecordBatch, row: Positions, index: Indexes) -> Mask:
    """Rows whose last listens are out of order, of items that the row lacks, too many, or fewer than they must be.

    Args:
        row, index: of the entries of item_indexes.
    """
    items, times = (batch[name] for name in _WINDOW)
    lengths, heard = (pc.list_value_length(lists).to_numpy() for lists in (items, batch["item_indexes"]))
    wrong = (lengths != pc.list_value_length(times).to_numpy()) | (lengths > _WINDOW_LISTENS)
    wrong |= lengths < np.minimum(heard, _WINDOW_LISTENS)
    of_item, of_time = (pc.list_parent_indices(lists).to_numpy() for lists in (items, times))
    time = times.flatten().cast(pa.int64()).to_numpy()
    wrong[of_time[1:][(of_time[1:] == of_time[:-1]) & (time[1:] < time[:-1])]] = True
    entries, listened = row << 32 | index, of_item << 32 | items.flatten().to_numpy()
    wrong[of_item[~np.isin(listened, entries)]] = True
    return np.asarray(wrong)
