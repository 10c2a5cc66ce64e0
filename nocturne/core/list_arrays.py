"""Lists as an array: positions of items, best first, -1 where a list is short; shape (listeners, top_k)."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Mask, Offsets, Positions

Lists = npt.NDArray[np.int32]


def lists_array(rows: pa.Table, user_ids: pa.Array, item_ids: pa.Array, top_k: int) -> Lists:
    """Rows of `ranked_lists` as an array, cut to top_k.

    Args:
        rows: user_id and items, best first; listeners who are not asked for are passed over.
        user_ids: the listener of each row of the array; one without a list gets an empty one.
        item_ids: the item of each position.

    Example: of users (u, v) and items (a, b, c) the one list v: [c, a] is [[-1, -1], [2, 0]].
    """
    row = pc.index_in(user_ids, value_set=rows["user_id"].combine_chunks())
    return aligned_array(rows["items"].combine_chunks().take(row), item_ids, top_k)


def aligned_array(items: pa.ListArray, item_ids: pa.Array, top_k: int) -> Lists:
    """The items of lists as an array, in their order, cut to top_k; an empty list for null."""
    lengths = pc.fill_null(pc.list_value_length(items), 0).to_numpy()
    positions = pc.index_in(pc.struct_field(items.flatten(), "item_id"), value_set=item_ids)
    listener = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(listener)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    within = place < top_k
    lists = empty_lists(len(items), top_k)
    lists[listener[within], place[within]] = pc.fill_null(positions, -1).to_numpy()[within]
    return lists


def empty_lists(listeners: int, top_k: int) -> Lists:
    """Lists without any item."""
    return np.full((listeners, top_k), -1, dtype=np.int32)


def marked_places(offsets: Offsets, marked: Mask) -> pa.ListArray:
    """Places in each list, from 0, of the entries that are marked; null for a list without any.

    Args:
        offsets: where each list begins and the last one ends; shape (lists + 1,).
        marked: shape (entries,).
    """
    places = np.arange(len(marked)) - np.repeat(offsets[:-1], np.diff(offsets))
    ends = np.concatenate([[0], np.cumsum(marked)])[offsets]
    starts, values = pa.array(ends.astype(np.int32)), pa.array(places[marked].astype(np.int32))
    return pa.ListArray.from_arrays(starts, values, mask=pa.array(np.diff(ends) == 0))


def first_places(ours: Lists, theirs: Lists) -> Positions:
    """Place at which each pair of lists first differs, from 0; -1 if it does not; shape (listeners,)."""
    differ: Mask = ours != theirs
    places: Positions = np.where(differ.any(axis=1), differ.argmax(axis=1) if differ.shape[1] else 0, -1)
    return places


def count_shared(ours: Lists, theirs: Lists, items: int) -> Counts:
    """Items that each pair of lists has in common, none of which is twice in a list; shape (listeners,).

    Args:
        items: more than any position.
    """
    filled = [lists >= 0 for lists in (ours, theirs)]
    keys = [
        (np.arange(len(lists))[:, None] * items + lists)[present]
        for lists, present in zip((ours, theirs), filled, strict=True)
    ]
    shared = np.intersect1d(keys[0], keys[1], assume_unique=True) // max(items, 1)
    return np.bincount(shared, minlength=len(ours))
