"""Disk that a warehouse takes over many nights, with retention after each.

    .venv/bin/python -m benchmarks.retention --nights 200 [--listeners 300] [--items 200] [--keep 7] [--json]

Simulates a small service, runs whole nights in one Spark session, and after each what `nocturne retain` does, with
limits of a few nights and files that go at once. Every tenth night a line tells bytes and files below the warehouse,
and of them those of transaction logs; with --json, one a night goes to stdout. At the end: the most bytes and files of
the last quarter of the nights over those of the second quarter, which is 1 where the disk is flat. The item index keeps
every night, and checkpoints tell of removed files for days, which these nights do not take: it comes out just above.
"""

import argparse
import json
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from benchmarks.load import tell_load
from nocturne.core.console import print_rows, say
from nocturne.core.errors import GateClosed
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import Settings, load_settings
from nocturne.core.spark.session import spark_session
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.lifecycle.retention import retain
from nocturne.pipeline.runner import run_nights
from nocturne.storage.warehouse import leased

FIRST = date(2025, 1, 1)
EVERY = 10

Line = dict[str, float]


def limits(keep: int) -> Settings:
    """Settings that keep so many nights of every table, and twice as many of the models and of `nights`."""
    longer = {"nights", "models", "item_factors"}
    kept = {name: keep * (1 + (name in longer)) for name in load_settings().retention.nights}
    overrides = [f"retention.nights.{name}={nights}" for name, nights in kept.items()]
    return load_settings(overrides=["retention.removed_files_hours=0", "als.factors=8", *overrides])


def measure(folder: Path, offset: int, seconds: float, retained: float, *, closed: bool) -> Line:
    """Bytes and files below the warehouse and the cache after a night."""
    sizes = {path: path.stat().st_size for path in (folder / "warehouse").rglob("*") if path.is_file()}
    logs = [size for path, size in sizes.items() if "_delta_log" in path.parts]
    cache = sum(path.stat().st_blocks * 512 for path in (folder / "cache").rglob("*") if path.is_file())
    return {
        "night": offset + 1,
        "bytes": sum(sizes.values()),
        "files": len(sizes),
        "log_bytes": sum(logs),
        "log_files": len(logs),
        "cache_bytes": cache,
        "seconds": seconds,
        "retention_seconds": retained,
        "closed": closed,
    }


SIZES = {"data": "bytes", "log": "log_bytes", "cache": "cache_bytes"}


def run(folder: Path, nights: int, settings: Settings) -> list[Line]:
    """Run the nights, each followed by retention on the day after it."""
    lines = []
    with spark_session(settings.spark, "benchmark"):
        for offset in range(nights):
            day = FIRST + timedelta(days=offset)
            warehouse = Warehouse(str(folder / "warehouse"), settings)
            night = Night(warehouse, day, str(folder / "landing"), f"lmdb:{folder / 'cache'}")
            started, closed = time.monotonic(), False
            try:
                run_nights([night])
            except GateClosed:
                closed = True
            done = time.monotonic()
            tomorrow = day + timedelta(days=1)
            with leased(warehouse, tomorrow) as writable:
                retain(writable, tomorrow)
            lines.append(measure(folder, offset, done - started, time.monotonic() - done, closed=closed))
            if lines[-1]["night"] % EVERY == 0:
                say(" ".join(f"{name} {value:,.4g}" for name, value in lines[-1].items()))
    return lines


def growth(lines: list[Line], name: str) -> float:
    """The most of the last quarter over the most of the second quarter."""
    quarter = len(lines) // 4
    return max(line[name] for line in lines[-quarter:]) / max(line[name] for line in lines[quarter : 2 * quarter])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, required=True, help="at least 4")
    parser.add_argument("--listeners", type=int, default=300)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--keep", type=int, default=7, help="nights that tables keep")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tell_load()
    with tempfile.TemporaryDirectory() as folder:
        landing = Path(folder) / "landing"
        simulate(landing, arguments.listeners, arguments.items, arguments.nights, seed=1, start=FIRST)
        lines = run(Path(folder), arguments.nights, limits(arguments.keep))
    for line in lines if arguments.json else ():
        sys.stdout.write(json.dumps(line) + "\n")
    shown = [
        {"night": line["night"]}
        | {f"{name} MiB": round(line[column] / 2**20, 2) for name, column in SIZES.items()}
        | {"files": line["files"], "log files": line["log_files"]}
        for line in lines[EVERY - 1 :: EVERY] or lines[-1:]
    ]
    print_rows(shown, f"{len(lines)} nights", stream=sys.stderr)
    ratios = ", ".join(f"{name} {growth(lines, name):.3f}" for name in ("bytes", "files", "log_bytes", "log_files"))
    say(f"last quarter over second quarter: {ratios}; {sum(line['closed'] for line in lines):.0f} gates closed")


if __name__ == "__main__":
    main()
