"""Experiments of a night: those whose files say that they run, unless somebody concluded them before."""

from datetime import date
from typing import Any

import pyarrow.compute as pc

from nocturne.core.experiment import Experiment, load_experiments
from nocturne.core.night import Night, Warehouse
from nocturne.storage import tables

CONCLUSION = "conclusion"
"""Kind of rows of `experiment_results` that people's decisions are."""


def running(night: Night) -> tuple[Experiment, ...]:
    """The experiments whose arms get lists of their own on the night.

    Raises:
        UsageError: a file of an experiment is not valid, or two have the same listeners.
    """
    due = [each for each in load_experiments(night.settings.experiments.folder) if each.runs_on(night.run_date)]
    concluded = conclusions(night.warehouse) if due else {}
    return tuple(each for each in due if not concludes_by(concluded, each.name, night.run_date))


def conclusions(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """Conclusions by experiment: rows of `experiment_results`, whose night is the first one without it."""
    rows = tables.rows(warehouse, "experiment_results", pc.field("kind") == CONCLUSION).to_pylist()
    return {row["experiment"]: row for row in rows}


def concludes_by(concluded: dict[str, dict[str, Any]], name: str, night: date) -> bool:
    """True if an experiment was concluded, for this night or an earlier one."""
    return name in concluded and bool(concluded[name]["run_date"] <= night)
