"""The one-process runner: stages run for nights, their tables validated, people told how it goes."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from pyspark.sql import SparkSession
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nocturne.core.console import LOG_WIDTH
from nocturne.core.errors import GateClosed, ServiceError
from nocturne.core.night import Night
from nocturne.core.spark.session import spark_session
from nocturne.core.stage import Access
from nocturne.flow import GATED_TABLES, NIGHTLY, VALIDATION, Stage
from nocturne.ingestion import landing
from nocturne.pipeline import costs
from nocturne.pipeline.stages import STAGES
from nocturne.serving import publications
from nocturne.serving.cache import open_cache
from nocturne.storage import tables
from nocturne.storage.warehouse import leased
from nocturne.validation.validate_table import Verdict, critical_failures, validate

_SECONDS_BETWEEN_LINES = 15

console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else LOG_WIDTH)


@contextmanager
def working_on(
    nights: Sequence[Night], app: str, lease_holder: str | None = None
) -> Iterator[tuple[SparkSession, list[Night]]]:
    """A Spark session, and the nights under the lease on their warehouse, for as long as they are worked on.

    What would stop the work later is checked before Spark is started: the first landing day, and the cache.
    """
    warehouse = nights[0].warehouse
    _check_places(nights[0], [stage for stage in NIGHTLY if app in {stage.name, "night"}])
    if app not in {NIGHTLY[0].name, "night"}:
        tables.require_warehouse(warehouse)
    with (
        leased(warehouse, nights[0].run_date, lease_holder) as writable,
        spark_session(warehouse.settings.spark, app) as spark,
    ):
        yield spark, [replace(night, warehouse=writable) for night in nights]


def _check_places(night: Night, stages: Sequence[Stage]) -> None:
    if any("landing" in stage.reads for stage in stages):
        landing.require_complete(night.landing, night.run_date)
    if any(stage.name == "refresh_cache" for stage in stages):
        with open_cache(night.cache, night.settings.cache) as cache:
            cache.pointer()


def run_nights(nights: Sequence[Night]) -> None:
    """Run whole nights, in order; a closed gate does not keep the next night from its work.

    Raises:
        GateClosed: after the last night, if any night's gate closed.
        NocturneError: at once, whatever else goes wrong.
    """
    closed = []
    with working_on(nights, "night") as (spark, tonight):
        for night in tonight:
            try:
                run_night(spark, night)
            except GateClosed as error:
                console.print(f"[red]nocturne: {error}[/]")
                closed.append(error)
    if closed:
        raise closed[-1]


def run_night(spark: SparkSession, night: Night) -> None:
    """One night: every stage, its tables validated before the next one reads them."""
    console.rule(f"night {night.run_date}", align="left")
    started = time.monotonic()
    for stage in NIGHTLY:
        try:
            run_stage(spark, night, stage)
        except ServiceError:
            if stage is NIGHTLY[-1]:
                places = f"--landing {night.landing} --warehouse {night.warehouse.path} --cache URL"
                command = f"spark-submit jobs/{stage.name}.py --run-date {night.run_date} {places}"
                console.print(f"all but {stage.name} is done; to go on from there: {command}", soft_wrap=True)
            raise
        run_validation(spark, night, [table for table in stage.writes if table in GATED_TABLES], close=True)
    console.print(f"night {night.run_date} published in {time.monotonic() - started:.1f} s")


def run_stage(spark: SparkSession, night: Night, stage: Stage) -> None:
    """Run one stage and print what it read, wrote and rejected, and how long it took."""
    started = time.monotonic()
    with _progress(stage.name) as bar:
        task = bar.add_task(stage.does, total=None)
        log = _Log(stage.name)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)
            log.note(done, total, what)

        result = STAGES[stage.name](spark, night.under(Access(stage)), progress)
    costs.record(night, stage, time.monotonic() - started, result.read)
    written = ", ".join(f"{table} {tables.count(night, table):,}" for table in stage.writes)
    rejected = f", rejected {result.rejected:,}" if result.rejected else ""
    remark = f" ({result.remark})" if result.remark else ""
    console.print(
        f"{stage.name:<19} {time.monotonic() - started:6.1f} s  read {result.read:,}{rejected}; wrote {written}{remark}"
    )


def run_validation(spark: SparkSession, night: Night, names: Sequence[str], *, close: bool = False) -> None:
    """Validate tables of the night and print the outcome.

    Raises:
        GateClosed: `close` is given and a critical expectation does not hold.
    """
    if not names:
        return
    access = Access(VALIDATION)
    verdicts = validate(spark, night.under(access), names)
    if any(verdict.closed for verdict in verdicts):
        publications.record_closed_gate(night.under(access), critical_failures(night.under(access)))
    for verdict in verdicts:
        console.print(_summary(verdict))
    failures = [failure for verdict in verdicts if verdict.closed for failure in verdict.failures]
    if close and failures:
        raise GateClosed(
            f"the gate is closed for night {night.run_date}",
            where=night.warehouse.path,
            found="; ".join(failures),
            expected="every critical expectation holds",
            fix="mend what failed and run the night again; listeners keep the lists that are served",
        )


def _summary(verdict: Verdict) -> str:
    outcomes = verdict.rows["outcome"].to_pylist()
    counts = ", ".join(
        f"{outcomes.count(kind)} {kind}" for kind in ("success", "failed", "skipped") if kind in outcomes
    )
    state = (
        "[red]gate closed[/]" if verdict.closed else "[yellow]warning[/]" if "failed" in outcomes else "[green]ok[/]"
    )
    lines = [f"  {verdict.table:<17} {verdict.seconds:6.1f} s  {state}: {counts}"]
    return "\n".join([*lines, *(f"    {failure}" for failure in verdict.failures)])


class _Log:
    """Progress where no bar can move, as in a task's log: a line now and then."""

    def __init__(self, name: str) -> None:
        self._name, self._started = name, time.monotonic()
        self._due = self._started + _SECONDS_BETWEEN_LINES

    def note(self, done: int, total: int, what: str) -> None:
        """Say how far it is, how fast it goes and how long it will take, unless that was said just now."""
        now = time.monotonic()
        if sys.stderr.isatty() or now < self._due or not done:
            return
        self._due = now + _SECONDS_BETWEEN_LINES
        rate = done / (now - self._started)
        left = timedelta(seconds=round((total - done) / rate))
        console.print(f"{self._name:<19} {done:,} of {total:,} {what}, {rate:,.1f} a second, {left} left")


def _progress(name: str) -> Progress:
    return Progress(
        TextColumn(f"{name:<19}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
