"""Samples of listeners, by hash of their ids: who is evaluated where there are too many to hold all of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Mask
from nocturne.core.hashing import Hashes, hash_ids
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows

SEED = 104_729
"""Of the hash: another one than picks who is trained on, or whom a race asks."""

_IDS_AT_ONCE = 65_536


@dataclass(frozen=True)
class SampleSize:
    """Numbers of listeners: of those evaluated, and of all that there are."""

    sampled: int
    sampled_of: int

    def __str__(self) -> str:
        everyone = self.sampled == self.sampled_of
        return f"all {self.sampled:,} listeners" if everyone else f"{self.sampled:,} of {self.sampled_of:,} listeners"


@dataclass(frozen=True)
class ListenerSample:
    """The listeners whose ids have the smallest hashes.

    Attributes:
        largest_hash: of a listener who is in it.
    """

    largest_hash: int = 2**64 - 1

    def contains(self, user_ids: pa.Array) -> Mask:
        """True for listeners who are in it; shape (listeners,)."""
        return np.asarray(hash_ids(user_ids, SEED) <= np.uint64(self.largest_hash))

    def of(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of its listeners, by user_id; nothing else of a batch is kept."""
        for rows in batches:
            some = rows if self == ALL_LISTENERS else rows.filter(pa.array(self.contains(rows.column("user_id"))))
            if some.num_rows:
                yield some


ALL_LISTENERS = ListenerSample()


def largest(sizes: Iterable[SampleSize]) -> SampleSize:
    """The size on the night with most listeners."""
    return max(sizes, key=lambda size: size.sampled_of)


def sample_listeners(nights: Sequence[Night]) -> ListenerSample:
    """The same sample for some nights: of the one with most listeners at most evaluation.max_listeners."""
    largest = max(nights, key=lambda night: tables.count(night, "interactions"))
    most = largest.settings.evaluation.max_listeners
    if tables.count(largest, "interactions") <= most:
        return ALL_LISTENERS
    batches = StoredRows.at(largest, "interactions", ["user_id"], batch_rows=_IDS_AT_ONCE)
    return ListenerSample(int(_smallest((hash_ids(batch.column("user_id"), SEED) for batch in batches), most).max()))


def _smallest(parts: Iterable[Hashes], count: int) -> Hashes:
    """The smallest so many of all hashes, of which few more are ever held."""
    smallest = np.zeros(0, np.uint64)
    for part in parts:
        below = part if len(smallest) < count else part[part < smallest.max()]
        smallest = np.concatenate([smallest, below])
        smallest = smallest if len(smallest) <= count else np.partition(smallest, count - 1)[:count]
    return smallest
