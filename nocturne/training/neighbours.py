"""The items that resemble each item most: evidence of the second stage of ranking beside the factors."""

import numpy as np
import numpy.typing as npt
from implicit.nearest_neighbours import ItemItemRecommender
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Counts, Indexes
from nocturne.core.settings import AlsSettings

Similarities = npt.NDArray[np.float32]


_LONGEST_ROW = 2_000
"""Items of a listener: whoever has heard more says little of any two of them, at the cost of their number squared."""


def nearest(matrix: csr_matrix, listeners: Counts, settings: AlsSettings) -> tuple[Indexes, Similarities]:
    """The items most similar to each item: products of the columns of the confidences.

    Each side of a product is divided by listeners of the item ^ als.neighbour_exponent, beside what the confidences
    hold back of popular items themselves. Listeners of more than 2,000 items are left out.

    Args:
        matrix: confidences; shape (listeners, items). They are overwritten: a copy would be the most that training
            holds at any time.
        listeners: listeners of each item; shape (items,).

    Returns:
        Positions, ascending, -1 where there are fewer, and similarities aligned with them, the largest of all
        items 1; both of shape (items, als.neighbours).
    """
    items, width = matrix.shape[1], settings.neighbours
    positions, similarities = np.full((items, width), -1, np.int32), np.zeros((items, width), np.float32)
    if not width:
        return positions, similarities
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
    item, neighbour, similarity = pairs.row[others], pairs.col[others], pairs.data[others]
    best_first = np.lexsort((neighbour, -similarity, item))
    rank = np.arange(len(item)) - np.searchsorted(item[best_first], item[best_first])
    nearest = best_first[rank < width]
    nearest = nearest[np.lexsort((neighbour[nearest], item[nearest]))]
    place = np.arange(len(nearest)) - np.searchsorted(item[nearest], item[nearest])
    positions[item[nearest], place] = neighbour[nearest]
    similarities[item[nearest], place] = similarity[nearest] / similarity.max(initial=np.finfo(np.float32).tiny)
    return positions, similarities
