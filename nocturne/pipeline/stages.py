"""The stages of the night: read, call a pure function, write. One function per stage of the flow.

A stage reads what earlier nights left only where their gate did not close on it, and tells what it
read and rejected. What it wrote stands in the tables.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nocturne.core.errors import GateClosed, InputError
from nocturne.core.night import Night
from nocturne.core.settings import ListenSettings
from nocturne.core.spark.session import on_executors, shuffles_of
from nocturne.flow import GATED_TABLES, NIGHTLY
from nocturne.ingestion import landing
from nocturne.ingestion.catalogue import items_of, require_sound
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
    set_apart,
)
from nocturne.ingestion.interactions import add_listens, index_new_items
from nocturne.ranking.rank_users import account_row, make_ranker, rank_all
from nocturne.ranking.ranker import Account
from nocturne.serving import manifest, publications
from nocturne.serving.cache import About, Head, open_cache
from nocturne.serving.coverage import reach
from nocturne.serving.rollout import LISTS, refresh
from nocturne.storage import fingerprints, tables
from nocturne.storage.contracts import contract
from nocturne.storage.history import previous_night
from nocturne.training import als, registry, schedule
from nocturne.validation.gate import gate
from nocturne.validation.profiles.bucket_sums import snapshot
from nocturne.validation.suites import expected
from nocturne.validation.validate_table import closed_dates

_FEW_EVENTS = 100_000

Progress = Callable[[int, int, str], None]
"""Told how much is done, of how much, and what it is."""


@dataclass(frozen=True)
class Work:
    """What a stage had before it: rows read, rows rejected, and a remark for people."""

    read: int
    rejected: int = 0
    remark: str = ""


INGEST_TABLES, MATRIX_TABLES = NIGHTLY[0].writes, (*NIGHTLY[0].writes, *NIGHTLY[1].writes)


def ingest_events(spark: SparkSession, night: Night, progress: Progress) -> Work:
    """Landing -> items, listens, quarantine, ingests."""
    announced = landing.require_complete(night.landing, night.run_date)
    settings = night.settings.listens
    items = items_of(landing.read_catalogue(spark, night.landing))
    require_sound(items, f"{night.landing}/items")
    run_date = F.lit(night.run_date)
    catalogue = items.drop("problem", "file").withColumn("run_date", run_date)
    tables.replace(catalogue, "items", night, at_most=items.count())

    events = landing.read_events(spark, night.landing, night.run_date)
    rows_read = events.count()
    if announced not in (None, rows_read):
        raise InputError(
            "the landing day is not what its completion mark announces",
            where=f"{night.landing}/events/date={night.run_date}",
            found=f"{rows_read} rows",
            expected=f"{announced} rows",
            fix="wait for the missing files, or ask the producer",
        )
    checked = check_events(events, tables.read_night(spark, night, "items"), night.run_date, settings)
    recent = _recent_listens(spark, night)
    with ExitStack() as held, shuffles_of(spark, rows_read, night.settings.spark):
        certain, doubtful, recent = _parted(held, checked, recent, rows_read, settings)
        judged = mark_bots(mark_duplicates(doubtful, recent), settings)
        held.callback(judged.persist().unpersist)
        outcomes = {row.outcome: row["count"] for row in judged.groupBy("outcome").count().collect()}
        rejected = judged.where(F.col("outcome").isin(*REASONS)).withColumnRenamed("outcome", "reason")
        _replace_columns(rejected.withColumn("run_date", run_date), "quarantine", night, rows_read)
        # Last, because Delta makes Spark forget whatever was computed from a table that is written.
        listens = judged.where(F.col("outcome") == LISTEN)
        listens = listens if certain is None else certain.unionByName(listens)
        _replace_columns(listens.withColumn("run_date", run_date), "listens", night, rows_read)
    ingest = _ingest(spark, night, rows_read, outcomes)
    tables.replace(ingest, "ingests", night)
    quarantined = ingest["quarantined"][0].as_py()
    return Work(rows_read, rejected=quarantined + ingest["duplicates"][0].as_py())


def build_interactions(spark: SparkSession, night: Night, progress: Progress) -> Work:
    """Listens -> item_index, interactions: last night's rows and what was ingested since."""
    closed = closed_dates(night, MATRIX_TABLES)
    earlier = [day for day in tables.dates(night, "interactions") if day < night.run_date and day not in closed]
    since = earlier[-1] if earlier else None
    publications = [
        day
        for day in tables.dates(night, "listens")
        if day <= night.run_date and (since is None or day > since) and (day not in closed or day == night.run_date)
    ]
    listens = tables.read(spark, night, "listens").where(F.col("run_date").isin(publications))
    index = tables.read(spark, night, "item_index")
    added, indexed = (
        tables.count_of(night, "listens", publications),
        tables.count_of(night, "item_index", [night.run_date]),
    )
    new_items = index_new_items(listens, index, night.run_date)
    tables.replace(new_items, "item_index", night, at_most=added + indexed)
    previous = tables.read(spark, night, "interactions").where(F.col("run_date") == F.lit(since))
    rows = add_listens(
        previous.drop("run_date", "bucket"),
        listens,
        tables.read(spark, night, "item_index"),
        night.run_date,
        night.settings.interactions,
    )
    rows = rows.withColumn("bucket", tables.bucket("user_id", night.settings.tables.buckets))
    listeners = added + (tables.count_of(night, "interactions", [since]) if since else 0)
    with shuffles_of(spark, added, night.settings.spark):
        tables.replace(rows, "interactions", night, at_most=listeners)
    return Work(added)


def train_als(spark: SparkSession, night: Night, progress: Progress) -> Work:
    """Interactions -> models, item_factors, where the live model is too old; reads by Arrow, without Spark.

    The first model is trained by the recipe of the settings, every later one by that of the model it replaces.
    """
    listeners = tables.count(night, "interactions")
    if not listeners:
        registry.keep(night)
        return Work(0, remark="nobody to learn from yet")
    wanted = schedule.plan(
        registry.models(night), night.run_date, closed_dates(night, GATED_TABLES), night.settings.als
    )
    if not wanted.trains:
        registry.keep(night)
        return Work(0, remark=wanted.remark)
    settings = wanted.settings
    parent = registry.load_model(night, wanted.parent) if wanted.parent else None
    trained = registry.train(
        night,
        settings,
        parent,
        lambda iteration, loss: progress(iteration, settings.iterations, f"iteration, loss {loss:.4g}"),
    )
    registry.add_live(night, trained, wanted.why)
    training = trained.training
    return Work(listeners, remark=f"{training.model.version}{_sampled(training)}; {wanted.remark}")


def rank_users(spark: SparkSession, night: Night, progress: Progress) -> Work:
    """Interactions, models, item_factors, items -> pools, ranked_lists, rankings."""
    model = registry.live_model(night)
    if model is None:
        for table in ("pools", "ranked_lists"):
            tables.replace(contract(table).arrow_schema.empty_table(), table, night)
        tables.replace(account_row(night, None, Account(), 0, None), "rankings", night)
        return Work(0, remark="no model yet, so nobody to rank for")
    listeners, before = tables.count(night, "interactions"), previous_night(night, "pools")
    ranker, account, written = rank_all(
        spark,
        night,
        make_ranker(night, model, before),
        before,
        lambda done: progress(done, listeners, "listeners"),
    )
    tables.replace(account_row(night, ranker, account, written, before), "rankings", night)
    return Work(listeners, remark=f"{ranker.model.version}, {account.reasons['carried']:,} pools carried over")


def refresh_cache(spark: SparkSession, night: Night, progress: Progress) -> Work:
    """Validated ranked_lists -> the manifest in `nights`, and the serving cache."""
    validations = tables.rows(night, "validations", pc.field("run_date") == night.run_date)
    files = {table: fingerprints.fingerprint(night, table) for table in GATED_TABLES}
    reasons = gate(validations, expected(), files)
    if reasons:
        publications.close(night, reasons)
        raise GateClosed(
            f"the gate is closed for night {night.run_date}: nothing of it is served",
            where=night.warehouse,
            found="; ".join(reasons),
            expected="every critical expectation of every table validated, and holding",
            fix="mend what failed and run the night again; listeners keep the lists that are served",
        )
    buckets, listeners = night.settings.tables.buckets, tables.count(night, "ranked_lists")
    lists, items = snapshot(night, "ranked_lists"), snapshot(night, "items")
    found = reach(spark, lists, items, night.settings.ranking.top_k, buckets)
    digest = next(row["content"] for row in validations.to_pylist() if row["table"] == "ranked_lists")
    row = manifest.sealed(publications.facts(night, listeners, digest, found.coverage))
    item_ids = tables.night_rows(night, "item_index").sort_by("item_index")["item_id"]
    about = About(night.run_date, listeners, tuple(Head(*head) for head in found.heads), item_ids)
    stored = tables.StoredRows.at(night, "ranked_lists", LISTS)
    parts = [stored.of_bucket(bucket) for bucket in range(buckets)]
    with open_cache(night.cache, night.settings.cache) as cache:
        each = on_executors(spark)
        done = refresh(night, row, about, parts, cache, each, lambda loaded: progress(loaded, listeners, "lists"))
    return Work(listeners, remark=done.reason or f"serving {done.generation}")


STAGES: dict[str, Callable[[SparkSession, Night, Progress], Work]] = {
    stage.__name__: stage for stage in (ingest_events, build_interactions, train_als, rank_users, refresh_cache)
}


def _recent_listens(spark: SparkSession, night: Night) -> DataFrame:
    """Listens of the nights in which an event_id counts as seen."""
    first = night.run_date - timedelta(days=night.settings.listens.dedup_nights)
    closed = closed_dates(night, INGEST_TABLES)
    publications = [
        day for day in tables.dates(night, "listens") if first <= day < night.run_date and day not in closed
    ]
    return tables.read(spark, night, "listens").where(F.col("run_date").isin(publications))


def _replace_columns(rows: DataFrame, table: str, night: Night, at_most: int) -> None:
    columns = (column.name for column in contract(table).columns)
    tables.replace(rows.select(*columns), table, night, at_most=at_most)


def _parted(
    held: ExitStack, checked: DataFrame, recent: DataFrame, rows: int, settings: ListenSettings
) -> tuple[DataFrame | None, DataFrame, DataFrame]:
    """The rows that are listens for certain, those to be judged, and the recent listens to judge them by.

    To part few rows takes longer than to judge them all.
    """
    if rows <= _FEW_EVENTS:
        return None, checked, recent
    repeated = _held(held, repeated_ids(checked, recent))
    certain, doubtful = set_apart(checked, repeated, _held(held, busy_listeners(checked, settings)))
    seen = recent.withColumn("id_hash", id_hash()).join(repeated, "id_hash", how="left_semi")
    return certain, doubtful, seen


def _held(held: ExitStack, few: DataFrame) -> DataFrame:
    """Compute rows once, and let Spark plan with their true number."""
    held.callback(few.persist().unpersist)
    few.count()
    return few


def _ingest(spark: SparkSession, night: Night, rows_read: int, outcomes: dict[str, int]) -> pa.Table:
    """The night's row of `ingests`: what was read, checked against what the tables hold and what was dropped."""
    reasons = {reason: outcomes[reason] for reason in REASONS if reason in outcomes}
    found = {
        "listens": tables.count(night, "listens"),
        "duplicates": outcomes.get(DUPLICATE, 0),
        "quarantined": sum(reasons.values()),
    }
    quarantined = tables.count(night, "quarantine")
    if sum(found.values()) != rows_read or quarantined != found["quarantined"]:
        raise InputError(
            "rows were lost or invented between the landing zone and the tables",
            where=f"{night.landing}/events/date={night.run_date}",
            found=f"{rows_read} rows read, {found}, {quarantined} in quarantine",
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
        **found,
        **of_listens.asDict(),
        "reasons": list(reasons.items()),
    }
    return pa.Table.from_pylist([row], schema=contract("ingests").arrow_schema)


def _sampled(training: als.Training) -> str:
    """What a training on a sample saw; nothing to say of one on everyone."""
    if training.sample_share == 1:
        return ""
    return f", from {training.sample_share:.1%} of listeners and {training.item_coverage:.1%} of items"
