"""The exact ranking of a generation's whole catalogue for one listener, as the night ranks, at read time."""

from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Floats, Indexes, Mask, Offsets
from nocturne.core.csr import CsrRows
from nocturne.kernel.blend import blend
from nocturne.kernel.layout import Eligible
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import top_k
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ServedItems


class Confidences(NamedTuple):
    """The row of one listener: what they heard of the model's items, and how sure it is that they like it."""

    offsets: Offsets
    columns: Indexes
    confidences: Floats


def rank_catalogue(items: ServedItems, row: ServedRow, allowed: Mask, k: int) -> tuple[Indexes, Floats]:
    """The k best of the allowed items for a listener with factors, by both stages, and their scores.

    The candidates of the second stage are the exact top by the factors, as many as at night, or k if that is more. The
    listener's factors are those of the night, rounded to single precision.

    Args:
        allowed: what the listener may get; shape (items,).
    """
    assert row.factors is not None
    may = allowed & (items.inverse_norms > 0)
    query = Query(
        users=row.factors.astype(np.float64)[None],
        items=items.layout,
        k=max(k, items.info.candidates),
        already_heard=CsrRows.empty(1),
        classes=np.zeros(1, np.int32),
        eligible=Eligible.of(may[None], items.layout),
    )
    top = top_k(query)
    neighbours, similarities = items.neighbours
    candidates, scores = blend(
        top.lists, top.scores, confidences(items, row), neighbours, similarities, items.info.neighbour_weight
    )
    return candidates.positions[:k], scores[:k]


def confidences(items: ServedItems, row: ServedRow) -> Confidences:
    """The listener's confidences in the items of the model, as one row."""
    weights = row.weights.astype(np.float64) * items.confidence_weights[row.heard]
    used = weights > 0
    return Confidences(np.array([0, int(used.sum())]), row.heard[used], weights[used])
