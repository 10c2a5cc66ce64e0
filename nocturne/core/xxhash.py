"""XXH64 of texts, as Spark's `xxhash64` computes it: for what Spark placed by hash and is read without it. Pure.

Source: XXH64 in Collet's specification of xxHash (github.com/Cyan4973/xxHash, doc/xxhash_spec.md); Spark's seed is 42.
"""

import numpy as np
import pyarrow as pa
from numba import njit

from nocturne.core.arrays import Codes

_SEED = np.uint64(42)
_PRIMES = (
    np.uint64(0x9E3779B185EBCA87),
    np.uint64(0xC2B2AE3D27D4EB4F),
    np.uint64(0x165667B19E3779F9),
    np.uint64(0x85EBCA77C2B2AE63),
    np.uint64(0x27D4EB2F165667C5),
)
_ONE, _TWO, _THREE, _FOUR, _FIVE = _PRIMES


def buckets_of(ids: pa.StringArray, buckets: int) -> Codes:
    """The bucket of each id, none of them null: `pmod(xxhash64(id), buckets)`; shape (ids,)."""
    binary = ids.cast(pa.large_binary())
    _, places, content = binary.buffers()
    offsets = np.frombuffer(places, np.int64)[binary.offset : binary.offset + len(binary) + 1]
    hashes = _hash_texts(np.frombuffer(content or b"", np.uint8), offsets).view(np.int64)
    return np.asarray(hashes % buckets, np.int32)


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True, nogil=True)
def _hash_texts(letters, offsets):
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for text in range(len(hashes)):
        hashes[text] = _hash(letters, offsets[text], offsets[text + 1])
    return hashes


@njit(cache=True, nogil=True)
def _hash(letters, place, end):
    length = np.uint64(end - place)
    if end - place >= 32:
        one, two, three, four = _SEED + _ONE + _TWO, _SEED + _TWO, _SEED, _SEED - _ONE
        while place + 32 <= end:
            one = _round(one, _word(letters, place, 8))
            two = _round(two, _word(letters, place + 8, 8))
            three = _round(three, _word(letters, place + 16, 8))
            four = _round(four, _word(letters, place + 24, 8))
            place += 32
        total = _turn(one, 1) + _turn(two, 7) + _turn(three, 12) + _turn(four, 18)
        for lane in (one, two, three, four):
            total = (total ^ _round(np.uint64(0), lane)) * _ONE + _FOUR
    else:
        total = _SEED + _FIVE
    total += length
    while place + 8 <= end:
        total = _turn(total ^ _round(np.uint64(0), _word(letters, place, 8)), 27) * _ONE + _FOUR
        place += 8
    if place + 4 <= end:
        total = _turn(total ^ (_word(letters, place, 4) * _ONE), 23) * _TWO + _THREE
        place += 4
    while place < end:
        total = _turn(total ^ (np.uint64(letters[place]) * _FIVE), 11) * _ONE
        place += 1
    total = (total ^ (total >> np.uint64(33))) * _TWO
    total = (total ^ (total >> np.uint64(29))) * _THREE
    return total ^ (total >> np.uint64(32))


@njit(cache=True, nogil=True)
def _round(lane, word):
    return _turn(lane + word * _TWO, 31) * _ONE


@njit(cache=True, nogil=True)
def _turn(number, bits):
    return (number << np.uint64(bits)) | (number >> np.uint64(64 - bits))


@njit(cache=True, nogil=True)
def _word(letters, place, size):
    """So many bytes as a number, the lowest first."""
    word = np.uint64(0)
    for byte in range(size):
        word |= np.uint64(letters[place + byte]) << np.uint64(8 * byte)
    return word
