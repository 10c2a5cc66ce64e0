"""Stage `build_interactions`: the interaction matrix of the last sound night, with the listens since."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nocturne.core.night import Night
from nocturne.core.spark.session import scale_shuffles
from nocturne.core.stage import Progress, StageResult
from nocturne.ingestion.interactions import add_listens, index_new_items
from nocturne.storage import tables, writing
from nocturne.storage.history import interaction_sources, is_stale
from nocturne.storage.proofs import require_unchanged


def build_interactions(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Add what was ingested since the last sound night to every listener's row of it."""
    since, publications = interaction_sources(night)
    _prove_sources(night, since, publications)
    listens = tables.read(spark, night.warehouse, "listens").where(F.col("run_date").isin(publications))
    index = tables.read(spark, night.warehouse, "item_index")
    added, indexed = (
        tables.count_of(night.warehouse, "listens", publications),
        tables.count_of(night.warehouse, "item_index", [night.run_date]),
    )
    new_items = index_new_items(listens, index, night.run_date)
    writing.replace_night(new_items, "item_index", night, at_most=added + indexed)
    previous = tables.read(spark, night.warehouse, "interactions").where(F.col("run_date") == F.lit(since))
    rows = add_listens(
        previous.drop("run_date", "bucket"),
        listens,
        tables.read(spark, night.warehouse, "item_index"),
        night.run_date,
        night.settings.interactions,
    )
    rows = rows.withColumn("bucket", writing.bucket("user_id", night.settings.tables.buckets))
    listeners = added + (tables.count_of(night.warehouse, "interactions", [since]) if since else 0)
    with scale_shuffles(spark, added, night.settings.spark):
        writing.replace_night(rows, "interactions", night, at_most=listeners)
    return StageResult(added)


def _prove_sources(night: Night, since: date | None, publications: Sequence[date]) -> None:
    """Raise InputError if the rows built upon, their index, or earlier listens are not those that were validated."""
    for day in publications:
        if day != night.run_date:
            require_unchanged(night.on(day), "listens")
    if since:
        require_unchanged(night.on(since), "interactions")
        if not is_stale(night.on(since)):  # then an earlier night was made again, and may have added to the index
            require_unchanged(night.on(since), "item_index")
