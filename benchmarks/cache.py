"""Cost of the serving caches: time and bytes of a full load, and lists read a second.

    .venv/bin/python -m benchmarks.cache --listeners 1000000 --items 100 --catalogue 100000

The lists are invented, written as Parquet, and read from there by every load, as a night's are. LMDB is filled and read
by one process on one core; a redis-server on loopback is filled by --processes, beside one process that sets
the same values by plain keys with redis-py's own pipeline, as one would without this library.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import redis

from benchmarks.load import tell_load
from nocturne.core.console import print_rows
from nocturne.serving.cache import Cache, Generation, GenerationInfo, ListKind, ParallelMap, Pointer, open_cache
from nocturne.serving.cache.encoding import Encoder

NIGHT = date(2026, 3, 2)
KINDS = tuple(ListKind("control", source, "als-20260302") for source in ("als", "previous", "global_popular"))
GENERATION = Generation("2026-03-02-benchmar", NIGHT)
BATCH, ROW_GROUP, PIPELINE = 4096, 65_536, 1_000
Line = dict[str, str | int | float]


@dataclass(frozen=True)
class StoredPart:
    """A Parquet file, read anew each time, as the files of a bucket are."""

    path: str

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The rows, in order of user_id."""
        yield from pq.ParquetFile(self.path, pre_buffer=False).iter_batches(BATCH, use_threads=False)


def write_parts(folder: Path, options: argparse.Namespace) -> tuple[GenerationInfo, list[StoredPart]]:
    """Invent a list for every listener, and write them into so many files as there are buckets."""
    item_ids = pa.array([f"track-{number:09d}" for number in range(options.catalogue)])
    everybody = np.arange(options.listeners)
    parts = []
    for part in range(options.buckets):
        random, ours = np.random.default_rng([options.seed, part]), everybody[part :: options.buckets]
        path = folder / f"{part:04d}.parquet"
        with pq.ParquetWriter(path, invent(ours[:1], item_ids, options.items, random).schema) as writer:
            for start in range(0, len(ours), ROW_GROUP):
                writer.write_batch(invent(ours[start : start + ROW_GROUP], item_ids, options.items, random))
        parts.append(StoredPart(str(path)))
    return GenerationInfo(NIGHT, options.listeners, KINDS, item_ids), parts


def invent(listeners: np.ndarray, item_ids: pa.Array, length: int, random: np.random.Generator) -> pa.RecordBatch:
    """A list of items for each listener: the first items of the catalogue are in most lists."""
    rows = len(listeners)
    numbers = (len(item_ids) * random.random(rows * length) ** 3).astype(np.int32)
    scores = -np.sort(-random.random((rows, length)), axis=1).ravel()
    items = pa.StructArray.from_arrays([item_ids.take(pa.array(numbers)), pa.array(scores)], ["item_id", "score"])
    kinds = [KINDS[kind] for kind in random.choice(len(KINDS), rows, p=[0.9, 0.08, 0.02])]
    ends = pa.array(np.arange(rows + 1, dtype=np.int32) * length)
    return pa.record_batch(
        {
            "user_id": pa.array([user_id(each) for each in listeners]),
            **{name: pa.array([getattr(kind, name) for kind in kinds]) for name in ListKind._fields},
            "items": pa.ListArray.from_arrays(ends, items),
        }
    )


def user_id(listener: int) -> str:
    """Ids as long as those of most services."""
    return f"listener-{listener:012d}"


def embedded(folder: Path, info: GenerationInfo, parts: list[StoredPart], reads: int) -> Iterator[Line]:
    """Load LMDB, then read random lists of it on one core."""
    with open_cache(f"lmdb:{folder}") as cache:
        started = time.perf_counter()
        stored = cache.load(GENERATION.name, info, parts)
        seconds = time.perf_counter() - started
        cache.swap_pointer(None, Pointer(GENERATION))
        size = sum(file.stat().st_size for file in folder.rglob("data.mdb"))
        yield line("LMDB: load, one process", stored, seconds, size)
        yield read(cache, "LMDB: read, cold", info.lists, reads // 4, 1)
        yield read(cache, "LMDB: read, one core", info.lists, reads, 2)


def read(cache: Cache, name: str, listeners: int, reads: int, seed: int) -> Line:
    """Read the lists of random listeners, decoded."""
    wanted = [user_id(each) for each in np.random.default_rng(seed).integers(0, listeners, reads)]
    get = cache.get
    started = time.process_time(), time.perf_counter()
    for each in wanted:
        assert get(each) is not None
    used, seconds = time.process_time() - started[0], time.perf_counter() - started[1]
    return line(name, reads, seconds) | {"per core second": round(reads / used)}


def shared(folder: Path, info: GenerationInfo, parts: list[StoredPart], options: argparse.Namespace) -> Iterator[Line]:
    """Load Redis by this library and as one would without it, each into an empty server."""
    with server(folder) as port:
        client = redis.Redis(port=port)
        before = client.info("memory")["used_memory"]
        with open_cache(f"redis://127.0.0.1:{port}/0") as cache, executors(options.processes) as each:
            started = time.perf_counter()
            stored = cache.load(GENERATION.name, info, parts, each)
            seconds = time.perf_counter() - started
            size = client.info("memory")["used_memory"] - before
            yield line(f"Redis: load, {options.processes} processes", stored, seconds, size)
            cache.swap_pointer(None, Pointer(GENERATION))
            yield read(cache, "Redis: read, one client", info.lists, options.reads // 50, 3)
            client.delete("nocturne:pointer")  # what is served is not dropped
            started = time.perf_counter()
            cache.drop(GENERATION.name)
            yield line("Redis: drop", stored, time.perf_counter() - started)
    with server(folder) as port:
        started = time.perf_counter()
        with open_cache(f"redis://127.0.0.1:{port}/0") as cache:
            stored = cache.load(GENERATION.name, info, parts)
        yield line("Redis: load, one process", stored, time.perf_counter() - started)
    yield from plain(folder, info, parts)


def plain(folder: Path, info: GenerationInfo, parts: list[StoredPart]) -> Iterator[Line]:
    """SET the same values by plain keys: encoded before the clock starts, then with the encoding."""
    encoder = Encoder(info)
    for name, ahead in (("encoded before", True), ("encoded meanwhile", False)):
        with server(folder) as port:
            client = redis.Redis(port=port)
            before = client.info("memory")["used_memory"]
            seconds, stored = 0.0, 0
            for part in parts:
                rows: Iterable[tuple[bytes, bytes]] = encoder.part(part)
                rows = list(rows) if ahead else rows
                started = time.perf_counter()
                stored += set_plain(client, iter(rows))
                seconds += time.perf_counter() - started
            size = client.info("memory")["used_memory"] - before
            yield line(f"plain pipelined SET, {name}", stored, seconds, size)


def set_plain(client: redis.Redis, rows: Iterator[tuple[bytes, bytes]]) -> int:
    """A thousand keys a pipeline."""
    stored = 0
    while batch := list(islice(rows, PIPELINE)):
        pipeline = client.pipeline(transaction=False)
        for key, value in batch:
            pipeline.set(b"nocturne:%s:%s" % (GENERATION.name.encode(), key), value)
        pipeline.execute()
        stored += len(batch)
    return stored


def ready(_: int) -> None:
    """Import what loading needs, and give the other processes time to take their turn."""
    import_module("nocturne.serving.cache.encoding")
    time.sleep(3)


@contextmanager
def executors(processes: int) -> Iterator[ParallelMap]:
    """Processes that are there already, as Spark's executors are, and go through the parts."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(ready, range(processes), chunksize=1)
        yield lambda function, parts: pool.map(function, parts, chunksize=1)


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """An empty redis-server; yields its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is needed: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                redis.Redis(port=port).ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def line(name: str, lists: int, seconds: float, size: int = 0) -> Line:
    """One measurement."""
    return {
        "what": name,
        "lists": lists,
        "seconds": round(seconds, 1),
        "lists a second": round(lists / seconds),
        "bytes a listener": round(size / lists) if size else "",
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100, help="items of a list")
    parser.add_argument("--catalogue", type=int, default=100_000, help="items to choose from")
    parser.add_argument("--buckets", type=int, default=16, help="parts, each a file")
    parser.add_argument("--processes", type=int, default=2, help="that load Redis")
    parser.add_argument("--reads", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; a new folder in it is removed in the end")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    title = f"{options.listeners:,} lists of {options.items} out of {options.catalogue:,} items; {os.cpu_count()} cores"
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch)
        info, parts = write_parts(folder, options)
        lines = [
            *embedded(folder / "lmdb", info, parts, options.reads),
            *shared(folder, info, parts, options),
        ]
    if options.json:
        print("\n".join(json.dumps(each) for each in lines))
        return
    columns = ("what", "lists", "seconds", "lists a second", "per core second", "bytes a listener")
    rows, base = [], lines[-1]
    for each in lines:
        loads = "load" in str(each["what"]) or "plain" in str(each["what"])
        rate = round(int(each["lists a second"]) / int(base["lists a second"]), 2) if loads else None
        weight = each["bytes a listener"]
        size = round(int(weight) / int(base["bytes a listener"]), 2) if weight else None
        rows.append({name: each.get(name) for name in columns} | {"rate / plain": rate, "bytes / plain": size})
    print_rows(rows, title)


if __name__ == "__main__":
    main()
