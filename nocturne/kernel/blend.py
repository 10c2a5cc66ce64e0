"""Blending: candidates scored again by the items of the listener's row that resemble them."""

import numpy as np
import numpy.typing as npt
from numba import njit

from nocturne.core.arrays import Floats
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import ConfidenceRows, ValuedRows, frozen


def blend(
    candidates: CsrRows,
    scores: Floats,
    rows: ConfidenceRows,
    neighbours: npt.NDArray[np.int32],
    similarities: npt.NDArray[np.float32],
    weight: float,
) -> tuple[CsrRows, Floats]:
    """Order every listener's candidates by score and neighbourhood together.

    The neighbourhood score of a candidate is the sum, over its neighbours in the listener's row, of similarity times
    confidence. Both scores are divided by the listener's largest, that of the neighbourhood by its largest absolute
    value, for weights may be negative; and added. Ties keep the order of the candidates.
    A listener is blended alone, in float64, in an order of operations that their own row and candidates fix.

    Args:
        candidates: positions, best first.
        scores: aligned with the candidates.
        rows: of the same listeners.
        neighbours: the items most similar to each item, -1 where there are fewer; shape (items, neighbours).
        similarities: or other weights, aligned with the neighbours.
        weight: of the neighbourhood, >= 0.

    Source: item-based neighbourhoods after Deshpande and Karypis (2004), section 4.
    """
    if not neighbours.shape[1] or not weight or not len(scores):
        return candidates, scores
    return order_by_both(candidates, scores, neighbourhoods(candidates, rows, neighbours, similarities), weight)


def neighbourhoods(
    candidates: CsrRows,
    rows: ConfidenceRows,
    neighbours: npt.NDArray[np.int32],
    similarities: npt.NDArray[np.float32],
) -> Floats:
    """The neighbourhood score of every candidate, aligned with them; arguments as `blend` takes them.

    It depends on the candidate and the listener's row alone.
    """
    entries = ValuedRows.of_confidences(rows)
    arrays = frozen(candidates.offsets, candidates.positions, neighbours, similarities)
    if len(candidates.offsets) == 2:
        return np.asarray(_neighbourhoods_of_one(entries, *arrays[1:]))
    return np.asarray(_neighbourhoods(entries, *arrays))


def order_by_both(candidates: CsrRows, scores: Floats, near: Floats, weight: float) -> tuple[CsrRows, Floats]:
    """The candidates and their scores as `blend` gives them.

    Args:
        near: neighbourhood scores, aligned with the candidates.
        weight: > 0.
    """
    arrays = frozen(candidates.offsets, candidates.positions, scores, near)
    positions, blended = _order_by_both(float(weight), *arrays)
    return CsrRows(candidates.offsets, positions), blended


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _neighbourhoods(rows, starts, positions, neighbours, similarities):
    offsets, columns, confidences = rows
    near = np.zeros(len(positions))
    # A bit an item lies in the processor's first cache, where a confidence an item does not.
    heard = np.zeros(len(neighbours) // 64 + 1, np.uint64)
    confidence = np.zeros(len(neighbours))
    for listener in range(len(starts) - 1):
        if starts[listener] == starts[listener + 1]:
            continue
        for entry in range(offsets[listener], offsets[listener + 1]):
            item = columns[entry]
            heard[item >> 6] |= np.uint64(1) << np.uint64(item & 63)
            confidence[item] = confidences[entry]
        for place in range(starts[listener], starts[listener + 1]):
            item = positions[place]
            for neighbour in range(neighbours.shape[1]):
                other = neighbours[item, neighbour]
                if other < 0:
                    break
                if heard[other >> 6] >> np.uint64(other & 63) & np.uint64(1):
                    near[place] += similarities[item, neighbour] * confidence[other]
        for entry in range(offsets[listener], offsets[listener + 1]):
            heard[columns[entry] >> 6] = 0
    return near


@njit(cache=True)
def _neighbourhoods_of_one(row, positions, neighbours, similarities):
    """The same of one listener, whose heard items are looked up by bisection: nothing is as long as the catalogue."""
    _, columns, confidences = row
    order = np.argsort(columns)
    ascending = columns[order]
    near = np.zeros(len(positions))
    for place in range(len(positions)):
        item = positions[place]
        for neighbour in range(neighbours.shape[1]):
            other = neighbours[item, neighbour]
            if other < 0:
                break
            at = np.searchsorted(ascending, other)
            if at < len(ascending) and ascending[at] == other:
                near[place] += similarities[item, neighbour] * confidences[order[at]]
    return near


@njit(cache=True)
def _order_by_both(weight, starts, positions, scores, near):
    ordered, blended = np.empty_like(positions), np.empty_like(scores)
    for listener in range(len(starts) - 1):
        first, last = starts[listener], starts[listener + 1]
        if first == last:
            continue
        own, others = scores[first:last].copy(), near[first:last].copy()
        together = _scaled(own, own.max()) + weight * _scaled(others, np.abs(others).max())
        order = np.argsort(-together, kind="mergesort")
        for place in range(last - first):
            ordered[first + place] = positions[first + order[place]]
            blended[first + place] = together[order[place]]
    return ordered, blended


@njit(cache=True)
def _scaled(scores, largest):
    """Scores as shares of the largest; as they are if that is not above zero."""
    return scores / largest if largest > 0 else scores
