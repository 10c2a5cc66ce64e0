"""`nocturne models ...`: the registry, and who may be live."""

import getpass
import sys
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nocturne.cli.jobs import DAY, Command, Conf, Json, LeaseHolder, OneNight, Set, Warehouse
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.errors import SettingsError

if TYPE_CHECKING:
    from nocturne.core.night import Night
    from nocturne.evaluation.significance import Difference

app = typer.Typer(no_args_is_help=True, help="The registry of models: train, compare, promote, reject.")
command = partial(app.command, cls=Command)

Version = Annotated[str, typer.Argument(help="the model, by its version or the end of it", metavar="VERSION")]
Why = Annotated[str, typer.Option(help="the reason, for whoever asks later", metavar="TEXT")]
By = Annotated[str | None, typer.Option(help="who decides; by default the user", metavar="NAME")]
Days = Annotated[int, typer.Option(help="days of listening that a night's lists are scored on", min=1)]


@command("list")
def list_models(warehouse: Warehouse, as_json: Json = False) -> None:
    """Print every model: its state, from when on, by whom and why.

    Example: nocturne models list --warehouse data/warehouse
    """
    from nocturne.training import registry

    rows = registry.models(_night(warehouse, date.max))
    shown = []
    for row in rows:
        last: dict[str, Any] = row["moves"][-1] if row["moves"] else {}
        moved = {"last_move": last.get("state")} | {name: last.get(name) for name in ("since", "by", "why")}
        shown.append({name: row[name] for name in ("model_version", "state", "origin", "items")} | moved)
    print_rows(shown, warehouse, as_json=as_json)


@command()
def show(version: Version, warehouse: Warehouse, as_json: Json = False) -> None:
    """Print all that is known of a model: recipe, inputs, moves, comparisons.

    Example: nocturne models show 1a2b3c4d --warehouse data/warehouse
    """
    from nocturne.training import registry

    row = registry.find(registry.models(_night(warehouse, date.max)), version)
    if as_json:
        print_json(row)
        return
    apart = {"moves", "metrics", "spectrum", "losses"}
    facts = [{"": name, "value": str(value)} for name, value in row.items() if name not in apart]
    print_rows(facts, row["model_version"])
    print_rows(row["moves"], "moves")
    print_rows(row["metrics"], "comparisons")


@command()
def train(
    warehouse: Warehouse,
    run_date: OneNight,
    why: Why = "a candidate",
    by: By = None,
    live_recipe: Annotated[
        bool, typer.Option("--live-recipe", help="the live model's recipe, whatever --conf and --set say")
    ] = False,
    conf: Conf = None,
    set_: Set = None,
    lease_holder: LeaseHolder = None,
) -> None:
    """Train a candidate on a night's interactions, and print its version.

    Its recipe is that of --conf and --set where they are given, otherwise that of the live model.

    Example: nocturne models train --warehouse data/warehouse --run-date 2026-01-01 --set als.factors=96
    """
    from rich.console import Console
    from rich.progress import Progress

    from nocturne.storage.leased import leased
    from nocturne.training import registry

    night = _night(warehouse, run_date.date(), conf, set_)
    settings, live = night.settings.als, registry.live_on(registry.models(night), night.run_date)
    if live and (live_recipe or not (conf or set_)):
        settings = settings.with_recipe(registry.recipe_of(live))
    parent = registry.load_model(night, live["model_version"]) if live and settings.warm_start else None
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("training", total=settings.iterations)
        trained = registry.train(night, settings, parent, lambda done, _loss: progress.update(task, completed=done))
    with leased([night], lease_holder) as (night,):
        version = registry.add(night, trained, origin="retrain", by=by or getpass.getuser(), why=why)
    say(f"trained in {trained.seconds:.1f} s; next: nocturne models promote {version}")
    print(version)


@command()
def compare(
    version: Version,
    warehouse: Warehouse,
    first: Annotated[datetime, typer.Option("--from", help="first night whose lists are scored", **DAY)],
    last: Annotated[datetime, typer.Option("--to", help="last of them", **DAY)],
    other: Annotated[str | None, typer.Argument(help="compared with this one; by default with the live one")] = None,
    days: Days = 1,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Score two models' lists of some nights on the listening after them; the figures are kept with the first one.

    Example: nocturne models compare 1a2b3c4d --warehouse data/warehouse --from 2026-01-03 --to 2026-01-05
    """
    from nocturne.evaluation import promotion
    from nocturne.evaluation.held_out import nights_between
    from nocturne.storage.leased import leased
    from nocturne.training import registry

    night = _night(warehouse, last.date(), conf, set_)
    rows = registry.models(night)
    live = registry.live_on(rows, date.max)
    if other is None and live is None:
        raise SettingsError("no model is live", where=warehouse, fix="name the model to compare with")
    row, against = registry.find(rows, version), registry.find(rows, other) if other else live
    assert against
    since = max(first.date(), row["run_date"], against["run_date"])
    nights, _ = nights_between(night, since, last.date(), days, every=1)
    found = promotion.compare(nights, row["model_version"], against["model_version"], days)
    with leased([night]) as (night,):
        rows = registry.models(night)
        registry.write(night, rows, promotion.recorded(rows, found, nights))
    print_rows(_figures(found), f"{row['model_version']} against {against['model_version']}", as_json=as_json)


@command()
def promote(
    version: Version,
    warehouse: Warehouse,
    run_date: Annotated[datetime, typer.Option("--run-date", help="the first night it serves, UTC", **DAY)],
    why: Why,
    by: By = None,
    days: Days = 1,
    conf: Conf = None,
    set_: Set = None,
    lease_holder: LeaseHolder = None,
) -> None:
    """Make a model live from a night on, if it is no worse than the live one; status 3 if it is refused.

    Example: nocturne models promote 1a2b3c4d --warehouse data/warehouse --run-date 2026-01-08 --why "fresher"
    """
    from nocturne.evaluation import promotion
    from nocturne.storage.leased import leased

    night = _night(warehouse, run_date.date(), conf, set_)
    with leased([night], lease_holder) as (night,):
        print(promotion.promote(night, version, by=by or getpass.getuser(), why=why, days=days))
    _say_what_was_made(night)


@command()
def reject(
    version: Version,
    warehouse: Warehouse,
    run_date: Annotated[datetime, typer.Option("--run-date", help="the first night without it, UTC", **DAY)],
    why: Why,
    by: By = None,
    lease_holder: LeaseHolder = None,
) -> None:
    """Turn a candidate down; or withdraw the live model from a night on, and the one before it is live again.

    What listeners are served right now changes with the next night; `nocturne rollback` changes it at once.

    Example: nocturne models reject 1a2b3c4d --warehouse data/warehouse --run-date 2026-01-09 --why "only podcasts"
    """
    from nocturne.storage.leased import leased
    from nocturne.training import registry

    night = _night(warehouse, run_date.date())
    with leased([night], lease_holder) as (night,):
        live = registry.reject(night, version, by=by or getpass.getuser(), why=why)
    after = f"{live['model_version']} is live" if live else "no model is: the night trains one by the settings"
    print(f"rejected; on {night.run_date} {after}")
    _say_what_was_made(night)
    say("listeners keep the lists that are served until that night: `nocturne rollback` serves the ones before at once")


def _night(warehouse: str, run_date: date, conf: str | None = None, set_: list[str] | None = None) -> "Night":
    """A night of a warehouse that is there."""
    from nocturne.core.night import Night
    from nocturne.core.settings import load_settings
    from nocturne.storage.warehouse import settled

    settings = load_settings(conf or None, set_ or ())
    return settled(Night(run_date, landing="", warehouse=warehouse, cache="", settings=settings))


def _say_what_was_made(night: "Night") -> None:
    """Lists that another model would have made keep standing until their night is run again."""
    from nocturne.storage import tables

    made = [day for day in tables.dates(night, "ranked_lists") if day >= night.run_date]
    if made:
        say(f"lists of {made[0]} to {made[-1]} were made before this: run those nights again")


def _figures(found: "list[Difference]") -> list[dict[str, Any]]:
    names = ("metric", "segment", "listeners", "mean", "against_mean", "difference", "low", "high")
    return [{name: getattr(each, name) for name in names} for each in found]
