"""Hashes of rows: 64 bits of each row of an Arrow batch of any columns, equal on every machine and release. Pure."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.training.sampling import Hashes, hash_ids, spread

_NULL = 0xD1B54A32D192ED03
_STEP = 0x9E3779B97F4A7C15


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
        total = spread((total ^ column) + np.uint64(place * _STEP % 2**64))
    return total


def _combine_lists(values: Hashes, offsets: npt.NDArray[np.int64], *, ordered: bool) -> Hashes:
    """Hashes of lists of hashed values, which lie one after another."""
    lengths = np.diff(offsets)
    starts = offsets[:-1] - offsets[0]
    if ordered:
        places = np.arange(len(values)) - np.repeat(starts, lengths)
        values = spread(values ^ spread(places.astype(np.uint64) + np.uint64(_STEP)))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    return spread(sums[starts + lengths] - sums[starts] + lengths.astype(np.uint64) * np.uint64(_STEP))
