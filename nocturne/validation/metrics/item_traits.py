"""Traits of items that lists and listens are summed up by, by the number of the item."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Mask, Positions
from nocturne.core.masks import mask
from nocturne.validation.metrics.sums import Labels

UNKNOWN = "unknown"
"""Type of items that the catalogue does not have."""


@dataclass(frozen=True)
class ItemTraits:
    """Traits; each attribute but the names is of shape (items + 1,), and its last is that of an unknown item, -1.

    Attributes:
        type_of: place in `type_names`.
        creator_of: number of the creator; -1 without one.
        explicit: marked explicit.
        new: first heard or named within the last week.
        popularity: listeners, count; 0 where that is not known.
        tail: outside of the most popular fifth of the items that have listeners.
        duration_ms: NaN where it is not known.
    """

    type_of: Positions
    type_names: Sequence[str]
    creator_of: Positions
    explicit: Mask
    new: Mask
    popularity: Floats
    tail: Mask
    duration_ms: Floats

    COLUMNS = ("content_type", "creator", "explicit", "duration_ms")

    @classmethod
    def of(
        cls,
        catalogue: pa.Table,
        places: Positions | None = None,
        *,
        new: Mask | None = None,
        popularity: Floats | None = None,
    ) -> "ItemTraits":
        """Of a night's catalogue.

        Args:
            catalogue: COLUMNS.
            places: row of the catalogue of each item, -1 without one; the catalogue's own order if left out.
            new, popularity: aligned with the places; unknown if left out.
        """
        at = np.append(np.arange(catalogue.num_rows) if places is None else places, -1)
        items = len(at) - 1
        types = Labels.of(catalogue["content_type"])
        names = [*types.names, UNKNOWN]
        creators = Labels.of(catalogue["creator"])
        creator = np.where(creators.codes == len(creators.names) - 1, -1, creators.codes)
        heard = np.zeros(items) if popularity is None else popularity
        duration = pc.cast(catalogue["duration_ms"], pa.float64()).to_numpy()
        return cls(
            type_of=np.append(types.codes, len(names) - 1)[at],
            type_names=names,
            creator_of=np.append(creator, -1)[at],
            explicit=np.append(mask(catalogue["explicit"]), False)[at],
            new=np.append(np.zeros(items, bool) if new is None else new, False),
            popularity=np.append(heard, 0.0),
            tail=np.append(long_tail(heard), True),
            duration_ms=np.append(duration, np.nan)[at],
        )

    def __len__(self) -> int:
        """Items that have a number."""
        return len(self.type_of) - 1

    def types(self, items: Positions) -> Labels:
        """The content type of items."""
        return Labels(self.type_of[items], self.type_names)


def long_tail(popularity: Floats) -> Mask:
    """Items outside of the most popular fifth of those with listeners; of equal ones the first is more popular."""
    known = np.flatnonzero(popularity > 0)
    head = known[np.argsort(-popularity[known], kind="stable")[: -(-len(known) // 5)]]
    tail = np.ones(len(popularity), bool)
    tail[head] = False
    return tail
