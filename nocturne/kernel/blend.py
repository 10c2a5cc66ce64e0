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
    scored = ValuedRows(*frozen(candidates.offsets, candidates.positions, scores))
    positions, blended = _blend(
        float(weight), scored, ValuedRows.of_confidences(rows), *frozen(neighbours, similarities)
    )
    return CsrRows(candidates.offsets, positions), blended


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _blend(weight, candidates, rows, neighbours, similarities):
    starts, positions, scores = candidates
    offsets, columns, confidences = rows
    ordered, blended = np.empty_like(positions), np.empty_like(scores)
    # A bit an item lies in the processor's first cache, where a confidence an item does not.
    heard = np.zeros(len(neighbours) // 64 + 1, np.uint64)
    confidence = np.zeros(len(neighbours))
    for listener in range(len(starts) - 1):
        first, last = starts[listener], starts[listener + 1]
        if first == last:
            continue
        for entry in range(offsets[listener], offsets[listener + 1]):
            item = columns[entry]
            heard[item >> 6] |= np.uint64(1) << np.uint64(item & 63)
            confidence[item] = confidences[entry]
        near = np.zeros(last - first)
        for place in range(last - first):
            item = positions[first + place]
            for neighbour in range(neighbours.shape[1]):
                other = neighbours[item, neighbour]
                if other < 0:
                    break
                if heard[other >> 6] >> np.uint64(other & 63) & np.uint64(1):
                    near[place] += similarities[item, neighbour] * confidence[other]
        own = scores[first:last].copy()
        together = _scaled(own, own.max()) + weight * _scaled(near, np.abs(near).max())
        order = np.argsort(-together, kind="mergesort")
        for place in range(last - first):
            ordered[first + place] = positions[first + order[place]]
            blended[first + place] = together[order[place]]
        for entry in range(offsets[listener], offsets[listener + 1]):
            heard[columns[entry] >> 6] = 0
    return ordered, blended


@njit(cache=True)
def _scaled(scores, largest):
    """Scores as shares of the largest; as they are if that is not above zero."""
    return scores / largest if largest > 0 else scores
