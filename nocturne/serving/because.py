"""Reasons: which items that a listener heard carry the score of an item, and how much of it. Pure.

A score by factors is a sum over the items heard, and so is one by neighbours: `nocturne.kernel.contributions`. Both are
those of the generation, but for the rounding of what it stores: factors in single, weights in half precision. Items
that may not be listed in the market, and those that the listener does not want to hear of, are never named; what they
carry stays in the sum.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Floats, Indexes, Mask
from nocturne.kernel.contributions import contributions, neighbour_contributions
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ServedItems
from nocturne.serving.full_ranking import confidences

NAMED = 3
"""Items that are named at most."""

_LEAST = 0.05
"""Share of a score under which what carries it is not worth a word."""


class Reason(NamedTuple):
    """A heard item, and the share of an item's score that it carries."""

    number: int
    share: float


class Carried(NamedTuple):
    """Scores as sums over what was heard.

    Attributes:
        heard: numbers of the items that have a part in any; shape (heard,).
        by_factors: parts of the scores by factors, zeros of a model that encodes listeners; shape (items, heard).
        by_neighbours: parts of the neighbourhood scores; shape (items, heard).
    """

    heard: Indexes
    by_factors: Floats
    by_neighbours: Floats


def carried(items: ServedItems, row: ServedRow, numbers: Indexes) -> Carried:
    """The scores of some items by both stages, as sums over what a listener with factors has heard."""
    _, heard, weights = confidences(items, row)
    ridge = items.info.ridge * max(1, len(heard)) ** items.info.ridge_exponent
    neighbours, similarities = items.neighbours
    by_factors = np.zeros((len(numbers), len(heard)))
    if len(heard) and items.info.spectrum:
        spectrum = np.array(items.info.spectrum)
        by_factors = contributions(items.factors, spectrum, ridge, heard, weights, numbers)
        by_factors *= items.multipliers[numbers][:, None]
    return Carried(heard, by_factors, neighbour_contributions(neighbours, similarities, heard, weights, numbers))


def reasons(
    items: ServedItems, row: ServedRow | None, numbers: Sequence[int], nameable: Mask
) -> Mapping[int, tuple[Reason, ...]]:
    """The heard items that carry most of the score of each item, the largest share first; none without factors.

    A share is of the score by both stages, each as a share of its largest among these items, as the second stage adds
    them.

    Args:
        numbers: items of an answer.
        nameable: True for items that may be named; shape (items,).
    """
    if row is None or row.factors is None or not len(numbers):
        return {}
    heard, by_factors, by_neighbours = carried(items, row, np.array(numbers, np.int32))
    parts = _scaled(by_factors) + items.info.neighbour_weight * _scaled(by_neighbours)
    totals = parts.sum(axis=1)
    named = nameable[heard]
    found = {}
    for place, number in enumerate(numbers):
        if totals[place] <= 0:
            continue
        shares = parts[place] / totals[place]
        best = [at for at in np.argsort(-shares, kind="stable").tolist() if named[at] and shares[at] >= _LEAST][:NAMED]
        if best:
            found[number] = tuple(Reason(int(heard[at]), float(shares[at])) for at in best)
    return found


def _scaled(parts: Floats) -> Floats:
    largest = np.abs(parts.sum(axis=1)).max(initial=0.0)
    return parts / largest if largest > 0 else parts
