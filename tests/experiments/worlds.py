"""Aggregates of arrays, and a small experiment."""

from datetime import date

import numpy as np
from tea_tasting.aggr import Aggregates

from nocturne.core.experiment import parse_experiment

METRICS = {
    "minutes": {"role": "success", "measure": "minutes", "minimum_effect": 0.02},
    "plays": {"role": "guardrail", "measure": "plays", "margin": 0.02},
    "active": {"role": "deterioration", "measure": "active"},
}


def aggregates_of(columns):
    """Count, means, variances and covariances of columns; each of shape (listeners,)."""
    names = list(columns)
    values = np.array([columns[name] for name in names], dtype=float)
    count = values.shape[1]
    spread = np.atleast_2d(np.cov(values)) if count > 1 else np.zeros((len(names), len(names)))
    pairs = {(names[i], names[j]): float(spread[i, j]) for i in range(len(names)) for j in range(i)}
    means = values.mean(axis=1) if count else np.zeros(len(names))
    return Aggregates(
        count,
        dict(zip(names, means.tolist(), strict=True)),
        {name: float(spread[i, i]) for i, name in enumerate(names)},
        pairs,
    )


def experiment(nights=14, looks=None, metrics=METRICS, arms=None, **values):
    """An experiment from 1 March 2025 on, with nightly looks."""
    return parse_experiment(
        "deeper",
        {
            "hypothesis": "deeper pools are heard longer",
            "start": date(2025, 3, 1),
            "end": date(2025, 3, nights),
            "salt": "deeper",
            "first_slot": 0,
            "slots": 100,
            "looks": list(looks or range(1, nights + 1)),
            "arms": arms or {"control": {"weight": 1}, "deep": {"weight": 1}},
            "metrics": metrics,
        }
        | values,
    )
