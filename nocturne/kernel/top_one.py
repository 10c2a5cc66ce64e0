"""The exact top K of one listener under a mask: the list of `top_k`, for who waits for an answer.

A product of many listeners with a block of items is what `top_k` is made for; one listener is bound by memory. Where
most items are allowed, blocks are read in the order of falling norms until none can reach the K-th score; where few
are, those alone are read. The mask is looked at for items that reach the threshold only. Scores are compared in single
precision with the margin of `top_k`, and what is left is scored again as there.
"""

import numpy as np
from numba import njit

from nocturne.core.arrays import Floats, Indexes, Mask
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import frozen
from nocturne.kernel.layout import BLOCK, ItemLayout
from nocturne.kernel.top_k import _compact, exact_scores, sort_all

DENSE = 0.3
"""Share of allowed items from which blocks are read whole."""

_BELOW_ALL = np.float32(-2.0)
_ROOM = 2 * BLOCK


def top_one(user: Floats, items: ItemLayout, allowed: Mask, k: int) -> tuple[Indexes, Floats]:
    """The k allowed items with the largest scores, best first, ties by `tie_order`, and their scores.

    Args:
        user: the listener's factors, finite; shape (factors,).
        allowed: shape (items,).
        k: items in a full list, at least 1.
    """
    norm = float(np.sqrt(user @ user)) or 1.0
    unit = (user / norm).astype(np.float32)
    count, numbers = int(np.count_nonzero(allowed)), np.zeros(0, np.int32)
    if count > k + _ROOM and count >= DENSE * len(allowed):
        arrays = frozen(unit, items.scaled, items.order, items.norms, allowed)
        numbers = _reaching(k, 2 * items.rounding, items.rounding, *arrays)
    elif count > k + _ROOM:
        few = np.flatnonzero(allowed).astype(np.int32)
        arrays = frozen(unit, items.factors, items.multipliers, few)
        numbers = _reaching_among(k, 2 * items.rounding, 1 / items.scale[0], *arrays)
    if not len(numbers):  # all, or too many within rounding of each other
        numbers = np.flatnonzero(allowed).astype(np.int32)
    if len(numbers) > k + _ROOM:
        positions, scores, _ = sort_all(user, items, numbers, k)
        return positions, scores
    scores = exact_scores(user[None], items, CsrRows(np.array([0, len(numbers)]), numbers))
    order = np.lexsort((items.tie_order[numbers], -scores))[:k]
    return numbers[order], scores[order]


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _reaching(k, margin, rounding, unit, scaled, order, norms, allowed):
    """Positions of the allowed items that can be among the k best, by whole blocks; none if they are too many."""
    positions, scores = np.empty(k + 2 * BLOCK, np.int32), np.empty(k + 2 * BLOCK, np.float32)
    count, threshold = 0, _BELOW_ALL
    of_block = np.empty(BLOCK, np.float32)
    for block in range(len(scaled)):
        first = block * BLOCK
        if norms[first] + rounding < threshold:
            break
        of_block[:] = 0
        for factor in range(len(unit)):
            for item in range(BLOCK):
                of_block[item] += unit[factor] * scaled[block, factor, item]
        for item in range(min(BLOCK, len(order) - first)):
            if of_block[item] >= threshold and allowed[order[first + item]]:
                positions[count], scores[count] = order[first + item], of_block[item]
                count += 1
        if count > k + BLOCK:
            count, threshold = _compact(scores, positions, count, k, margin, threshold)
            if count < 0 or count > k + BLOCK:
                return positions[:0]
    return positions[:count]


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _reaching_among(k, margin, scale, unit, factors, multipliers, numbers):
    """The same of items that are few, one by one."""
    positions, scores = np.empty(k + 2 * BLOCK, np.int32), np.empty(k + 2 * BLOCK, np.float32)
    count, threshold = 0, _BELOW_ALL
    for place in range(len(numbers)):
        number = numbers[place]
        score = np.float32(0)
        for factor in range(len(unit)):
            score += unit[factor] * factors[number, factor]
        score *= np.float32(multipliers[number] * scale)
        if score < threshold:
            continue
        positions[count], scores[count] = number, score
        count += 1
        if count == k + 2 * BLOCK:
            count, threshold = _compact(scores, positions, count, k, margin, threshold)
            if count < 0 or count > k + BLOCK:
                return positions[:0]
    return positions[:count]
