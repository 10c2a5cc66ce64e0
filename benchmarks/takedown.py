"""Takedowns while everybody reads, and while a refresh loads the next generation and moves the pointer to it.

    .venv/bin/python -m benchmarks.takedown --store lmdb --reads 1000000 --json
    .venv/bin/python -m benchmarks.takedown --store redis --reads 100000 --json
    .venv/bin/python -m benchmarks.takedown --store lmdb --http --reads 10000 --json

Items are taken down one after another, as `nocturne takedown` does it: landed, then laid over the cache. Processes read
lists of listeners all the time, and look at the clock when they have one. What counts is how long after the return of a
takedown its item was still read, and how many lists were not full. A clock that goes on while a process stands still
tells a read too late rather than too early.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Barrier
from pathlib import Path
from socket import create_server

import httpx
import numpy as np
import pyarrow as pa

from benchmarks.serve import KIND, LISTED, Rows, invent_items, serving
from nocturne.serving.cache import Cache, Generation, GenerationInfo, Pointer, open_cache
from nocturne.serving.takedowns import TakedownRequest, take_down

NIGHT = date(2026, 3, 2)
RESERVED = 10
SHOWN = 20
Results = Queue  # of numbers: longest, short, reads, reads after the first takedown
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Hammering:
    """A measurement.

    Attributes:
        reads: of all processes together.
        http: ask the service instead of the cache.
    """

    store: str
    http: bool
    reads: int
    readers: int = 2
    listeners: int = 2_000
    items: int = 5_000
    pause_seconds: float = 0.1
    seed: int = 1


class Reserving(Rows):
    """Rows of distinct items, with something in reserve."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Rows as `ServedRows` puts them together."""
        for batch in super().__iter__():
            random = np.random.default_rng([self.seed, batch.num_rows])
            steps = 7 * np.arange(LISTED + RESERVED)
            numbers = (random.integers(0, len(self.ids), (batch.num_rows, 1)) + steps) % len(self.ids)
            scores = batch["items"].flatten().field("score")
            listed = pa.StructArray.from_arrays(
                [self.ids.take(pa.array(numbers[:, :LISTED].ravel())), scores], ["item_id", "score"]
            )
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            columns["items"] = _lists(batch.num_rows, LISTED, listed)
            reserve = pa.array(numbers[:, LISTED:].ravel().astype(np.int32))
            columns["reserve"] = _lists(batch.num_rows, RESERVED, reserve)
            yield pa.RecordBatch.from_pydict(columns)


def load(cache: Cache, asked: Hammering, night: int) -> None:
    """Load a night, and serve it."""
    items = invent_items(asked.items, asked.seed)
    run_date = NIGHT + timedelta(days=night)
    generation = Generation(f"{run_date}-{night:08x}", run_date)
    info = GenerationInfo(run_date, asked.listeners, (KIND,), items["item_id"], ("SE",), items)
    rows = Reserving(asked.listeners, items["item_id"].combine_chunks(), asked.seed + night)
    cache.load(generation.name, info, [rows])
    pointer = cache.pointer()
    version = pointer.version + 1 if pointer else 1
    cache.swap_pointer(pointer, Pointer(generation, pointer.retained[:1] if pointer else (), version=version))


def _lists(rows: int, width: int, values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), values)


@contextmanager
def down_at(name: str, items: int) -> Iterator[np.ndarray]:
    """When each takedown had returned, by number of its item; never: infinity. Shared by processes."""
    with closing(SharedMemory(name)) as memory:
        yield np.ndarray(items, np.float64, memory.buf)


def read(asked: Hammering, place: str, shared: str, number: int, start: Barrier, results: Results) -> None:
    """Read a share of all reads; tell the longest that an item was seen after its takedown, and lists too short."""
    random = np.random.default_rng([asked.seed, number])
    share = asked.reads // asked.readers
    latest, short, after = -np.inf, 0, 0
    with ExitStack() as open_, down_at(shared, asked.items) as returned:
        listen = open_.enter_context(_by_http(place) if asked.http else _by_cache(place))
        length = SHOWN if asked.http else LISTED
        listen("u00000000")
        start.wait()
        for user in random.integers(0, asked.listeners, share).tolist():
            numbers = listen(f"u{user:08d}")
            now = time.monotonic()
            since = now - returned[numbers].min()
            latest, short = max(latest, since), short + (len(numbers) < length)
            after += int(np.isfinite(returned).any())
    results.put((latest, short, share, after))


@contextmanager
def _by_cache(url: str) -> Iterator[Callable[[str], list[int]]]:
    with open_cache(url, read_only=True) as cache:

        def items(user: str) -> list[int]:
            found = cache.get(user)
            assert found is not None
            return [int(item[1:]) for item in found.item_ids]

        yield items


@contextmanager
def _by_http(place: str) -> Iterator[Callable[[str], list[int]]]:
    with httpx.Client(base_url=place, timeout=30) as client:

        def items(user: str) -> list[int]:
            answer = client.get(f"/v1/listeners/{user}/list", params={"limit": SHOWN})
            answer.raise_for_status()
            return [int(each["item_id"][1:]) for each in answer.json()["items"]]

        yield items


def hammer(asked: Hammering, url: str, folder: Path) -> dict[str, object]:
    """Load a night, then read it while items are taken down and the nights after it are refreshed."""
    landing = folder / "landing"
    landing.mkdir(parents=True)
    with ExitStack() as open_:
        cache = open_.enter_context(open_cache(url))
        load(cache, asked, 0)
        memory = open_.enter_context(closing(SharedMemory(create=True, size=8 * asked.items)))
        open_.callback(memory.unlink)
        returned = np.ndarray(asked.items, np.float64, memory.buf)
        returned[:] = np.inf
        place = open_.enter_context(_served(url)) if asked.http else url
        results, start = _SPAWN.Queue(), _SPAWN.Barrier(asked.readers + 2)
        readers = [
            _SPAWN.Process(target=read, args=(asked, place, memory.name, number, start, results))
            for number in range(asked.readers)
        ]
        refresh = _SPAWN.Process(target=_refresh, args=(asked, url, start))
        for process in (*readers, refresh):
            process.start()
        start.wait()
        took = _take_down(cache, landing, returned, readers, asked)
        seen = [results.get(timeout=600) for _ in readers]
        for process in (*readers, refresh):
            process.join(600)
        pointer = cache.pointer()
        del returned
    assert pointer is not None
    latest = max(each[0] for each in seen)
    return {
        "store": asked.store,
        "by": "HTTP" if asked.http else "Cache.get",
        "reads": sum(each[2] for each in seen),
        "reads_after_a_takedown": sum(each[3] for each in seen),
        "takedowns": len(took),
        "refreshes": pointer.version - 1,
        "takedown_ms_p50": round(1000 * float(np.median(took)), 2),
        "latest_seen_seconds": None if latest == -np.inf else round(latest, 4),
        "lists_too_short": sum(each[1] for each in seen),
        "processors": os.cpu_count(),
    }


def _take_down(
    cache: Cache, landing: Path, returned: np.ndarray, readers: list[SpawnProcess], asked: Hammering
) -> list[float]:
    """Take items down while anybody reads; returns how long each took, in seconds."""
    took: list[float] = []
    order = np.random.default_rng(asked.seed).permutation(asked.items)
    for number in order[: asked.items // 50].tolist():
        if not any(process.is_alive() for process in readers):
            break
        begun = time.monotonic()
        take_down(cache, landing, TakedownRequest([f"t{number:07d}"], "measured"))
        returned[number] = time.monotonic()
        took.append(returned[number] - begun)
        time.sleep(asked.pause_seconds)
    return took


def _refresh(asked: Hammering, url: str, start: Barrier) -> None:
    with open_cache(url) as cache:
        start.wait()
        for night in (1, 2):
            load(cache, asked, night)


@contextmanager
def _served(url: str) -> Iterator[str]:
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [str(Path(sys.executable).with_name("nocturne")), "serve", "--cache", url, "--port", str(port)]
    with serving(command, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def store_of(name: str, folder: Path) -> Iterator[str]:
    """URL of an empty cache in a folder, or on a server of its own."""
    if name == "lmdb":
        yield f"lmdb:{folder / 'cache'}"
        return
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)], stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(0.5)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    """Measure, print, and fail if an item was seen a second after its takedown, or a list was short."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", choices=("lmdb", "redis"), default="lmdb")
    parser.add_argument("--http", action="store_true", help="ask the service instead of the cache")
    parser.add_argument("--reads", type=int, default=1_000_000)
    parser.add_argument("--readers", type=int, default=2, help="processes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, store_of(options.store, Path(folder)) as url:
        told = hammer(Hammering(options.store, options.http, options.reads, options.readers), url, Path(folder))
    print(json.dumps(told) if options.json else "\n".join(f"{name}: {value}" for name, value in told.items()))
    latest = told["latest_seen_seconds"]
    if told["lists_too_short"] or (isinstance(latest, float) and latest > 1):
        raise SystemExit("an item was seen too late, or a list was too short")


if __name__ == "__main__":
    main()
