"""A sample of rows of `related_items` worked out anew: dense, in float64, by code of its own.

Source: docs/tables.md, for columns and what a score is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Mask, Positions
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.known_items import KnownItems, numbers

_SAMPLE = 64
_TOLERANCE = 1e-6
"""Of scores of the order of 1, which are stored in float32."""

_EPOCH = date(1970, 1, 1)
_COLUMNS = ["item_id", "content_type", "items"]
_OF_ITEMS = ["item_index", "item_id", "factors", "listeners", "predecessors", "predecessor_weights"]

Row = Mapping[str, Any]


def count_unlike(night: Night, known: KnownItems) -> int | None:
    """Rows of a sample that are not what the model and the catalogue give; None without rows. The night draws it."""
    batches = StoredRows.at(night, "related_items", _COLUMNS).sample(_SAMPLE, (night.run_date - _EPOCH).days)
    sampled = [row for batch in batches for row in batch.to_pylist()]
    dense = DenseItems.of(night, known)
    return sum(not dense.gives(row) for row in sampled) if sampled else None


@dataclass(frozen=True)
class DenseItems:
    """Known items, and the factors and successions of those of the live model.

    Attributes:
        depth: items of a full row.
        weight: of what is heard after an item.
        place: of each item of the model among the known ones; shape (model items,).
        units: factors of length 1, float64; shape (model items, factors).
        after, before, weights: an item of the model, one that it is heard after, and how often; shape (pairs,).
        listeners: of each known item; shape (items,).
        tie_order: place of each known item in the order of ids; shape (items,).
    """

    known: KnownItems
    depth: int
    weight: float
    place: Positions
    units: Floats
    after: Positions
    before: Positions
    weights: Floats
    listeners: Floats
    tie_order: Positions

    @classmethod
    def of(cls, night: Night, known: KnownItems) -> "DenseItems":
        """The live model of a night."""
        items = tables.night_rows(night, "item_factors", _OF_ITEMS).combine_chunks()
        place = numbers(items["item_id"].combine_chunks(), known.ids)
        factors = items["factors"].combine_chunks().flatten().to_numpy().astype(np.float64)
        factors = factors.reshape(len(place), len(factors) // max(1, len(place)))
        lists = items["predecessors"].combine_chunks()
        listeners = np.zeros(len(known.ids))
        listeners[place] = items["listeners"].to_numpy()
        order = np.array(sorted(range(len(known.ids)), key=known.ids.to_pylist().__getitem__), np.int64)
        return cls(
            known=known,
            depth=night.settings.related.depth,
            weight=night.settings.related.neighbour_weight,
            place=place,
            units=factors / np.linalg.norm(factors, axis=1, keepdims=True),
            after=pc.list_parent_indices(lists).to_numpy().astype(np.int64),
            before=numbers(lists.flatten(), items["item_index"].combine_chunks()),
            weights=items["predecessor_weights"].combine_chunks().flatten().to_numpy().astype(np.float64),
            listeners=listeners,
            tie_order=np.argsort(order),
        )

    def gives(self, row: Row) -> bool:
        """True if a row is what it should be; of items that score alike, any will do."""
        item, content_type = (
            int(numbers(pa.array([row[name]]), names)[0])
            for name, names in (("item_id", self.known.ids), ("content_type", self.known.types))
        )
        may = self.known.listable & (self.known.type_of == content_type)
        may[item] = False
        listed = numbers(pa.array([entry["item_id"] for entry in row["items"]], pa.string()), self.known.ids)
        if item not in self.place:
            return self._is_best_of_creator(row, listed, item, may)
        (position,) = np.flatnonzero(self.place == item)
        scores, follows = np.full(len(may), -np.inf), np.zeros(len(may), np.bool_)
        evidence = self._evidence(int(position))
        scores[self.place] = self.units @ self.units[position] + self.weight * evidence
        follows[self.place] = evidence > 0
        scores[~may] = -np.inf
        best = np.sort(scores[scores > -np.inf])[::-1][: self.depth]
        stated = np.array([entry["score"] for entry in row["items"]], np.float64)
        follow = [entry["source"] != "factors" for entry in row["items"]]
        return (
            len(stated) == len(best)
            and bool((listed >= 0).all())
            and bool((np.abs(scores[listed] - stated) <= self._tolerance).all())
            and bool((np.abs(best - stated) <= self._tolerance).all())
            and follows[listed].tolist() == follow
        )

    @property
    def _tolerance(self) -> float:
        return _TOLERANCE * (1 + self.weight)

    def _evidence(self, position: int) -> Floats:
        """How often each item of the model is heard after one of them, as a share of the most; shape (model items,)."""
        follows = self.before == position
        often = np.zeros(len(self.place))
        often[self.after[follows]] = self.weights[follows]
        return often / often.max(initial=0.0) if often.any() else often

    def _is_best_of_creator(self, row: Row, listed: Positions, item: int, may: Mask) -> bool:
        """True if a row has what most listeners heard of the same creator."""
        creator = self.known.creators[item]
        same = np.flatnonzero(may & (self.known.creators == creator)) if creator >= 0 else np.zeros(0, np.int64)
        best = same[np.lexsort((self.tie_order[same], -self.listeners[same]))][: self.depth]
        shares = self.listeners[best] / max(1.0, self.listeners.max(initial=0.0))
        stated = np.array([entry["score"] for entry in row["items"]], np.float64)
        return listed.tolist() == best.tolist() and bool((np.abs(shares - stated) <= _TOLERANCE).all())
