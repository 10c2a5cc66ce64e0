"""A whole refresh of LMDB, from validated lists to the pointer, and how soon readers see a rollback.

    .venv/bin/python -m benchmarks.refresh --listeners 1000000 --items 100

The lists are invented and committed to a warehouse as ranking commits them. Then the stage `refresh_cache` runs as at
night: the gate hashes the bytes of every file, coverage is counted, the manifest sealed, the lists loaded and counted,
a sample compared, the pointer moved. A second night, and `nocturne rollback`, while another process reads all the time.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from benchmarks.cache import invent, user_id
from benchmarks.load import tell_load
from benchmarks.memory import watching
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.flow import GATED_TABLES
from nocturne.serving.cache import open_cache
from nocturne.serving.refresh_cache import refresh_cache
from nocturne.storage import fingerprints, tables, writing
from nocturne.storage.bucket_files import BucketWriter
from nocturne.storage.contracts import contract
from nocturne.storage.warehouse import leased
from nocturne.validation.suites import critical_expectations

FIRST = date(2026, 3, 1)
BATCH = 8192


def write_lists(spark: SparkSession, night: Night, options: argparse.Namespace, seed: int) -> None:
    """A list for every listener, and a catalogue."""
    item_ids = pa.array([f"track-{number:09d}" for number in range(options.catalogue)])
    indexes = {"first_night": [FIRST] * len(item_ids), "item_index": range(len(item_ids)), "item_id": item_ids}
    writing.replace_rows(
        pa.table(indexes, contract("item_index").arrow_schema),
        "item_index",
        night.warehouse,
        f"first_night = '{FIRST}'",
    )
    blank = {"run_date": night.run_date, "content_type": "track", "absent": False}
    catalogue = [blank | {"item_id": item} for item in item_ids.to_pylist()]
    writing.replace_night(pa.Table.from_pylist(catalogue, contract("items").arrow_schema), "items", night)
    path, schema, buckets = night.warehouse.table_path("ranked_lists"), contract("ranked_lists").arrow_schema, []
    for bucket in range(night.settings.tables.buckets):
        random = np.random.default_rng([seed, bucket])
        ours = np.arange(bucket, options.listeners, night.settings.tables.buckets)
        writer = BucketWriter(path, schema, str(night.run_date), bucket)
        for start in range(0, len(ours), BATCH):
            writer.write(_rows(invent(ours[start : start + BATCH], item_ids, options.items, random), options.items))
        buckets.append(writer.close())
    writing.commit_files(spark, night, {"ranked_lists": buckets})


def _rows(lists: pa.RecordBatch, length: int) -> pa.Table:
    rows = lists.num_rows
    more = {
        "market": pa.array(["SE"] * rows),
        "propensities": pa.nulls(rows, pa.list_(pa.float64())),
        "cold": pa.nulls(rows, pa.list_(pa.int32())),
        "candidates": pa.array([length] * rows, pa.int32()),
        "digest": lists["user_id"],
    }
    return pa.table({**{name: lists[name] for name in lists.schema.names}, **more})


def validate(spark: SparkSession, night: Night) -> float:
    """Record that every critical expectation held; returns the seconds that hashing rows and files took."""
    started = time.perf_counter()
    content = fingerprints.row_hashes(spark, night, GATED_TABLES)
    files = {table: fingerprints.file_hashes(night, table) for table in GATED_TABLES}
    seconds = time.perf_counter() - started
    held: dict[str, Any] = {"run_date": night.run_date, "severity": "critical", "outcome": "success", "limit": ">= 0"}
    rows = [
        held | {"table": table, "expectation": name, "seconds": 0.0, "content": content[table], "files": files[table]}
        for table in GATED_TABLES
        for name in sorted(critical_expectations()[table])
    ]
    writing.replace_night(pa.Table.from_pylist(rows, contract("validations").arrow_schema), "validations", night)
    return seconds


def watch(cache: str, listeners: int, stop: Any, seen: Any) -> None:
    """Read random lists, and say when a list of another night was first seen."""
    last, draw = "", np.random.default_rng(5)
    with open_cache(cache, read_only=True) as store:
        while not stop.is_set():
            found = store.get(user_id(int(draw.integers(listeners))))
            if found and str(found.run_date) != last:
                last = str(found.run_date)
                seen.put((last, time.time()))


@contextmanager
def reading(cache: str, listeners: int) -> Iterator[Any]:
    """Another process that reads; yields a queue of (night, when it was first seen)."""
    spawn = multiprocessing.get_context("spawn")
    stop, seen = spawn.Event(), spawn.Queue()
    reader = spawn.Process(target=watch, args=(cache, listeners, stop, seen))
    reader.start()
    try:
        yield seen
    finally:
        stop.set()
        reader.join()


def roll_back(night: Night, listeners: int) -> dict[str, float]:
    """Seconds from the command's start, and from the start of its work, to the first list of the earlier night."""
    with reading(night.cache, listeners) as seen:
        seen.get(timeout=60)
        started = time.time()
        program = str(Path(sys.executable).with_name("nocturne"))
        subprocess.run(
            [program, "rollback", "--cache", night.cache, "--why", "benchmark"], check=True, capture_output=True
        )
        ended, (_, first_seen) = time.time(), seen.get(timeout=60)
        return {"rollback, command to first read": first_seen - started, "rollback, whole command": ended - started}


def measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Two nights, refreshed; then a rollback."""
    settings = load_settings(overrides=[f"tables.buckets={options.buckets}", "spark.driver_memory=3g"])
    warehouse, cache = Warehouse(str(folder / "warehouse"), settings), f"lmdb:{folder / 'cache'}"
    found: dict[str, float] = {}
    with spark_session(settings.spark, "benchmark") as spark:
        for offset in range(2):
            run_date = FIRST + timedelta(days=offset)
            with leased(warehouse, run_date) as writable:
                night = Night(writable, run_date, cache=cache)
                write_lists(spark, night, options, offset)
                found["hashing rows and files when validated"] = validate(spark, night)
                started = time.perf_counter()
                with watching() as peak:
                    work = refresh_cache(spark, night, lambda *_: None)
                found["refresh_cache"] = time.perf_counter() - started
                found["peak memory of all processes, MiB"] = peak.total
                assert work.remark.startswith("serving"), work
        found["ranked_lists, MiB"] = sum(tables.files(night, "ranked_lists")["size_bytes"].to_pylist()) / 2**20
        return found | roll_back(night, options.listeners)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100, help="items of a list")
    parser.add_argument("--catalogue", type=int, default=100_000)
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="where to work; a new folder in it is removed in the end")
    options = parser.parse_args()
    tell_load()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        found = measure(Path(scratch), options)
    sizes = {"listeners": options.listeners, "items": options.items, "cores": os.cpu_count()}
    print(json.dumps(sizes | {name: round(value, 2) for name, value in found.items()}, indent=1))


if __name__ == "__main__":
    main()
