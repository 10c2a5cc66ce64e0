"""Items that have related items, and what may be related to them: the rules of relating, written a second time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Mask, Positions
from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.validation.profiles.catalogue_rules import Catalogue
from nocturne.validation.profiles.model_items import cold_rows, model_items
from nocturne.validation.profiles.models import live_models

_UNNAMED_TYPE = "other"
_ANYWHERE = ""
"""A market that no rule names."""


@dataclass(frozen=True)
class KnownItems:
    """All items that have rows.

    Attributes:
        ids: shape (items,).
        types: names of the content types that have rows; shape (types,).
        type_of: number of the type of each item; -1 for a type without rows; shape (items,).
        creators: number of the creator of each item; -1 without one; shape (items,).
        listable: what is not barred everywhere; shape (items,).
        has_factors: items that the live model ranks; shape (items,).
        by_text: of these, the items that it knows by their text alone; shape (items,).
    """

    ids: pa.Array
    types: pa.Array
    type_of: Positions
    creators: Positions
    listable: Mask
    has_factors: Mask
    by_text: Mask

    @classmethod
    def of(cls, night: Night) -> "KnownItems":
        """The items of a night's index and catalogue."""
        items = tables.night_rows(night, "items", [*Catalogue.COLUMNS, "content_type", "creator"])
        index = tables.night_rows(night, "item_index", ["item_id"])
        ids = pc.unique(pa.chunked_array([*items["item_id"].chunks, *index["item_id"].chunks], pa.string()))
        words = tables.night_rows(night, "takedowns", Catalogue.WORDS)
        catalogue = Catalogue(items, night.run_date, night.settings.ranking.explicit_blocked_markets, words)
        barred, _ = catalogue.judge(ids, pa.array([*sorted(catalogue.markets), _ANYWHERE]))
        rows = items.take(pc.index_in(ids, value_set=items["item_id"].combine_chunks()))
        content_types = pc.fill_null(rows["content_type"].combine_chunks(), _UNNAMED_TYPE)
        types = pc.unique(content_types.filter(pa.array(~mask(rows["absent"]))))
        creators = rows["creator"].combine_chunks()
        model, cold = (_ids(night, rows) for rows in (model_items, cold_rows))
        return cls(
            ids=ids,
            types=types,
            type_of=numbers(content_types, types),
            creators=numbers(creators, pc.unique(creators.drop_null())),
            listable=np.asarray(~barred.all(axis=0)),
            has_factors=mask(pc.is_in(ids, value_set=model)),
            by_text=mask(pc.is_in(ids, value_set=cold)),
        )

    def there_are(self, items: Positions, types: Positions) -> Counts:
        """Items of a type that may be related to an item; arguments and result are aligned."""
        of_model = self.has_factors[items]
        creators = np.where(self.creators[items] < 0, self._creators, self.creators[items])
        there = np.where(of_model, self._in_model[types], self._by_creator[creators, types])
        itself = self.listable[items] & (self.type_of[items] == types) & (of_model | (creators < self._creators))
        counts: Counts = there - itself
        return counts

    @cached_property
    def _in_model(self) -> Counts:
        """Items of the model that may be listed, by type; shape (types,)."""
        some = self.has_factors & self.listable & (self.type_of >= 0)
        return np.bincount(self.type_of[some], minlength=len(self.types))

    @cached_property
    def _creators(self) -> int:
        return int(self.creators.max(initial=-1)) + 1

    @cached_property
    def _by_creator(self) -> Counts:
        """Items that may be listed, by creator and type; the last row, of items without a creator, is 0."""
        some = self.listable & (self.creators >= 0) & (self.type_of >= 0)
        keys = self.creators[some] * len(self.types) + self.type_of[some]
        counts = np.bincount(keys, minlength=(self._creators + 1) * len(self.types))
        return counts.reshape(self._creators + 1, len(self.types))


def _ids(night: Night, rows: Callable[[Night, str, Sequence[str]], pa.Table]) -> pa.Array:
    """Ids of items of the live model; none without one."""
    parts = [rows(night, model.version, ["item_index", "item_id"])["item_id"] for model in live_models(night)]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string()).combine_chunks()


@dataclass(frozen=True)
class RelatedBatch:
    """Some rows of `related_items`, by number.

    Attributes:
        item, type: of each row; -1 where it is not known.
        row, entry: of each place; -1 where the item is not known.
    """

    rows: pa.RecordBatch
    known: KnownItems
    item: Positions
    type: Positions
    row: Positions
    entry: Positions

    @classmethod
    def of(cls, rows: pa.RecordBatch, known: KnownItems) -> "RelatedBatch":
        """Look rows up among the known items."""
        return cls(
            rows,
            known,
            numbers(rows["item_id"], known.ids),
            numbers(rows["content_type"], known.types),
            pc.list_parent_indices(rows["items"]).to_numpy().astype(np.int64),
            numbers(pc.struct_field(rows["items"].flatten(), "item_id"), known.ids),
        )

    @property
    def sound(self) -> Mask:
        """Rows of known items and content types."""
        sound: Mask = (self.item >= 0) & (self.type >= 0)
        return sound

    @property
    def keys(self) -> Positions:
        """A number for each item and content type; of sound rows alone."""
        keys: Positions = (self.item * len(self.known.types) + self.type)[self.sound]
        return keys

    @cached_property
    def lengths(self) -> Counts:
        """Items of each row."""
        return np.asarray(pc.list_value_length(self.rows["items"]).to_numpy().astype(np.int64))

    @cached_property
    def scores(self) -> npt.NDArray[Any]:
        """Of each place; NaN where it is null."""
        scores = pc.struct_field(self.rows["items"].flatten(), "score")
        return np.asarray(scores.to_numpy(zero_copy_only=False))


def numbers(names: pa.Array, known: pa.Array) -> Positions:
    """Place of each name, which may be stored as a dictionary, among the known ones; -1 for others and for null."""
    if pa.types.is_dictionary(names.type):
        return np.asarray(np.append(numbers(names.dictionary, known), -1)[names.indices.fill_null(-1).to_numpy()])
    places = pc.index_in(names, value_set=known, skip_nulls=True)
    numbered: Positions = pc.fill_null(places, -1).to_numpy().astype(np.int64)
    return numbered
