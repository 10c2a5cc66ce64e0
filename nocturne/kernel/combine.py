"""Combining: lists that are the best by score, and items with evidence, put in one order of both."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from nocturne.core.arrays import Floats, Indexes, Offsets, Positions
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import ValuedRows, frozen

ORIGINS = "score", "evidence", "both"
"""Why an item is in a list: it has no evidence; it has, but no score above 0; or both. Numbered in this order."""

Origins = npt.NDArray[np.int8]


class EvidenceRows(NamedTuple):
    """CSR rows of items with evidence.

    Attributes:
        positions: none of them twice in a row.
        scores: as of the lists, aligned with the positions.
        evidence: above 0, aligned with them.
    """

    offsets: Offsets
    positions: Indexes
    scores: Floats
    evidence: Floats


def combine(
    lists: CsrRows, scores: Floats, evidence: EvidenceRows, weight: float, tie_order: Positions, k: int
) -> tuple[CsrRows, Floats, Origins]:
    """The k first of each list and its row of evidence, by score + weight x evidence, ties by `tie_order`.

    Args:
        lists: the k best by score, or all there are, in any order.
        scores: aligned with the lists.
        weight: >= 0, so that nothing outside of both can be among the first.
        tie_order: rank of each item among equal ones; shape (items,).

    Returns:
        The rows, best first; what they are ordered by, and the origin of each item, aligned with them.
    """
    listed = ValuedRows(*frozen(lists.offsets, lists.positions, scores))
    positions, values, origins, lengths = _combine(
        int(k), float(weight), listed, EvidenceRows(*frozen(*evidence)), *frozen(tie_order)
    )
    used = np.arange(positions.shape[1]) < lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return CsrRows(offsets, positions[used]), values[used], origins[used]


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True, nogil=True)
def _combine(k, weight, listed, with_evidence, tie_order):
    starts, positions, scores = listed
    offsets, others, other_scores, evidence = with_evidence
    rows, width = len(starts) - 1, min(k, len(tie_order))
    found, values = np.empty((rows, width), np.int32), np.empty((rows, width))
    origins, lengths = np.empty((rows, width), np.int8), np.empty(rows, np.int64)
    place_of = np.full(len(tie_order), -1, np.int64)
    for row in range(rows):
        first, count = starts[row], starts[row + 1] - starts[row]
        most = count + offsets[row + 1] - offsets[row]
        items, value, origin = np.empty(most, np.int32), np.empty(most), np.zeros(most, np.int8)
        for place in range(count):
            items[place], value[place] = positions[first + place], scores[first + place]
            place_of[items[place]] = place
        for entry in range(offsets[row], offsets[row + 1]):
            place = place_of[others[entry]]
            if place < 0:
                place = count
                count += 1
            items[place], value[place] = others[entry], other_scores[entry] + weight * evidence[entry]
            origin[place] = 2 if other_scores[entry] > 0 else 1
        for place in range(starts[row + 1] - first):
            place_of[positions[first + place]] = -1
        order = _ordered(value[:count], items, tie_order)
        lengths[row] = min(count, width)
        for place in range(lengths[row]):
            found[row, place], values[row, place] = items[order[place]], value[order[place]]
            origins[row, place] = origin[order[place]]
    return found, values, origins, lengths


@njit(cache=True, nogil=True)
def _ordered(values, items, tie_order):
    """Places of values from the largest to the smallest, of equal ones in the order of ties."""
    order = np.argsort(-values)
    for place in range(1, len(order)):
        moved, at = order[place], place
        while at > 0 and values[order[at - 1]] == values[moved]:
            if tie_order[items[order[at - 1]]] < tie_order[items[moved]]:
                break
            order[at] = order[at - 1]
            at -= 1
        order[at] = moved
    return order
