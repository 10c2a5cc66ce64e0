"""Samples of listeners to train on: those whose hash lies below a share, so that a larger sample holds a smaller.

Nothing but the listener's id and the seed decides, neither the order of rows nor the other listeners.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nocturne.core.hashing import hash_ids

Levels = npt.NDArray[np.intp]


def doubled(share: float) -> tuple[float, ...]:
    """Shares of listeners that may be trained on: the one asked for, then twice as many again, until it is everyone."""
    return (share, *doubled(min(1.0, 2 * share))) if share < 1 else (1.0,)


def levels(ids: pa.Array, shares: tuple[float, ...], seed: int) -> Levels:
    """Position of the smallest share whose sample holds each listener.

    Args:
        shares: ascending; the last is 1.
    """
    if len(shares) == 1:
        return np.zeros(len(ids), dtype=np.intp)
    limits = np.array([int(share * 2**64) for share in shares[:-1]], dtype=np.uint64)
    return np.searchsorted(limits, hash_ids(ids, seed), side="right")
