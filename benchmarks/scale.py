"""A simulated service through the whole night: time, memory and bytes of every stage, in full and incrementally.

    .venv/bin/python -m benchmarks.scale --listeners 1000000 --items 100000 [--interactions 50] [--curves] [--json]

The service has listened for some days before its first night, until there are about --interactions pairs a listener:
all of that is landed as one day, with the days before it as late events, and goes through every stage from landing
files to the serving cache. On the second night 5 % of the listeners are active, and the model stays: it is ranked as it
comes, and then once more with every pool computed afresh; the lists of both must be the same to the bit.
With --active 1 everyone listens on the second night, which goes through every stage; its recurring duplicates and late
events are those of the night before. After a whole night its seconds are summed up.
With --stored the rows of listeners, of about 45 items each, are invented and stored as the matrix, and the nights begin
with training: what learning and ranking cost, without the time that so many events take to ingest on two cores.
With --curves it ranks stored rows of invented listeners instead, in one process on one core, and varies one thing at a
time: listeners, items, factors, items a list, share of the listeners that changed.
The table goes to stderr; with --json, a line per stage or point to stdout.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks.load import tell_load
from benchmarks.memory import watching
from benchmarks.rank_curves import BATCH, curves, invent_rows
from nocturne.core.console import print_rows, say
from nocturne.core.hashing import hash_ids
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.flow import GATED_TABLES, NIGHTLY, Stage, stage
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.pipeline.stages import STAGES
from nocturne.storage import tables, writing
from nocturne.storage.bucket_files import BucketWriter
from nocturne.storage.contracts import contract
from nocturne.storage.stored_rows import StoredRows
from nocturne.storage.warehouse import create_missing
from nocturne.validation.validate_table import validate

FIRST = date(2025, 1, 31)
EVENTS_A_NIGHT = 9.2
"""Events of a simulated listener in a night, on average."""

TRAIN_ALS, RANK_USERS = stage("train_als"), stage("rank_users")

SETTINGS = (
    "als.retrain_every_nights=7",
    "listens.late_days=30",
    "expectations.listens.max_share_late=1",
    "expectations.listens.min_vs_recent=0",
    "spark.driver_memory=6g",
)
Line = dict[str, object]


def land(folder: Path, listeners: int, items: int, days: int, active: float, seed: int) -> None:
    """Land `days` of a service as its first day, and on the next one what a share of the listeners hear."""
    begun = FIRST - timedelta(days=days - 1)
    simulate(folder / "simulated", listeners, items, days + 1, seed=seed, start=begun)
    landing = folder / "landing"
    first, second = (landing / "events" / f"date={FIRST + timedelta(days=night)}" for night in range(2))
    for day in (first, second):
        day.mkdir(parents=True)
    (folder / "simulated" / "items").rename(landing / "items")
    for night in range(days):
        simulated = folder / "simulated" / "events" / f"date={begun + timedelta(days=night)}"
        for file in sorted(simulated.glob("*.parquet")):
            file.rename(first / f"{night:02d}-{file.name}")
    last = folder / "simulated" / "events" / f"date={FIRST + timedelta(days=1)}"
    for file in sorted(last.glob("events-*.parquet")):
        events = pq.read_table(file)
        is_active = hash_ids(events["user_id"].combine_chunks(), seed) < np.uint64(
            min(active * 2.0**64, 2.0**64 - 2048)
        )
        pq.write_table(events.filter(pa.array(is_active)), second / file.name, compression="zstd", store_schema=False)
    for day in (first, second):
        rows = sum(pq.read_metadata(file).num_rows for file in day.glob("*.parquet"))
        (day / "_SUCCESS").write_text(str(rows), encoding="utf-8")


def run(spark: SparkSession, night: Night, stage: Stage, name: str, *, validated: bool = True) -> Line:
    """One stage and the validation of what it wrote."""
    with watching() as peak:
        started = time.perf_counter()
        work = STAGES[stage.name](spark, night, lambda *_: None)
        seconds = time.perf_counter() - started
        written = [table for table in stage.writes if table in GATED_TABLES and validated]
        closed = [
            verdict.failures for verdict in (validate(spark, night, written) if written else []) if verdict.closed
        ]
        validation = time.perf_counter() - started - seconds
    if closed:
        raise SystemExit(f"{stage.name} closed the gate: {closed}")
    return {
        "night": name,
        "stage": stage.name,
        "seconds": round(seconds, 1),
        "validation_seconds": round(validation, 1),
        "rows_read": work.read,
        "peak_mib": round(peak.total),
        "peak_workers_mib": round(peak.workers),
        "bytes_written": sum(bytes_of(night, table) for table in stage.writes),
    }


def bytes_of(night: Night, table: str) -> int:
    """Size of the night's files of a table."""
    return sum(tables.files(night, table)["size_bytes"].to_pylist())


def by_polars(night: Night, folder: Path) -> Line:
    """The same files ingested by Polars, in a process of its own, beside the nights before."""
    day = f"{night.landing}/events/date={night.run_date}"
    program = [sys.executable, "-m", "benchmarks.polars_ingestion", day, str(folder / "polars")]
    done = subprocess.run(program, stdout=subprocess.PIPE, check=True, text=True)
    return {"night": "first", "stage": "ingestion by Polars", **json.loads(done.stdout)}


def account(night: Night) -> Line:
    """Reasons, processor seconds and way of the night's ranking."""
    (row,) = tables.night_rows(night, "rankings").to_pylist()
    return {"reasons": dict(row["reasons"]), "processor_seconds": dict(row["seconds"]), "way": row["way"]}


def solving_and_scoring(night: Night) -> float:
    """Processor seconds of the two."""
    (row,) = tables.night_rows(night, "rankings", ["seconds"]).to_pylist()
    return sum(seconds for what, seconds in row["seconds"] if what in {"solve", "score"})


def lists_of(night: Night) -> pa.Table:
    """Digest of every list, in the order of listeners."""
    return tables.night_rows(night, "ranked_lists", ["user_id", "candidates", "digest"]).sort_by("user_id")


def nights(folder: Path, options: argparse.Namespace) -> Iterator[Line]:
    """Both nights, stage by stage, and the second one's ranking in full."""
    first, second = both_nights(folder, options)
    with spark_session(first.settings.spark, "benchmark") as spark:
        create_missing(first.warehouse)
        spark.range(1).count()
        for stage in NIGHTLY:
            yield run(spark, first, stage, "first") | (account(first) if stage == RANK_USERS else {})
            if stage.name == "ingest_events":
                yield by_polars(first, folder)
        yield size_of(first, options.items, folder)
        if options.active == 1:
            for stage in NIGHTLY:
                yield run(spark, second, stage, "second") | (account(second) if stage == RANK_USERS else {})
            return
        for stage in NIGHTLY[: NIGHTLY.index(RANK_USERS)]:
            yield run(spark, second, stage, "5 % active")
        yield from ranked_twice(spark, second)


def stored_nights(folder: Path, options: argparse.Namespace) -> Iterator[Line]:
    """The same from a matrix that was invented, its tables not validated."""
    first, second = both_nights(folder, options)
    with spark_session(first.settings.spark, "benchmark") as spark:
        create_missing(first.warehouse)
        spark.range(1).count()
        store(spark, first, options.listeners, options.items, changed=0)
        for stage in (TRAIN_ALS, RANK_USERS):
            yield run(spark, first, stage, "first", validated=False)
        yield size_of(first, options.items, folder) | account(first)
        store(spark, second, options.listeners, options.items, changed=0.05)
        yield from ranked_twice(spark, second, validated=False)


def both_nights(folder: Path, options: argparse.Namespace) -> tuple[Night, Night]:
    """The first night and the one after it."""
    settings = load_settings(overrides=[*SETTINGS, f"tables.buckets={options.buckets}", *options.overrides])
    first = Night(
        Warehouse(str(folder / "warehouse"), settings), FIRST, str(folder / "landing"), f"lmdb:{folder / 'cache'}"
    )
    return first, replace(first, run_date=FIRST + timedelta(days=1))


def store(spark: SparkSession, night: Night, listeners: int, items: int, changed: float) -> None:
    """Write the night's matrix: on a later night than the first a share of the rows has one more play."""
    names = pa.array([f"t{item:07d}" for item in range(items)])
    index = {"first_night": [FIRST] * items, "item_index": np.arange(items, dtype=np.int32), "item_id": names}
    if night.run_date == FIRST:
        writing.replace_night(pa.table(index).cast(contract("item_index").arrow_schema), "item_index", night)
    buckets, files = night.settings.tables.buckets, []
    for bucket, part in enumerate(np.array_split(np.arange(listeners), buckets)):
        schema = contract("interactions").arrow_schema
        writer = BucketWriter(night.warehouse.table_path("interactions"), schema, str(night.run_date), bucket)
        for start in range(int(part[0]), int(part[-1]) + 1, BATCH):
            rows = pa.Table.from_batches([invent_rows(start, min(BATCH, int(part[-1]) + 1 - start), items)])
            count = len(rows)
            heard_now = np.random.default_rng(start).random(count) < changed
            suffix = pa.array(np.where(heard_now, f" {night.run_date}", ""))
            days = pa.array(np.where(heard_now, night.run_date, FIRST), pa.date32())
            rows = rows.set_column(
                rows.column_names.index("digest"),
                "digest",
                pc.binary_join_element_wise(rows["digest"], suffix, ""),
            )
            rows = rows.append_column("changed_on", days)
            writer.write(rows.append_column("market_heard_at", pa.nulls(count, pa.timestamp("us", "UTC"))))
        files.append(writer.close())
    writing.commit_files(spark, night, {"interactions": files})


def ranked_twice(spark: SparkSession, night: Night, *, validated: bool = True) -> Iterator[Line]:
    """A night's ranking as it comes, then in full, and what the one costs beside the other."""
    yield run(spark, night, RANK_USERS, "5 % active", validated=validated) | account(night)
    incremental, lists = solving_and_scoring(night), lists_of(night)
    whole = night.settings.ranking.model_copy(update={"carry_over": False})
    full = night.with_settings(night.settings.model_copy(update={"ranking": whole}))
    yield run(spark, full, RANK_USERS, "5 % active, in full", validated=validated) | account(full)
    yield {
        "night": "5 % active",
        "solving_and_scoring_vs_in_full": round(incremental / solving_and_scoring(full), 4),
        "identical_lists": lists.equals(lists_of(full)),
    }


def size_of(night: Night, items: int, folder: Path) -> Line:
    """Listeners, items, interactions and cache bytes of the service."""
    cache = sum(file.stat().st_size for file in (folder / "cache").rglob("*.mdb"))
    return {
        "night": "first",
        "listeners": tables.count(night, "interactions"),
        "items": items,
        "interactions": interactions_of(night),
        "cache_bytes": cache,
    }


def interactions_of(night: Night) -> int:
    """Pairs in the matrix."""
    stored = StoredRows.at(night, "interactions", ["item_indexes"])
    return sum(pc.sum(pc.list_value_length(batch.column("item_indexes"))).as_py() for batch in stored)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--interactions", type=float, default=50, help="pairs a listener, about")
    parser.add_argument("--active", type=float, default=0.05, help="share of listeners on the second night")
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; kept, and landing files in it are used again")
    parser.add_argument("--stored", action="store_true", help="begin with a stored matrix instead of events")
    parser.add_argument("--curves", action="store_true", help="vary one thing at a time instead")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if options.curves:
            lines = curves(folder, options.listeners, options.items)
        elif options.stored:
            lines = stored_nights(folder, options)
        else:
            if not (folder / "landing").exists():
                days = max(1, round(options.interactions / EVENTS_A_NIGHT))
                land(folder, options.listeners, options.items, days, options.active, options.seed)
            lines = nights(folder, options)
        rows: list[Line] = []
        of_nights: defaultdict[object, float] = defaultdict(float)
        for line in lines:
            if "validation_seconds" in line:
                of_nights[line["night"]] += float(str(line["seconds"])) + float(str(line["validation_seconds"]))
            if options.json:
                print(json.dumps(line), flush=True)
            names = rows[0] if rows else [name for name, value in line.items() if not isinstance(value, dict)]
            if set(names) <= set(line):
                rows.append({name: line[name] for name in names})
            else:
                say(json.dumps(line))
        for name, seconds in of_nights.items():
            say(f"{name}: {seconds:.0f} s")
        print_rows(rows, f"{options.listeners:,} listeners, {options.items:,} items", stream=sys.stderr)


if __name__ == "__main__":
    main()
