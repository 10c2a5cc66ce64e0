"""Merging: items that may be listed since, put into exact tops of the night before.

Whatever is outside a top scores at most its bound, so that an added item above the bound has its exact place. Which
items can be above is told by float32 scores, of the listener's factors as they are stored; these alone are scored
exactly, by the factors solved anew.
"""

import numpy as np
from numba import njit

from nocturne.core.arrays import Counts, Factors, Floats, Indexes
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import frozen
from nocturne.kernel.layout import ItemLayout
from nocturne.kernel.top_k import Top, exact_scores

_SCORES_AT_ONCE = 2**21
_LEAST_NORM = 2.0**-100
"""Of factors under it, single precision keeps too little."""


def find_reaching(
    users: Factors, norms: Floats, bounds: Floats, items: ItemLayout, added: Indexes
) -> tuple[Counts, Indexes]:
    """Pairs of a listener and an added item whose score may reach the listener's bound; all that do are among them.

    Args:
        users: the listeners' factors, rounded to float32; shape (listeners, factors).
        norms: of the factors before they were rounded; shape (listeners,).
        bounds: shape (listeners,).
        added: positions.

    Returns:
        Listeners, ascending, and positions; of the same length.
    """
    multipliers = items.multipliers[added] / items.scale[0]
    scaled = (items.factors[added] * multipliers[:, None]).astype(np.float32).T
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # One more rounding than `ItemLayout.rounding` has, and the margin of a bound that was rounded itself.
        thresholds = np.nextafter((bounds / (norms * items.scale[0]) - 2 * items.rounding).astype(np.float32), -np.inf)
        thresholds[norms < _LEAST_NORM] = -np.inf
        units = (users / norms[:, None]).astype(np.float32)
        at_once = max(1, _SCORES_AT_ONCE // max(1, len(added)))
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        for first in range(0, len(users), at_once):
            part = slice(first, first + at_once)
            listeners, places = np.nonzero(~(np.dot(units[part], scaled) < thresholds[part, None]))
            found.append((listeners + first, places))
    listeners, places = (np.concatenate(each) for each in zip(*found, strict=True))
    return listeners, added[places]


def merge(users: Floats, items: ItemLayout, k: int, top: Top, added: CsrRows) -> Top:
    """The exact top k of what is outside, in and added to the tops of some listeners.

    Example: a top of scores 5 and 3 under a bound of 2 becomes, with added items of 4 and 1, at k = 2 the scores 5
    and 4 under a bound of 3.

    Args:
        users: the listeners' exact factors; shape (listeners, factors).
        k: items in a full list.
        top: exact tops of the rest of what each listener may get, of k items at most.
        added: what each listener may get beside it, in any order; whatever is left out scores at most the bound.
    """
    scores, bounds = exact_scores(users, items, added), top.bounds.copy()
    arrays = (top.lists.offsets, top.lists.positions, top.scores, added.offsets, added.positions, scores)
    offsets, positions, merged = _merge(k, bounds, *frozen(*arrays, items.tie_order))
    return Top(CsrRows(offsets, positions), merged, bounds)


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _merge(k, bounds, offsets, positions, scores, added_offsets, added_positions, added_scores, tie_order):
    room = len(positions) + len(added_positions)
    merged, merged_scores = np.empty(room, np.int32), np.empty(room)
    ends = np.zeros(len(offsets), np.int64)
    count = 0
    for listener in range(len(bounds)):
        start, (old, last) = count, (offsets[listener], offsets[listener + 1])
        entries = slice(added_offsets[listener], added_offsets[listener + 1])
        items, values = added_positions[entries], added_scores[entries]
        order, new = _in_order(items, values, tie_order), 0
        while (old < last or new < len(order)) and count - start < k:
            if old == last and not values[order[new]] > bounds[listener]:
                break  # What is outside may come before it.
            if old == last or (
                new < len(order)
                and _precedes(items[order[new]], values[order[new]], positions[old], scores[old], tie_order)
            ):
                merged[count], merged_scores[count] = items[order[new]], values[order[new]]
                new += 1
            else:
                merged[count], merged_scores[count] = positions[old], scores[old]
                old += 1
            count += 1
        if old < last:
            bounds[listener] = max(bounds[listener], scores[old])
        if new < len(order):
            bounds[listener] = max(bounds[listener], values[order[new]])
        ends[listener + 1] = count
    return ends, merged[:count], merged_scores[:count]


@njit(cache=True)
def _precedes(item, score, other, other_score, tie_order):
    return score > other_score or (score == other_score and tie_order[item] < tie_order[other])


@njit(cache=True)
def _in_order(items, scores, tie_order):
    """Places of items, best first."""
    by_ties = np.argsort(tie_order[items])
    return by_ties[np.argsort(-scores[by_ties], kind="mergesort")]
