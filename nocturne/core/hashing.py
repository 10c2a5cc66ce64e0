"""Hashes of ids and of rows: 64 bits each, of Arrow columns of any type, equal on every machine and release. Pure."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

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
    letters = np.frombuffer(content or b"", np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    lengths = np.diff(offsets)
    powers = np.cumprod(np.full(lengths.max(initial=0), _BASE, np.uint64))
    terms = powers[np.arange(len(letters)) - np.repeat(offsets[:-1], lengths)] * (letters.astype(np.uint64) + 1)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    return spread(sums[offsets[1:]] - sums[offsets[:-1]] + np.uint64((seed + 1) * SPLITMIX_STEP % 2**64))


def spread(numbers: Hashes) -> Hashes:
    """Spread what tells numbers apart over all 64 bits: the finalizer of SplitMix64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def hash_rows(rows: pa.RecordBatch) -> Hashes:
    """A hash of each row; shape (rows,). Equal rows have equal hashes, in any batch.

    Maps count by their entries and lists by their order, null is a value of its own, and floats count by their bits.
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
        texts = values.fill_null("").dictionary_encode()
        hashes = hash_ids(texts.dictionary, 0)[texts.indices.to_numpy()]
    else:
        hashes = spread(_read_bits(values))
    return np.where(pc.is_null(values).to_numpy(zero_copy_only=False), np.uint64(_NULL), hashes)


def _read_bits(values: pa.Array) -> Hashes:
    if pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64()).fill_null(0.0)
    else:
        whole = values.cast(pa.int32()) if pa.types.is_date32(values.type) else values
        numbers = whole.cast(pa.int64()).fill_null(0)
    bits: Hashes = numbers.to_numpy(zero_copy_only=False).view(np.uint64)
    return bits


def _combine_columns(rows: int, columns: Iterable[Hashes]) -> Hashes:
    total = np.zeros(rows, np.uint64)
    for place, column in enumerate(columns, start=1):
        total = spread((total ^ column) + np.uint64(place * SPLITMIX_STEP % 2**64))
    return total


def _combine_lists(values: Hashes, offsets: npt.NDArray[np.int64], *, ordered: bool) -> Hashes:
    """Hashes of lists of hashed values, which lie one after another."""
    lengths = np.diff(offsets)
    starts = offsets[:-1] - offsets[0]
    if ordered:
        places = np.arange(len(values)) - np.repeat(starts, lengths)
        values = spread(values ^ spread(places.astype(np.uint64) + np.uint64(SPLITMIX_STEP)))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    return spread(sums[starts + lengths] - sums[starts] + lengths.astype(np.uint64) * np.uint64(SPLITMIX_STEP))
