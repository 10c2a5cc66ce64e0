"""Numbers of items by id: looked up by the hashes of ids, which are sorted once, and told apart by the ids."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Positions
from nocturne.core.hashing import hash_ids
from nocturne.core.masks import mask

_REMEMBERED = 2


class IdNumbers:
    """Where ids stand among some that are known.

    Args:
        ids: different ones.
    """

    def __init__(self, ids: pa.Array) -> None:
        self.ids = ids
        hashes = hash_ids(ids, 0)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        # Batches of a group of rows come with one dictionary, those of two tables in turn.
        self._remembered: list[tuple[pa.Array, Positions]] = []

    def __len__(self) -> int:
        """Ids that are known."""
        return len(self.ids)

    def find(self, ids: pa.Array) -> Positions:
        """Place of each id; -1 of one that is not known."""
        for asked, places in self._remembered:
            if asked.equals(ids):
                return places
        places = self._find(ids)
        self._remembered = [(ids, places), *self._remembered[: _REMEMBERED - 1]]
        return places

    def find_repeating(self, ids: pa.Array) -> Positions:
        """The same of ids of which many are the same, and which may be stored as a dictionary."""
        encoded = ids if pa.types.is_dictionary(ids.type) else ids.dictionary_encode()
        places = np.append(self.find(encoded.dictionary), -1)
        return np.asarray(places[pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy()])

    def _find(self, ids: pa.Array) -> Positions:
        if not len(self):
            return np.full(len(ids), -1, np.int64)
        hashes = hash_ids(ids, 0)
        place = np.searchsorted(self._hashes, hashes).clip(max=len(self) - 1)
        row, there = self._order[place], self._hashes[place] == hashes
        same = mask(pc.equal(self.ids.take(pa.array(row)), ids))
        if (there & ~same).any():  # two ids of one hash
            return np.asarray(pc.index_in(ids, value_set=self.ids).fill_null(-1).to_numpy()).astype(np.int64)
        return np.where(same, row, -1)
