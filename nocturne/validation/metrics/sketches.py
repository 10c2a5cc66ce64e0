"""Sketches: how numbers are distributed, to within 2 % of each, in bins that add up.

Bins grow by a constant factor, on both sides of 0. Of every bin the count and the sum are kept, so that a quantile is
the mean of the numbers beside it: whole numbers up to 25, which have a bin each, are told exactly.

Source: DDSketch, Masson, Rim and Lee (2019).
"""

import math

import numpy as np

from nocturne.core.arrays import Floats, Positions

_GROWTH = math.log(1.04)
_FIRST, _LAST = -400, 700
"""Bins from 1.5e-7 to 8e11; what lies beyond is in the first or the last."""

_SIDE = _LAST - _FIRST + 1
BINS = 2 * _SIDE + 1


def sketch(numbers: np.ndarray) -> Floats:
    """The counts and sums of finite numbers by bin, in ascending order; shape (2, BINS)."""
    finite = np.asarray(numbers, np.float64)
    finite = finite[np.isfinite(finite)]
    bins = _bins(finite)
    return np.stack([np.bincount(bins, weights, minlength=BINS) for weights in (None, finite)]).astype(np.float64)


def _bins(numbers: Floats) -> Positions:
    sizes = np.abs(numbers)
    with np.errstate(divide="ignore"):
        steps = np.ceil(np.log(sizes) / _GROWTH - 1e-9)
    sides = np.where(sizes > 0, np.clip(steps, _FIRST, _LAST) - _FIRST + 1, 0).astype(np.int64)
    return _SIDE + np.where(numbers < 0, -sides, sides)


def quantile(of: Floats, share: float) -> float:
    """The smallest number below or at which so large a share lies; of a sketch of at least one."""
    counts, sums = of
    reached = np.cumsum(counts)
    place = int(np.searchsorted(reached, max(share * reached[-1] - 1e-9, 0.5)))
    return float(sums[place] / counts[place])


def share_of_largest(of: Floats, share: float) -> float:
    """The share of the sum of numbers from 0 on that a share of them, the largest, has, and at least one of them."""
    counts, sums = of[:, ::-1]
    if not sums.sum():
        return 0.0
    wanted = max(share * counts.sum(), 1.0)
    before = np.cumsum(counts) - counts
    taken = np.clip(wanted - before, 0, counts)
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return float((taken * means).sum() / sums.sum())
