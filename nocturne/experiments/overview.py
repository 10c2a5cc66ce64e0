"""Overview of experiments: each as it stands on a night, its results, and the slots that none has."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow.compute as pc

from nocturne.core.errors import UsageError
from nocturne.core.experiment import SLOTS, Experiment, experiments_of
from nocturne.core.night import Warehouse
from nocturne.storage import tables
from nocturne.storage.running_experiments import concludes_by, conclusions

Row = dict[str, Any]


def find_experiment(stored: Warehouse, name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        UsageError: there is none, or a file is not valid.
    """
    experiments = {each.name: each for each in experiments_of(stored.settings)}
    if name not in experiments:
        raise UsageError(
            "there is no such experiment",
            where=stored.settings.experiments.folder,
            found=name,
            expected=", ".join(experiments) or "a file NAME.toml there",
            fix="`nocturne experiments list` names them all",
        )
    return experiments[name]


def results(stored: Warehouse, experiment: str | None = None) -> list[Row]:
    """Rows of `experiment_results`, of one experiment or of all, in order of experiment and day."""
    of_one = None if experiment is None else pc.field("experiment") == experiment
    rows = tables.rows(stored, "experiment_results", of_one).to_pylist()
    return sorted(rows, key=lambda row: (row["experiment"], row["day"]))


def overview(stored: Warehouse, night: date) -> list[Row]:
    """A row an experiment: its state on the night, its slots and arms, and the last decision on each treatment."""
    concluded = conclusions(stored)
    known = [row for row in results(stored) if row["kind"] == "decision" and row["run_date"] <= night]
    decisions = {(row["experiment"], row["treatment"]): row["outcome"] for row in known}
    return [
        {
            "experiment": each.name,
            "state": state(each, night, concluded),
            "kind": each.kind,
            "start": each.start,
            "end": each.end,
            "slots": f"{each.first_slot}-{each.first_slot + each.slots - 1}",
            "arms": ", ".join(each.arms),
            "decision": "; ".join(
                f"{arm}: {decisions[each.name, arm]}" for arm in each.treatments if (each.name, arm) in decisions
            ),
        }
        for each in experiments_of(stored.settings)
    ]


def state(experiment: Experiment, night: date, concluded: dict[str, Row]) -> str:
    """Planned, running, ended, or concluded with the arm that is for everyone."""
    if concludes_by(concluded, experiment, night):
        return f"concluded: {concluded[experiment.name]['name']}"
    if night < experiment.start:
        return "planned"
    return "running" if night <= experiment.end else "ended"


def free_slots(stored: Warehouse, night: date) -> str:
    """Slots that no experiment has on the night, as ranges; "" if there are none."""
    concluded = conclusions(stored)
    experiments = experiments_of(stored.settings)
    taken = [each for each in experiments if each.runs_on(night) and not concludes_by(concluded, each, night)]
    used = Counter(slot for each in taken for slot in range(each.first_slot, each.first_slot + each.slots))
    free = [slot for slot in range(SLOTS) if slot not in used]
    starts = [slot for slot in free if slot - 1 not in free]
    ends = [slot for slot in free if slot + 1 not in free]
    return ", ".join(f"{first}-{last}" for first, last in zip(starts, ends, strict=True))


def last_look(rows: Sequence[Row], treatment: str) -> list[Row]:
    """Results of the last look at a treatment, conclusions apart; empty if nobody has looked yet."""
    ours = [row for row in rows if row["treatment"] == treatment and row["kind"] != "conclusion"]
    last = max((row["day"] for row in ours), default=None)
    return [row for row in ours if row["day"] == last]


def look_on(experiment: Experiment, number: int) -> date:
    """The night of a look, by its number from 0."""
    return experiment.start + timedelta(days=experiment.looks[number])
