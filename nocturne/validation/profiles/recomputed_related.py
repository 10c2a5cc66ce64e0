"""A sample of rows of `related_items` worked out anew: dense, in float64, by code of its own.

Source: docs/tables.md, for columns and for the scores of `items`.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Mask, Positions
from nocturne.core.night import Night
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.known_items import KnownItems, RelatedBatch, numbers
from nocturne.validation.profiles.model_items import model_items
from nocturne.validation.profiles.models import live_models

_SAMPLE = 64
_TOLERANCE = 1e-6
"""Of scores of the order of 1, which are stored in float32."""

_ZERO, _EITHER = 1e-9, "either"
"""A cosine this close to 0 may be above it or not by other sums."""

_EPOCH = date(1970, 1, 1)
_COLUMNS = ["item_id", "content_type", "items"]
_REPEATING = ("items.list.element.item_id", "items.list.element.source")
_OF_ITEMS = ["item_index", "item_id", "factors", "listeners", "predecessors", "predecessor_weights"]


def count_unlike(night: Night, known: KnownItems) -> int | None:
    """Rows of a sample that are not what the model and the catalogue give; None without rows. The night draws it."""
    stored = StoredRows.at(night, "related_items", _COLUMNS, dictionaries=_REPEATING)
    drawn = [*stored.sample(_SAMPLE, (night.run_date - _EPOCH).days)]
    if not drawn:
        return None
    rows = pa.Table.from_batches(drawn).combine_chunks().to_batches()[0]
    dense = DenseItems.of(night, known)
    return sum(not dense.gives(row) for row in _sampled_rows(RelatedBatch.of(rows, known)))


@dataclass(frozen=True)
class _SampledRow:
    """A row by number; -1 for what is not known.

    Attributes:
        item, type: of the row.
        listed, scores, sources: its items, their scores, and their sources.
    """

    item: int
    type: int
    listed: Positions
    scores: Floats
    sources: npt.NDArray[np.str_]


def _sampled_rows(batch: RelatedBatch) -> list[_SampledRow]:
    sources = np.array(pc.struct_field(batch.rows["items"].flatten(), "source").to_pylist(), np.str_)
    ends = np.cumsum(batch.lengths)
    parts = [slice(end - length, end) for end, length in zip(ends, batch.lengths, strict=True)]
    scores = batch.scores.astype(np.float64)
    return [
        _SampledRow(int(item), int(kind), batch.entry[part], scores[part], sources[part])
        for item, kind, part in zip(batch.item, batch.type, parts, strict=True)
    ]


@dataclass(frozen=True)
class DenseItems:
    """Known items, with the factors of those of the live model, and what is heard after what.

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
        parts = [model_items(night, model.version, _OF_ITEMS) for model in live_models(night)]
        items = pa.concat_tables([*parts, *([] if parts else [model_items(night, "", _OF_ITEMS)])]).combine_chunks()
        place = numbers(items["item_id"].combine_chunks(), known.ids)
        factors = items["factors"].combine_chunks().flatten().to_numpy().astype(np.float64)
        factors = factors.reshape(len(place), len(factors) // max(1, len(place)))
        lists = items["predecessors"].combine_chunks()
        listeners = np.zeros(len(known.ids))
        listeners[place] = items["listeners"].to_numpy()
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
            tie_order=np.argsort(pc.sort_indices(known.ids).to_numpy()),
        )

    def gives(self, row: _SampledRow) -> bool:
        """True if a row is what it should be; of items that score alike, any will do."""
        may = self.known.listable & (self.known.type_of == row.type)
        may[row.item] = False
        if row.item < 0 or row.type < 0 or (row.listed < 0).any():
            return False
        if not self.known.has_factors[row.item]:
            return self._is_best_of_creator(row, may)
        (position,) = np.flatnonzero(self.place == row.item)
        evidence = self._evidence(int(position))
        scores, sources = np.full(len(may), -np.inf), np.full(len(may), "neighbours")
        cosines = self.units @ self.units[position]
        scores[self.place] = cosines + self.weight * evidence
        sources[self.place[cosines > 0]] = "both"
        sources[self.place[evidence == 0]] = "factors"
        sources[self.place[(evidence > 0) & (np.abs(cosines) < _ZERO)]] = _EITHER
        best = np.sort(scores[may & (scores > -np.inf)])[::-1][: self.depth]
        return (
            len(row.listed) == len(best)
            and bool(may[row.listed].all())
            and self._are_near(scores[row.listed], row.scores)
            and self._are_near(best, row.scores)
            and bool(((sources[row.listed] == row.sources) | (sources[row.listed] == _EITHER)).all())
        )

    def _are_near(self, some: Floats, others: Floats) -> bool:
        return bool((np.abs(some - others) <= _TOLERANCE * (1 + self.weight)).all())

    def _evidence(self, position: int) -> Floats:
        """Share of the largest weight after an item that each item of the model has; shape (model items,)."""
        follows = np.flatnonzero(self.before == position)
        often = np.zeros(len(self.place))
        often[self.after[follows]] = self.weights[follows]
        return often / often.max() if often.any() else often

    def _is_best_of_creator(self, row: _SampledRow, may: Mask) -> bool:
        """True if a row has the items of the same creator that most listeners heard."""
        creator = self.known.creators[row.item]
        same = np.flatnonzero(may & (self.known.creators == creator) & (creator >= 0))
        best = same[np.lexsort((self.tie_order[same], -self.listeners[same]))][: self.depth]
        shares = self.listeners[best] / max(1.0, self.listeners.max(initial=0.0))
        return row.listed.tolist() == best.tolist() and self._are_near(shares, row.scores)
