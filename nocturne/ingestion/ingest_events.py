"""Stage `ingest_events`: the landing day, cleaned and conserved to the row, and a snapshot of the catalogue."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.core.xxhash import buckets_of
from nocturne.flow import stage
from nocturne.ingestion import landing
from nocturne.ingestion.catalogue import keep_absent_items, parse_items
from nocturne.ingestion.cleaning import (
    CHECKED,
    DUPLICATE,
    ERASED,
    REASONS,
    Rules,
    accepted,
    mark_bots,
    mark_duplicates,
    rejected,
)
from nocturne.ingestion.event_exchange import Account, EventExchange, read_checked
from nocturne.ingestion.landing_files import LandedFile
from nocturne.storage import tables, tombstones, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import closed_dates, previous_night
from nocturne.storage.proofs import require_unchanged
from nocturne.storage.stored_rows import StoredRows

if TYPE_CHECKING:
    from nocturne.storage.bucket_files import BucketFile

_FEW_EVENTS = 200_000
"""Events, those of recent nights among them, that are judged in this process: Spark's tasks would take longer."""

_EVENTS_TOGETHER = 1_000_000
"""Events among which a task looks for duplicates."""


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
    known = catalogue["item_id"].combine_chunks() if settings.unknown_items == "quarantine" else None
    rules = Rules(night.run_date, settings, known, tombstones.read(night.warehouse))
    account, listens, quarantine = _judge(spark, night, files, rules)
    if account.failures:
        raise InputError(min(account.failures))
    landing.require_every_row(files, _sums(account.rows, by=0))
    _replace(listens, "listens", spark, night)
    _replace(quarantine, "quarantine", spark, night)
    ingest = _ingest(night, rows_read, account)
    writing.replace_night(ingest, "ingests", night)
    quarantined = ingest["quarantined"][0].as_py()
    dropped = sum(ingest[name][0].as_py() for name in ("duplicates", "erased"))
    return StageResult(rows_read, rejected=quarantined + dropped)


def _last_catalogue(night: Night) -> pa.Table:
    """Rows of `items` of the last sound night; none without one."""
    previous = previous_night(night, "items")
    if previous is None:
        return contract("items").arrow_schema.empty_table()
    require_unchanged(previous, "items")
    return tables.night_rows(previous, "items")


_Rows: TypeAlias = "pa.Table | Sequence[BucketFile]"
"""Rows of a table, or the files that tasks have written them into."""


def _judge(
    spark: SparkSession, night: Night, files: Sequence[LandedFile], rules: Rules
) -> tuple[Account, _Rows, _Rows]:
    """Judge every event; the account, and what belongs into `listens` and `quarantine`."""
    recent = _recent_nights(night)
    rows, buckets = sum(file.rows for file in files), night.settings.tables.buckets
    shares = landing.share_out(files)
    if rows + tables.count_of(night.warehouse, "listens", recent) <= _FEW_EVENTS:
        checked = pa.Table.from_batches(read_checked(chain(*shares), rules), CHECKED)
        seen = tables.rows(night.warehouse, "listens", pc.field("run_date").isin(recent), ["event_id"])
        judged = mark_bots(mark_duplicates(checked, seen["event_id"].combine_chunks()), rules.settings)
        listens = accepted(judged, night.run_date)
        placed = buckets_of(listens["user_id"].combine_chunks(), buckets)
        return (
            Account.of(judged, listens),
            listens.append_column("bucket", pa.array(placed)),
            rejected(judged, night.run_date),
        )
    exchange = EventExchange(
        rules=rules,
        shares=shares,
        recent=[
            listens
            for day in recent
            for listens in StoredRows.at(night.on(day), "listens", ["event_id"]).by_bucket(buckets)
        ],
        partitions=max(night.settings.spark.shuffle_partitions, rows // _EVENTS_TOGETHER),
        buckets=buckets,
        listens=night.warehouse.table_path("listens"),
        quarantine=night.warehouse.table_path("quarantine"),
    )
    return exchange.run(spark)


def _recent_nights(night: Night) -> list[date]:
    """The nights on which an event_id counts as seen."""
    first = night.run_date - timedelta(days=night.settings.listens.dedup_nights)
    closed = closed_dates(night.warehouse, stage("ingest_events").writes)
    return [
        day for day in tables.dates(night.warehouse, "listens") if first <= day < night.run_date and day not in closed
    ]


def _replace(rows: _Rows, table: str, spark: SparkSession, night: Night) -> None:
    if isinstance(rows, pa.Table):
        writing.replace_night(rows, table, night)
    else:
        writing.commit_files(spark, night, {table: rows})


def _ingest(night: Night, rows_read: int, account: Account) -> pa.Table:
    """The night's row of `ingests`: what was read, checked against what the tables hold and what was dropped."""
    outcomes = _sums(account.rows, by=1)
    reasons = {reason: outcomes[reason] for reason in REASONS if reason in outcomes}
    counts = {
        "listens": tables.count(night, "listens"),
        "duplicates": outcomes[DUPLICATE],
        "quarantined": sum(reasons.values()),
        "erased": outcomes[ERASED],
    }
    quarantined = tables.count(night, "quarantine")
    if sum(counts.values()) != rows_read or quarantined != counts["quarantined"]:
        raise InputError(
            "rows were lost or invented between the landing zone and the tables",
            where=f"{night.landing}/events/date={night.run_date}",
            found=f"{rows_read} rows read, {counts}, {quarantined} in quarantine",
            expected="rows_read = listens + duplicates + quarantined + erased",
            fix="check that no producer was still writing, and run the night again",
        )
    row = {
        "run_date": night.run_date,
        "rows_read": rows_read,
        **counts,
        "late": account.late,
        "listeners": account.listeners,
        "reasons": list(reasons.items()),
    }
    return pa.Table.from_pylist([row], schema=contract("ingests").arrow_schema)


def _sums(rows: Counter[tuple[str, str]], by: int) -> Counter[str]:
    """Rows by file, or by outcome, count."""
    sums: Counter[str] = Counter()
    for key, count in rows.items():
        sums[key[by]] += count
    return sums
