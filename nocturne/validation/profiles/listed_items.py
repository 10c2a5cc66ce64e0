"""Items of lists: where `item_index` and the catalogue have them."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Indexes, Positions
from nocturne.validation.metrics.id_numbers import IdNumbers
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
    """Items by id.

    Args:
        index: item_index and item_id of all items so far.
        catalogue: of the night.
    """

    def __init__(self, index: pa.Table, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._numbers = IdNumbers(index["item_id"].combine_chunks())
        # The last of each, which -1 means too, is that of items without an index.
        self._indexes = np.append(index["item_index"].to_numpy(), np.int32(-1))
        self._places = np.append(catalogue.places(self._numbers.ids), -1)

    def __len__(self) -> int:
        """Items that have an index."""
        return len(self._numbers)

    def find(self, item_ids: pa.Array) -> Found:
        """Look items up."""
        rows = self._numbers.find(item_ids)
        places = self._places[rows]
        without_index = np.flatnonzero(rows == -1)
        if len(without_index):
            places[without_index] = self.catalogue.places(item_ids.take(pa.array(without_index)))
        return Found(rows, self._indexes[rows], places)

    def indexes_of(self, item_ids: pa.Array) -> Indexes:
        """Item index of each id, of which many may be the same; -1 of one without an index."""
        return self._indexes[self._numbers.find_repeating(item_ids)]
