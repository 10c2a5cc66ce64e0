"""Fallbacks: lists for listeners without factors, from their last list or from what is popular."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nocturne.core.arrays import Counts, Floats, Indexes
from nocturne.ranking.eligibility import Markets
from nocturne.training.model import Model

SOURCES = PREVIOUS, MARKET_POPULAR, GLOBAL_POPULAR = "previous", "market_popular", "global_popular"


@dataclass(frozen=True)
class Fallbacks:
    """Popular items, everywhere and by market, and the lists made of them.

    Attributes:
        tie_order: rank of each item among equally popular ones; shape (items,).
    """

    model: Model
    markets: Markets
    tie_order: Counts
    top_k: int

    @cached_property
    def everyone(self) -> tuple[Indexes, ...]:
        """For each class, the items that may be listed in it, by number of listeners everywhere."""
        order = self._by_listeners(self.model.listeners)
        return tuple(order[mask[order]] for mask in self.markets.masks)

    @cached_property
    def local(self) -> dict[str, Indexes]:
        """For each market, the items that may be listed in it, by number of listeners in it."""
        orders = {market: self._by_listeners(heard) for market, heard in self.model.market_listeners.items()}
        classes = {market: self.markets.classes.get(market, self.markets.others) for market in orders}
        return {market: order[self.markets.masks[classes[market]][order]] for market, order in orders.items()}

    def list_for(
        self, market: str | None, market_class: int, already_heard: Indexes, previous: Indexes
    ) -> tuple[Indexes, Floats, str]:
        """The list of one listener: positions, scores and source.

        Args:
            already_heard: positions that the listener may not get.
            previous: positions of their last personal list, best first; -1 for items the model lacks.
        """
        may = self.markets.masks[market_class]
        everyone = self.everyone[market_class]
        still_listable = previous[previous >= 0]
        still_listable = still_listable[may[still_listable] & ~np.isin(still_listable, already_heard)][: self.top_k]
        if len(still_listable):
            # Popular items take the places of those that were heard or withdrawn since.
            excluded = np.concatenate([already_heard, still_listable])
            listed = np.concatenate([still_listable, _first(everyone, excluded, self.top_k - len(still_listable))])
            return listed, np.arange(len(listed), 0, -1, dtype=np.float64), PREVIOUS
        popular = _first(everyone, already_heard, self.top_k)
        local = _first(self.local[market], already_heard, self.top_k) if market in self.local else popular[:0]
        if market is not None and 0 < len(local) == len(popular):
            return local, self.model.market_listeners[market][local].astype(np.float64), MARKET_POPULAR
        return popular, self.model.listeners[popular].astype(np.float64), GLOBAL_POPULAR

    def _by_listeners(self, heard: Counts) -> Indexes:
        order = np.lexsort((self.tie_order, -heard))[: int((heard > 0).sum())]
        return order.astype(np.int32)


def _first(order: Indexes, excluded: Indexes, count: int) -> Indexes:
    """The first few of an order that are not excluded."""
    ahead = order[: count + len(excluded)]
    return ahead[~np.isin(ahead, excluded)][:count]
