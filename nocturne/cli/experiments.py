"""`nocturne experiments ...`: from a file to a decision."""

import getpass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nocturne.cli.help import Command, Group
from nocturne.cli.options import (
    Conf,
    Json,
    LeaseHolder,
    OneNight,
    Set,
    WarehouseFolder,
    open_warehouse,
    require_writable,
)
from nocturne.core.console import print_json, print_rows, say

if TYPE_CHECKING:
    from nocturne.core.experiment import Experiment
    from nocturne.experiments.checking import Checked

app = typer.Typer(cls=Group, no_args_is_help=True, help="Experiments: their files, lists, looks and decisions.")
command = partial(app.command, cls=Command)

Name = Annotated[str, typer.Argument(help="the experiment, by the name of its file", metavar="NAME")]
Row = dict[str, Any]


@command("list")
def list_experiments(
    warehouse: WarehouseFolder, run_date: OneNight, conf: Conf = None, set_: Set = None, as_json: Json = False
) -> None:
    """Print every experiment as it stands on a night: what it has of the listeners, and what its last look said.

    Example: nocturne experiments list --warehouse data/warehouse --run-date 2025-01-03
    """
    from nocturne.core.experiment import SLOTS
    from nocturne.experiments.overview import free_slots, overview

    stored, night = open_warehouse(warehouse, conf, set_), run_date.date()
    rows = overview(stored, night)
    print_rows(rows, f"{stored.settings.experiments.folder}, on {night}", as_json=as_json, secondary=("kind", "arms"))
    say(f"slots of {SLOTS:,} that no experiment has on that night: {free_slots(stored, night) or 'none'}")


@command()
def check(
    name: Name,
    warehouse: WarehouseFolder,
    run_date: OneNight,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Try an experiment on a night that was made: whom it would touch, what it could find, what it would cost.

    Nothing is written. Status 2 if its file is not valid.

    Example: nocturne experiments check calmer-evenings --warehouse data/warehouse --run-date 2025-01-03
    """
    from nocturne.core.night import Night
    from nocturne.experiments.checking import check_experiment
    from nocturne.experiments.overview import find_experiment

    stored = open_warehouse(warehouse, conf, set_)
    night, experiment = Night(stored, run_date.date()), find_experiment(stored, name)
    checked = check_experiment(night, experiment)
    if as_json:
        print_json(_as_json(experiment, checked))
        return
    say(f"{name}: {checked.members:,} listeners on {night.run_date}; planned from {checked.days} days")
    for treatment in experiment.treatments:
        _print_check(experiment, treatment, checked)


@command()
def show(
    name: Name,
    warehouse: WarehouseFolder,
    html: Annotated[Path | None, typer.Option(help="write a page for people to this file", metavar="FILE")] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Print what the looks at an experiment say so far: decisions, metrics, checks of quality.

    Example: nocturne experiments show calmer-evenings --warehouse data/warehouse --html data/calmer-evenings.html
    """
    from nocturne.experiments.overview import find_experiment, last_look, look_on, results
    from nocturne.experiments.report import experiment_page

    require_writable(html)
    stored = open_warehouse(warehouse, conf, set_)
    experiment = find_experiment(stored, name)
    rows = results(stored, name)
    if html:
        html.write_text(experiment_page(experiment, rows), encoding="utf-8")
        say(f"{html} is written")
    if as_json:
        print_json([_finite(row) for row in rows])
        return
    for treatment in experiment.treatments:
        look = last_look(rows, treatment)
        if not look:
            say(f"{name}, {treatment}: nobody has looked yet; the first look is on {look_on(experiment, 0)}")
            continue
        [decision] = [row for row in look if row["kind"] == "decision"]
        print(f"{treatment}, day {decision['day']}: {decision['outcome']}")
        print("\n".join(f"  {reason}" for reason in decision["reasons"]))
        shown = [row for row in look if row["kind"] == "metric" and not row["segment"]]
        print_rows([_metric(row) for row in shown], "metrics", secondary=("control", "listeners"))
        failed = [row for row in look if row["outcome"] == "failed"]
        for row in failed:
            say(f"failed: {row['name']}{' of ' * bool(row['segment'])}{row['segment']}, p {row['p_value']:.2g}")


@command()
def conclude(
    name: Name,
    arm: Annotated[str, typer.Option(help="what everyone gets: an arm, or control", metavar="ARM")],
    warehouse: WarehouseFolder,
    run_date: OneNight,
    why: Annotated[str, typer.Option(help="the reason, for whoever asks later", metavar="TEXT")],
    by: Annotated[str | None, typer.Option(help="who decides; by default the user", metavar="NAME")] = None,
    conf: Conf = None,
    set_: Set = None,
    lease_holder: LeaseHolder = None,
    as_json: Json = False,
) -> None:
    """End an experiment before a night; if an arm with a model won, make it live then, if the registry's gate lets it.

    Status 3 if it does not: then the experiment goes on.

    Example: nocturne experiments conclude calmer-evenings --arm control --warehouse data/warehouse
    --run-date 2025-01-15 --why "no effect worth having"
    """
    from nocturne.evaluation.concluding import conclude as conclude_experiment
    from nocturne.storage.warehouse import leased

    night, actor = run_date.date(), by or getpass.getuser()
    with leased(open_warehouse(warehouse, conf, set_), night, lease_holder) as writable:
        concluded = conclude_experiment(writable, night, name, arm, actor=actor, why=why)
    settings = [f"{key} = {value!r}" for key, value in concluded.settings.items()]
    if as_json:
        print_json({"experiment": name, "arm": arm, "run_date": night, "settings": concluded.settings})
    else:
        print(concluded)
    if settings:
        say("put into the settings file of the nights: " + "; ".join(settings))


def _finite(row: Row) -> Row:
    """A row whose numbers JSON has; null stands for infinite and for unknown ones."""
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in row.items()}


def _metric(row: Row) -> Row:
    return {
        "metric": row["name"],
        "role": row["role"],
        "control": round(row["control"], 4),
        "effect": f"{row['relative']:+.2%}",
        "interval": " to ".join(f"{row[end]:+.2%}" if isfinite(row[end]) else "any" for end in ("low", "high")),
        "listeners": row["control_listeners"] + row["treatment_listeners"],
        "outcome": row["outcome"],
    }


def _print_check(experiment: "Experiment", treatment: str, checked: "Checked") -> None:
    from nocturne.experiments.overview import look_on

    trial = checked.trials.get(treatment)
    if trial:
        weight = sum(arm.weight for arm in experiment.arms.values())
        say(
            f"{treatment}: of {trial.listeners:,} who were tried {trial.triggered:.1%} get another list; a night costs "
            f"{trial.seconds * checked.members:,.0f} s of processor time if everyone is computed afresh, and "
            f"{trial.bytes * checked.members / 2**20:,.1f} MiB for all {checked.members:,}; served to "
            f"{experiment.arms[treatment].weight / weight:.0%} of them"
        )
        changes = [
            {"of": title, "name": each.name, "control": round(each.control, 4), "treatment": round(each.treatment, 4)}
            for title, some in (("places by type", trial.preview.content_types), ("catalogue", trial.preview.catalogue))
            for each in some
        ]
        print_rows(changes, f"{treatment}: who gains and who loses")
        groups = [
            {
                "by": each.by,
                "value": each.value or "",
                "listeners": each.listeners,
                "differing": f"{each.differing:.1%}",
            }
            | {"overlap": f"{each.overlap:.1%}", "median place": each.median_place or ""}
            for each in trial.preview.groups
        ]
        print_rows(groups, f"{treatment}: whose lists differ")
    else:
        say(
            f"{treatment}: lists cannot be tried, for there is no model of its recipe yet, or they are those of control"
        )
    if plan := checked.plans.get(treatment):
        rows = [
            {
                "metric": each.metric,
                "role": each.role,
                "to find": f"{each.tolerance:.2%}",
                "power": f"{each.power:.1%}",
                "finds": f"{each.detectable:.2%}",
                "listeners needed": round(each.listeners),
            }
            for each in plan.metrics
        ]
        print_rows(rows, f"{treatment}: what it can find by {look_on(experiment, -1)}")
        say(
            f"{treatment}: ships with {plan.power:.1%} if every success metric has its minimum effect (at least "
            f"{plan.power_at_least:.1%}); decided after {plan.expected_day:.1f} days on average, "
            f"{plan.expected_day_without_effect:.1f} if nothing changes"
        )


def _as_json(experiment: "Experiment", checked: "Checked") -> Row:
    from dataclasses import asdict

    return {
        "experiment": experiment.name,
        "members": checked.members,
        "days": checked.days,
        "trials": {name: asdict(trial) for name, trial in checked.trials.items()},
        "plans": {name: asdict(plan) for name, plan in checked.plans.items()},
    }
