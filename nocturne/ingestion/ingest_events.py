"""Stage `ingest_events`: the landing day, cleaned and conserved to the row, and a snapshot of the catalogue."""

from contextlib import ExitStack
from datetime import timedelta

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.core.sections import ListenSettings
from nocturne.core.spark.session import plan_simply, scale_shuffles
from nocturne.core.stage import Progress, StageResult
from nocturne.flow import stage
from nocturne.ingestion import landing
from nocturne.ingestion.catalogue import keep_absent_items, parse_items
from nocturne.ingestion.cleaning import (
    DUPLICATE,
    LISTEN,
    REASONS,
    busy_listeners,
    check_events,
    id_hash,
    mark_bots,
    mark_duplicates,
    repeated_ids,
    split_doubtful_rows,
)
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import closed_dates, previous_night
from nocturne.storage.proofs import require_unchanged

_FEW_EVENTS = 100_000


def ingest_events(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Read the landing day, judge every event, and write each where it belongs; then prove that none was lost."""
    announced = landing.require_complete(night.landing, night.run_date)
    settings = night.settings.listens
    catalogue = parse_items(landing.read_catalogue(night.landing), f"{night.landing}/items", settings.max_id_bytes)
    writing.replace_night(keep_absent_items(catalogue, _last_catalogue(night), night.run_date), "items", night)

    files = landing.list_events(spark, night.landing, night.run_date)
    rows_read = sum(file.rows for file in files)
    if announced not in (None, rows_read):
        raise InputError(
            "the landing day is not what its completion mark announces",
            where=f"{night.landing}/events/date={night.run_date}",
            found=f"{rows_read} rows",
            expected=f"{announced} rows",
            fix="wait for the missing files, or ask the producer",
        )
    run_date = F.lit(night.run_date)
    with (
        ExitStack() as cleanup,
        scale_shuffles(spark, rows_read, night.settings.spark),
        plan_simply(spark, rows_read),
    ):
        events = landing.read_events(spark, files)
        cleanup.callback(events.persist().unpersist)  # files are read once, and what was checked is what is used
        landing.require_every_row(events, files)
        checked = check_events(events, tables.read_night(spark, night, "items"), night.run_date, settings)
        recent = _recent_listens(spark, night)
        certain, doubtful, recent = _parted(cleanup, checked, recent, rows_read, settings)
        deduplicated = mark_duplicates(doubtful, recent)
        cleanup.callback(deduplicated.persist().unpersist)  # bots are looked for among them, and marked
        judged = mark_bots(deduplicated, settings)
        cleanup.callback(judged.persist().unpersist)
        outcomes = {row.outcome: row["count"] for row in judged.groupBy("outcome").count().collect()}
        rejected = judged.where(F.col("outcome").isin(*REASONS)).withColumnRenamed("outcome", "reason")
        _replace_columns(rejected.withColumn("run_date", run_date), "quarantine", night, rows_read)
        # Last, because Delta makes Spark forget whatever was computed from a table that is written.
        listens = judged.where(F.col("outcome") == LISTEN)
        listens = listens if certain is None else certain.unionByName(listens)
        _replace_columns(listens.withColumn("run_date", run_date), "listens", night, rows_read)
        ingest = _ingest(spark, night, rows_read, outcomes)
    writing.replace_night(ingest, "ingests", night)
    quarantined = ingest["quarantined"][0].as_py()
    return StageResult(rows_read, rejected=quarantined + ingest["duplicates"][0].as_py())


def _last_catalogue(night: Night) -> pa.Table:
    """Rows of `items` of the last sound night; none without one."""
    previous = previous_night(night, "items")
    if previous is None:
        return contract("items").arrow_schema.empty_table()
    require_unchanged(previous, "items")
    return tables.night_rows(previous, "items")


def _recent_listens(spark: SparkSession, night: Night) -> DataFrame:
    """Listens of the nights in which an event_id counts as seen."""
    first = night.run_date - timedelta(days=night.settings.listens.dedup_nights)
    closed = closed_dates(night.warehouse, stage("ingest_events").writes)
    publications = [
        day for day in tables.dates(night.warehouse, "listens") if first <= day < night.run_date and day not in closed
    ]
    return tables.read(spark, night.warehouse, "listens", publications)


def _replace_columns(rows: DataFrame, table: str, night: Night, at_most: int) -> None:
    columns = (column.name for column in contract(table).columns)
    writing.replace_night(rows.select(*columns), table, night, at_most=at_most)


def _parted(
    cleanup: ExitStack, checked: DataFrame, recent: DataFrame, rows: int, settings: ListenSettings
) -> tuple[DataFrame | None, DataFrame, DataFrame]:
    """The rows that are listens for certain, those to be judged, and the recent listens to judge them by.

    To part few rows takes longer than to judge them all.
    """
    if rows <= _FEW_EVENTS:
        return None, checked, recent
    repeated = _held(cleanup, repeated_ids(checked, recent))
    certain, doubtful = split_doubtful_rows(checked, repeated, _held(cleanup, busy_listeners(checked, settings)))
    seen = recent.withColumn("id_hash", id_hash()).join(repeated, "id_hash", how="left_semi")
    return certain, doubtful, seen


def _held(cleanup: ExitStack, few: DataFrame) -> DataFrame:
    """Compute rows once, and let Spark plan with their true number."""
    cleanup.callback(few.persist().unpersist)
    few.count()
    return few


def _ingest(spark: SparkSession, night: Night, rows_read: int, outcomes: dict[str, int]) -> pa.Table:
    """The night's row of `ingests`: what was read, checked against what the tables hold and what was dropped."""
    reasons = {reason: outcomes[reason] for reason in REASONS if reason in outcomes}
    counts = {
        "listens": tables.count(night, "listens"),
        "duplicates": outcomes.get(DUPLICATE, 0),
        "quarantined": sum(reasons.values()),
    }
    quarantined = tables.count(night, "quarantine")
    if sum(counts.values()) != rows_read or quarantined != counts["quarantined"]:
        raise InputError(
            "rows were lost or invented between the landing zone and the tables",
            where=f"{night.landing}/events/date={night.run_date}",
            found=f"{rows_read} rows read, {counts}, {quarantined} in quarantine",
            expected="rows_read = listens + duplicates + quarantined",
            fix="check that no producer was still writing, and run the night again",
        )
    accepted = tables.read_night(spark, night, "listens")
    (of_listens,) = accepted.agg(
        F.count_if("late").alias("late"), F.count_distinct("user_id").alias("listeners")
    ).collect()
    row = {
        "run_date": night.run_date,
        "rows_read": rows_read,
        **counts,
        **of_listens.asDict(),
        "reasons": list(reasons.items()),
    }
    return pa.Table.from_pylist([row], schema=contract("ingests").arrow_schema)
