"""Items in reserve: those that move up into a listener's list where items of it are taken down after the night.

Of a listener with a pool they are the best of it that are not in their list; of others, what is popular in their
market and they have not heard. A listener without a pool whose plan holds has none: what is popular may break it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Indexes, Positions

RESERVE = 10
"""Items in reserve of a listener, 4 bytes each."""


@dataclass(frozen=True)
class Popular:
    """The most heard items that may be listed in a market, best first.

    Attributes:
        numbers: shape (items,).
        item_ids: aligned with them.
    """

    numbers: Indexes
    item_ids: tuple[str, ...]


@dataclass(frozen=True)
class Reserves:
    """All that reserves are made of beside listeners' own rows; can be pickled.

    Attributes:
        popular: of every market that listeners are of; under None of those without one.
        planned: listeners whose plan holds.
    """

    popular: Mapping[str | None, Popular] = field(default_factory=dict)
    planned: frozenset[str] = frozenset()

    def of(self, lists: pa.RecordBatch, pools: pa.Table, heard: pa.ListArray) -> pa.ListArray:
        """Numbers of the items in reserve of each listener, best first.

        Args:
            lists: user_id, market and items of each listener.
            pools: items and listed of each, null where there is none.
            heard: numbers of what each has heard.
        """
        owners, numbers = _of_pools(pools["items"].combine_chunks(), pools["listed"].combine_chunks())
        without = np.flatnonzero(pc.is_null(pools["items"]).to_numpy()).tolist()
        popular = [self._popular(lists, heard, row) for row in without]
        owners = np.concatenate([owners, np.repeat(np.array(without, np.int64), [len(each) for each in popular])])
        order = np.argsort(owners, kind="stable")
        ends = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=lists.num_rows))]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(np.concatenate([numbers, *popular])[order]))

    def _popular(self, lists: pa.RecordBatch, heard: pa.ListArray, row: int) -> Indexes:
        popular = self.popular.get(lists["market"][row].as_py())
        if popular is None or lists["user_id"][row].as_py() in self.planned:
            return np.zeros(0, np.int32)
        in_list = {entry["item_id"] for entry in lists["items"][row].as_py()}
        others = np.array([item_id not in in_list for item_id in popular.item_ids], bool)
        left: Indexes = popular.numbers[others]
        left = left[~np.isin(left, heard[row].values.to_numpy())]
        return left[:RESERVE]


NO_RESERVES = Reserves()


def popular_of(
    items: pa.Table, popular: Mapping[str, Sequence[int]], classes: Mapping[str | None, str]
) -> dict[str | None, Popular]:
    """The most heard items of each market.

    Args:
        items: of a generation.
        popular: as in `ItemsInfo`; under "" what is so anywhere.
        classes: by market, the column of the items that may be listed there.
    """
    found = {}
    for market, column in classes.items():
        numbers = np.array(popular.get(market or "", popular[""]), np.int32)
        numbers = numbers[items[column].combine_chunks().to_numpy(zero_copy_only=False)[numbers]]
        found[market] = Popular(numbers, tuple(items["item_id"].take(pa.array(numbers)).to_pylist()))
    return found


def _of_pools(items: pa.ListArray, listed: pa.ListArray) -> tuple[Positions, Indexes]:
    """Rows that have a reserve of their pool, ascending, once for each item of it, and these items' numbers."""
    lengths = pc.list_value_length(items).fill_null(0).to_numpy()
    starts, owners = np.cumsum(lengths) - lengths, pc.list_parent_indices(items).to_numpy().astype(np.int64)
    others = np.ones(len(owners), np.int64)
    others[starts[pc.list_parent_indices(listed).to_numpy()] + pc.list_flatten(listed).to_numpy()] = 0
    before = np.concatenate([[0], np.cumsum(others)])
    reserved = (others > 0) & (before[1:] - before[starts[owners]] <= RESERVE)
    numbers: Indexes = pc.list_flatten(items).to_numpy()[reserved].astype(np.int32)
    return owners[reserved], numbers
