"""`nocturne ...`: everything a person runs by hand. Data on stdout, everything else on stderr.

Heavy modules are imported by the commands that need them, so that `nocturne list` answers at once.
"""

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from nocturne.cli import experiments, mcp, models, monitor, serving, takedowns
from nocturne.cli.erase import erase
from nocturne.cli.evaluate import evaluate_app
from nocturne.cli.help import Command, Group, program
from nocturne.cli.options import (
    DAY,
    Cache,
    Conf,
    From,
    Json,
    Landing,
    OneNight,
    RunDate,
    Set,
    Table,
    To,
    WarehouseFolder,
    nights_to_run,
)
from nocturne.cli.react import react
from nocturne.cli.report import report
from nocturne.cli.retain import retain
from nocturne.cli.serve import serve
from nocturne.cli.status import status
from nocturne.cli.steer import steer
from nocturne.cli.tune import tune
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.errors import GateClosed, UsageError
from nocturne.flow import GATED_TABLES, VALIDATED_TABLES, ExitStatus

if TYPE_CHECKING:
    from nocturne.storage.lease_state import State

app = typer.Typer(
    cls=Group,
    help="Listening events in, every listener's validated list out, before morning.",
    epilog="Exit statuses: 0 done, 2 usage or settings, 3 gate closed, 4 bad input, 5 a service or disk failed, "
    "130 interrupted.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        print(version("nocturne"))
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=lambda wanted: _print_version(wanted=wanted), is_eager=True)
    ] = False,
) -> None:
    """Options of `nocturne` itself."""


Holder = Annotated[str, typer.Option(help="who holds the lease, such as the id of a DAG run", metavar="NAME")]


def night(
    landing: Landing,
    warehouse: WarehouseFolder,
    cache: Cache,
    run_date: RunDate = None,
    first: From = None,
    last: To = None,
    conf: Conf = None,
    set_: Set = None,
) -> None:
    """Run whole nights in this process, in order: every stage, every table validated, the cache refreshed.

    Example: nocturne night --from 2025-01-01 --to 2025-01-03 --landing data/landing
    --warehouse data/warehouse --cache lmdb:data/cache
    """
    from nocturne.pipeline.runner import run_nights

    run_nights(nights_to_run(run_date, first, last, landing, warehouse, cache, conf, set_))


def simulate(
    landing: Landing,
    listeners: Annotated[int, typer.Option(help="how many; a tenth join over the nights")],
    items: Annotated[int, typer.Option(help="how many; a tenth appear over the nights")],
    nights: Annotated[int, typer.Option(help="how many")],
    seed: Annotated[int, typer.Option(help="of every random number")],
    start: Annotated[datetime, typer.Option(help="the first night", show_default="2025-01-01", **DAY)] = datetime(
        2025, 1, 1, tzinfo=UTC
    ),
    dirt: Annotated[float, typer.Option(help="broken events per sound one")] = 0.01,
    as_json: Json = False,
) -> None:
    """Invent a service: a landing zone, and beside it the truth it was drawn from.

    Example: nocturne simulate --landing data/landing --listeners 2000 --items 1000 --nights 3 --seed 1
    """
    from rich.progress import Progress

    from nocturne.ingestion.simulator.simulate import simulate as invent

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("simulating", total=None)
        summary = invent(
            Path(landing),
            listeners,
            items,
            nights,
            seed,
            start.date(),
            dirt,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        print_json(asdict(summary))
    first, last = summary.days
    listened = summary.kinds.get("listens", 0)
    say(
        f"{landing}: {summary.rows:,} events from {first} to {last}, {summary.rows - listened:,} of them out of order; "
        f"{summary.listeners:,} listeners, {summary.items:,} items; the truth is in {summary.truth}"
    )


def import_source(
    source: Annotated[
        Literal["lastfm-2k", "online-retail", "lastfm-1k", "gowalla"], typer.Argument(help="which data set")
    ],
    path: Annotated[Path, typer.Argument(help="its archive, or the unpacked folder")],
    landing: Landing,
    date: Annotated[
        datetime, typer.Option(help="day of rows that have none", show_default="2011-01-01", **DAY)
    ] = datetime(2011, 1, 1, tzinfo=UTC),
    as_json: Json = False,
) -> None:
    """Turn a public data set into a landing zone, dirty rows and all.

    Example: nocturne import lastfm-2k lastfm-2k.tar.xz --landing data/lastfm
    """
    from nocturne.ingestion.importers import IMPORTERS

    summary = IMPORTERS[source](path, Path(landing), date.date())
    if as_json:
        print_json(asdict(summary))
    first, last = summary.days
    say(f"{landing}: {summary.rows:,} events from {first} to {last}, {summary.items:,} items. {summary.note}")
    places = f"--landing {shlex.quote(landing)} --warehouse data/warehouse --cache lmdb:data/cache"
    say(f"next: {program()} night --from {first} --to {last} {places}")


def validations(
    warehouse: WarehouseFolder,
    run_date: OneNight,
    table: Table = None,
    as_json: Json = False,
) -> None:
    """Print what was expected of a night's tables and what was found; status 3 if that closes the gate.

    Example: nocturne validations --warehouse data/warehouse --run-date 2025-01-03 --table listens
    """
    from nocturne.core.night import Warehouse
    from nocturne.core.settings import load_settings
    from nocturne.validation.recorded import not_validated, sentence, verdicts

    names = table or VALIDATED_TABLES
    if unknown := sorted(set(names) - set(VALIDATED_TABLES)):
        raise UsageError("no such table", found=", ".join(unknown), expected=", ".join(VALIDATED_TABLES))
    rows = verdicts(Warehouse(warehouse, load_settings()), run_date.date(), names)
    shown = ("table", "expectation", "severity", "observed", "limit", "outcome", "seconds")
    print_rows(
        [{name: row[name] for name in shown} for row in rows],
        f"night {run_date.date()}",
        as_json=as_json,
        secondary=("seconds", "severity"),
    )
    failed = [(row["severity"], sentence(row)) for row in rows if row["outcome"] == "failed"]
    for severity, told in failed:
        if severity != "critical":
            say(f"{severity}: {told}")
    broken = [told for severity, told in failed if severity == "critical"]
    absent = not_validated(rows, names)
    for name in sorted(set(absent) - set(GATED_TABLES)):
        say(f"warning: {name} was not validated")
    broken += [f"{name} was not validated" for name in absent if name in GATED_TABLES]
    if broken:
        raise GateClosed(
            f"the gate is closed for night {run_date.date()}",
            where=warehouse,
            found="; ".join(broken),
            expected="every critical expectation holds",
            fix="mend the data or the limits, then run the stage that writes the table again",
        )


def nights(warehouse: WarehouseFolder, run_date: RunDate = None, as_json: Json = False) -> None:
    """Print every night of a warehouse: published or not, why, what it cost, and its manifest.

    Nights that run, or stopped before that, come last.

    With --run-date and --json: the whole manifest of that night, with hashes, versions, expectations and coverage.

    Example: nocturne nights --warehouse data/warehouse
    """
    from nocturne.core.night import Warehouse
    from nocturne.core.settings import load_settings
    from nocturne.pipeline.status import unfinished_nights
    from nocturne.serving.publications import all_records

    stored = Warehouse(warehouse, load_settings())
    records = all_records(stored)
    rows = [record.columns() for record in records if run_date is None or record.run_date == run_date.date()]
    if not as_json:
        shown = ("run_date", "state", "generation", "listeners", "model_version", "reason")
        rows = [
            {name: row[name] for name in shown}
            | {"seconds": sum(cost["seconds"] for cost in row["costs"]), "manifest": row["manifest"][:12]}
            for row in rows
        ]
    rows += [
        {"run_date": night.run_date, "state": night.state, "reason": night.explanation}
        for night in unfinished_nights(stored)
        if run_date is None or night.run_date == run_date.date()
    ]
    print_rows(rows, warehouse, as_json=as_json, secondary=("manifest", "seconds", "generation"))


def settings(conf: Conf = None, set_: Set = None, as_json: Json = False) -> None:
    """Print every setting: its value, its range, what it means.

    Example: nocturne settings --set ranking.top_k=20
    """
    from nocturne.core.settings import describe, load_settings

    print_rows(describe(load_settings(conf, set_ or ())), "settings", as_json=as_json)


def doctor(
    cache: Annotated[str | None, typer.Option(help="check this cache too", metavar="URL")] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Check everything that a night needs on this machine, and say how to mend what fails.

    Example: nocturne doctor --cache lmdb:data/cache
    """
    from nocturne.cli.doctor import examine
    from nocturne.core.settings import load_settings

    raise typer.Exit(examine(cache, load_settings(conf, set_ or ()).cache, as_json=as_json))


def take_lease(warehouse: WarehouseFolder, run_date: OneNight, holder: Holder, as_json: Json = False) -> None:
    """Take the lease for a run that outlives this command; status 75 while other nights come first.

    Example: nocturne lease take --warehouse data/warehouse --run-date 2025-01-04 --holder manual-1
    """
    from nocturne.storage import lease

    taken = lease.take(warehouse, run_date.date(), holder)
    state = lease.show(warehouse)
    if as_json:
        print_json({"taken": taken, "leases": _leases(state)})
    if not taken:
        first = state.grant or state.waiting[0]
        why = "it is the first in the queue, ask again" if first.holder == holder else f"{first} comes first"
        say(f"night {run_date.date()} waits: {why}")
        raise typer.Exit(ExitStatus.TRY_AGAIN_LATER)
    say(f"{holder} holds the lease, for night {run_date.date()}")


def release_lease(warehouse: WarehouseFolder, holder: Holder, as_json: Json = False) -> None:
    """Give the lease, or a place in the queue, back.

    Example: nocturne lease release --warehouse data/warehouse --holder manual-1
    """
    from nocturne.storage import lease

    released = lease.release(warehouse, holder)
    if as_json:
        print_json({"released": released, "leases": _leases(lease.show(warehouse))})
    say("released" if released else f"{holder} did not hold the lease")


def show_lease(warehouse: WarehouseFolder, as_json: Json = False) -> None:
    """Print who holds the lease and who waits for it, the next one first.

    Example: nocturne lease show --warehouse data/warehouse
    """
    from nocturne.storage import lease

    print_rows(_leases(lease.show(warehouse)), warehouse, as_json=as_json)


def _leases(state: "State") -> list[dict[str, Any]]:
    """The claim that holds the lease, and those that wait for it."""
    claims = [("holds it", state.grant)] if state.grant else []
    return [
        {"state": name, "run_date": claim.run_date, "holder": claim.holder, "token": claim.token, "host": claim.host}
        for name, claim in [*claims, *(("waits", claim) for claim in state.waiting)]
    ]


COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "A night": {"night": night},
    "What is served": {
        "serve": serve,
        "list": serving.list_user,
        "steer": steer,
        "served": serving.served,
        "rollback": serving.rollback,
        "release": serving.release,
        "takedown": takedowns.takedown,
        "takedowns": takedowns.takedowns,
    },
    "Looking at nights": {"status": status, "report": report, "nights": nights, "validations": validations},
    "Models": {"tune": tune},
    "Data": {"simulate": simulate, "react": react, "import": import_source, "retain": retain, "erase": erase},
    "This machine": {"doctor": doctor, "settings": settings},
}
"""Commands in the order of the help, by the heading that they stand under."""

lease_app = typer.Typer(
    cls=Group, no_args_is_help=True, help="The lease on a warehouse: one night at a time writes it."
)
lease_app.command("take", cls=Command)(take_lease)
lease_app.command("release", cls=Command)(release_lease)
lease_app.command("show", cls=Command)(show_lease)
for panel, commands in COMMANDS.items():
    for name, function in commands.items():
        app.command(name, cls=Command, rich_help_panel=panel)(function)
app.add_typer(lease_app, name="lease", rich_help_panel="A night")
app.add_typer(mcp.app, name="mcp", rich_help_panel="What is served")
app.add_typer(monitor.app, name="monitor", rich_help_panel="Looking at nights")
app.add_typer(models.app, name="models", rich_help_panel="Models")
app.add_typer(experiments.app, name="experiments", rich_help_panel="Models")
app.add_typer(evaluate_app, name="evaluate", rich_help_panel="Models")


def run() -> NoReturn:
    """`nocturne`: the app, which ends with its own status.

    The usual way out of Python tears threads of Arrow and delta-rs down, and now and then aborts with status 134 after
    the whole answer was given.
    """
    status: int = ExitStatus.SUCCESS
    try:
        app()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else ExitStatus.CRASHED
        if isinstance(ended.__context__, BrokenPipeError):  # rich, and click, would make a failure of it
            status = ExitStatus.SUCCESS
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(status)
