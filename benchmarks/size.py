"""One night of a service as large as the machine takes, beside smaller ones: what grows with listeners, and how.

    .venv/bin/python -m benchmarks.size --listeners 1000000 10000000 [--items 300000] [--events 3] [--json]

Simulates a service, of whose events about --events a listener are kept, and runs the stages of its first night, each
validated. For every stage: seconds; seconds of processor time, with its validation; the most memory of the driver
(Python and Java) and of the largest worker; files and bytes written. At the end each size beside the first: growth over
that of listeners, 1 for linear.
Buckets grow with the service, one for every --listeners-a-bucket; lists have 20 items, chosen from 50, so that the disk
holds them. The table goes to stderr; with --json, a line per stage to stdout.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks.load import tell_load
from benchmarks.memory import watching
from nocturne.core.console import print_rows, say
from nocturne.core.hashing import hash_ids
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.flow import GATED_TABLES, NIGHTLY, Stage
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.pipeline.stages import STAGES
from nocturne.storage import tables
from nocturne.storage.warehouse import create_missing
from nocturne.validation.validate_table import validate

NIGHT = date(2025, 1, 31)
EVENTS_A_NIGHT = 9.2
SETTINGS = (
    'als.recipe="settings"',
    "ranking.top_k=20",
    "ranking.candidates=50",
    "ranking.reserve=10",
    "spark.driver_memory=6g",
)
GROWING = ("seconds", "validation_seconds", "processor_seconds", "driver_mib", "worker_mib", "files", "bytes")
Line = dict[str, object]


def land(folder: Path, listeners: int, items: int, events: float, seed: int) -> int:
    """Land a day, of which about so many events a listener are kept; returns its rows."""
    simulate(folder, listeners, items, 1, seed=seed, start=NIGHT)
    day, rows = folder / "events" / f"date={NIGHT}", 0
    for file in sorted(day.glob("*.parquet")):
        landed = pq.read_table(file)
        share = hash_ids(landed["event_id"].combine_chunks().fill_null(""), seed) / 2.0**64
        kept = landed.filter(pa.array(share < events / EVENTS_A_NIGHT))
        pq.write_table(kept, file, compression="zstd", store_schema=False)
        rows += kept.num_rows
    for other in day.glob("*.jsonl.gz"):
        other.unlink()
    (day / "_SUCCESS").write_text(str(rows), encoding="utf-8")
    return rows


def stage_line(spark: SparkSession, night: Night, stage: Stage) -> Line:
    """One stage and the validation of what it wrote."""
    with watching() as peak:
        started = time.perf_counter()
        STAGES[stage.name](spark, night, lambda *_: None)
        seconds = time.perf_counter() - started
        if written := [table for table in stage.writes if table in GATED_TABLES]:
            validate(spark, night, written)
        validation = time.perf_counter() - started - seconds
    files = [file for table in stage.writes for file in tables.files(night, table)["size_bytes"].to_pylist()]
    if stage.name == "refresh_cache":
        files += [file.stat().st_size for file in Path(night.cache.removeprefix("lmdb:")).rglob("*") if file.is_file()]
    return {
        "stage": stage.name,
        "seconds": round(seconds, 1),
        "validation_seconds": round(validation, 1),
        "processor_seconds": round(peak.processor_seconds, 1),
        "driver_mib": round(peak.driver),
        "worker_mib": round(peak.worker),
        "files": len(files),
        "bytes": sum(files),
    }


def night_of(folder: Path, options: argparse.Namespace, listeners: int) -> Iterator[Line]:
    """The stages of a first night."""
    started = time.perf_counter()
    rows = land(folder / "landing", listeners, options.items, options.events, options.seed)
    say(f"{listeners:,} listeners: {rows:,} events landed in {time.perf_counter() - started:.0f} s")
    buckets = max(4, round(listeners / options.listeners_a_bucket))
    settings = load_settings(overrides=[*SETTINGS, f"tables.buckets={buckets}", *options.overrides])
    warehouse = Warehouse(str(folder / "warehouse"), settings)
    night = Night(warehouse, NIGHT, str(folder / "landing"), f"lmdb:{folder / 'cache'}")
    with spark_session(settings.spark, "benchmark") as spark:
        create_missing(warehouse)
        spark.range(1).count()
        for stage in NIGHTLY:
            line = {"listeners": listeners, **stage_line(spark, night, stage)}
            say(json.dumps(line))
            yield line


def growth(first: list[Line], other: list[Line]) -> Iterator[Line]:
    """How figures grew over how listeners did: 1 is linear, less is better."""
    for small, large in zip(first, other, strict=True):
        times = np.divide(large["listeners"], small["listeners"])  # type: ignore[arg-type]
        yield {"stage": large["stage"], "listeners": f"x {times:.0f}"} | {
            name: round(float(np.divide(large[name], small[name]) / times), 2) if small[name] else None  # type: ignore[arg-type]
            for name in GROWING
        }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, nargs="+", default=[1_000_000, 10_000_000], help="smallest first")
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--events", type=float, default=3, help="events a listener, about")
    parser.add_argument("--listeners-a-bucket", type=int, default=250_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    sizes: list[list[Line]] = []
    for listeners in options.listeners:
        with tempfile.TemporaryDirectory() as scratch:
            sizes.append(list(night_of(Path(scratch), options, listeners)))
        for line in sizes[-1] if options.json else ():
            print(json.dumps(line), flush=True)
    print_rows([line for size in sizes for line in size], f"{options.items:,} items", stream=sys.stderr)
    for size in sizes[1:]:
        print_rows(list(growth(sizes[0], size)), "growth over that of listeners", stream=sys.stderr)
    tell_load()


if __name__ == "__main__":
    main()
