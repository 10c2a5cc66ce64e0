"""Two nights' lists of every listener side by side, a bucket at a time: how far each list moved, and what moved."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Floats, Positions
from nocturne.core.hashing import hash_ids
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows

PERSISTENCE = 0.9
"""Weight of each place beside the one above it: the first ten places of a list count for two thirds."""

BINS = 10
"""Bins of distances above 0; lists that did not move are in one of their own."""

SHOWN = 10
NO_MARKET, NO_TYPE = "none", "unknown"
_COLUMNS = ("user_id", "market", "arm", "source", "items")
_SEED = 20
"""Of the hash that puts listeners of equal distance in order."""

Moved = tuple[float, int, int, dict[str, object]]
"""Distance, new items, hash and row of a listener: in this order the most changed ones come last."""


@dataclass(frozen=True)
class Side:
    """The lists of a bucket of one night.

    Attributes:
        rows: a row a list.
        item_ids: of all entries, list after list.
        row: the list of each entry.
        place: of each entry in its list, from 1.
    """

    rows: pa.Table
    item_ids: pa.Array
    row: Positions
    place: Positions

    @classmethod
    def of(cls, stored: StoredRows) -> "Side":
        """The lists of some stored rows."""
        empty = pa.schema([stored.schema.field(name) for name in _COLUMNS]).empty_table()
        rows = pa.Table.from_batches(batches) if (batches := list(stored)) else empty
        items = rows["items"].combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(items), 0).to_numpy(zero_copy_only=False)
        row = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
        return cls(rows, pc.struct_field(items.flatten(), "item_id"), row, place)

    @property
    def markets(self) -> pa.Array:
        """Market of each list."""
        return pc.fill_null(self.rows["market"].combine_chunks(), NO_MARKET)


@dataclass
class ComparedLists:
    """Sums over the lists of two nights.

    Attributes:
        before, now: the nights.
        listeners: lists of both nights, count; and of one of them only.
        distances: listeners by market and bin of the distance between their two lists.
        sources: listeners by night, market and source.
        content_types: places by night, market and content type.
        moved: the listeners whose lists moved furthest, the furthest first.
        item_ids: every item of either night's catalogue, in order.
        places_before, places_now: in lists, by position in item_ids.
        new_places: share of tonight's places, of listeners with both lists, whose items were not in the list before.
    """

    before: Night
    now: Night
    item_ids: pa.Array
    catalogue: pa.Table
    listeners: Counter[str] = field(default_factory=Counter)
    distances: dict[str, Counts] = field(default_factory=dict)
    sources: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    content_types: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    moved: list[Moved] = field(default_factory=list)
    places_before: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    places_now: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    new_places: float = 0.0

    @classmethod
    def of(cls, before: Night, now: Night) -> "ComparedLists":
        """The lists of two nights compared, of every listener."""
        item_ids, catalogue = _catalogue(before, now)
        compared = cls(before, now, item_ids, catalogue)
        compared.places_before, compared.places_now = (np.zeros(len(item_ids), np.int64) for _ in range(2))
        new = both = 0
        for sides in _buckets(before, now):
            added, places = compared._add(*sides)
            new, both = new + added, both + places
        compared.new_places = new / both if both else 0.0
        return compared

    def _add(self, before: Side, now: Side) -> tuple[int, int]:
        """Add a bucket; new places and places of listeners who have both lists."""
        self._count("before", before, self.places_before)
        self._count("now", now, self.places_now)
        match = pc.index_in(now.rows["user_id"], value_set=before.rows["user_id"].combine_chunks())
        there = pc.is_valid(match).to_numpy(zero_copy_only=False)
        row_before = pc.fill_null(match, -1).to_numpy()
        both = int(there.sum())
        self.listeners.update(both=both, new=len(there) - both, gone=before.rows.num_rows - both)
        distances, shared = distances_between(before, now, row_before)
        lengths = np.bincount(now.row, minlength=now.rows.num_rows)
        new = lengths - shared
        self._count_distances(now.markets.filter(pa.array(there)), distances[there])
        self._keep_furthest(before, now, row_before, distances, new)
        return int(new[there].sum()), int(lengths[there].sum())

    def _count(self, night: str, side: Side, places: Counts) -> None:
        markets = side.markets
        lists = pa.table({"market": markets, "source": side.rows["source"].combine_chunks()})
        _count_pairs(self.sources, night, lists)
        numbers = pc.index_in(side.item_ids, value_set=self.item_ids)
        types = pc.fill_null(self.catalogue["content_type"].take(numbers), NO_TYPE)
        _count_pairs(self.content_types, night, pa.table({"market": markets.take(pa.array(side.row)), "type": types}))
        known = numbers.drop_null().to_numpy()
        places += np.bincount(known, minlength=len(places))

    def _count_distances(self, markets: pa.Array, distances: Floats) -> None:
        bins = np.ceil(distances * BINS).astype(np.int64).clip(0, BINS)
        codes = markets.dictionary_encode()
        for code, market in enumerate(codes.dictionary.to_pylist()):
            ours = bins[codes.indices.to_numpy() == code]
            self.distances[market] = self.distances.get(market, 0) + np.bincount(ours, minlength=BINS + 1)

    def _keep_furthest(self, before: Side, now: Side, row_before: Positions, distances: Floats, new: Counts) -> None:
        hashes = hash_ids(now.rows["user_id"].combine_chunks(), _SEED)
        order = np.lexsort((hashes, new, np.where(row_before >= 0, distances, 0.0)))[::-1][:SHOWN]
        found = [
            (float(distances[row]), int(new[row]), int(hashes[row]), _describe(before, now, row_before[row], row))
            for row in order.tolist()
            if row_before[row] >= 0 and distances[row] > 0
        ]
        self.moved = sorted([*self.moved, *found], key=lambda each: each[:3], reverse=True)[:SHOWN]


def distances_between(before: Side, now: Side, row_before: Positions) -> tuple[Floats, Counts]:
    """Rank-biased distance of each of tonight's lists to its list before, and the items that both have.

    0 of equal lists, 1 of lists that share nothing: 1 - rank-biased overlap, cut at the end of the longer list and
    scaled so that equal lists come to 0.

    Args:
        row_before: the row of the listener's list before; -1 without one, which is as good as an empty list.

    Source: Webber, Moffat and Zobel (2010).
    """
    ids = pa.concat_arrays([before.item_ids, now.item_ids]).dictionary_encode()
    codes, split = ids.indices.to_numpy().astype(np.int64), len(before.item_ids)
    row_now = np.full(before.rows.num_rows, -1)
    row_now[row_before[row_before >= 0]] = np.flatnonzero(row_before >= 0)
    width = max(len(ids.dictionary), 1)
    keys_before, keys_now = row_now[before.row] * width + codes[:split], now.row * width + codes[split:]
    # an item that is in a list twice counts at its first place
    keys_before, first_before = np.unique(keys_before, return_index=True)
    keys_now, first_now = np.unique(keys_now, return_index=True)
    shared, of_before, of_now = np.intersect1d(keys_before, keys_now, assume_unique=True, return_indices=True)
    places = np.maximum(before.place[first_before[of_before]], now.place[first_now[of_now]])
    rows = shared // width
    lengths_before = np.bincount(before.row, minlength=before.rows.num_rows + 1)
    lengths_before[-1] = 0  # of nobody's list
    longest = np.maximum(np.bincount(now.row, minlength=now.rows.num_rows), lengths_before[row_before])
    depths = np.arange(1, int(longest.max(initial=0)) + 1)
    weights = PERSISTENCE ** (depths - 1)
    sums, overlaps = (np.concatenate([[0.0], np.cumsum(values)]) for values in (weights, weights / depths))
    overlap = np.bincount(rows, overlaps[longest[rows]] - overlaps[places - 1], minlength=now.rows.num_rows)
    whole = sums[longest]
    distances = 1 - np.divide(overlap, whole, out=np.ones_like(whole), where=whole > 0)
    return np.round(distances.clip(0, 1), 12), np.bincount(rows, minlength=now.rows.num_rows)


def _buckets(before: Night, now: Night) -> Iterator[tuple[Side, Side]]:
    stored = [StoredRows.at(night, "ranked_lists", _COLUMNS) for night in (before, now)]
    for bucket in range(now.settings.tables.buckets):
        of_before, of_now = (Side.of(rows.in_bucket(bucket)) for rows in stored)
        yield of_before, of_now


def _catalogue(before: Night, now: Night) -> tuple[pa.Array, pa.Table]:
    """Ids of every item of either night, in order, and what tonight's catalogue says of them, else that before."""
    columns = ["item_id", "content_type", "title", "creator"]
    nights = pa.concat_tables([tables.night_rows(night, "items", columns) for night in (now, before)])
    item_ids = pc.unique(nights["item_id"].combine_chunks()).sort()
    return item_ids, nights.take(pc.index_in(item_ids, value_set=nights["item_id"].combine_chunks()))


def _count_pairs(counter: Counter[tuple[str, str, str]], night: str, pairs: pa.Table) -> None:
    names = pairs.column_names
    for row in pairs.group_by(names).aggregate([([], "count_all")]).to_pylist():
        counter[night, row[names[0]], row[names[1]]] += row["count_all"]


def _describe(before: Side, now: Side, row_before: int, row_now: int) -> dict[str, object]:
    told = now.rows.slice(row_now, 1).to_pylist()[0]
    earlier = before.rows.slice(int(row_before), 1).to_pylist()[0]
    return {
        "user_id": told["user_id"],
        "market": told["market"] or NO_MARKET,
        "arm": told["arm"],
        "source": told["source"],
        "source_before": earlier["source"],
        "items": [item["item_id"] for item in told["items"]],
        "items_before": [item["item_id"] for item in earlier["items"]],
    }
