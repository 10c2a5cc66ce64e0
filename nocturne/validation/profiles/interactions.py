"""Profiles of `item_index` and `interactions`: every listener's row there, once, and well-formed."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.arrays import Indexes, Mask, Positions
from nocturne.core.night import Night
from nocturne.core.xxhash import buckets_of
from nocturne.storage import fingerprints, tables
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.history import interaction_sources, previous_night
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.metrics.interactions import add_rows, interaction_metrics
from nocturne.validation.profiles.arithmetic import Measured, Profile, counts, ratio, repeated, share, total
from nocturne.validation.profiles.bucket_sums import Sums, sum_over_buckets
from nocturne.validation.profiles.entry_loops import are_among
from nocturne.validation.profiles.history_balance import SUMS, compare_rows, items_out_of_balance
from nocturne.validation.profiles.listen_sums import sum_listens
from nocturne.validation.profiles.whole_rows import as_batch, put_whole, whole_rows

_ALIGNED = ("play_sums", "second_sums", "last_heard")
_COUNTED = (
    "rows",
    "changed",
    "duplicate_listeners",
    "misaligned",
    "misplaced",
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
_COMPARED = ["user_id", "market", "period", "item_indexes", *SUMS, "digest"]
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
        whole, whole_before: rows of all listens, of listeners some of whose listens are set aside: it is these that add
            up to what was ingested.
    """

    run_date: date
    buckets: int
    rows: StoredRows
    previous: StoredRows | None
    since: date | None
    items: int
    whole: pa.Table
    whole_before: pa.Table

    def measure(self, buckets: Iterable[int]) -> Sums:
        """Sums of the metrics over some buckets, listeners by market, and gains by item."""
        sums, gains, entries = Sums(dict.fromkeys(_COUNTED, 0.0)), np.zeros((2, self.items)), np.zeros(self.items)
        for bucket in buckets:
            users = []
            earlier = self.previous.in_bucket(bucket) if self.previous else ()
            previous = AlignedRows("interactions", _COMPARED, earlier)
            for batch in self.rows.in_bucket(bucket):
                users.append(batch["user_id"])
                sums.add_rows(batch, "interactions")
                whole = as_batch(put_whole(batch, batch["user_id"], self.whole))
                sums.add(_measure_batch(batch, whole, self.run_date, self.items))
                placed = buckets_of(batch["user_id"], self.buckets)
                sums.add({"misplaced": int((batch["bucket"].to_numpy() != placed).sum())})
                markets = counts(pc.fill_null(batch["market"], ""))
                sums.add_of_names("market", markets.keys(), markets.values())
                earlier_rows = previous.of(batch["user_id"])
                then = put_whole(earlier_rows, batch["user_id"], self.whole_before)
                balance = compare_rows(whole, then, self.since, self.items)
                add_rows(
                    sums.segments,
                    batch,
                    balance.changed,
                    balance.known,
                    balance.plays,
                    balance.familiar,
                    earlier_rows["market"].combine_chunks(),
                )
                sums.add({"history_lost": balance.lost, "rewritten": balance.rewritten})
                gains += balance.gains
                index = batch["item_indexes"].flatten().to_numpy()
                entries += np.bincount(index[(index >= 0) & (index < self.items)], minlength=self.items)
            if users:
                sums.add({"duplicate_listeners": repeated(pa.chunked_array(users))})
        for name, values in (*zip(SUMS, gains, strict=True), ("entries", entries)):
            sums.add_of_items(name, values)
        return sums


def interactions(spark: SparkSession, night: Night) -> Measured:
    """Of every listener's row."""
    buckets, (since, added) = night.settings.tables.buckets, interaction_sources(night)
    items = tables.count_of(night.warehouse, "item_index", tables.dates(night.warehouse, "item_index"))
    task = RowMeasurement(
        run_date=night.run_date,
        buckets=buckets,
        rows=StoredRows.at(night, "interactions", fingerprints.hashed_columns("interactions")),
        previous=StoredRows.at(night.on(since), "interactions", _COMPARED) if since else None,
        since=since,
        items=items,
        whole=whole_rows(night),
        whole_before=whole_rows(night.on(since)) if since else whole_rows(None),
    )
    with ThreadPoolExecutor(1) as beside:
        listens = beside.submit(sum_listens, spark, night, added, items)
        measured = sum_over_buckets(spark, night, "interactions", task.measure)
    sums, rows = measured.totals, measured.totals["rows"]
    gains = np.stack([measured.of_items[name] for name in SUMS])
    previous = previous_night(night, "interactions")
    ingested = total(tables.night_rows(night, "ingests", ["listeners"])["listeners"])
    markets = {market: value for (_, market), value in measured.of_names.items()}
    profile: Profile = {
        "listeners_vs_last_night": ratio(rows, tables.count(previous, "interactions") if previous else None),
        "listeners_left_behind": abs(sums["changed"] - ingested),
        **{
            name: sums[name]
            for name in ("duplicate_listeners", "misaligned", "unordered", "unknown_items", "wrong_windows")
        },
        # What lies in no bucket that there is was not measured.
        "misplaced": sums["misplaced"] + tables.count(night, "interactions") - rows,
        "negative_sums": sums["negative_sums"],
        "history_lost": sums["history_lost"],
        "rewritten": sums["rewritten"],
        "items_out_of_balance": items_out_of_balance(
            night, added, listens.result(), gains, measured.of_items["entries"]
        ),
        "largest_market_shift": _largest_shift(markets, previous) if previous else None,
        "empty_rows": sums["empty_rows"],
        "share_without_market": share(sums["without_market"], rows),
    }
    metrics = interaction_metrics(measured.segments)
    return Measured(profile, measured.row_hash(spark, night, "interactions", rows), metrics)


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


def _measure_batch(batch: pa.RecordBatch, whole: pa.RecordBatch, run_date: date, items: int) -> dict[str, float]:
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
        "wrong_windows": _count_wrong_windows(whole),
        "negative_sums": negative,
        "empty_rows": total(pc.equal(lengths, 0)),
        "without_market": batch["market"].null_count,
    }


def _count_wrong_windows(batch: pa.RecordBatch) -> int:
    indexes = batch["item_indexes"]
    row, index = pc.list_parent_indices(indexes).to_numpy(), indexes.flatten().to_numpy()
    return int(_wrong_windows(batch, row, index).sum())


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
    wrong[of_item[~are_among(of_item, items.flatten().to_numpy(), row, index)]] = True
    return np.asarray(wrong)
