"""The items that say most of each item: evidence of the second stage of ranking beside the factors."""

from typing import Any

import numpy as np
import numpy.typing as npt
from implicit.nearest_neighbours import ItemItemRecommender
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Counts, Floats, Indexes
from nocturne.core.sections import AlsSettings
from nocturne.kernel.local_ridge import fit_weights

Weights = npt.NDArray[np.float32]

MEMORY_SHARE = 4
"""Of als.matrix_memory_mb, a part in so many is for what neighbours are weighed by."""

_LONGEST_ROW = 2_000
"""Items of a listener: whoever has heard more says little of any two of them, at the cost of their number squared."""


def nearest(matrix: csr_matrix, listeners: Counts, settings: AlsSettings) -> tuple[Indexes, Weights]:
    """The items most similar to each item, by products of the columns of the confidences, and the weight of each.

    Each side of a product is divided by listeners of the item ^ als.neighbour_exponent, beside what the confidences
    hold back of popular items themselves. Listeners of more than 2,000 items are left out. The weight is the
    similarity itself or, if als.neighbour_weights says so, that of the regression of who heard the item on who heard
    its neighbours, a listener counting items heard ^ -als.activity_exponent.

    Args:
        matrix: confidences; shape (listeners, items). They are overwritten: a copy would be the most that training
            holds at any time.
        listeners: listeners of each item; shape (items,).

    Returns:
        Positions, ascending, -1 where there are fewer, and weights aligned with them, the largest of all items 1 or
        -1; both of shape (items, als.neighbours).
    """
    items, width = matrix.shape[1], settings.neighbours
    if not width:
        return np.zeros((items, 0), np.int32), np.zeros((items, 0), np.float32)
    short = np.diff(matrix.indptr) <= _LONGEST_ROW
    if not short.all():
        matrix = matrix[short]
    matrix.data = matrix.data.astype(np.float64)
    matrix.data *= (listeners.astype(np.float64) ** -settings.neighbour_exponent)[matrix.indices]
    # One more than is kept, for most items are their own nearest neighbour.
    model = ItemItemRecommender(K=width + 1, num_threads=settings.threads)
    model.fit(matrix, show_progress=False)
    pairs = model.similarity.tocoo()
    others = pairs.row != pairs.col
    positions, weights = best_of_each(pairs.row[others], pairs.col[others], pairs.data[others], items, width)
    if settings.neighbour_weights == "regression":
        heard = np.diff(matrix.indptr)
        matrix.data = np.repeat(np.maximum(heard, 1).astype(np.float64) ** -settings.activity_exponent, heard)
        memory_mb = max(1, settings.matrix_memory_mb // MEMORY_SHARE)
        weights = fit_weights(
            matrix, positions, settings.neighbour_ridge, threads=settings.threads, memory_mb=memory_mb
        )
    return positions, scaled(weights)


def best_of_each(
    item: npt.NDArray[Any], neighbour: npt.NDArray[Any], weight: Floats, items: int, width: int
) -> tuple[Indexes, Floats]:
    """The neighbours of most weight of each item; of equal ones the first.

    Args:
        item, neighbour, weight: of pairs, no two of which are the same.

    Returns:
        Neighbours, ascending, -1 where there are fewer, and their weights, of shape (items, width).
    """
    positions, weights = np.full((items, width), -1, np.int32), np.zeros((items, width))
    best_first = np.lexsort((neighbour, -weight, item))
    rank = np.arange(len(item)) - np.searchsorted(item[best_first], item[best_first])
    best = best_first[rank < width]
    best = best[np.lexsort((neighbour[best], item[best]))]
    place = np.arange(len(best)) - np.searchsorted(item[best], item[best])
    positions[item[best], place], weights[item[best], place] = neighbour[best], weight[best]
    return positions, weights


def scaled(weights: Floats) -> Weights:
    """The same as shares of the largest."""
    largest = np.abs(weights).max(initial=np.finfo(np.float32).tiny)
    return np.asarray(weights / largest, np.float32)
