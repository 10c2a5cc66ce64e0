"""Stage `build_interactions`: the interaction matrix of the last sound night, with the listens since."""

from collections.abc import Sequence
from datetime import date

import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.spark.session import plan_simply, scale_shuffles
from nocturne.core.stage import Progress, StageResult
from nocturne.ingestion.interactions import add_listens, index_new_items
from nocturne.storage import tables, writing
from nocturne.storage.history import interaction_sources, is_stale
from nocturne.storage.proofs import require_unchanged

_FEW_LISTENS = 100_000


def build_interactions(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Add what was ingested since the last sound night to every listener's row of it."""
    since, publications = interaction_sources(night)
    _prove_sources(night, since, publications)
    warehouse, day = night.warehouse, night.run_date
    added = tables.count_of(warehouse, "listens", publications)
    indexed = tables.count_of(warehouse, "item_index", [day])
    listeners = tables.count_of(warehouse, "interactions", [since] if since else [])
    listeners += _count_listeners(night, publications, added)
    listens = tables.read(spark, warehouse, "listens", publications)
    with scale_shuffles(spark, added, night.settings.spark), plan_simply(spark, added + listeners):
        new_items = index_new_items(listens, tables.read(spark, warehouse, "item_index"), day)
        writing.replace_night(new_items, "item_index", night, at_most=added + indexed)
        previous = tables.read(spark, warehouse, "interactions", [since] if since else [])
        index = tables.read(spark, warehouse, "item_index")
        rows = add_listens(previous.drop("run_date", "bucket"), listens, index, day, night.settings.interactions)
        rows = rows.withColumn("bucket", writing.bucket("user_id", night.settings.tables.buckets))
        writing.replace_night(rows, "interactions", night, at_most=listeners)
    return StageResult(added)


def _count_listeners(night: Night, publications: Sequence[date], listens: int) -> int:
    """Listeners who heard something on these nights, or, of many listens, the number of these, which is more."""
    if listens > _FEW_LISTENS:
        return listens
    heard = tables.rows(night.warehouse, "listens", pc.field("run_date").isin(list(publications)), ["user_id"])
    return int(pc.count_distinct(heard["user_id"]).as_py())


def _prove_sources(night: Night, since: date | None, publications: Sequence[date]) -> None:
    """Raise InputError if the rows built upon, their index, or earlier listens are not those that were validated."""
    for day in publications:
        if day != night.run_date:
            require_unchanged(night.on(day), "listens")
    if since:
        require_unchanged(night.on(since), "interactions")
        if not is_stale(night.on(since)):  # then an earlier night was made again, and may have added to the index
            require_unchanged(night.on(since), "item_index")
