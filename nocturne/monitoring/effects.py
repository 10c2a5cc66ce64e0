"""Effect sizes: how far what was observed is from what was expected, whatever the number of events. Pure.

None of them grows with the number of events, as a p-value shrinks with it: on a large night everything is significant.
"""

from collections.abc import Callable

import numpy as np

from nocturne.core.arrays import Floats

LARGEST_RATIO = 1_000.0
"""Ratio beyond which there is nothing more to tell: something is gone, or came from nothing."""

_SMALLEST_SHARE = 1e-3
"""Share that a category has at least in PSI, which is infinite for one that is empty."""

_WEIGHTS = {"0.05": 0.15, "0.25": 0.225, "0.5": 0.25, "0.75": 0.225, "0.95": 0.15}
"""Part of the distribution that each stored quantile speaks for: to halfway to the next."""


def ratio(observed: Floats, expected: Floats) -> Floats:
    """The larger by the smaller: 2 of what doubled, and of what was halved."""
    least = 1.0 / LARGEST_RATIO
    larger, smaller = np.maximum(observed, expected), np.minimum(observed, expected)
    whole = np.where(larger > 0, larger, 1.0)
    return np.where(larger > 0, 1.0 / np.maximum(smaller / whole, least), 1.0)


def difference(observed: Floats, expected: Floats) -> Floats:
    """The distance of two numbers, in their unit."""
    return np.abs(observed - expected)


def psi(observed: Floats, expected: Floats) -> Floats:
    """Population stability index: sum of (p - q) ln(p / q) over categories in the last axis; 0 of those alike."""
    p, q = (_shares(np.maximum(_shares(each), _SMALLEST_SHARE)) for each in (observed, expected))
    result: Floats = ((p - q) * np.log(p / q)).sum(axis=-1)
    return result


def jensen_shannon(observed: Floats, expected: Floats) -> Floats:
    """Jensen-Shannon divergence in bits over categories in the last axis: 0 of those alike, 1 if none is shared."""
    p, q = _shares(observed), _shares(expected)
    middle = (p + q) / 2
    result: Floats = np.clip((_bits(p, middle) + _bits(q, middle)) / 2, 0.0, 1.0)
    return result


def wasserstein(observed: Floats, expected: Floats, levels: list[str]) -> Floats:
    """Wasserstein-1 distance in the unit of the numbers: how far they have to be moved on average.

    Args:
        observed, expected: quantiles in the last axis, of the levels.
    """
    result: Floats = np.abs(observed - expected) @ weights(levels)
    return result


def weights(levels: list[str]) -> Floats:
    """Part of the distribution that each quantile speaks for; sums to 1."""
    return _shares(np.array([_WEIGHTS.get(level, 0.0) for level in levels]))


OF_NUMBERS: dict[str, Callable[[Floats, Floats], Floats]] = {"ratio": ratio, "difference": difference}
OF_CATEGORIES: dict[str, Callable[[Floats, Floats], Floats]] = {"psi": psi, "jensen_shannon": jensen_shannon}


def _shares(values: Floats) -> Floats:
    kept = np.maximum(np.nan_to_num(values), 0.0)
    total = kept.sum(axis=-1, keepdims=True)
    return np.where(total > 0, kept / np.where(total > 0, total, 1.0), 1.0 / max(kept.shape[-1], 1))


def _bits(p: Floats, q: Floats) -> Floats:
    there = p > 0
    result: Floats = np.where(there, p * np.log2(np.where(there, p, 1.0) / np.where(there, q, 1.0)), 0.0).sum(axis=-1)
    return result
