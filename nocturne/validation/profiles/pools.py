"""Profiles of what `rank_users` leaves beside the lists: sound pools, and an account that adds up."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.validation.profiles.arithmetic import Profile, repeated, share, total
from nocturne.validation.profiles.bucket_sums import Snapshot, found, snapshot, sum_over_buckets

_COLUMNS = ["user_id", "source", "items", "scores", "listed", "valid_until", "norm"]
_COUNTED = ("rows", "misaligned", "unordered", "not_finite", "listed_beyond", "outdated", "without_norm", "repeated")


def pools(spark: SparkSession, night: Night) -> Profile:
    """Of every listener's pool."""
    table, buckets = snapshot(night, "pools"), night.settings.tables.buckets

    def measure(task_buckets: Iterable[int]) -> Iterator[pa.Table]:
        for bucket in task_buckets:
            yield found(_measure(table, bucket))

    sums = sum_over_buckets(spark, buckets, measure)
    told = _told(night)
    expected = told["personal"] + dict(told["reasons"]).get("previous", 0) if told else None
    return {
        "unlike_rankings": None if expected is None else abs(sums["rows", None] - expected),
        **{name: sums[name, None] for name in _COUNTED if name != "rows"},
    }


def rankings(night: Night) -> Profile:
    """Of the night's account of its ranking."""
    count = tables.night_rows(night, "rankings", ["run_date"]).num_rows
    told = _told(night)
    if not told:
        names = ("unlike_lists", "unexplained_mismatches", "mismatches", "share_audited")
        return {"accounts": count, **dict.fromkeys(names)}
    settings = night.settings.ranking
    wanted = min(told["personal"], max(settings.audit_at_least, settings.audit_share * told["personal"]))
    return {
        "accounts": count,
        "unlike_lists": abs(told["listeners"] - tables.count(night, "ranked_lists")),
        "unexplained_mismatches": told["unexplained"],
        "mismatches": told["mismatches"],
        "share_audited": share(told["audited"], wanted) if wanted else None,
    }


def _told(night: Night) -> dict[str, Any]:
    rows = tables.night_rows(night, "rankings").to_pylist()
    return rows[0] if len(rows) == 1 else {}


def _measure(table: Snapshot, bucket: int) -> dict[str, float]:
    counts, users = Counter(dict.fromkeys(_COUNTED, 0.0)), []
    for batch in table.bucket(bucket).to_batches(columns=_COLUMNS):
        users.append(batch["user_id"])
        counts.update(_measure_batch(batch, table))
    if users:
        counts["repeated"] = repeated(pa.chunked_array(users))
    return dict(counts)


def _measure_batch(batch: pa.RecordBatch, table: Snapshot) -> dict[str, float]:
    lengths = pc.list_value_length(batch["scores"])
    row, score = pc.list_parent_indices(batch["scores"]).to_numpy(), batch["scores"].flatten().to_numpy()
    rising = (row[1:] == row[:-1]) & (score[1:] > score[:-1])
    outdated = pc.less_equal(batch["valid_until"], pa.scalar(table.run_date, pa.date32()))
    without = pc.and_(pc.equal(batch["source"], "als"), pc.is_null(batch["norm"]))
    return {
        "rows": batch.num_rows,
        "misaligned": total(pc.not_equal(pc.list_value_length(batch["items"]), lengths)),
        "unordered": len(np.unique(row[1:][rising])),
        "not_finite": len(np.unique(row[~np.isfinite(score)])),
        "listed_beyond": total(pc.greater(batch["listed"], lengths)),
        "outdated": total(pc.fill_null(outdated, False)),
        "without_norm": total(without),
    }
