"""Signs of life: what a stage does at the moment, on one line that moves, or in a log a line every five seconds."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from nocturne.core.console import LOG_WIDTH
from nocturne.core.stage import Progress as StageProgress

SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_MOVES = 0.5

console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else LOG_WIDTH)


@dataclass
class _Work:
    """Work as it was last reported, and what it is called before it reports anything."""

    does: str
    started: float
    done: int = 0
    total: int = 0

    def report(self, done: int, total: int, what: str) -> None:
        self.done, self.total, self.does = done, total, what

    def __str__(self) -> str:
        if not self.total:
            return self.does
        rate = self.done / max(time.monotonic() - self.started, 1e-3)
        left = f", {timedelta(seconds=round((self.total - self.done) / rate))} left" if self.done else ""
        return f"{self.done:,} of {self.total:,} {self.does}, {rate:,.1f} a second{left}"


@contextmanager
def show_progress(name: str, does: str, spark: SparkSession | None = None) -> Iterator[StageProgress]:
    """Show signs of life for as long as the block runs; gives what the work reports its progress to.

    Args:
        name: the stage.
        does: what it does, shown until it reports something.
        spark: whose tasks are told.
    """
    work = _Work(does, time.monotonic())
    ended = threading.Event()
    show = _move_bar if console.is_terminal else _print_lines
    thread = threading.Thread(target=show, args=(name, work, spark, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield work.report
    finally:
        ended.set()
        thread.join()


def _move_bar(name: str, work: _Work, spark: SparkSession | None, ended: threading.Event) -> None:
    columns = (
        TextColumn(name, table_column=Column(width=19, no_wrap=True)),
        BarColumn(table_column=Column(width=10)),
        TimeElapsedColumn(table_column=Column(width=7)),
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        bar = progress.add_task(str(work), total=None)
        while not ended.wait(_SECONDS_BETWEEN_MOVES):
            progress.update(bar, completed=work.done, total=work.total or None, description=f"{work}{_tasks(spark)}")


def _print_lines(name: str, work: _Work, spark: SparkSession | None, ended: threading.Event) -> None:
    while not ended.wait(SECONDS_BETWEEN_LINES):
        elapsed = time.monotonic() - work.started
        console.print(f"{name:<19} {elapsed:6.0f} s  {work}{_tasks(spark)}", markup=False, soft_wrap=True)


def _tasks(spark: SparkSession | None) -> str:
    """Of the Spark stages that run now, how many tasks are done, such as ", 3 of 8 tasks of Spark"."""
    if spark is None:
        return ""
    with suppress(Py4JError, OSError):  # Java may have died; whoever waits for it tells
        tracker = spark.sparkContext.statusTracker()
        stages = [stage for number in tracker.getActiveStageIds() if (stage := tracker.getStageInfo(number))]
        done, total = sum(stage.numCompletedTasks for stage in stages), sum(stage.numTasks for stage in stages)
        if total:
            return f", {done} of {total} tasks of Spark"
    return ""
