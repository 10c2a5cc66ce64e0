"""Minutes and bytes that the erasure of a listener takes on a warehouse of many nights.

    .venv/bin/python -m benchmarks.erasure --nights 30 --listeners 100000 [--items 20000] [--erase 1]
        [--folder DIR] [--page FILE]

Simulates a service, runs whole nights in one Spark session, then has the listeners with the most listens of the first
day erased as `nocturne erase` and the next night do it. Prints how long the caches took to withhold them, each step of
the erasure with its seconds, bytes of the warehouse and bytes written anew, and the certificate as a page. With
--folder the nights are kept there, and used again if they are there already.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.load import tell_load
from nocturne.core.console import say
from nocturne.core.errors import GateClosed
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.lifecycle import certificate, erasure, requests
from nocturne.pipeline.runner import run_nights
from nocturne.serving.cache import open_cache
from nocturne.storage.warehouse import leased

FIRST = date(2025, 1, 1)
SETTINGS = ("als.recipe=settings", "als.factors=32", "als.retrain_every_nights=30", "tables.buckets=16")


def nights_of(folder: Path, count: int) -> list[Night]:
    """The nights of the service in a folder."""
    warehouse = Warehouse(str(folder / "warehouse"), load_settings(overrides=SETTINGS))
    days = (FIRST + timedelta(days=offset) for offset in range(count))
    return [Night(warehouse, day, str(folder / "landing"), f"lmdb:{folder / 'cache'}") for day in days]


def make(folder: Path, nights: list[Night], listeners: int, items: int) -> None:
    """Simulate the service and run its nights, unless they are there."""
    if (folder / "warehouse" / "nights").exists():
        return
    simulate(folder / "landing", listeners, items, len(nights), seed=1, start=FIRST)
    try:
        run_nights(nights)
    except GateClosed as error:
        say(str(error))


def busiest(folder: Path, count: int) -> list[str]:
    """Listeners with the most events of the first day."""
    (path,) = sorted((folder / "landing" / "events" / f"date={FIRST}").glob("*.parquet"))[:1]
    users = pq.read_table(path, columns=["user_id"])["user_id"].value_counts().to_pylist()
    sound = [each for each in users if each["values"]]
    return [each["values"] for each in sorted(sound, key=lambda each: (-each["counts"], each["values"]))[:count]]


def size(folder: Path) -> int:
    """Bytes below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def erase(folder: Path, nights: list[Night], count: int) -> str:
    """Erase listeners, tell what it took, and return the page of the certificate."""
    last, users, before = nights[-1], busiest(folder, count), size(folder / "warehouse")
    started = last_step = time.monotonic()
    requests.ask(last.warehouse, users, datetime.now(UTC), "a benchmark")
    erasure.withhold(last.warehouse, [last.cache], users)
    with open_cache(last.cache, read_only=True) as cache:
        served = sum(cache.get(user) is not None for user in users)
    say(f"withheld after {time.monotonic() - started:.2f} s; {served} of {count} are still served")

    def tell(text: str) -> None:
        nonlocal last_step
        now = time.monotonic()
        say(f"  + {now - last_step:6.1f} s  {text}")
        last_step = now

    tomorrow = last.run_date + timedelta(days=1)
    with leased(last.warehouse, tomorrow) as warehouse:
        done = erasure.carry_out(warehouse, last.landing, [last.cache], tomorrow, tell)
    assert done is not None
    seconds, written = time.monotonic() - started, sum(each.bytes_written for each in done.tables.values())
    say(
        f"{seconds / 60:.1f} minutes; {written / 2**20:,.0f} MiB of tables written anew, of {before / 2**20:,.0f} MiB; "
        f"{size(folder / 'warehouse') / 2**20:,.0f} MiB afterwards; complete: {done.complete}"
    )
    return certificate.page(json.loads(done.to_json()))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, required=True)
    parser.add_argument("--listeners", type=int, required=True)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--erase", type=int, default=1, help="listeners")
    parser.add_argument("--folder", type=Path, help="keep the service here")
    parser.add_argument("--page", type=Path, help="write the certificate as a page here")
    arguments = parser.parse_args()
    os.environ.setdefault("NOCTURNE_ERASURE_KEY", "a key for a benchmark, and for nothing else")
    tell_load()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        nights = nights_of(folder, arguments.nights)
        make(folder, nights, arguments.listeners, arguments.items)
        page = erase(folder, nights, arguments.erase)
    if arguments.page:
        arguments.page.write_text(page + "\n", encoding="utf-8")
    sys.stdout.write(page + "\n")


if __name__ == "__main__":
    main()
