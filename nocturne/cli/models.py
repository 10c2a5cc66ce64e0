"""`nocturne models ...`: the registry, and who may be live."""

import getpass
import json
import shlex
import sys
from dataclasses import asdict
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nocturne.cli.help import Command, Group, folded, program
from nocturne.cli.options import DAY, Conf, Json, LeaseHolder, OneNight, Set, WarehouseFolder, open_warehouse
from nocturne.core.console import print_json, print_record, print_rows, say
from nocturne.core.errors import GateClosed, UsageError

if TYPE_CHECKING:
    from nocturne.core.night import Night
    from nocturne.evaluation.significance import Difference
    from nocturne.storage.model_transitions import ModelRecord

app = typer.Typer(cls=Group, no_args_is_help=True, help="The registry of models: train, compare, promote, reject.")
look = partial(app.command, cls=Command, rich_help_panel="Looking at models")
change = partial(app.command, cls=Command, rich_help_panel="Changing them")

Version = Annotated[str, typer.Argument(help="the model, by its version or the end of it", metavar="VERSION")]
Why = Annotated[str, typer.Option(help="the reason, for whoever asks later", metavar="TEXT")]
By = Annotated[str | None, typer.Option(help="who decides; by default the user", metavar="NAME")]
Days = Annotated[int, typer.Option(help="days of listening that a night's lists are scored on", min=1)]


@look("list")
def list_models(warehouse: WarehouseFolder, as_json: Json = False) -> None:
    """Print every model: its state, from when on, by whom and why.

    Example: nocturne models list --warehouse data/warehouse
    """
    from nocturne.training import registry

    shown = []
    for model in registry.models(open_warehouse(warehouse)):
        last: dict[str, Any] = model.transitions[-1].to_row() if model.transitions else {}
        moved = {"last_move": last.get("state")} | {name: last.get(name) for name in ("since", "by", "why")}
        row = model.to_row()
        shown.append({name: row[name] for name in ("model_version", "state", "origin", "items")} | moved)
    print_rows(shown, warehouse, as_json=as_json, secondary=("last_move", "items", "origin"))


@look()
def show(version: Version, warehouse: WarehouseFolder, as_json: Json = False) -> None:
    """Print all that is known of a model: recipe, inputs, moves, comparisons.

    Example: nocturne models show 1a2b3c4d --warehouse data/warehouse
    """
    from nocturne.training import registry

    row = registry.find(registry.models(open_warehouse(warehouse)), version).to_row()
    if as_json:
        print_json(row)
        return
    nested = {"settings": json.loads(row["settings"]), "comparisons": row["metrics"]}
    shown = {name: value for name, value in row.items() if name not in {"metrics", "race"}}
    print_record(shown | nested, row["model_version"])
    if row["race"]:
        from nocturne.training.race import shown_entrant

        print_rows([shown_entrant(entrant) for entrant in row["race"]], "the race that chose its recipe")


@change()
def train(
    warehouse: WarehouseFolder,
    run_date: OneNight,
    why: Why = "a candidate",
    by: By = None,
    live_recipe: Annotated[
        bool, typer.Option("--live-recipe", help="begin with the live model's recipe, whatever --conf and --set say")
    ] = False,
    conf: Conf = None,
    set_: Set = None,
    lease_holder: LeaseHolder = None,
    as_json: Json = False,
) -> None:
    """Train a candidate on a night's interactions, and print its version.

    A race chooses its recipe. It begins with that of --conf and --set where they are given, otherwise with that of the
    live model; with als.recipe = "settings" it is that.

    Example: nocturne models train --warehouse data/warehouse --run-date 2025-01-03 --set als.factors=96
    """
    from rich.console import Console
    from rich.progress import Progress

    from nocturne.core.night import Night
    from nocturne.storage.model_transitions import live_on
    from nocturne.storage.warehouse import leased
    from nocturne.training import registry

    night = Night(open_warehouse(warehouse, conf, set_), run_date.date())
    settings, live = night.settings.als, live_on(registry.models(night.warehouse), night.run_date)
    race_share = 0.0
    if live and (live_recipe or not (conf or set_)):
        settings, race_share = settings.with_recipe(live.recipe), live.race_share
    parent = registry.load_model(night.warehouse, live.version) if live and settings.warm_start else None
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("training", total=settings.rounds)
        trained = registry.train(
            night,
            settings,
            parent,
            lambda done, _loss: progress.update(task, completed=done),
            race=True,
            race_share=race_share,
        )
    with leased(night.warehouse, night.run_date, lease_holder) as writable:
        added = registry.add(writable, trained, origin="retrain", actor=by or getpass.getuser(), reason=why)
    places = f"--warehouse {shlex.quote(warehouse)} --run-date {night.run_date + timedelta(days=1)}"
    next_step = f'{program()} models promote {added} {places} --why "a candidate"'
    say(f"trained in {trained.seconds:.1f} s; next, to have it live from a later night on:\n{folded(next_step)}")
    if as_json:
        print_json({"model_version": added, "run_date": night.run_date, "seconds": round(trained.seconds, 3)})
    else:
        print(added)


@look()
def compare(
    version: Version,
    warehouse: WarehouseFolder,
    first: Annotated[datetime, typer.Option("--from", help="first night whose lists are scored", **DAY)],
    last: Annotated[datetime, typer.Option("--to", help="last of them", **DAY)],
    other: Annotated[str | None, typer.Argument(help="compared with this one; by default with the live one")] = None,
    days: Days = 1,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Score two models' lists of some nights on the listening after them; the figures are kept with the first one.

    Example: nocturne models compare 1a2b3c4d --warehouse data/warehouse --from 2025-01-01 --to 2025-01-02
    """
    from nocturne.evaluation import promotion
    from nocturne.evaluation.held_out import nights_between
    from nocturne.storage.model_transitions import live_on
    from nocturne.storage.warehouse import leased
    from nocturne.training import registry

    stored = open_warehouse(warehouse, conf, set_)
    models = registry.models(stored)
    live = live_on(models, date.max)
    if other is None and live is None:
        raise UsageError("no model is live", where=warehouse, fix="name the model to compare with")
    model, against = registry.find(models, version), registry.find(models, other) if other else live
    assert against
    since = max(first.date(), model.run_date, against.run_date)
    nights, _ = nights_between(stored, since, last.date(), days, every=1)
    comparison = promotion.compare_versions(nights, model.version, against.version, days)
    with leased(stored, last.date()) as writable:
        models = registry.models(writable)
        registry.write(writable, models, promotion.with_metrics(models, comparison, nights))
    rows, size = _figures(comparison.differences), comparison.sample_size
    rows = [row | asdict(size) for row in rows] if as_json else rows
    print_rows(rows, f"{model.version} against {against.version}", as_json=as_json)
    say(f"evaluated: {size}")


@change()
def promote(
    version: Version,
    warehouse: WarehouseFolder,
    run_date: Annotated[datetime, typer.Option("--run-date", help="the first night it serves, UTC", **DAY)],
    why: Why,
    by: By = None,
    days: Days = 1,
    conf: Conf = None,
    set_: Set = None,
    lease_holder: LeaseHolder = None,
    as_json: Json = False,
) -> None:
    """Make a model live from a night on, if it is no worse than the live one; status 3 if it is refused.

    Example: nocturne models promote 1a2b3c4d --warehouse data/warehouse --run-date 2025-01-04 --why "fresher"
    """
    from nocturne.core.night import Night
    from nocturne.evaluation import promotion
    from nocturne.evaluation.listener_sample import SampleSize
    from nocturne.storage.model_transitions import live_on
    from nocturne.storage.warehouse import leased
    from nocturne.training import registry

    with leased(open_warehouse(warehouse, conf, set_), run_date.date(), lease_holder) as writable:
        night = Night(writable, run_date.date())
        live = live_on(registry.models(writable), night.run_date)
        try:
            decision = promotion.promote(night, version, actor=by or getpass.getuser(), reason=why, days=days)
        except GateClosed:
            if as_json:
                print_json(_decision(night, version, live))
            raise
    decided = _decision(night, version, live)
    if as_json:
        print_json(decided)
    else:
        print(decision)
        if decided["comparison"]:
            first = decided["comparison"][0]
            figures = [{name: row[name] for name in _FIGURES} for row in decided["comparison"]]
            title = f"against {first['against']}, on nights {first['nights']}; low and high: 95 % of the difference"
            print_rows(figures, title)
            say(f"evaluated: {SampleSize(first['sampled'], first['sampled_of'])}")
    _warn_of_lists_made(night)


def _decision(night: "Night", version: str, live: "ModelRecord | None") -> dict[str, Any]:
    """The last move of a model, and how it compared with the model that was live, if it was."""
    from nocturne.training import registry

    model = registry.find(registry.models(night.warehouse), version)
    compared = [row for row in model.metrics if live and row["against"] == live.version]
    last = [row for row in compared if row["nights"] == compared[-1]["nights"]]
    return {"model_version": model.version, **model.transitions[-1].to_row(), "comparison": last}


@change()
def reject(
    version: Version,
    warehouse: WarehouseFolder,
    run_date: Annotated[datetime, typer.Option("--run-date", help="the first night without it, UTC", **DAY)],
    why: Why,
    by: By = None,
    lease_holder: LeaseHolder = None,
    as_json: Json = False,
) -> None:
    """Turn a candidate down; or withdraw the live model from a night on, and the one before it is live again.

    What listeners are served right now changes with the next night; `nocturne rollback` changes it at once.

    Example: nocturne models reject 1a2b3c4d --warehouse data/warehouse --run-date 2025-01-04 --why "only podcasts"
    """
    from nocturne.core.night import Night
    from nocturne.storage.warehouse import leased
    from nocturne.training import registry

    with leased(open_warehouse(warehouse), run_date.date(), lease_holder) as writable:
        night = Night(writable, run_date.date())
        live = registry.reject(night, version, actor=by or getpass.getuser(), reason=why)
    after = f"{live.version} is live" if live else "no model is: the night trains one by the settings"
    if as_json:
        rejected = registry.find(registry.models(night.warehouse), version)
        move = rejected.transitions[-1].to_row()
        print_json({"model_version": rejected.version, **move, "live": live.version if live else None})
    else:
        print(f"rejected; on {night.run_date} {after}")
    _warn_of_lists_made(night)
    say(
        "listeners keep the lists that are served until that night: "
        f"`{program()} rollback` serves the ones before at once"
    )


def _warn_of_lists_made(night: "Night") -> None:
    """Lists that another model would have made keep standing until their night is run again."""
    from nocturne.storage import tables

    made = [day for day in tables.dates(night.warehouse, "ranked_lists") if day >= night.run_date]
    if made:
        say(f"lists of {made[0]} to {made[-1]} were made before this: run those nights again")


_FIGURES = ("metric", "segment", "listeners", "value", "difference", "low", "high")


def _figures(differences: "list[Difference]") -> list[dict[str, Any]]:
    names = ("metric", "segment", "listeners", "mean", "against_mean", "difference", "low", "high")
    return [{name: getattr(each, name) for name in names} for each in differences]
