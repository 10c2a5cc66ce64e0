"""Items of lists: where `item_index` and the catalogue have them."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Indexes, Positions
from nocturne.core.hashing import hash_ids
from nocturne.core.masks import mask
from nocturne.validation.profiles.catalogue_rules import Catalogue


class Found(NamedTuple):
    """Items that were looked up, each attribute of shape (items,); -1 where an item is not there.

    Attributes:
        rows: in `item_index`.
        indexes: their item indexes.
        places: in the catalogue.
    """

    rows: Positions
    indexes: Indexes
    places: Positions


class ListedItems:
    """Items by id. They are found by the hashes of ids, which are sorted once, and told apart by the ids.

    Args:
        index: item_index and item_id of all items so far.
        catalogue: of the night.
    """

    def __init__(self, index: pa.Table, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._item_ids = index["item_id"].combine_chunks()
        hashes = hash_ids(self._item_ids, 0)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        # The last of each, which -1 means too, is that of items without an index.
        self._indexes = np.append(index["item_index"].to_numpy(), np.int32(-1))
        self._places = np.append(catalogue.places(self._item_ids), -1)

    def __len__(self) -> int:
        """Items that have an index."""
        return len(self._item_ids)

    def find(self, item_ids: pa.Array) -> Found:
        """Look items up."""
        rows = self._rows(item_ids)
        places = self._places[rows]
        without_index = np.flatnonzero(rows == -1)
        if len(without_index):
            places[without_index] = self.catalogue.places(item_ids.take(pa.array(without_index)))
        return Found(rows, self._indexes[rows], places)

    def _rows(self, item_ids: pa.Array) -> Positions:
        if not len(self):
            return np.full(len(item_ids), -1, np.int64)
        hashes = hash_ids(item_ids, 0)
        place = np.searchsorted(self._hashes, hashes).clip(max=len(self) - 1)
        row, there = self._order[place], self._hashes[place] == hashes
        same = mask(pc.equal(self._item_ids.take(pa.array(row)), item_ids))
        if (there & ~same).any():  # two ids of one hash
            return np.asarray(pc.index_in(item_ids, value_set=self._item_ids).fill_null(-1).to_numpy())
        return np.where(same, row, -1)
