"""Counts of items by market, of those items alone that have any: of most markets most items are unheard. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nocturne.core.arrays import Counts, Positions

_FEWEST_PAIRS = 2**20


class ItemCounts(NamedTuple):
    """Counts of some items.

    Attributes:
        items: positions, ascending.
        counts: above 0, aligned with the items.
    """

    items: Positions
    counts: Counts

    def of(self, items: npt.NDArray[np.signedinteger]) -> Counts:
        """The counts of these items, 0 of those that have none; shape (items,)."""
        place = np.searchsorted(self.items, items)
        there = np.append(self.items, -1)[place] == items
        return np.where(there, np.append(self.counts, 0)[place], 0)

    def among(self, items: npt.NDArray[np.signedinteger]) -> "ItemCounts":
        """The same of a choice of items, ascending, by their places in it."""
        kept = np.isin(self.items, items, assume_unique=True)
        return ItemCounts(np.searchsorted(items, self.items[kept]), self.counts[kept])


class MarketCensus:
    """Listeners of each item by market, counted a batch at a time."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._pairs, self._counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._added: list[Positions] = []

    def add(self, markets: pa.Array, lengths: Counts, items: npt.NDArray[np.signedinteger]) -> None:
        """Count the items of some listeners.

        Args:
            markets: of each listener; shape (listeners,).
            lengths: items of each listener; shape (listeners,).
            items: theirs, one listener after the other.
        """
        encoded = markets.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        code = np.array([*(self._codes.setdefault(name, len(self._codes)) for name in names), -1], np.int64)
        of_listener = code[encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)]
        of_item = np.repeat(of_listener, lengths)
        self._added.append((of_item << 32 | items)[of_item >= 0])
        if sum(map(len, self._added)) > max(_FEWEST_PAIRS, len(self._pairs)):
            self._merge()

    def _merge(self) -> None:
        pairs, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *self._added]), return_counts=True)
        every, place = np.unique(np.concatenate([self._pairs, pairs]), return_inverse=True)
        sums = np.zeros(len(every), np.int64)
        np.add.at(sums, place, np.concatenate([self._counts, counts]))
        self._pairs, self._counts, self._added = every, sums, []

    def by_market(self) -> dict[str, ItemCounts]:
        """The counts of every market, in order of name."""
        self._merge()
        items = self._pairs & 0xFFFFFFFF
        bounds = np.searchsorted(self._pairs >> 32, np.arange(len(self._codes) + 1))
        counts = {
            name: ItemCounts(items[bounds[code] : bounds[code + 1]], self._counts[bounds[code] : bounds[code + 1]])
            for name, code in self._codes.items()
        }
        return dict(sorted(counts.items()))


def to_maps(markets: Mapping[str, ItemCounts], items: int) -> pa.MapArray:
    """For each of so many items the markets in which it has listeners, in order of name."""
    names = sorted(markets)
    item = np.concatenate([np.zeros(0, np.int64), *(markets[name].items for name in names)])
    market = np.repeat(np.arange(len(names)), [len(markets[name].items) for name in names])
    counts = np.concatenate([np.zeros(0, np.int64), *(markets[name].counts for name in names)])
    order = np.lexsort((market, item))
    offsets = np.searchsorted(item[order], np.arange(items + 1)).astype(np.int32)
    keys = pa.array(names, pa.string()).take(pa.array(market[order]))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, pa.array(counts[order]))


def from_maps(maps: pa.MapArray) -> dict[str, ItemCounts]:
    """The inverse of `to_maps`."""
    item = np.repeat(np.arange(len(maps)), np.diff(maps.offsets.to_numpy()))
    markets = maps.keys.dictionary_encode()
    code, counts = markets.indices.to_numpy(), maps.items.to_numpy()
    order = np.argsort(code, kind="stable")
    names = markets.dictionary.to_pylist()
    bounds = np.searchsorted(code[order], np.arange(len(names) + 1))
    of_market = {
        name: ItemCounts(item[order[bounds[n] : bounds[n + 1]]], counts[order[bounds[n] : bounds[n + 1]]])
        for n, name in enumerate(names)
    }
    return dict(sorted(of_market.items()))
