"""The fields of a generation's items as rules read them: the items of each value, and what is known of each item."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Codes, Floats, Indexes, Mask, Offsets
from nocturne.core.masks import mask
from nocturne.kernel.arguments import Traits

_SECONDS = 1e-3
_MASKS = 64
"""Masks of single values that are kept: rules of many listeners name the same few."""

_UNTAGGED = 0
_TAG_FIELDS = frozenset({"tags", "genres", "moods"})
"""A catalogue's tags are genres, moods and other labels: all three are looked up among them."""

_FACTS = (
    *("item_id", "content_type", "creator", "tags", "language", "year"),
    *("explicit", "explicit_known", "duration_ms"),
)
_COLUMNS = {"creators": "creator", "tags": "tags", "genres": "tags", "moods": "tags", "languages": "language"}


class ItemNames(NamedTuple):
    """An item as words may name it."""

    item_id: str
    title: str | None
    creator: str | None


class ItemFacts(NamedTuple):
    """All that is known of one item; None, or no tag, where the catalogue does not say."""

    item_id: str
    content_type: str
    creator: str | None
    tags: tuple[str, ...]
    language: str | None
    year: int | None
    explicit: bool | None
    seconds: float | None


class Postings(NamedTuple):
    """Items by value of a field, CSR.

    Attributes:
        names: the values as the catalogue writes them, by code.
        codes: codes of the values that are the same without regard to case.
        offsets: where the items of each value begin, and the last one's end; shape (values + 1,).
        items: numbers, ascending within a value.
        known: True for items that have a value at all; shape (items,).
    """

    names: list[str]
    codes: Mapping[str, tuple[int, ...]]
    offsets: Offsets
    items: Indexes
    known: Mask

    def of(self, name: str) -> Indexes:
        """Numbers of the items with a value, in whatever case."""
        found = [self.items[self.offsets[code] : self.offsets[code + 1]] for code in self.codes.get(folded(name), ())]
        return found[0] if len(found) == 1 else np.concatenate([self.items[:0], *found])


def folded(name: str) -> str:
    """A name as names are compared: Unicode's compatible form, without case and surrounding blanks."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


class ItemFields:
    """The fields of the items of a generation; arrays are made when they are first asked for, and kept."""

    def __init__(
        self, rows: pa.RecordBatch, types: Mapping[str, Mask], number: Callable[[str], int | None], popularity: Floats
    ) -> None:
        """The fields of rows as `write_items` wrote them.

        Args:
            types: by content type, the mask of its items.
            number: number of an item by its id.
            popularity: from 0, nobody's item, to 1, the most heard one; shape (items,).
        """
        self._rows, self._types, self._number = rows, types, number
        self._columns = frozenset(rows.schema.names)
        self.popularity = popularity
        self._matching = lru_cache(_MASKS)(self._matched)

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    @cached_property
    def available(self) -> frozenset[str]:
        """Names of the fields of which the catalogue says something, of one item at least."""
        said = {
            "creators": "creator" in self._columns and self.postings("creators").known.any(),
            "tags": "tags" in self._columns and self.postings("tags").known.any(),
            "languages": "language" in self._columns and self.postings("languages").known.any(),
            "explicit": self.explicit_known.any(),
            **{name: self.amounts_known(name).any() for name in ("duration", "years", "energy")},
            "popularity": self.popularity.any(),
        }
        names = {name for name, some in said.items() if some} | {"content_types", "markets", "heard", "item_ids"}
        return frozenset(names | (_TAG_FIELDS if "tags" in names else set()))

    def matching(self, field: str, value: str) -> Mask:
        """True for items with a value in a field of names, content types or ids; shape (items,), read-only."""
        return self._matching(field, value)

    def number(self, item_id: str) -> int | None:
        """Number of an item; None if there is no such item."""
        return self._number(item_id)

    def known(self, field: str) -> Mask | None:
        """True for items of which a field of names says something; shape (items,). None: of all of them."""
        return None if field in {"content_types", "item_ids"} else self.postings(field).known

    def amounts_known(self, field: str) -> Mask:
        """True for items of which the catalogue says the amount; shape (items,)."""
        if field not in self._amounts_known:
            self._amounts_known[field] = ~np.isnan(self.amounts(field))
        return self._amounts_known[field]

    def amounts(self, field: str) -> Floats:
        """Years, `duration` in seconds, or energy; NaN where the catalogue does not say; shape (items,)."""
        column, scale = {"years": ("year", 1.0), "duration": ("duration_ms", _SECONDS), "energy": ("energy", 1.0)}[
            field
        ]
        if column not in self._amounts:
            values = np.full(len(self), np.nan)
            if column in self._columns:
                values = pc.cast(self._rows[column], pa.float64()).to_numpy(zero_copy_only=False) * scale
            self._amounts[column] = values
        return self._amounts[column]

    def postings(self, field: str) -> Postings:
        """Items by value of a field of names."""
        column = _COLUMNS[field]
        if column not in self._postings:
            self._postings[column] = self._posted(column)
        return self._postings[column]

    @cached_property
    def explicit_known(self) -> Mask:
        """True for items of which the catalogue says whether they are explicit; shape (items,)."""
        if "explicit_known" not in self._columns:
            return np.zeros(len(self), bool)
        return mask(self._rows["explicit_known"])

    @cached_property
    def explicit(self) -> Mask:
        """True for items that are marked explicit; shape (items,)."""
        return mask(self._rows["explicit"])

    @cached_property
    def length_places(self) -> Floats:
        """The share of the items of known length that are no longer; NaN where it is unknown; shape (items,)."""
        seconds = self.amounts("duration")
        said = np.sort(seconds[~np.isnan(seconds)])
        shares = np.searchsorted(said, seconds, side="right") / max(1, len(said))
        return np.where(np.isnan(seconds), np.nan, shares)

    @cached_property
    def traits(self) -> Traits:
        """Creators, content types and tags, for re-ranking; nothing is new."""
        tags, starts = self._coded("tags")
        kept = np.repeat(np.arange(len(self)), np.diff(starts))[tags >= 0], tags[tags >= 0] + 1
        without = np.setdiff1d(np.arange(len(self)), kept[0])
        items = np.concatenate([kept[0], without])
        codes = np.concatenate([kept[1], np.full(len(without), _UNTAGGED)])
        order = np.lexsort((codes, items))
        distinct = np.ones(len(order), bool)
        distinct[1:] = (np.diff(items[order]) != 0) | (np.diff(codes[order]) != 0)
        items, codes = items[order][distinct], codes[order][distinct]
        types = np.zeros(len(self), np.int32)
        for code, of_type in enumerate(self._types.values()):
            types[of_type] = code + 1
        offsets = np.searchsorted(items, np.arange(len(self) + 1)).astype(np.int64)
        return Traits(self.creators, types, offsets, codes.astype(np.int32), np.zeros(len(self), bool))

    @cached_property
    def creators(self) -> Codes:
        """The creator of each item, numbered; -1 without one; shape (items,)."""
        return self._coded("creator")[0]

    def facts(self, numbers: Sequence[int]) -> list[ItemFacts]:
        """All that is known of some items, read anew from their rows."""
        places = pa.array(numbers, pa.int32())
        columns = {name: self._rows[name].take(places).to_pylist() for name in _FACTS if name in self._columns}
        told = [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]
        return [_facts(each) for each in told]

    def names(self) -> dict[str, dict[str, int]]:
        """By field, every value as the catalogue writes it, and how many items have it."""
        fields = [name for name in ("creators", "tags", "languages") if name in self.available]
        counted = {name: self.postings(name) for name in fields}
        types = {name: int(of_type.sum()) for name, of_type in self._types.items()}
        return {"content_types": {name: count for name, count in types.items() if count}} | {
            name: dict(zip(posted.names, np.diff(posted.offsets).tolist(), strict=True))
            for name, posted in counted.items()
        }

    def titles(self) -> Iterator[ItemNames]:
        """Every item with its title and creator, in the order of the items' numbers."""
        columns = (self._rows[name].to_pylist() for name in ItemNames._fields)
        return (ItemNames(*each) for each in zip(*columns, strict=True))

    def _matched(self, field: str, value: str) -> Mask:
        matching = np.zeros(len(self), bool)
        if field == "content_types":
            matching |= self._types.get(value, False)
        elif field == "item_ids":
            number = self._number(value)
            matching[[] if number is None else [number]] = True
        else:
            matching[self.postings(field).of(value)] = True
        matching.flags.writeable = False
        return matching

    @cached_property
    def _postings(self) -> dict[str, Postings]:
        return {}

    @cached_property
    def _amounts(self) -> dict[str, Floats]:
        return {}

    @cached_property
    def _amounts_known(self) -> dict[str, Mask]:
        return {}

    def _coded(self, column: str) -> tuple[Codes, Offsets]:
        """Codes of an item's values, -1 for null, laid end to end, and where those of each item begin."""
        if column not in self._columns:
            return np.full(len(self), -1, np.int32), np.arange(len(self) + 1)
        codes, _, offsets = _codes(self._rows[column])
        return codes, offsets

    def _posted(self, column: str) -> Postings:
        if column not in self._columns:
            return Postings([], {}, np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(len(self), bool))
        codes, names, offsets = _codes(self._rows[column])
        items = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(offsets))[codes >= 0]
        pairs = csr_matrix((np.ones(len(items), np.int8), (codes[codes >= 0], items)), (len(names), len(self)))
        pairs.sum_duplicates()
        by_name: dict[str, tuple[int, ...]] = {}
        for code, name in enumerate(names):
            by_name[folded(name)] = (*by_name.get(folded(name), ()), code)
        known = np.zeros(len(self), bool)
        known[items] = True
        return Postings(names, by_name, pairs.indptr.astype(np.int64), pairs.indices.astype(np.int32), known)


def _facts(told: Mapping[str, Any]) -> ItemFacts:
    """The facts in a row, whose columns may lack some."""
    milliseconds = told.get("duration_ms")
    return ItemFacts(
        item_id=told["item_id"],
        content_type=told["content_type"],
        creator=told.get("creator"),
        tags=tuple(tag for tag in told.get("tags") or () if tag is not None),
        language=told.get("language"),
        year=told.get("year"),
        explicit=told["explicit"] if told.get("explicit_known") else None,
        seconds=None if milliseconds is None else milliseconds * _SECONDS,
    )


def _codes(column: pa.Array) -> tuple[Codes, list[str], Offsets]:
    """Codes of a column of names or of lists of names, -1 for null; the names; where the codes of each row begin."""
    lengths = np.ones(len(column), np.int64)
    if pa.types.is_list(column.type):
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        column = column.flatten()
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = pc.fill_null(encoded.indices.cast(pa.int32()), -1).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.asarray(codes, np.int32), encoded.dictionary.to_pylist(), offsets
