"""The catalogue's rules, written a second time: a gate that shared the ranker's code would share its mistakes."""

from collections.abc import Collection
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Mask, Positions
from nocturne.core.masks import mask


class Catalogue:
    """Items that may not be listed on a night.

    Args:
        items: COLUMNS of the night's `items`.
        explicit_blocked_markets: where explicit items are barred; "*": everywhere.

    Attributes:
        explicit: items marked explicit; shape (items of the catalogue,).
    """

    COLUMNS = ("item_id", "explicit", "markets", "available_from", "available_until", "absent")

    def __init__(self, items: pa.Table, run_date: date, explicit_blocked_markets: Collection[str]) -> None:
        self._item_ids = items["item_id"].combine_chunks()
        night = pa.scalar(run_date, pa.date32())
        self._off = mask(pc.greater(items["available_from"], night)) | mask(pc.less(items["available_until"], night))
        self._off |= mask(items["absent"])
        self.explicit = mask(items["explicit"])
        self._restricted = mask(pc.is_valid(items["markets"]))
        markets = items["markets"].combine_chunks()
        self._licence_of = pc.list_parent_indices(markets).to_numpy()
        licences = pc.list_flatten(markets).dictionary_encode()
        self._licence_in = licences.indices.to_numpy()
        self._licensing = {market: code for code, market in enumerate(licences.dictionary.to_pylist())}
        self._explicit_blocked_markets = frozenset(explicit_blocked_markets)
        self._barred_by_market: dict[str | None, Mask] = {}

    @property
    def markets(self) -> set[str]:
        """Markets that a licence or a rule names."""
        return {*self._licensing, *self._explicit_blocked_markets} - {"*"}

    def judge(self, item_ids: pa.Array, markets: pa.Array) -> tuple[Mask, Mask]:
        """Masks of the items that are barred, and of those that the catalogue does not know.

        Returns:
            barred, shape (markets + 1, items), the last row for listeners without a market; unknown, shape (items,).
        """
        return self.judge_places(self.places(item_ids), markets)

    def places(self, item_ids: pa.Array) -> Positions:
        """Where items stand in the catalogue; -1 for those that it does not know."""
        return np.asarray(pc.index_in(item_ids, value_set=self._item_ids).fill_null(-1).to_numpy())

    def judge_places(self, places: Positions, markets: pa.Array) -> tuple[Mask, Mask]:
        """`judge` of items that were found before."""
        barred = [self._barred_or_unknown(market)[places] for market in (*markets.to_pylist(), None)]
        return np.stack(barred), places == -1

    def _barred_or_unknown(self, market: str | None) -> Mask:
        """Barred items of a market, and in the last place, which -1 means too, the lack of rules of unknown ones."""
        if market not in self._barred_by_market:
            self._barred_by_market[market] = np.append(self.barred(market), False)
        return self._barred_by_market[market]

    def unlicensed(self, market: str | None) -> Mask:
        """Items restricted to other markets; shape (items of the catalogue,)."""
        unlicensed = self._restricted.copy()
        if market in self._licensing:
            unlicensed[self._licence_of[self._licence_in == self._licensing[market]]] = False
        return unlicensed

    def barred(self, market: str | None) -> Mask:
        """Items that may not be listed in a market; shape (items of the catalogue,)."""
        blocked = self._explicit_blocked_markets
        # Where a listener is, nobody knows without a market: it may be one that bars explicit items.
        bars_explicit = bool(blocked) if market is None else bool(blocked & {market, "*"})
        return self._off | self.unlicensed(market) | (self.explicit & bars_explicit)
