"""Commit points: every place at which something of a night becomes durable or visible, and a kill right before one.

The product knows nothing of this. A process that is to be killed wraps, in itself, the few functions that every write
goes through: Delta's writers, renames and removals in the folder of the service, LMDB's transactions, Redis' commands.
A point is named after the write and its number in this process: `Spark save interactions #1`.
"""

import functools
import importlib
import os
import re
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

READING = frozenset({"GET", "HGET", "HLEN", "HGETALL", "SUNION", "INFO", "PING", "TIME", "DBSIZE", "SELECT", "CLIENT"})
_ALIKE = r"\1-"
_RANDOM = re.compile(r"(loading|ranking)-(?!removed)\w+")


@dataclass(frozen=True)
class KillPlan:
    """The commit point before which a process is killed, or stopped.

    Attributes:
        folder: of the service; renames and removals elsewhere are nobody's business.
        log: file to which every point is appended, as `at POINT` or, right before the kill, `died POINT`.
        at_number: number of the point, from 1, among all; 0: none.
        at_point: name of the point; empty: none.
        spared: points that do not kill, while the first other one does; None: all.
        stops: whether it is only stopped there, until somebody lets it go on.
        in_workers: whether the Python workers are killed, not the driver.
    """

    folder: str
    log: str
    at_number: int = 0
    at_point: str = ""
    spared: frozenset[str] | None = None
    stops: bool = False
    in_workers: bool = False


@dataclass
class _PointCounter:
    """The count of the points that this process passed, which kills it at the one that the plan names."""

    plan: KillPlan
    passed: Counter[str] = field(default_factory=Counter)

    def pass_point(self, write: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # the heartbeat of the lease comes when it likes
        self.passed[write] += 1
        point = f"{write} #{self.passed[write]}"
        plan = self.plan
        dies = self.passed.total() == plan.at_number or point == plan.at_point
        dies |= plan.spared is not None and point not in plan.spared
        append_line(plan.log, f"{'died' if dies else 'at'} {point}")
        if dies:
            os.kill(os.getpid(), signal.SIGSTOP if plan.stops else signal.SIGKILL)


_counters: list[_PointCounter] = []
"""The one of this process. Python workers outlive the job that started them, and then count for another."""


def append_line(log: str, line: str) -> None:
    """Append a line that is there even if the process is not any more."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def read_points(log: Path, kind: str) -> list[str]:
    """The points that a log names as `at` or `died`."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{kind} ")]


def install(plan: KillPlan) -> None:
    """Wrap the writes of this process and of the Python workers it uses, and kill as planned."""
    counts_only = replace(plan, at_number=0, at_point="", spared=None)
    driver_plan, worker_plan = (counts_only, plan) if plan.in_workers else (plan, counts_only)
    _counters[:] = [_PointCounter(driver_plan)]
    _wrap_delta()
    _wrap_files(plan.folder)
    _wrap_caches()
    _watch_workers(worker_plan)
    if plan.in_workers:
        _use_workers()


def _use_workers() -> None:
    """Have workers do what this process would do itself for so few listeners."""
    for module, limit in (
        ("nocturne.ingestion.ingest_events", "_FEW_EVENTS"),
        ("nocturne.ingestion.build_interactions", "_FEW_ROWS"),
        ("nocturne.ranking.spark_tasks", "_FEW_LISTENERS"),
    ):
        assert hasattr(importlib.import_module(module), limit)
        setattr(importlib.import_module(module), limit, -1)


def _wrap(owner: Any, name: str, name_point: Callable[..., str | None]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        point = name_point(*args, **kwargs)
        if point:
            _counters[0].pass_point(point)
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _table_name(table: Any) -> str:
    return str(getattr(table, "table_uri", table)).rstrip("/").rpartition("/")[2]


def _wrap_delta() -> None:
    from deltalake import DeltaTable
    from deltalake.table import TableAlterer
    from pyspark.sql import DataFrameWriter

    from nocturne.storage import writing

    _wrap(writing, "write_deltalake", lambda table, *_, **__: f"delta-rs write {_table_name(table)}")
    _wrap(DataFrameWriter, "save", lambda _self, path, **__: f"Spark save {_table_name(path)}")
    _wrap(DeltaTable, "create", lambda path, *_, **__: f"delta-rs create {_table_name(path)}")
    _wrap(
        DeltaTable,
        "create_write_transaction",
        lambda table, actions, *_, **__: f"delta-rs {'commit' if actions else 'fence'} {_table_name(table)}",
    )
    for name in ("delete", "create_checkpoint"):
        _wrap(DeltaTable, name, functools.partial(_named_table, name))
    for name in ("add_constraint", "set_table_properties"):
        _wrap(TableAlterer, name, functools.partial(_named_table, name))


def _named_table(name: str, owner: Any, *_: Any, **__: Any) -> str:
    return f"delta-rs {name} {_table_name(getattr(owner, 'table', owner))}"


def _wrap_files(folder: str) -> None:
    def inside(verb: str, path: Any, *_: Any, **__: Any) -> str | None:
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
        if not text.startswith(f"{folder}/"):
            return None
        below = text.removeprefix(f"{folder}/")
        return f"{verb} {_RANDOM.sub(_ALIKE, below)}"

    for owner, name in ((os, "rename"), (os, "replace"), (os, "unlink"), (shutil, "rmtree")):
        _wrap(owner, name, functools.partial(inside, name))


def _wrap_caches() -> None:
    import redis
    from redis.client import Pipeline

    from nocturne.serving.cache.lmdb import store
    from nocturne.serving.cache.redis import scripts

    names = {text: name for name, text in vars(scripts).items() if isinstance(text, str)}

    def command(_self: Any, verb: str, *args: Any, **__: Any) -> str | None:
        if verb in READING:
            return None
        return f"redis {verb} {names.get(args[0], '') if args else ''}".rstrip()

    def pipeline(piped: Any, *_: Any, **__: Any) -> str | None:
        return "redis pipeline" if any(each[0][0] not in READING for each in piped.command_stack) else None

    _wrap(store, "_append", lambda *_, **__: "lmdb append")
    _wrap(store.LmdbCache, "_compare_and_set", lambda *_, **__: "lmdb pointer")
    _wrap(redis.Redis, "execute_command", command)
    _wrap(Pipeline, "execute", pipeline)


def _watch_workers(plan: KillPlan) -> None:
    from pyspark import RDD
    from pyspark.sql.classic.dataframe import DataFrame

    map_in_arrow, map_rows, map_partitions = DataFrame.mapInArrow, RDD.map, RDD.mapPartitionsWithIndex

    def watched_batches(frame: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        def watched_function(batches: Iterator[Any]) -> Iterator[Any]:
            watch_worker(plan)
            return function(batches)  # type: ignore[no-any-return]

        return map_in_arrow(frame, watched_function, *args, **kwargs)

    def watched_rows(rdd: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        def watched_function(row: Any) -> Any:
            watch_worker(plan)
            return function(row)

        return map_rows(rdd, watched_function, *args, **kwargs)

    def watched_partitions(rdd: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        def watched_function(number: int, rows: Iterator[Any]) -> Iterator[Any]:
            watch_worker(plan)
            return function(number, rows)  # type: ignore[no-any-return]

        return map_partitions(rdd, watched_function, *args, **kwargs)

    RDD.mapPartitionsWithIndex = watched_partitions  # type: ignore[method-assign]
    DataFrame.mapInArrow = watched_batches  # type: ignore[method-assign]
    RDD.map = watched_rows  # type: ignore[method-assign]


def watch_worker(plan: KillPlan) -> None:
    """Watch a Python worker from now on for this plan: bucket files, and lists that are loaded."""
    if not _counters:
        files = importlib.import_module("nocturne.storage.bucket_files").BucketWriter
        for name in ("__post_init__", "write", "close"):
            _wrap(files, name, functools.partial(_named_file, name))
        loading = importlib.import_module("nocturne.serving.cache.redis.loader")
        _wrap(loading, "store", lambda *_, **__: "worker load")
    if not _counters or _counters[0].plan != plan:
        _counters[:] = [_PointCounter(plan)]


def _named_file(name: str, file: Any, *_: Any) -> str:
    return f"worker {name.strip('_')} {Path(file.table_path).name} {file.bucket}"
