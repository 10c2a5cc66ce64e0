"""The catalogue's rules, written a second time: a gate that shared the ranker's code would share its mistakes."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Mask, Positions
from nocturne.core.masks import mask


class Catalogue:
    """Items that may not be listed on a night.

    Items that are taken down and that it lacks stand behind its own, so that they are barred too.

    Args:
        items: COLUMNS of the night's `items`.
        explicit_blocked_markets: where explicit items are barred; "*": everywhere.
        takedowns: WORDS of the night's `takedowns`.

    Attributes:
        item_ids: shape (items of the catalogue,).
        explicit: items marked explicit; shape (items of the catalogue,).
    """

    COLUMNS = ("item_id", "explicit", "markets", "available_from", "available_until", "absent")
    WORDS = ("item_id", "market", "asked_at", "takedown_id", "lifts")

    def __init__(
        self, items: pa.Table, run_date: date, explicit_blocked_markets: Collection[str], takedowns: pa.Table
    ) -> None:
        down = _taken_down(takedowns)
        items = _with_items(items.select(self.COLUMNS), [item_id for item_id, _ in down])
        self.item_ids = items["item_id"].combine_chunks()
        self._down = [(place, market) for (_, market), place in zip(down, self._places_of(down), strict=True)]
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
        down_in = {market for _, market in self._down if market is not None}
        return {*self._licensing, *self._explicit_blocked_markets, *down_in} - {"*"}

    def __len__(self) -> int:
        return len(self.item_ids)

    def judge(self, item_ids: pa.Array, markets: pa.Array) -> tuple[Mask, Mask]:
        """Masks of the items that are barred, and of those that the catalogue does not know.

        Returns:
            barred, shape (markets + 1, items), the last row for listeners without a market; unknown, shape (items,).
        """
        return self.judge_places(self.places(item_ids), markets)

    def places(self, item_ids: pa.Array) -> Positions:
        """Where items stand in the catalogue; -1 for those that it does not know."""
        return np.asarray(pc.index_in(item_ids, value_set=self.item_ids).fill_null(-1).to_numpy())

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
        return self._off | self.unlicensed(market) | (self.explicit & bars_explicit) | self.taken_down(market)

    def taken_down(self, market: str | None) -> Mask:
        """Items that are taken down in a market, or without a market in any; shape (items of the catalogue,)."""
        taken_down = np.zeros(len(self), np.bool_)
        taken_down[[place for place, where in self._down if market is None or where in {None, market}]] = True
        return taken_down

    def _places_of(self, down: Sequence[tuple[str, str | None]]) -> list[int]:
        places: list[int] = self.places(pa.array([item_id for item_id, _ in down], pa.string())).tolist()
        return places


def _taken_down(takedowns: pa.Table) -> list[tuple[str, str | None]]:
    """Items and markets that a word takes down which no later one lifts, of the market or of all."""
    words = takedowns.to_pylist()
    lifts = [word for word in words if word["lifts"]]

    def is_lifted(word: dict[str, Any]) -> bool:
        return any(
            lift["item_id"] == word["item_id"]
            and lift["market"] in {None, word["market"]}
            and (lift["asked_at"], lift["takedown_id"]) > (word["asked_at"], word["takedown_id"])
            for lift in lifts
        )

    return [(word["item_id"], word["market"]) for word in words if not word["lifts"] and not is_lifted(word)]


def _with_items(items: pa.Table, item_ids: Sequence[str]) -> pa.Table:
    """The catalogue, and behind it items of which it says nothing, those that it lacks."""
    known = pa.array(sorted(set(item_ids)), pa.string())
    lacking = known.filter(pc.invert(pc.is_in(known, value_set=items["item_id"].combine_chunks())))
    if not len(lacking):
        return items
    return pa.concat_tables([items, pa.table({"item_id": lacking})], promote_options="permissive")
