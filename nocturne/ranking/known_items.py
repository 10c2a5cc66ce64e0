"""Known items: all that a night's index or catalogue names, with what relating them needs to know. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Codes, Mask
from nocturne.core.takedowns import NONE, Takedowns
from nocturne.ingestion.catalogue import UNNAMED_TYPE
from nocturne.ranking import eligibility


@dataclass(frozen=True)
class KnownItems:
    """Some items on a night.

    Attributes:
        ids: shape (items,).
        content_types: name of the type of each; shape (items,).
        creators: number of the creator of each, -1 without one; shape (items,).
        listable: what may be listed in some market; shape (items,).
        named: what the catalogue names tonight, or never named; shape (items,).
    """

    ids: pa.Array
    content_types: pa.Array
    creators: Codes
    listable: Mask
    named: Mask

    @classmethod
    def of(
        cls,
        ids: pa.Array,
        catalogue: pa.Table,
        run_date: date,
        explicit_blocked_markets: Collection[str],
        takedowns: Takedowns = NONE,
    ) -> "KnownItems":
        """Look items up in a night's catalogue.

        Args:
            catalogue: rows of `items` of the night.
            takedowns: that the night obeys.
        """
        rows = catalogue.take(pc.index_in(ids, value_set=catalogue["item_id"].combine_chunks()))
        markets = eligibility.markets(ids, catalogue, run_date, explicit_blocked_markets, takedowns)
        creators = rows["creator"].combine_chunks().dictionary_encode().indices.fill_null(-1)
        return cls(
            ids=ids,
            content_types=pc.fill_null(rows["content_type"].combine_chunks(), UNNAMED_TYPE),
            creators=creators.to_numpy(zero_copy_only=False).astype(np.int32),
            listable=np.asarray(markets.masks.any(axis=0)),
            named=~pc.fill_null(rows["absent"].combine_chunks(), False).to_numpy(zero_copy_only=False),
        )

    @property
    def types(self) -> list[str]:
        """The content types of the items that are named, in the order of the alphabet."""
        return sorted(pc.unique(self.content_types.filter(pa.array(self.named))).to_pylist())

    def of_type(self, content_type: str) -> Mask:
        """Items of a content type that may be listed; shape (items,)."""
        mask: Mask = self.listable & pc.equal(self.content_types, content_type).to_numpy(zero_copy_only=False)
        return mask


def all_ids(*tables: pa.Table) -> pa.Array:
    """Every `item_id` of some tables once, in order."""
    return pc.unique(
        pa.chunked_array([chunk for table in tables for chunk in table["item_id"].chunks], pa.string())
    ).sort()
