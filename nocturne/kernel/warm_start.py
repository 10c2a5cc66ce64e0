"""Warm start: last night's lists as tonight's thresholds.

The scores of what a listener may still get of their last list bound their k-th score of tonight from below.
"""

import numpy as np
from numba import njit

from nocturne.core.arrays import Codes, Floats, Mask
from nocturne.core.csr import CsrRows
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import exact_scores


def score_lower_bounds(query: Query, previous: CsrRows) -> Floats:
    """The k-th largest score among what each listener may get of their previous list.

    Args:
        query: tonight's.
        previous: positions of each listener's previous list, in any order; a repeated one counts once.

    Returns:
        Exact scores, or -inf where the listener may get fewer than k of the list; shape (listeners,).
    """
    allowed = still_allowed(previous, query.already_heard, query.classes, query.eligible.masks)
    return np.asarray(_kth(query.k, allowed.offsets, exact_scores(query.users, query.items, allowed)))


def still_allowed(rows: CsrRows, already_heard: CsrRows, classes: Codes, masks: Mask) -> CsrRows:
    """Of rows of positions, what each listener may get, each position once.

    Args:
        already_heard, classes: as in `Query`.
        masks: what may be listed in each class; shape (classes, items).
    """
    lengths, positions = _still_allowed(
        rows.offsets, rows.positions, already_heard.offsets, already_heard.positions, classes, masks
    )
    return CsrRows(np.concatenate([[0], np.cumsum(lengths)]), positions)


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _still_allowed(offsets, positions, heard_offsets, heard_positions, classes, masks):
    lengths = np.zeros(len(classes), np.int64)
    allowed = np.empty(offsets[-1] - offsets[0], np.int32)
    last_met = np.full(masks.shape[1], -1, np.int32)
    count = 0
    for listener in range(len(classes)):
        for entry in range(heard_offsets[listener], heard_offsets[listener + 1]):
            last_met[heard_positions[entry]] = listener
        for entry in range(offsets[listener], offsets[listener + 1]):
            position = positions[entry]
            if last_met[position] != listener and masks[classes[listener], position]:
                last_met[position] = listener
                allowed[count] = position
                lengths[listener] += 1
                count += 1
    return lengths, allowed[:count]


@njit(cache=True)
def _kth(k, offsets, scores):
    kth = np.full(len(offsets) - 1, -np.inf)
    for listener in range(len(kth)):
        of_listener = scores[offsets[listener] : offsets[listener + 1]]
        if len(of_listener) >= k:
            kth[listener] = np.partition(of_listener, len(of_listener) - k)[len(of_listener) - k]
    return kth
