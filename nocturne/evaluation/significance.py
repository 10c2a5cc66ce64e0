"""Paired differences between systems, with bootstrap intervals over listeners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nocturne.core.arrays import Floats, Mask

EVERYONE = "all"
RESAMPLES = 2_000
_LEVELS = (2.5, 97.5)
_BATCH_ENTRIES = 2**22

Scores = Mapping[str, Mapping[str, Floats]]
"""By system and metric, a value of each listener; all aligned."""


@dataclass(frozen=True)
class Difference:
    """A system's mean of a metric beside that of another, among the listeners of a segment.

    Attributes:
        listeners: how many there are.
        difference: mean - against_mean.
        low, high: 95 % interval of the difference, over listeners.
    """

    system: str
    against: str
    segment: str
    metric: str
    listeners: int
    mean: float
    against_mean: float
    difference: float
    low: float
    high: float


def differences(scores: Scores, against: str, segments: Mapping[str, Mask], seed: int = 1) -> list[Difference]:
    """Every system's difference to one of them, in every metric: of all listeners, and of each segment that has any.

    Listeners are resampled with replacement, the same ones for every system and metric of a segment.

    Args:
        scores: per system and metric a value of each listener; shape (listeners,).
        against: the system that the others are compared with.
        segments: who belongs to each; shape (listeners,).
        seed: of the resampling.

    Source: Efron and Tibshirani (1993), "An Introduction to the Bootstrap", the percentile interval of section 13.3.
    """
    systems = [system for system in scores if system != against]
    metrics = list(scores[against])
    reference = np.array([scores[against][metric] for metric in metrics])
    everyone = np.ones(reference.shape[1], dtype=np.bool_)
    rows = []
    for segment, mask in {EVERYONE: everyone, **segments}.items():
        if not mask.any() or not systems:
            continue
        theirs = reference[:, mask]
        ours = [np.array([scores[system][metric] for metric in metrics])[:, mask] for system in systems]
        lows, highs = _intervals(np.concatenate([values - theirs for values in ours]), seed)
        for system_place, (system, values) in enumerate(zip(systems, ours, strict=True)):
            for place, metric in enumerate(metrics):
                entry = system_place * len(metrics) + place
                mean, against_mean = values[place].mean(), theirs[place].mean()
                rows.append(
                    Difference(
                        system, against, segment, metric, int(mask.sum()), float(mean), float(against_mean),
                        float(mean - against_mean), float(lows[entry]), float(highs[entry]),
                    )
                )  # fmt: skip
    return rows


def summary_rows(means: Mapping[str, Mapping[str, float]], rows: Sequence[Difference]) -> list[dict[str, object]]:
    """A row a system, for people: its mean of each metric, and the interval of its difference.

    Args:
        means: by system and metric.
        rows: differences of everyone to one of them.
    """
    intervals = {(row.system, row.metric): f"{row.low:+.4f} to {row.high:+.4f}" for row in rows}
    shown: list[dict[str, object]] = []
    for system, by_metric in means.items():
        row: dict[str, object] = {"system": system}
        for metric, mean in by_metric.items():
            row |= {metric: f"{mean:.4f}", f"{metric} difference": intervals.get((system, metric), "")}
        shown.append(row)
    return shown


def _intervals(values: Floats, seed: int) -> tuple[Floats, Floats]:
    """95 % intervals of the mean of each row of values; shape (rows, listeners)."""
    rng = np.random.default_rng(seed)
    listeners = values.shape[1]
    at_once = max(1, _BATCH_ENTRIES // listeners)
    means = []
    for start in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - start)
        drawn = rng.integers(0, listeners, (count, listeners)) + np.arange(count)[:, None] * listeners
        weights = np.bincount(drawn.ravel(), minlength=count * listeners).reshape(count, listeners)
        means.append(weights.astype(np.float64) @ values.T / listeners)
    low, high = np.percentile(np.concatenate(means), _LEVELS, axis=0)
    return low, high
