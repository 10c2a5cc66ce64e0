"""`nocturne experiments ...`: from a file to a decision."""

import getpass
from collections import Counter
from datetime import date, timedelta
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nocturne.cli.help import Command, Group, program
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
from nocturne.core.errors import UsageError

if TYPE_CHECKING:
    from nocturne.core.experiment import Experiment
    from nocturne.core.night import Warehouse
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
    from nocturne.core.experiment import SLOTS, experiments_of
    from nocturne.storage.running_experiments import concludes_by, conclusions

    stored = open_warehouse(warehouse, conf, set_)
    night, concluded = run_date.date(), conclusions(stored)
    experiments = experiments_of(stored.settings)
    known = [row for row in _results(stored) if row["kind"] == "decision" and row["run_date"] <= night]
    decisions = {(row["experiment"], row["treatment"]): row["outcome"] for row in known}
    rows = [
        {
            "experiment": each.name,
            "state": _state(each, night, concluded),
            "kind": each.kind,
            "start": each.start,
            "end": each.end,
            "slots": f"{each.first_slot}-{each.first_slot + each.slots - 1}",
            "arms": ", ".join(each.arms),
            "decision": "; ".join(
                f"{arm}: {decisions[each.name, arm]}" for arm in each.treatments if (each.name, arm) in decisions
            ),
        }
        for each in experiments
    ]
    print_rows(rows, f"{stored.settings.experiments.folder}, on {night}", as_json=as_json, secondary=("kind", "arms"))
    taken = [each for each in experiments if each.runs_on(night) and not concludes_by(concluded, each, night)]
    say(f"slots of {SLOTS:,} that no experiment has on that night: {_free(taken) or 'none'}")


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

    stored = open_warehouse(warehouse, conf, set_)
    night, experiment = Night(stored, run_date.date()), _find(stored, name)
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
    from nocturne.experiments.report import experiment_page

    require_writable(html)
    stored = open_warehouse(warehouse, conf, set_)
    experiment = _find(stored, name)
    rows = [row for row in _results(stored) if row["experiment"] == name]
    if html:
        html.write_text(experiment_page(experiment, rows), encoding="utf-8")
        say(f"{html} is written")
    if as_json:
        print_json([_finite(row) for row in rows])
        return
    for treatment in experiment.treatments:
        ours = [row for row in rows if row["treatment"] == treatment and row["kind"] != "conclusion"]
        if not ours:
            say(f"{name}, {treatment}: nobody has looked yet; the first look is on {_look_on(experiment, 0)}")
            continue
        last = max(row["day"] for row in ours)
        [decision] = [row for row in ours if row["day"] == last and row["kind"] == "decision"]
        print(f"{treatment}, day {last}: {decision['outcome']}")
        print("\n".join(f"  {reason}" for reason in decision["reasons"]))
        shown = [row for row in ours if row["day"] == last and row["kind"] == "metric" and not row["segment"]]
        print_rows([_metric(row) for row in shown], "metrics", secondary=("control", "listeners"))
        failed = [row for row in ours if row["day"] == last and row["outcome"] == "failed"]
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
    from nocturne.core.night import Night
    from nocturne.evaluation import promotion
    from nocturne.experiments.conclusion import record_conclusion
    from nocturne.storage.model_transitions import model_of_arm
    from nocturne.storage.warehouse import leased
    from nocturne.training import registry

    with leased(open_warehouse(warehouse, conf, set_), run_date.date(), lease_holder) as writable:
        night, experiment = Night(writable, run_date.date()), _find(writable, name)
        if arm not in experiment.arms:
            raise UsageError(
                "the experiment has no such arm", where=name, found=arm, expected=", ".join(experiment.arms)
            )
        definition, actor, promoted = experiment.arms[arm], by or getpass.getuser(), ""
        changes_model = bool(definition.model or definition.recipe)
        model = model_of_arm(registry.models(writable), night.run_date, definition) if changes_model else None
        if changes_model and model is None:
            raise UsageError(
                "the model of an arm is not there",
                where=f"{name}/{arm}",
                found=definition.model or "no model of its recipe",
                expected="a version that `nocturne models list` names",
                fix="name the night after the last one of the experiment",
            )
        if not experiment.start < night.run_date:
            raise UsageError(
                "an experiment ends before it begins",
                where=name,
                found=f"--run-date {night.run_date}",
                expected=f"a night after {experiment.start}, the first one without it",
                fix="to have it never begin, remove its file",
            )
        if model:
            promoted = promotion.promote(night, model.version, actor=actor, reason=f"experiment {name}: {why}")
        record_conclusion(night, experiment, arm, f"{why} ({actor})")
    settings = [f"{key} = {value!r}" for key, value in definition.settings.items()]
    if as_json:
        print_json({"experiment": name, "arm": arm, "run_date": night.run_date, "settings": definition.settings})
    else:
        print(promoted or f"{name} ends: {arm} is for everyone from {night.run_date} on")
    if settings:
        say("put into the settings file of the nights: " + "; ".join(settings))


def _find(stored: "Warehouse", name: str) -> "Experiment":
    from nocturne.core.experiment import experiments_of

    experiments = {each.name: each for each in experiments_of(stored.settings)}
    if name not in experiments:
        raise UsageError(
            "there is no such experiment",
            where=stored.settings.experiments.folder,
            found=name,
            expected=", ".join(experiments) or "a file NAME.toml there",
            fix=f"`{program()} experiments list` names them all",
        )
    return experiments[name]


def _results(stored: "Warehouse") -> list[Row]:
    from nocturne.storage import tables

    rows = tables.rows(stored, "experiment_results").to_pylist()
    return sorted(rows, key=lambda row: (row["experiment"], row["day"]))


def _state(experiment: "Experiment", night: date, concluded: dict[str, Row]) -> str:
    from nocturne.storage.running_experiments import concludes_by

    if concludes_by(concluded, experiment, night):
        return f"concluded: {concluded[experiment.name]['name']}"
    if night < experiment.start:
        return "planned"
    return "running" if night <= experiment.end else "ended"


def _free(taken: "list[Experiment]") -> str:
    from nocturne.core.experiment import SLOTS

    used = Counter(slot for each in taken for slot in range(each.first_slot, each.first_slot + each.slots))
    free = [slot for slot in range(SLOTS) if slot not in used]
    starts = [slot for slot in free if slot - 1 not in free]
    ends = [slot for slot in free if slot + 1 not in free]
    return ", ".join(f"{first}-{last}" for first, last in zip(starts, ends, strict=True))


def _look_on(experiment: "Experiment", number: int) -> date:
    return experiment.start + timedelta(days=experiment.looks[number])


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
        print_rows(rows, f"{treatment}: what it can find by {_look_on(experiment, -1)}")
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
