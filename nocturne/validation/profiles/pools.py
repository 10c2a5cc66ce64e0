"""Profiles of `pools` and `rankings`: sound pools, and a summary of the ranking that adds up."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.arrays import Indexes, Mask, Positions
from nocturne.core.night import Night
from nocturne.storage import fingerprints, tables
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.model_transitions import ModelRecord
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.metrics.pools import add_pools, pool_metrics
from nocturne.validation.profiles.arithmetic import Measured, Profile, repeated, share, total
from nocturne.validation.profiles.bucket_sums import Sums, sum_over_buckets
from nocturne.validation.profiles.entry_loops import are_among, count_outside, shapes
from nocturne.validation.profiles.model_items import model_items
from nocturne.validation.profiles.models import live_models

_LISTENERS = ["user_id", "item_indexes", "last_heard", "digest"]
_COUNTED = (
    *(
        "rows",
        "pools",
        "misaligned",
        "unordered",
        "not_finite",
        "listed_beyond",
        "outdated",
        "without_norm",
        "repeated",
    ),
    *("heard_items", "other_row", "other_model", "outside_model", "flat"),
)


@dataclass(frozen=True)
class PoolMeasurement:
    """The measurement of a bucket of pools, as a task runs it.

    Attributes:
        listeners: the rows of `interactions` of the night.
        model_version: the live model; empty if there is none.
        items: item indexes that it ranks; shape (items,).
        let_back_after_days: as in settings.
        table: that the pools are of.
    """

    run_date: date
    pools: StoredRows
    listeners: StoredRows
    model_version: str
    items: Indexes
    let_back_after_days: int
    table: str = "pools"

    def measure(self, buckets: Iterable[int]) -> Sums:
        """Sums of the metrics over some buckets."""
        sums = Sums(dict.fromkeys(_COUNTED, 0.0))
        for bucket in buckets:
            users = []
            listeners = AlignedRows("interactions", _LISTENERS, self.listeners.in_bucket(bucket))
            for batch in self.pools.in_bucket(bucket):
                users.append(batch["user_id"])
                sums.add_rows(batch, self.table)
                sums.add(_measure_batch(batch, self.run_date))
                add_pools(sums.segments, batch, self.run_date)
                sums.add(self._measure_content(batch, listeners.of(batch["user_id"])))
            if users:
                sums.add({"repeated": repeated(pa.chunked_array(users))})
        return sums

    @cached_property
    def _known(self) -> Mask:
        """True for every item index of the model."""
        known = np.zeros(int(self.items.max(initial=-1)) + 1, dtype=bool)
        known[self.items] = True
        return known

    def _measure_content(self, batch: pa.RecordBatch, listeners: pa.Table) -> dict[str, float]:
        row, item = pc.list_parent_indices(batch["items"]).to_numpy(), batch["items"].flatten().to_numpy()
        of_row, of_item = not_yet_let_back(listeners, self.run_date, self.let_back_after_days)
        same_row = pc.equal(batch["row_digest"], listeners["digest"].combine_chunks())
        return {
            "outside_model": count_outside(item, self._known),
            "other_model": total(pc.not_equal(batch["model_version"], self.model_version)),
            "other_row": batch.num_rows - total(same_row),
            "heard_items": int(are_among(row, item, of_row, of_item).sum()),
        }


def not_yet_let_back(listeners: pa.Table, run_date: date, let_back_after_days: int) -> tuple[Positions, Indexes]:
    """Items that listeners heard and may not get tonight: the number of the row, and the item index."""
    lists = listeners["item_indexes"].combine_chunks()
    row, item = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists).to_numpy()
    if not let_back_after_days:
        return row, item
    first = pa.scalar(run_date - timedelta(days=let_back_after_days), pa.date32())
    recent = pc.greater(pc.list_flatten(listeners["last_heard"].combine_chunks()), first).to_numpy(zero_copy_only=False)
    return row[recent], item[recent]


def measurement(night: Night, stored: StoredRows, model: ModelRecord | None, table: str = "pools") -> PoolMeasurement:
    """The measurement of pools that follow the night's settings, by one model.

    Args:
        stored: all columns that count, and computed_on.
        table: that they are of.
    """
    version = model.version if model else ""
    return PoolMeasurement(
        run_date=night.run_date,
        pools=stored,
        listeners=StoredRows.at(night, "interactions", _LISTENERS),
        model_version=version,
        items=model_items(night, version, ["item_index"])["item_index"].to_numpy(),
        let_back_after_days=night.settings.ranking.let_back_after_days,
        table=table,
    )


def pools(spark: SparkSession, night: Night) -> Measured:
    """Of every listener's pool."""
    live = live_models(night)
    stored = StoredRows.at(night, "pools", [*fingerprints.hashed_columns("pools"), "computed_on"])
    task = measurement(night, stored, live[0] if live else None)
    measured = sum_over_buckets(spark, night, "pools", task.measure)
    sums = measured.totals
    ranking = _ranking(night)
    expected = ranking["personal"] + dict(ranking["reasons"]).get("previous", 0) if ranking else None
    profile: Profile = {
        "unlike_rankings": None if expected is None else abs(sums["rows"] - expected),
        **{name: sums[name] for name in _COUNTED if name not in {"rows", "pools", "flat"}},
        "share_flat": share(sums["flat"], sums["pools"]),
    }
    metrics = pool_metrics(measured.segments)
    return Measured(profile, measured.row_hash(spark, night, "pools", sums["rows"]), metrics)


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


def _measure_batch(batch: pa.RecordBatch, run_date: date) -> dict[str, float]:
    lengths = pc.list_value_length(batch["scores"])
    row, score = pc.list_parent_indices(batch["scores"]).to_numpy(), batch["scores"].flatten().to_numpy()
    shape = shapes(row, score, batch.num_rows)
    tonight = pa.scalar(run_date, pa.date32())
    outdated = pc.or_kleene(pc.less_equal(batch["valid_until"], tonight), pc.greater(batch["computed_on"], tonight))
    personal = pc.equal(batch["source"], "als")
    without = pc.and_(personal, pc.is_null(batch["norm"]))
    several = pc.and_(personal, pc.greater(lengths, 1)).to_numpy(zero_copy_only=False)
    return {
        "rows": batch.num_rows,
        "pools": int(several.sum()),
        "flat": int((several & shape.level).sum()),
        "misaligned": total(pc.not_equal(pc.list_value_length(batch["items"]), lengths)),
        "unordered": int(shape.rising.sum()),
        "not_finite": int((~shape.finite).sum()),
        "listed_beyond": _count_listed_beyond(batch, lengths),
        "outdated": total(pc.fill_null(outdated, False)),
        "without_norm": total(without),
    }


def _count_listed_beyond(batch: pa.RecordBatch, lengths: pa.Array) -> int:
    """Pools a place of whose list is none of theirs."""
    row, place = pc.list_parent_indices(batch["listed"]).to_numpy(), batch["listed"].flatten().to_numpy()
    beyond = (place < 0) | (place >= lengths.to_numpy()[row])
    return len(np.unique(row[beyond]))
