"""Related items of items without factors: what else their creator has, most heard first. Pure."""

import numpy as np

from nocturne.core.arrays import Counts, Floats, Mask, Offsets, Positions
from nocturne.core.csr import CsrRows, entries_of
from nocturne.ranking.known_items import KnownItems


def best_of_creator(
    known: KnownItems, some: Positions, listable: Mask, listeners: Counts, k: int
) -> tuple[CsrRows, Floats]:
    """The k items of the same creator that most listeners heard, then in order of ids; never an item itself.

    Args:
        known: in order of their ids.
        some: places of items among the known ones.
        listable: what may be listed; shape (items,).
        listeners: of each item, 0 where it is not known; shape (items,).

    Returns:
        Places of the known items, and their listeners as a share of those of the item that most heard.
    """
    among = np.flatnonzero(listable & (known.creators >= 0))
    among = among[np.lexsort((among, -listeners[among], known.creators[among]))]
    creators = np.arange(known.creators.max(initial=-1) + 2)
    groups: Offsets = np.searchsorted(known.creators[among], creators).astype(np.int64)
    rows = np.flatnonzero(known.creators[some] >= 0)
    offsets, entries = entries_of(groups, known.creators[some[rows]].astype(np.int64))
    # One more than is kept, for an item may be among its creator's best itself.
    group = CsrRows(offsets, among[entries].astype(np.int32)).heads(np.zeros(len(entries)), k + 1)[0]
    others = group.where(group.positions != np.repeat(some[rows], group.lengths))
    best = others.heads(np.zeros(len(others.positions)), k)[0]
    lengths = np.zeros(len(some) + 1, np.int64)
    lengths[rows + 1] = best.lengths
    shares = listeners[best.positions] / max(1, int(listeners.max(initial=0)))
    return CsrRows(np.cumsum(lengths), best.positions), shares
