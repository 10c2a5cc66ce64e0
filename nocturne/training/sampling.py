"""Which listeners a model is trained on: those whose hash lies below a share, so that a larger sample holds a smaller.

Nothing but the listener's id and the seed decides, neither the order of rows nor the other listeners.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]
Levels = npt.NDArray[np.intp]

_BASE = 0x100000001B3
_STEP = 0x9E3779B97F4A7C15


def hash_ids(ids: pa.Array, seed: int) -> Hashes:
    """64 evenly spread bits of each id.

    Args:
        ids: strings, none of them null.

    Source: the polynomial of Rabin and Karp (1987) over the bytes, modulo 2^64; the seed enters as a step of
    SplitMix64 (Steele, Lea and Flood, 2014).
    """
    binary = ids.cast(pa.large_binary())
    _, places, content = binary.buffers()
    offsets = np.frombuffer(places, np.int64)[binary.offset : binary.offset + len(binary) + 1]
    letters = np.frombuffer(content or b"", np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    lengths = np.diff(offsets)
    powers = np.cumprod(np.full(lengths.max(initial=0), _BASE, np.uint64))
    terms = powers[np.arange(len(letters)) - np.repeat(offsets[:-1], lengths)] * (letters.astype(np.uint64) + 1)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    return spread(sums[offsets[1:]] - sums[offsets[:-1]] + np.uint64((seed + 1) * _STEP % 2**64))


def spread(numbers: Hashes) -> Hashes:
    """Spread what tells numbers apart over all 64 bits: the finalizer of SplitMix64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


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
