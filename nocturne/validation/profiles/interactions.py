"""Profiles of what `build_interactions` writes: is every listener's row there, once, and well-formed?"""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.history import previous_night
from nocturne.validation.profiles.arithmetic import Profile, ratio, repeated, share, total
from nocturne.validation.profiles.bucket_sums import Snapshot, found, snapshot, sum_over_buckets

_ALIGNED = ("play_sums", "second_sums", "last_heard")
_COUNTED = (
    "rows",
    "changed",
    "duplicate_listeners",
    "misaligned",
    "unordered",
    "unknown_items",
    "negative_sums",
    "empty_rows",
    "without_market",
)
_COLUMNS = ["user_id", "market", "item_indexes", *_ALIGNED, "changed_on"]


def item_index(night: Night) -> Profile:
    """Of all indexes given so far: an earlier night made anew appends its new items after those of later nights."""
    rows = tables.rows(night, "item_index")
    largest = pc.max(rows["item_index"]).as_py()
    so_far, added = tables.count(night, "item_index"), tables.count_of(night, "item_index", [night.run_date])
    return {
        "duplicate_indexes": repeated(rows["item_index"]),
        "duplicate_items": repeated(rows["item_id"]),
        "gaps": 0 if largest is None else largest + 1 - rows.num_rows,
        "share_new": share(added, so_far) if added < so_far else None,
    }


def interactions(spark: SparkSession, night: Night) -> Profile:
    """Of every listener's row."""
    table, buckets = snapshot(night, "interactions"), night.settings.tables.buckets
    items = tables.count_of(night, "item_index", tables.dates(night, "item_index"))

    def measure(task_buckets: Iterable[int]) -> Iterator[pa.Table]:
        for bucket in task_buckets:
            yield found(_measure(table, bucket, items))

    sums = sum_over_buckets(spark, buckets, measure)
    rows = sums["rows", None]
    placed = tables.read_night(spark, night, "interactions").select("bucket", "user_id")
    misplaced = placed.where(F.col("bucket") != tables.bucket("user_id", buckets))
    previous = previous_night(night, "interactions")
    ingested = total(tables.night_rows(night, "ingests", ["listeners"])["listeners"])
    return {
        "listeners_vs_last_night": ratio(rows, tables.count(previous, "interactions") if previous else None),
        "listeners_left_behind": abs(sums["changed", None] - ingested),
        **{name: sums[name, None] for name in ("duplicate_listeners", "misaligned", "unordered", "unknown_items")},
        "misplaced": misplaced.count(),
        "negative_sums": sums["negative_sums", None],
        "empty_rows": sums["empty_rows", None],
        "share_without_market": share(sums["without_market", None], rows),
    }


def _measure(table: Snapshot, bucket: int, items: int) -> dict[str, float]:
    counts, users = Counter(dict.fromkeys(_COUNTED, 0.0)), []
    for batch in table.bucket(bucket).to_batches(columns=_COLUMNS):
        users.append(batch["user_id"])
        counts.update(_measure_batch(batch, table, items))
    if users:
        counts["duplicate_listeners"] = repeated(pa.chunked_array(users))
    return dict(counts)


def _measure_batch(batch: pa.RecordBatch, table: Snapshot, items: int) -> dict[str, float]:
    indexes = batch["item_indexes"]
    lengths = pc.list_value_length(indexes)
    misaligned = np.zeros(batch.num_rows, dtype=bool)
    for name in _ALIGNED:
        misaligned |= pc.not_equal(pc.list_value_length(batch[name]), lengths).to_numpy(zero_copy_only=False)
    row, index = pc.list_parent_indices(indexes).to_numpy(), indexes.flatten().to_numpy()
    not_ascending = (row[1:] == row[:-1]) & (index[1:] <= index[:-1])
    negative = sum(int((batch[name].flatten().to_numpy() < 0).sum()) for name in ("play_sums", "second_sums"))
    tonight = pa.scalar(table.run_date, pa.date32())
    return {
        "rows": batch.num_rows,
        "changed": total(pc.equal(batch["changed_on"], tonight)),
        "misaligned": int(misaligned.sum()),
        "unordered": len(np.unique(row[1:][not_ascending])),
        "unknown_items": int(((index < 0) | (index >= items)).sum()),
        "negative_sums": negative,
        "empty_rows": total(pc.equal(lengths, 0)),
        "without_market": batch["market"].null_count,
    }
