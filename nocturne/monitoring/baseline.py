"""Baseline: the value that earlier nights let one expect of a night, robust and by weekday. Pure, over arrays.

Rows are series, columns nights back from the one that is judged: the first column is the night before it, the seventh
the same weekday a week ago. NaN is a night without a value.
"""

from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Floats, Mask

WEEK = 7
NIGHTS = 8 * WEEK
"""Nights back that say what is usual."""

SEEN_TWICE = 2
"""Nights of a weekday from which on it has a level of its own."""

GROWING_WEEKS = 4
"""Weeks from which on differences to a week before are growth."""

_NORMAL = 1.4826
"""Standard deviation of a normal distribution whose median absolute deviation is 1."""


class Baseline(NamedTuple):
    """Expected values of series and the usual spread about them, each of shape (series,).

    Attributes:
        expected: NaN where no night says anything.
        spread: standard deviation of nights about what was expected of them, from medians.
        nights: values that it rests on, count.
        seasonal: whether the weekday was seen often enough to have a level of its own.
    """

    expected: Floats
    spread: Floats
    nights: Floats
    seasonal: Mask


def baseline(values: Floats, alike: Mask | None = None) -> Baseline:
    """Expect of a night the weekday's level, moved by growth and by what the last week was like.

    Growth is the median of the differences to a week before, once there are weeks enough; so is the spread, which
    weekdays do not touch.

    Args:
        values: of the nights before; shape (series, nights).
        alike: nights that are of the kind of the one that is judged; shape (nights,).
    """
    before = np.full((len(values), NIGHTS), np.nan)
    before[:, : values.shape[1]] = values[:, :NIGHTS]
    if alike is not None:
        before[:, : len(alike[:NIGHTS])][:, ~alike[:NIGHTS]] = np.nan
    back = np.arange(1, NIGHTS + 1)
    weekly = before[:, :-WEEK] - before[:, WEEK:]
    known = count(weekly) >= WEEK
    # A level that moved once is in seven of the differences: of fewer weeks it would be taken for growth.
    lasting = np.isfinite(before[:, (GROWING_WEEKS - 1) * WEEK :]).any(axis=1)
    growth = np.where(known & lasting, median(weekly), 0.0)
    level = before + growth[:, None] / WEEK * back
    by_weekday, seen = _by_weekday(level, back)
    off = level - by_weekday[:, back % WEEK]
    last_week = off[:, :WEEK]
    # A single night of the week says little, and may be tonight's trouble begun.
    shift = np.where(count(last_week) > 2, median(last_week), 0.0)
    of_weeks = median(np.abs(weekly - growth[:, None])) / np.sqrt(2.0)
    spread = _NORMAL * np.where(known, of_weeks, median(np.abs(off)))
    return Baseline(by_weekday[:, 0] + shift, spread, count(before), seen[:, 0] >= SEEN_TWICE)


def _by_weekday(level: Floats, back: np.ndarray) -> tuple[Floats, Floats]:
    """Level of each weekday, and how often it was seen; shape (series, 7), the judged night's weekday first."""
    usual = median(level)
    days = [level[:, back % WEEK == day] for day in range(WEEK)]
    seen = np.stack([count(day) for day in days], axis=1)
    levels = np.stack([median(day) for day in days], axis=1)
    return np.where(seen >= SEEN_TWICE, levels, usual[:, None]), seen


def count(values: Floats) -> Floats:
    """Values of each row that are there."""
    there: Floats = np.isfinite(values).sum(axis=1).astype(np.float64)
    return there


def median(values: Floats) -> Floats:
    """Median of each row's values that are there; NaN where none is, and without a warning."""
    ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=1)  # NaN comes last
    there = count(values).astype(np.int64)
    if values.shape[1] == 0:
        return np.full(len(values), np.nan)
    low, high = np.maximum(there - 1, 0) // 2, there // 2
    rows = np.arange(len(values))
    high = np.where(there > 0, np.minimum(high, np.maximum(there - 1, 0)), 0)
    result: Floats = (ordered[rows, low] + ordered[rows, high]) / 2
    return result
