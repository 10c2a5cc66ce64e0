"""Inequality of counts: how unevenly places are spread over items or creators."""

import numpy as np

from nocturne.core.arrays import Counts


def inequality(counts: Counts) -> float:
    """Gini coefficient of counts: 0 if all are the same, towards 1 if one has them all; 0 if there is nothing."""
    if not counts.sum():
        return 0.0
    ordered, number = np.sort(counts).astype(np.float64), len(counts)
    return float(((2 * np.arange(1, number + 1) - number - 1) * ordered).sum() / (number * ordered.sum()))
