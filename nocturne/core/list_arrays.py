"""Lists as an array: positions of items, best first, -1 where a list is short; shape (listeners, top_k)."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

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
    items = rows["items"].combine_chunks().take(row)
    lengths = pc.fill_null(pc.list_value_length(items), 0).to_numpy()
    positions = pc.index_in(pc.struct_field(items.flatten(), "item_id"), value_set=item_ids)
    listener = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(listener)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    within = place < top_k
    lists = empty_lists(len(user_ids), top_k)
    lists[listener[within], place[within]] = pc.fill_null(positions, -1).to_numpy()[within]
    return lists


def empty_lists(listeners: int, top_k: int) -> Lists:
    """Lists without any item."""
    return np.full((listeners, top_k), -1, dtype=np.int32)
