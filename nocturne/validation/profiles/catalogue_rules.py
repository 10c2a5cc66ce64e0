"""The catalogue's rules, written a second time: a gate that shared the ranker's code would share its mistakes."""

from collections.abc import Collection
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

Mask = npt.NDArray[np.bool_]


class Catalogue:
    """Which items may not be listed on a night.

    Args:
        items: rows of `items` of the night.
        explicit_blocked_markets: where explicit items are barred; "*": everywhere.
    """

    def __init__(self, items: ds.Dataset, run_date: date, explicit_blocked_markets: Collection[str]) -> None:
        rows = items.to_table(columns=["item_id", "explicit", "markets", "available_from", "available_until"])
        self._item_ids = rows["item_id"].combine_chunks()
        night = pa.scalar(run_date, pa.date32())
        self._off = _mask(pc.greater(rows["available_from"], night)) | _mask(pc.less(rows["available_until"], night))
        self._explicit = _mask(rows["explicit"])
        self._restricted = _mask(pc.is_valid(rows["markets"]))
        markets = rows["markets"].combine_chunks()
        self._licence_of = pc.list_parent_indices(markets).to_numpy()
        self._licence_in = pc.list_flatten(markets)
        self._explicit_blocked_markets = frozenset(explicit_blocked_markets)

    def judge(self, item_ids: pa.Array, markets: pa.Array) -> tuple[Mask, Mask]:
        """Which of these items are barred, and which the catalogue does not know.

        Returns:
            barred, shape (markets + 1, items), the last row for listeners without a market; unknown, shape (items,).
        """
        place = pc.index_in(item_ids, value_set=self._item_ids).fill_null(-1).to_numpy()
        # The last place, which -1 means too, is that of items without rules.
        barred = [np.append(self._barred(market), False)[place] for market in (*markets.to_pylist(), None)]
        return np.stack(barred), place == -1

    def _barred(self, market: str | None) -> Mask:
        licensed = ~self._restricted
        if market is not None:
            licensed[self._licence_of[_mask(pc.equal(self._licence_in, market))]] = True
        blocked = self._explicit_blocked_markets
        # Where a listener is, nobody knows without a market: it may be one that bars explicit items.
        bars_explicit = bool(blocked) if market is None else bool(blocked & {market, "*"})
        return self._off | ~licensed | (self._explicit & bars_explicit)


def _mask(truths: pa.Array | pa.ChunkedArray) -> Mask:
    """Booleans as NumPy; null is false."""
    return np.asarray(pc.fill_null(truths, False), dtype=bool)
