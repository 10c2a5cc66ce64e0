"""What re-ranking knows of items, from the night's catalogue: creator, content type, tags, and whether they are new."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.ranking.eligibility import Mask

Codes = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

NONE = -1
UNTAGGED = 0
"""The tag of items without one, so that every item counts in a listener's mix."""


@dataclass(frozen=True)
class Traits:
    """Items by position, names turned into numbers in the order of the alphabet.

    Attributes:
        creators: NONE without one; shape (items,).
        types: content type, 0 for items that the catalogue lacks; shape (items,).
        tag_offsets: where each item's tags begin and the last one's end; shape (items + 1,).
        tags: distinct and ascending within an item; UNTAGGED for an item without any.
        fresh: whether the item is new; shape (items,).
    """

    creators: Codes
    types: Codes
    tag_offsets: Offsets
    tags: Codes
    fresh: Mask


def traits(
    item_ids: pa.Array, catalogue: pa.Table, first_nights: pa.Array, run_date: date, fresh_nights: int
) -> Traits:
    """See items through the catalogue.

    Args:
        item_ids: the items; shape (items,).
        catalogue: rows of `items` of the night.
        first_nights: when each item was first met, for items without available_from; null if unknown.
        run_date: the night.
        fresh_nights: nights that an item is new, its first one among them.
    """
    place = pc.index_in(item_ids, value_set=catalogue["item_id"].combine_chunks())
    known = catalogue.take(place)
    offsets, tags = _tags(known["tags"].combine_chunks())
    first = pc.coalesce(known["available_from"].combine_chunks(), first_nights.cast(pa.date32()))
    oldest = pa.scalar(run_date - timedelta(days=fresh_nights - 1), pa.date32())
    fresh = pc.and_(pc.greater_equal(first, oldest), pc.less_equal(first, pa.scalar(run_date, pa.date32())))
    return Traits(
        creators=_codes(known["creator"].combine_chunks()),
        types=_codes(known["content_type"].combine_chunks()) + np.int32(1),
        tag_offsets=offsets,
        tags=tags,
        fresh=pc.fill_null(fresh, False).to_numpy(zero_copy_only=False),
    )


def _codes(names: pa.Array) -> Codes:
    """Number of each name in the order of the alphabet, from 0; NONE for null."""
    alphabet = pc.unique(names.drop_null()).sort()
    codes = pc.fill_null(pc.index_in(names, value_set=alphabet, skip_nulls=True), NONE)
    numbered: Codes = codes.to_numpy(zero_copy_only=False).astype(np.int32)
    return numbered


def _tags(lists: pa.ListArray) -> tuple[Offsets, Codes]:
    """Every item's tags, CSR."""
    codes = _codes(lists.flatten()).astype(np.int64) + UNTAGGED + 1
    items = pc.list_parent_indices(lists).to_numpy()
    items, codes = items[codes > UNTAGGED], codes[codes > UNTAGGED]
    without = np.setdiff1d(np.arange(len(lists)), items)
    width = int(codes.max(initial=UNTAGGED)) + 1
    keys = np.unique(np.concatenate([items * width + codes, without * width + UNTAGGED]))
    offsets = np.searchsorted(keys, np.arange(len(lists) + 1) * width).astype(np.int64)
    return offsets, (keys % width).astype(np.int32)
