"""Profiles of `experiment_looks` and `experiment_results`: every arm measured, every treatment decided on."""

import math

from nocturne.core.experiment import Experiment, experiments_of
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.validation.profiles.arithmetic import Profile

_NUMBERS = ("means", "variances", "covariances")


def experiment_looks(night: Night) -> Profile:
    """Of the night's looks."""
    rows = tables.night_rows(night, "experiment_looks").to_pylist()
    measured = {(row["experiment"], row["arm"]): row for row in rows if row["population"] == "everyone"}
    wanted = {
        (experiment.name, arm)
        for experiment in _looked_at(night, {row["experiment"] for row in rows})
        for arm in experiment.assigned_arms
    }
    numbers = [value for row in rows for name in _NUMBERS for _, value in row[name]]
    return {
        "missing_arms": len(wanted - measured.keys()),
        "not_finite": sum(not math.isfinite(number) for number in numbers),
        "nobody_exposed": sum(not row["exposed"] for row in measured.values()),
    }


def experiment_results(night: Night) -> Profile:
    """Of the night's results."""
    rows = tables.night_rows(night, "experiment_results", ["experiment", "treatment", "kind", "name"]).to_pylist()
    decided = {(row["experiment"], row["treatment"]): row["name"] for row in rows if row["kind"] == "decision"}
    wanted = {
        (experiment.name, arm)
        for experiment in _looked_at(night, {row["experiment"] for row in rows})
        for arm in experiment.treatments
    }
    return {
        "undecided_arms": len(wanted - decided.keys()),
        "invalid_experiments": sum(verdict == "invalid" for verdict in decided.values()),
    }


def _looked_at(night: Night, names: set[str]) -> list[Experiment]:
    """Experiments that the night has rows of."""
    return [each for each in experiments_of(night.settings) if each.name in names]
