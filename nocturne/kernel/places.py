"""Places of items within other rows of the same listeners."""

import numpy as np
from numba import njit

from nocturne.core.arrays import Indexes
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import frozen


def places_in(rows: CsrRows, others: CsrRows, items: int) -> Indexes:
    """The place of each position within the other row of its listener, from 0.

    Example: [9, 4] has the places [2, 0] in [4, 7, 9].

    Args:
        rows: positions, each of which is in the other row.
        others: of the same listeners.
        items: one more than the largest position.
    """
    places: Indexes = _places_in(items, *frozen(rows.offsets, rows.positions, others.offsets, others.positions))
    return places


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _places_in(items, offsets, positions, other_offsets, others):
    places, place_of = np.empty(len(positions), np.int32), np.zeros(items, np.int32)
    for listener in range(len(offsets) - 1):
        first = other_offsets[listener]
        for entry in range(first, other_offsets[listener + 1]):
            place_of[others[entry]] = entry - first
        for entry in range(offsets[listener], offsets[listener + 1]):
            places[entry] = place_of[positions[entry]]
    return places
