"""Rows of `ranked_lists` as keys and values of a cache: one pass over NumPy arrays, no Python object per item."""

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise, repeat
from operator import add, lt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from nocturne.core.errors import InputError
from nocturne.serving.cache.row_packing import pack_rows
from nocturne.serving.cache.values import MOST_ITEMS, MOST_KINDS, GenerationInfo

Array = np.ndarray[Any, Any]

_MULTIPLIER = np.uint64(0x9FB21C651E98DF25)
_HALF, _BYTE, _TAG = np.uint64(32), np.uint64(8), np.uint64(33)
_NUMBER = 0xFFFFFFFF

_SEPARATOR = "\x1f"


class Encoder:
    """Encodes lists by what their generation is info. Encoding needs an item's number, so all ids are hashed once."""

    def __init__(self, info: GenerationInfo) -> None:
        """Hash the items.

        Raises:
            InputError: there are more heads than have a number.
        """
        if len(info.kinds) > MOST_KINDS:
            raise InputError(
                "the lists have too many different heads",
                where="ranked_lists",
                found=f"{len(info.kinds)} of arm, source and model",
                expected=f"at most {MOST_KINDS}",
            )
        self._kinds = pa.array([_SEPARATOR.join(kind) for kind in info.kinds], pa.string())
        self._markets = pa.array(info.markets, pa.string())
        ids = pa.chunked_array(info.item_ids).cast(pa.large_string()).combine_chunks()
        self._items = _offsets_and_bytes(ids)
        self._table = _table(_hashes(*self._items))

    def part(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[bytes, bytes]]:
        """(user_id in UTF-8, value) of the rows of a part; raises as `batches`."""
        return chain.from_iterable(self.batches(batches))

    def batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[list[tuple[bytes, bytes]]]:
        """The same, a list of each batch of rows.

        Raises:
            InputError: rows are not in ascending order of user_id, or a row cannot be encoded.
        """
        last: list[bytes] = []
        for batch in batches:
            if len(batch) == 0:
                continue
            keys, values = self._encoded(batch)
            if not all(map(lt, [*last, *keys], keys if last else keys[1:])):
                raise InputError(
                    "a listener has two lists, or the lists are not in order of listener",
                    where="ranked_lists",
                    fix="run rank_users and validate_table for the night again",
                )
            last = keys[-1:]
            yield list(zip(keys, values, strict=True))

    def batch(self, rows: pa.RecordBatch) -> Iterator[tuple[str, bytes]]:
        """(user_id, value) of every row, in whatever order.

        Raises:
            InputError: a row cannot be encoded.
        """
        keys, values = self._encoded(rows)
        return ((key.decode(), value) for key, value in zip(keys, values, strict=True))

    def _rows(self, batch: pa.RecordBatch) -> Iterable[bytes]:
        """Listeners' rows, which stand behind their lists; empty in a generation of lists alone."""
        if "factors" not in batch.schema.names:
            return repeat(b"")
        ends, units = pack_rows(batch, self._markets)
        packed = units.tobytes()
        return (packed[start:end] for start, end in pairwise((2 * ends).tolist()))

    def _encoded(self, rows: pa.RecordBatch) -> tuple[list[bytes], Iterator[bytes]]:
        lists = rows.column("items")
        listed = lists.flatten()
        numbers, scores = self._numbers(listed.field("item_id")), _scores(listed.field("score"))
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        if lengths.max(initial=0) >= MOST_ITEMS:
            raise InputError(
                "a list is too long for a serving cache",
                where="ranked_lists",
                found=f"{lengths.max()} items",
                expected=f"fewer than {MOST_ITEMS}",
                fix="lower ranking.top_k",
            )
        ends = np.cumsum(2 + 4 * lengths.astype(np.int64))
        packed = _pack(ends, numbers, scores.view(np.uint32), self._kind_numbers(rows)).tobytes()
        bounds = [0, *(2 * ends).tolist()]
        heads = (packed[start:end] for start, end in pairwise(bounds))
        return rows.column("user_id").cast(pa.binary()).to_pylist(), map(add, heads, self._rows(rows))

    def _numbers(self, ids: pa.Array) -> Array:
        texts = _offsets_and_bytes(ids.cast(pa.large_string()))
        hashes = _hashes(*texts)
        # a loop for each step: what one item waits for in memory, the next ones do not wait for
        numbers = _proved(_found(hashes, self._table), hashes, self._table, *texts, *self._items)
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown) or ids.null_count:
            raise InputError(
                "a list has an item that is not among the items of its generation",
                where="ranked_lists",
                found=str(ids[int(unknown[0])].as_py() if len(unknown) else None),
                expected="an item of item_index",
                fix="run rank_users and validate_table for the night again",
            )
        return numbers

    def _kind_numbers(self, rows: pa.RecordBatch) -> Array:
        columns = [rows.column(name).cast(pa.string()) for name in ("arm", "source", "model_version")]
        kinds = pc.binary_join_element_wise(*columns, _SEPARATOR)
        numbers = pc.index_in(kinds, value_set=self._kinds)
        if numbers.null_count:
            raise InputError(
                "a list has an arm, source and model that its generation does not have",
                where="ranked_lists",
                found=str(kinds.filter(numbers.is_null())[0].as_py()).replace(_SEPARATOR, ", "),
                expected=", or ".join(self._kinds.to_pylist()).replace(_SEPARATOR, ", "),
            )
        narrow: Array = numbers.to_numpy().astype(np.uint16)
        return narrow


def _scores(scores: pa.Array) -> Array:
    with np.errstate(over="ignore"):
        nearest: Array = scores.to_numpy(zero_copy_only=False).astype(np.float32)
    if not np.isfinite(nearest).all():
        raise InputError(
            "a list has a score that is missing, or not finite as a float32",
            where="ranked_lists",
            fix="run rank_users and validate_table for the night again",
        )
    return nearest


def _offsets_and_bytes(strings: pa.LargeStringArray) -> tuple[Array, Array]:
    """Where each string begins, and where the last one ends, in the bytes of all."""
    _, offsets, data = strings.buffers()
    if len(strings) == 0:
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    return bounds, np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8)


def _table(hashes: Array) -> Array:
    """A hash table with open addresses: 31 bits of the hash and the number of each item; half or more is -1."""
    table = np.full(1 << int(2 * len(hashes) + 1).bit_length(), -1, np.int64)
    _fill(table, hashes)
    return table


@njit(cache=True, nogil=True)
def _hashes(offsets: Array, data: Array) -> Array:
    """A hash of every string, 8 of its bytes at a time."""
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for row in range(len(hashes)):
        start, end = offsets[row], offsets[row + 1]
        value = _MULTIPLIER ^ np.uint64(end - start)
        at = start
        while at < end:
            word = np.uint64(0)
            if at + 8 <= end:
                for byte in range(8):
                    word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
            else:
                for byte in range(end - at):
                    word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
            value = (value ^ word) * _MULTIPLIER
            value ^= value >> _HALF
            at += 8
        hashes[row] = value
    return hashes


@njit(cache=True, nogil=True)
def _fill(table: Array, hashes: Array) -> None:
    mask = np.uint64(len(table) - 1)
    for number in range(len(hashes)):
        place = hashes[number] & mask
        while table[place] >= 0:
            place = (place + np.uint64(1)) & mask
        table[place] = np.int64((hashes[number] >> _TAG) << _HALF) | number


@njit(cache=True, nogil=True)
def _found(hashes: Array, table: Array) -> Array:
    """Number of the first item that has the hash of each string, as far as the table tells; -1 if none has."""
    mask = np.uint64(len(table) - 1)
    numbers = np.empty(len(hashes), np.int64)
    for row in range(len(hashes)):
        tag = np.int64(hashes[row] >> _TAG)
        place = hashes[row] & mask
        while table[place] >= 0 and table[place] >> 32 != tag:
            place = (place + np.uint64(1)) & mask
        numbers[row] = table[place] & _NUMBER if table[place] >= 0 else -1
    return numbers


@njit(cache=True, nogil=True)
def _proved(
    numbers: Array, hashes: Array, table: Array, offsets: Array, data: Array, known_offsets: Array, known_data: Array
) -> Array:
    """The same numbers where the strings are the same; else that of the item with this string, or -1."""
    mask = np.uint64(len(table) - 1)
    for row in range(len(numbers)):
        number = numbers[row]
        place = hashes[row] & mask
        searching = False
        while number >= 0:
            start, first = offsets[row], known_offsets[number]
            length = offsets[row + 1] - start
            same = length == known_offsets[number + 1] - first
            at = 0
            while same and at < length:
                same = data[start + at] == known_data[first + at]
                at += 1
            if same:
                break
            if searching:
                place = (place + np.uint64(1)) & mask
            searching = True  # among all items from the place on, whatever their hash
            number = table[place] & _NUMBER if table[place] >= 0 else -1
        numbers[row] = number
    return numbers


@njit(cache=True, nogil=True)
def _pack(ends: Array, numbers: Array, scores: Array, kinds: Array) -> Array:
    """All values one after another, in units of 2 bytes; `ends` says where each one ends."""
    packed = np.empty(ends[-1] if len(ends) else 0, np.uint16)
    start = item = 0
    for row in range(len(ends)):
        count = (ends[row] - start - 2) // 4
        packed[start], packed[start + 1] = kinds[row], count
        for at in range(count):
            number, score = numbers[item + at], scores[item + at]
            packed[start + 2 + 2 * at] = number & 0xFFFF
            packed[start + 3 + 2 * at] = number >> 16
            packed[start + 2 + 2 * (count + at)] = score & 0xFFFF
            packed[start + 3 + 2 * (count + at)] = score >> 16
        start, item = ends[row], item + count
    return packed
