"""Experiments of a night: those whose files say that they run, unless somebody concluded them before."""

from datetime import date, timedelta
from typing import Any

import pyarrow.compute as pc

from nocturne.core.experiment import Experiment, experiments_of
from nocturne.core.night import Night, Warehouse
from nocturne.storage import tables

CONCLUSION = "conclusion"
"""Kind of rows of `experiment_results` that people's decisions are."""


def running(night: Night) -> tuple[Experiment, ...]:
    """The experiments whose arms get lists of their own on the night.

    Raises:
        UsageError: a file of an experiment is not valid, or two have the same listeners.
    """
    due = [each for each in experiments_of(night.settings) if each.runs_on(night.run_date)]
    concluded = conclusions(night.warehouse)
    return tuple(each for each in due if not concludes_by(concluded, each, night.run_date))


def rearranged(warehouse: Warehouse) -> frozenset[date]:
    """Nights from which on an experiment runs, or no longer does, by its dates or by a conclusion.

    Raises:
        UsageError: as `running`.
    """
    experiments = experiments_of(warehouse.settings)
    by_dates = {day for each in experiments for day in (each.start, each.end + timedelta(days=1))}
    return frozenset(by_dates | {row["run_date"] for row in conclusions(warehouse).values()})


def conclusions(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """Conclusions by experiment: rows of `experiment_results`, whose night is the first one without it."""
    rows = tables.rows(warehouse, "experiment_results", pc.field("kind") == CONCLUSION).to_pylist()
    return {row["experiment"]: row for row in rows}


def concludes_by(concluded: dict[str, dict[str, Any]], experiment: Experiment, night: date) -> bool:
    """True if an experiment was concluded, for this night or an earlier one; one of the same name before it was not."""
    row = concluded.get(experiment.name)
    return row is not None and bool(experiment.start < row["run_date"] <= night)
