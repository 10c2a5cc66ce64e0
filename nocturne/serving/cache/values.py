"""One listener's list as it is served, and the bytes that both stores keep of it.

A value is the number of its head (2 bytes), the number of its items (2), the numbers of these (4 each) and their
scores (float32 each), little-endian; then the listener's row, as `rows` reads it, and at the very end the numbers of
items in reserve (4 each) and how many they are (2), which move up where items of the list are taken down. What the
numbers stand for is kept once a generation. docs/decisions/compact-values.md and takedown.md say why.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Mask
from nocturne.core.errors import InputError
from nocturne.core.takedowns import NONE, Takedowns

MOST_KINDS = MOST_ITEMS = 2**16
CHUNK_ITEMS = 4096
FORMAT = 3
"""Of values; the first one had no rows, the second no reserve."""

HEAD_BYTES = 4
BYTES_PER_ITEM = 8
NOWHERE = 0xFFFF
"""Number of the market of listeners who have none."""

_CHUNK = pa.schema([("item_id", pa.large_string())])

_NUMBERS = np.dtype("<u4")
_HEAD, _UNIT = Struct("<HH"), Struct("<H")

Numbers = np.ndarray[Any, np.dtype[np.uint32 | np.int32]]

ReadChunk = Callable[[int], bytes | None]


class ListKind(NamedTuple):
    """Arm, source and model that many lists have in common."""

    arm: str
    source: str
    model_version: str


class ServedList(NamedTuple):
    """One listener's list, as the playback service reads it.

    Attributes:
        run_date: night the list was computed for.
        arm: experiment and arm, as experiment/arm; control of who is in none.
        source: als, previous, market_popular or global_popular.
        model_version: model the list depends on.
        item_ids: what to play, best first.
        scores: of each item, the float32 nearest to that in `ranked_lists`.
    """

    run_date: date
    arm: str
    source: str
    model_version: str
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def items(self) -> tuple[tuple[str, float], ...]:
        """(item_id, score), best first."""
        return tuple(zip(self.item_ids, self.scores, strict=True))


@dataclass(frozen=True)
class GenerationInfo:
    """Night, kinds and items that all lists of a generation share; their values refer to them by number.

    Attributes:
        run_date: night the lists were computed for.
        lists: lists to expect; more or fewer are stored all the same.
        kinds: heads of the lists, at most 65,536; a head's number is its position.
        item_ids: every item that a list may hold; an item's number is its position.
        markets: of the listeners; a market's number is its position.
        items: what a reader of more than lists needs of every item, in the same order, as `served_items` lays it
            out; None in a generation of lists alone.
    """

    run_date: date
    lists: int
    kinds: Sequence[ListKind]
    item_ids: pa.StringArray | pa.ChunkedArray
    markets: Sequence[str] = ()
    items: pa.Table | None = None

    def to_json(self, **more: str | int) -> bytes:
        """All but the items, as the stores keep it, and what a store needs to know more."""
        fields = {
            "run_date": str(self.run_date),
            "lists": self.lists,
            "heads": self.kinds,
            "items": len(self.item_ids),
            "markets": self.markets,
            "format": FORMAT,
        }
        return json.dumps(fields | more, ensure_ascii=False, separators=(",", ":")).encode()

    def chunks(self) -> Iterator[bytes]:
        """The item ids as the stores keep them, 4096 at a time."""
        for start in range(0, len(self.item_ids), CHUNK_ITEMS):
            ids = pa.chunked_array(self.item_ids.slice(start, CHUNK_ITEMS)).cast(pa.large_string()).combine_chunks()
            yield pa.record_batch([ids], schema=_CHUNK).serialize().to_pybytes()


class ItemsGone(Exception):  # noqa: N818 (no error: the generation was dropped)
    """The item ids of the generation are no longer in the store."""


class Decoder:
    """Reads the values of one generation.

    Item ids are read a chunk at a time, when a list first holds one of it, and then kept: all lists share them.
    """

    def __init__(self, info: bytes) -> None:
        """Args: what `GenerationInfo.to_json` wrote."""
        fields: dict[str, Any] = json.loads(info)
        self.run_date = date.fromisoformat(fields["run_date"])
        self.lists: int = fields["lists"]
        self.kinds = tuple(ListKind(*each) for each in fields["heads"])
        self.markets: tuple[str, ...] = tuple(fields.get("markets", ()))
        self._format: int = fields.get("format", 1)
        self._items: int = fields["items"]
        # untouched pages of it take no memory
        self._ids = np.empty(self._items, dtype=object)
        self._unread = set(range(-(-self._items // CHUNK_ITEMS)))

    def decode(self, value: bytes, read_chunk: ReadChunk, takedowns: Takedowns = NONE) -> ServedList:
        """The list of a value.

        Args:
            value: what an encoder made.
            read_chunk: reads the chunk of a number; None if it is not in the store.
            takedowns: that the list obeys; items in reserve take the places at its end, at its lowest score.

        Raises:
            ItemsGone: an item id is not in the store any more.
        """
        self.require_readable()
        kind, count = _HEAD.unpack_from(value)
        ids = self._known(np.frombuffer(value, _NUMBERS, count, HEAD_BYTES), read_chunk)
        scores = floats(count).unpack_from(value, HEAD_BYTES + 4 * count)
        arm, source, model_version = self.kinds[kind]
        if takedowns.item_ids and not takedowns.item_ids.isdisjoint(ids):
            barred = takedowns.barred(self._market(value, count))
            reserve = self._known(_reserve(value, count), read_chunk)
            ids, scores = _moved_up(ids, scores, reserve, barred)
        return ServedList(self.run_date, arm, source, model_version, tuple(ids), scores)

    def are_among(self, numbers: Numbers, item_ids: frozenset[str], read_chunk: ReadChunk) -> Mask:
        """True for the numbers of some items.

        Raises:
            ItemsGone: an item id is not in the store any more.
        """
        return np.array([item_id in item_ids for item_id in self._known(numbers, read_chunk)], bool)

    def require_readable(self) -> None:
        """Raise InputError if another release loaded the generation."""
        if self._format != FORMAT:
            raise InputError(
                "the lists of a generation were loaded by another release",
                where=f"night {self.run_date}",
                found=f"values of format {self._format}",
                expected=f"format {FORMAT}",
                fix="run refresh_cache for a night with this release",
            )

    def read_info(self, read_chunk: ReadChunk) -> GenerationInfo:
        """The information that the generation was loaded with.

        Raises:
            ItemsGone: an item id is not in the store any more.
        """
        chunks = [_ids(read_chunk(number)) for number in range(-(-self._items // CHUNK_ITEMS))]
        item_ids = pa.chunked_array(chunks, pa.large_string())
        return GenerationInfo(self.run_date, self.lists, self.kinds, item_ids, self.markets)

    def _market(self, value: bytes, count: int) -> str | None:
        """Market of a value's listener; None without one, and of lists alone."""
        end = HEAD_BYTES + BYTES_PER_ITEM * count
        number = _UNIT.unpack_from(value, end)[0] if len(value) > end else NOWHERE
        return None if number == NOWHERE else self.markets[number]

    def _known(self, numbers: Numbers, read_chunk: ReadChunk) -> list[str]:
        """Ids of some numbers."""
        ids: list[str] = self._ids.take(numbers).tolist()
        if self._unread and not all(ids):
            self._learn(numbers, read_chunk)
            ids = self._ids.take(numbers).tolist()
        return ids

    def _learn(self, numbers: Numbers, read_chunk: ReadChunk) -> None:
        for chunk in self._unread.intersection((numbers // CHUNK_ITEMS).tolist()):
            start = chunk * CHUNK_ITEMS
            self._ids[start : start + CHUNK_ITEMS] = _ids(read_chunk(chunk)).to_pylist()
            self._unread.discard(chunk)


def _reserve(value: bytes, count: int) -> Numbers:
    """Numbers of a value's items in reserve; none of lists alone."""
    if len(value) == HEAD_BYTES + BYTES_PER_ITEM * count:
        return np.zeros(0, _NUMBERS)
    end = len(value) - _UNIT.size
    reserved = _UNIT.unpack_from(value, end)[0]
    return np.frombuffer(value, _NUMBERS, reserved, end - 4 * reserved)


def _moved_up(
    ids: list[str], scores: tuple[float, ...], reserve: list[str], barred: frozenset[str]
) -> tuple[list[str], tuple[float, ...]]:
    """A list without what is barred, filled up to its length from the reserve as far as that goes."""
    left = {item_id: score for item_id, score in zip(ids, scores, strict=True) if item_id not in barred}
    lowest = min(scores)
    for item_id in reserve:
        if len(left) == len(ids):
            break
        if item_id not in barred:
            left.setdefault(item_id, lowest)
    return list(left), tuple(left.values())


@lru_cache
def floats(count: int) -> Struct:
    """So many float32 in a row."""
    return Struct(f"<{count}f")


def _ids(chunk: bytes | None) -> pa.LargeStringArray:
    if chunk is None:
        raise ItemsGone
    return pa.ipc.read_record_batch(pa.py_buffer(chunk), _CHUNK).column(0)
