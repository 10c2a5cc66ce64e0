"""Profiles of `pools` and `rankings`: sound pools, and a summary of the ranking that adds up."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.arithmetic import Profile, repeated, share, total
from nocturne.validation.profiles.bucket_sums import metrics_table, sum_over_buckets

_COLUMNS = ["user_id", "source", "items", "scores", "listed", "valid_until", "norm"]
_COUNTED = ("rows", "misaligned", "unordered", "not_finite", "listed_beyond", "outdated", "without_norm", "repeated")


def pools(spark: SparkSession, night: Night) -> Profile:
    """Of every listener's pool."""
    rows, buckets = StoredRows.at(night, "pools", _COLUMNS), night.settings.tables.buckets

    def measure(task_buckets: Iterable[int]) -> Iterator[pa.Table]:
        for bucket in task_buckets:
            yield metrics_table(_measure(rows.in_bucket(bucket), night.run_date))

    sums = sum_over_buckets(spark, buckets, measure)
    ranking = _ranking(night)
    expected = ranking["personal"] + dict(ranking["reasons"]).get("previous", 0) if ranking else None
    return {
        "unlike_rankings": None if expected is None else abs(sums["rows", None] - expected),
        **{name: sums[name, None] for name in _COUNTED if name != "rows"},
    }


def rankings(night: Night) -> Profile:
    """Of the night's row of `rankings`."""
    count = tables.night_rows(night, "rankings", ["run_date"]).num_rows
    ranking = _ranking(night)
    if not ranking:
        names = ("unlike_lists", "unexplained_mismatches", "mismatches", "share_audited")
        return {"accounts": count, **dict.fromkeys(names)}
    settings = night.settings.ranking
    asked = min(ranking["personal"], max(settings.audit_at_least, settings.audit_share * ranking["personal"]))
    return {
        "accounts": count,
        "unlike_lists": abs(ranking["listeners"] - tables.count(night, "ranked_lists")),
        "unexplained_mismatches": ranking["unexplained"],
        "mismatches": ranking["mismatches"],
        "share_audited": share(ranking["audited"], asked) if asked else None,
    }


def _ranking(night: Night) -> dict[str, Any]:
    """The night's row of `rankings`; empty unless there is exactly one."""
    rows = tables.night_rows(night, "rankings").to_pylist()
    return rows[0] if len(rows) == 1 else {}


def _measure(rows: StoredRows, run_date: date) -> dict[str, float]:
    counts, users = Counter(dict.fromkeys(_COUNTED, 0.0)), []
    for batch in rows:
        users.append(batch["user_id"])
        counts.update(_measure_batch(batch, run_date))
    if users:
        counts["repeated"] = repeated(pa.chunked_array(users))
    return dict(counts)


def _measure_batch(batch: pa.RecordBatch, run_date: date) -> dict[str, float]:
    lengths = pc.list_value_length(batch["scores"])
    row, score = pc.list_parent_indices(batch["scores"]).to_numpy(), batch["scores"].flatten().to_numpy()
    rising = (row[1:] == row[:-1]) & (score[1:] > score[:-1])
    outdated = pc.less_equal(batch["valid_until"], pa.scalar(run_date, pa.date32()))
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
