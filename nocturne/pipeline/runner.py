"""The one-process runner: stages run for nights, their tables validated, people told how it goes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from pyspark.sql import SparkSession
from rich.markup import escape

from nocturne.core.errors import GateClosed, Interrupted, NocturneError, ServiceError, text_of
from nocturne.core.experiment import experiments_of
from nocturne.core.night import Night
from nocturne.core.pasted import job_command
from nocturne.core.spark.session import spark_session
from nocturne.core.stage import Access
from nocturne.flow import (
    AFTER_PUBLICATION,
    GATED_TABLES,
    NIGHTLY,
    PUBLICATION,
    VALIDATION,
    Stage,
    validated_after,
)
from nocturne.ingestion import landing
from nocturne.lifecycle import erasure
from nocturne.monitoring.openlineage import told_as_run
from nocturne.pipeline import costs, outlets, status
from nocturne.pipeline.progress import console, show_progress
from nocturne.pipeline.stages import STAGES
from nocturne.serving import publications
from nocturne.serving.cache import open_cache
from nocturne.storage import attempts, lease, tables
from nocturne.storage.warehouse import leased
from nocturne.validation.validate_table import Verdict, critical_failures, validate


@contextmanager
def working_on(
    nights: Sequence[Night], app: str, lease_holder: str | None = None
) -> Iterator[tuple[SparkSession, list[Night]]]:
    """A Spark session, and the nights under the lease on their warehouse, for as long as they are worked on.

    What would stop the work later is checked before Spark is started: the first landing day, and the cache.
    """
    warehouse = nights[0].warehouse
    try:
        _check_places(nights[0], [stage for stage in NIGHTLY if app in {stage.name, "night"}])
    except NocturneError as error:
        _record_early_failure(nights[0], app, error, lease_holder)
        raise
    if app not in {NIGHTLY[0].name, "night"}:
        tables.require_warehouse(warehouse)
    with leased(warehouse, nights[0].run_date, lease_holder) as writable, ExitStack() as session:
        if app in {NIGHTLY[0].name, "night"}:
            _erase_who_asked(replace(nights[0], warehouse=writable))
        with show_progress("spark", "starts"):
            spark = session.enter_context(spark_session(warehouse.settings.spark, app))
        yield spark, [replace(night, warehouse=writable) for night in nights]


def _erase_who_asked(night: Night) -> None:
    """Erase listeners before anything of the night is built on rows of theirs; in most nights nobody asked."""
    if erasure.is_due(night.warehouse, night.landing):
        erasure.carry_out(
            night.warehouse,
            night.landing,
            [night.cache],
            night.run_date,
            lambda text: console.print(f"erasure: {text}", markup=False, soft_wrap=True),
        )


def _record_early_failure(night: Night, app: str, error: NocturneError, lease_holder: str | None) -> None:
    """Keep on record that a night could not begin, unless somebody else is at work on the warehouse.

    A warehouse that cannot be read hides no reason.
    """
    with suppress(OSError, NocturneError):
        if tables.is_warehouse(night.warehouse):
            grant = lease.show(night.warehouse.path).grant
            if grant is None or grant.holder == lease_holder:
                attempts.record(night, app, attempts.FAILED, str(error))
                status.show_in_data_docs(night.warehouse)


def _check_places(night: Night, stages: Sequence[Stage]) -> None:
    experiments_of(night.settings)
    if NIGHTLY[0] in stages:
        landing.require_complete(night.landing, night.run_date)
    if PUBLICATION in stages:
        with open_cache(night.cache, night.settings.cache) as cache:
            cache.pointer()


def run_nights(nights: Sequence[Night]) -> None:
    """Run whole nights, in order; a closed gate does not keep the next night from its work.

    Raises:
        GateClosed: after the last night, if any night's gate closed.
        NocturneError: at once, whatever else goes wrong.
    """
    closed: list[tuple[Night, GateClosed]] = []
    with working_on(nights, "night") as (spark, tonight):
        for night in tonight:
            try:
                run_night(spark, night)
            except GateClosed as error:
                console.print(f"nocturne: {error}", style="red", markup=False, soft_wrap=True)
                closed.append((night, error))
    if len(nights) == 1 and closed:
        raise closed[0][1]
    if closed:
        raise _closed_gates(nights, closed)


def _closed_gates(nights: Sequence[Night], closed: Sequence[tuple[Night, GateClosed]]) -> GateClosed:
    """The error for a range of nights of which some gates closed."""
    published = {night.run_date for night in nights} - {night.run_date for night, _ in closed}
    return GateClosed(
        f"the gate closed for {len(closed)} of {len(nights)} nights",
        where=nights[0].warehouse.path,
        found=", ".join(str(night.run_date) for night, _ in closed) + "; the reasons stand above",
        expected="every critical expectation holds",
        fix="mend what failed and run those nights again, then the nights after them; "
        + (f"night {max(published)} was published" if published else "listeners keep the lists that are served"),
    )


def run_night(spark: SparkSession, night: Night) -> None:
    """One night: every stage, its tables validated before the next one reads them."""
    console.rule(f"night {night.run_date}", align="left")
    started = time.monotonic()
    for stage in NIGHTLY:
        try:
            run_stage(spark, night, stage)
        except ServiceError:
            if stage is PUBLICATION:
                _tell_how_to_go_on(night)
            raise
        run_validation(spark, night, validated_after(stage), close=True)
        if stage is PUBLICATION:
            console.print(f"night {night.run_date} published in {time.monotonic() - started:.1f} s")


def _tell_how_to_go_on(night: Night) -> None:
    """Print the commands that are left when the lists are sound and could not be served."""
    places = (night.landing, night.warehouse.path, night.cache)
    commands = [job_command(stage.name, night.run_date, *places) for stage in (PUBLICATION, *AFTER_PUBLICATION)]
    told = f"all but {PUBLICATION.name} is done; to go on from there: {' && '.join(commands)}"
    console.print(told, markup=False, soft_wrap=True)


def run_stage(spark: SparkSession, night: Night, stage: Stage) -> None:
    """Run one stage and print what it read, wrote and rejected, and how long it took."""
    started = time.monotonic()
    ends = stage in (PUBLICATION, *AFTER_PUBLICATION)
    with told_as_run(night, stage, outlets.warn) as run:
        with _attempt(night, stage.name, ends=ends), show_progress(stage.name, stage.does, spark) as progress:
            result = STAGES[stage.name](spark, night.under(Access(stage)), progress)
        run.written = costs.record(night, stage, time.monotonic() - started, result.read)
    if ends:
        outlets.tell_of_publication(night)
    written = ", ".join(f"{table} {tables.count(night, table):,}" for table in stage.writes)
    rejected = f", rejected {result.rejected:,}" if result.rejected else ""
    remark = f" ({escape(result.remark)})" if result.remark else ""
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
    access, ends = Access(VALIDATION), not set(names) & set(GATED_TABLES)
    with told_as_run(night, VALIDATION, outlets.warn, names) as run:
        with _attempt(night, VALIDATION.name, ends=ends), show_progress("validation", f"of {', '.join(names)}", spark):
            verdicts = validate(spark, night.under(access), names)
        run.expectations = {verdict.table: verdict.rows.to_pylist() for verdict in verdicts}
    closed = any(verdict.closed for verdict in verdicts)
    if closed:
        publications.record_closed_gate(night.under(access), critical_failures(night.under(access)))
        attempts.clear(night)
    outlets.tell_of_verdicts(night, names, closed=closed)
    status.show_in_data_docs(night.warehouse)
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
    return "\n".join([*lines, *(f"    {escape(failure)}" for failure in verdict.failures)])


@contextmanager
def _attempt(night: Night, stage: str, *, ends: bool = False) -> Iterator[None]:
    """Keep on record that a stage is at work on a night, and how that ends.

    Args:
        ends: whether the night is published when the stage is done, or was before.

    Raises:
        Interrupted: somebody pressed Ctrl-C meanwhile.
    """
    attempts.record(night, stage, attempts.RUNNING)
    try:
        yield
    except KeyboardInterrupt as error:
        _record_end(night, stage, attempts.INTERRUPTED)
        raise Interrupted(f"interrupted at {stage} of night {night.run_date}; run the same again") from error
    except GateClosed:
        _record_end(night, stage, None)
        raise
    except Exception as error:
        _record_end(night, stage, attempts.FAILED, text_of(error))
        raise
    _record_end(night, stage, None if ends else attempts.DONE)


def _record_end(night: Night, stage: str, state: str | None, message: str = "") -> None:
    """Keep on record how a stage ended; None where `nights` tells it."""
    if state:
        attempts.record(night, stage, state, message)
    else:
        attempts.clear(night)
    if state != attempts.DONE:
        status.show_in_data_docs(night.warehouse)
