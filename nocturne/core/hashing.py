"""Hashes of ids and of rows: 64 bits each, of Arrow columns of any type, equal on every machine and release. Pure."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

Hashes = npt.NDArray[np.uint64]

SPLITMIX_STEP = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: the increment of SplitMix64."""

_BASE = 0x100000001B3
_NULL = 0xD1B54A32D192ED03


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
    letters = np.frombuffer(content or b"", np.uint8)
    hashes: Hashes = _hash_letters(letters, _read_only(offsets), np.uint64((seed + 1) * SPLITMIX_STEP % 2**64))
    return hashes


def spread(numbers: Hashes) -> Hashes:
    """Spread what tells numbers apart over all 64 bits: the finalizer of SplitMix64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def hash_rows(rows: pa.RecordBatch) -> Hashes:
    """A hash of each row; shape (rows,). Equal rows have equal hashes, in any batch.

    Maps count by their entries and lists by their order, null is a value of its own, and floats count by their bits.
    A dictionary is as good as the values that it stands for.
    """
    return _combine_columns(rows.num_rows, map(_hash_values, rows.columns))


def _hash_values(values: pa.Array) -> Hashes:
    """A hash of each value; shape (values,)."""
    kind = values.type
    if pa.types.is_struct(kind):
        hashes = _combine_columns(len(values), map(_hash_values, values.flatten()))
    elif pa.types.is_map(kind):
        entries = pa.StructArray.from_arrays([values.keys, values.items], ["key", "item"])
        start, end = values.offsets[0].as_py(), values.offsets[-1].as_py()
        entry_hashes = _hash_values(entries.slice(start, end - start))
        hashes = _combine_lists(entry_hashes, values.offsets.to_numpy(), ordered=False)
    elif pa.types.is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
        hashes = _combine_lists(_hash_values(values.flatten()), np.concatenate([[0], np.cumsum(lengths)]), ordered=True)
    elif pa.types.is_string(kind):
        hashes = hash_ids(values.fill_null("") if values.null_count else values, 0)
    elif pa.types.is_dictionary(kind):
        of_texts = np.append(_hash_values(values.dictionary), np.uint64(_NULL))
        hashes = of_texts[values.indices.fill_null(-1).to_numpy()]
    else:
        hashes = _spread_all(_read_only(_read_bits(values)))
    if values.null_count:
        hashes[pc.is_null(values).to_numpy(zero_copy_only=False)] = _NULL
    return hashes


def _read_bits(values: pa.Array) -> npt.NDArray[np.signedinteger]:
    if pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64())
    else:
        numbers = values.cast(pa.int32()) if pa.types.is_date32(values.type) else values
        numbers = numbers if pa.types.is_int32(numbers.type) else numbers.cast(pa.int64())
    whole = numbers.fill_null(0) if numbers.null_count else numbers
    bits = whole.to_numpy(zero_copy_only=False)
    return np.asarray(bits if bits.dtype == np.int32 else bits.view(np.int64))


def _combine_columns(rows: int, columns: Iterable[Hashes]) -> Hashes:
    total = np.zeros(rows, np.uint64)
    for place, column in enumerate(columns, start=1):
        _mix_in(total, column, np.uint64(place * SPLITMIX_STEP % 2**64))
    return total


def _combine_lists(values: Hashes, offsets: npt.NDArray[np.int64], *, ordered: bool) -> Hashes:
    """Hashes of lists of hashed values, which lie one after another."""
    hashes: Hashes = _hash_lists(values, _read_only(offsets.astype(np.int64) - offsets[0]), ordered)
    return hashes


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array as Arrow hands out its own, for which loops are compiled once."""
    view = array.view()
    view.flags.writeable = False
    return view


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True, nogil=True)
def _spread_one(number):
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@njit(cache=True, nogil=True)
def _spread_all(numbers):
    hashes = np.empty(len(numbers), np.uint64)
    for place in range(len(numbers)):
        hashes[place] = _spread_one(np.uint64(np.int64(numbers[place])))
    return hashes


@njit(cache=True, nogil=True)
def _hash_letters(letters, offsets, seed):
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for text in range(len(hashes)):
        total, power = seed, np.uint64(1)
        for place in range(offsets[text], offsets[text + 1]):
            power *= np.uint64(_BASE)
            total += power * (np.uint64(letters[place]) + np.uint64(1))
        hashes[text] = _spread_one(total)
    return hashes


@njit(cache=True, nogil=True)
def _hash_lists(values, offsets, ordered):
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for row in range(len(hashes)):
        first, last = offsets[row], offsets[row + 1]
        total = np.uint64(last - first) * np.uint64(SPLITMIX_STEP)
        if ordered:
            for place in range(first, last):
                total += _spread_one(values[place] ^ _spread_one(np.uint64(place - first) + np.uint64(SPLITMIX_STEP)))
        else:
            for place in range(first, last):
                total += values[place]
        hashes[row] = _spread_one(total)
    return hashes


@njit(cache=True, nogil=True)
def _mix_in(totals, column, step):
    for row in range(len(totals)):
        totals[row] = _spread_one((totals[row] ^ column[row]) + step)
