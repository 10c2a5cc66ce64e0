"""The exact ranking of a generation's whole catalogue for one listener, as the night ranks, at read time."""

from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Factors, Floats, Indexes, Mask, Offsets
from nocturne.core.csr import CsrRows
from nocturne.kernel.blend import blend
from nocturne.kernel.top_k import exact_scores
from nocturne.kernel.top_one import top_one
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ServedItems


class Confidences(NamedTuple):
    """The row of one listener: what they heard of the model's items, and how sure it is that they like it."""

    offsets: Offsets
    columns: Indexes
    confidences: Floats


class Ranked(NamedTuple):
    """Items, best first, and their scores; shape (items,)."""

    numbers: Indexes
    scores: Floats


def rank_catalogue(items: ServedItems, row: ServedRow, allowed: Mask, k: int) -> Ranked:
    """The k best of the allowed items for a listener with factors, by both stages, and their scores.

    The candidates of the second stage are the exact top by the factors, as many as at night, or k if that is more. The
    listener's factors are those of the night, rounded to single precision.

    Args:
        allowed: what the listener may get; shape (items,).
    """
    assert row.factors is not None
    numbers, scores = blended(items, row, exact_top(items, row.factors, allowed, max(k, items.info.candidates)))
    return Ranked(numbers[:k], scores[:k])


def exact_top(items: ServedItems, factors: Factors, allowed: Mask, k: int) -> Ranked:
    """The k best of the allowed items by the factors alone; items without factors are none of them.

    Args:
        factors: of a listener, or of what plays; shape (factors,).
        allowed: shape (items,).
    """
    return Ranked(*top_one(factors.astype(np.float64), items.layout, allowed & items.in_model, k))


def scored(items: ServedItems, factors: Factors, numbers: Indexes) -> Ranked:
    """Some items with factors in the order of their scores, which are those of `exact_top`."""
    rows = CsrRows(np.array([0, len(numbers)]), numbers)
    scores = exact_scores(factors.astype(np.float64)[None], items.layout, rows)
    order = np.lexsort((items.layout.tie_order[numbers], -scores))
    return Ranked(numbers[order], scores[order])


def blended(items: ServedItems, row: ServedRow, candidates: Ranked) -> Ranked:
    """Candidates as the night's second stage orders them."""
    neighbours, similarities = items.neighbours
    lists, scores = blend(
        CsrRows(np.array([0, len(candidates.numbers)]), candidates.numbers),
        candidates.scores,
        confidences(items, row),
        neighbours,
        similarities,
        items.info.neighbour_weight,
    )
    return Ranked(lists.positions, scores)


def confidences(items: ServedItems, row: ServedRow) -> Confidences:
    """The listener's confidences in the items of the model, as one row."""
    weights = row.weights.astype(np.float64) * items.confidence_weights[row.heard]
    used = weights > 0
    return Confidences(np.array([0, int(used.sum())]), row.heard[used], weights[used])
