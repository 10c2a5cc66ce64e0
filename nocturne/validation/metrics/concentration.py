"""Concentration: how unevenly something is spread over items or creators."""

import numpy as np

from nocturne.core.arrays import Floats, Positions
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import metric

CREATOR_RANKS = 10


def gini(amounts: Floats) -> float:
    """Gini coefficient of amounts above 0: 0 if all are the same, towards 1 if one has everything."""
    ordered = np.sort(amounts[amounts > 0])
    count = len(ordered)
    if not count:
        return 0.0
    ranks = np.arange(1, count + 1)
    return float(2 * (ranks * ordered).sum() / (count * ordered.sum()) - (count + 1) / count)


def largest_share(amounts: Floats, most: int = 1) -> float:
    """Share of the largest amounts, so many, in the sum; 0 of nothing."""
    whole = amounts.sum()
    return float(np.sort(amounts)[::-1][:most].sum() / whole) if whole else 0.0


def by_creator(amounts: Floats, creators: Positions) -> Floats:
    """Sums of items of each creator, the last of those without one.

    Args:
        creators: number of the creator of each item; -1 without one; aligned with the amounts.
    """
    last = int(creators.max(initial=-1)) + 1
    sums: Floats = np.bincount(np.where(creators < 0, last, creators), amounts, minlength=last + 1).astype(np.float64)
    return sums


def distance(now: Floats, then: Floats) -> float:
    """Total variation between two spreads: the share that would have to move; from 0 to 1."""
    return float(np.abs(now / now.sum() - then / then.sum()).sum() / 2)


def creator_metrics(amounts: Floats, creators: Positions, name: str = "share") -> list[Metric]:
    """Shares of the creators with most, by rank from 1; what has no creator counts in the whole."""
    of_creators, whole = by_creator(amounts, creators)[:-1], float(amounts.sum())
    largest = np.sort(of_creators[of_creators > 0])[::-1][:CREATOR_RANKS]
    return [metric(name, share, "creator_rank", str(rank), whole) for rank, share in enumerate(largest / whole, 1)]
