"""Fallbacks: lists for listeners without factors, from their last list or from what is popular."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nocturne.core.arrays import Counts, Floats, Indexes, Mask
from nocturne.ranking.eligibility import Markets
from nocturne.training.item_counts import ItemCounts
from nocturne.training.model import Model

_HEAD_LISTS = 20
"""Popular items that are kept for each class, in lists: who heard more than all but one of these is served apart."""

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
    def everyone(self) -> Indexes:
        """The items that anyone heard, by number of listeners."""
        heard = np.flatnonzero(self.model.listeners > 0)
        return self._by_listeners(ItemCounts(heard, self.model.listeners[heard]))

    @cached_property
    def heads(self) -> tuple[Indexes, ...]:
        """For each class, the first of these that may be listed in it, enough for nearly every listener."""
        return tuple(_take(self.everyone, _HEAD_LISTS * self.top_k, mask) for mask in self.markets.masks)

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
        still_listable = previous[previous >= 0]
        still_listable = still_listable[may[still_listable] & ~np.isin(still_listable, already_heard)][: self.top_k]
        if len(still_listable):
            # Popular items take the places of those that were heard or withdrawn since.
            excluded = np.concatenate([already_heard, still_listable])
            popular = self._popular(market_class, excluded, self.top_k - len(still_listable))
            listed = np.concatenate([still_listable, popular])
            return listed, np.arange(len(listed), 0, -1, dtype=np.float64), PREVIOUS
        popular = self._popular(market_class, already_heard, self.top_k)
        local = popular[:0]
        if market in self.local:
            in_market = self.local[market]  # more than a plan may leave
            local = _first(in_market[may[in_market]], already_heard, self.top_k)
        if market is not None and 0 < len(local) == len(popular):
            return local, self.model.market_listeners[market].of(local).astype(np.float64), MARKET_POPULAR
        return popular, self.model.listeners[popular].astype(np.float64), GLOBAL_POPULAR

    def _popular(self, market_class: int, excluded: Indexes, count: int) -> Indexes:
        """The items that most listeners heard anywhere, of those that may be listed in a class."""
        head = self.heads[market_class]
        chosen = _first(head, excluded, count)
        if len(chosen) < count and len(head) == _HEAD_LISTS * self.top_k:
            head = _take(self.everyone, count + len(excluded), self.markets.masks[market_class])
            chosen = _first(head, excluded, count)
        return chosen

    def _by_listeners(self, heard: ItemCounts) -> Indexes:
        order = np.lexsort((self.tie_order[heard.items], -heard.counts))
        return heard.items[order].astype(np.int32)


def _take(order: Indexes, count: int, mask: Mask) -> Indexes:
    """The first of an order that a mask allows, so many."""
    return order[np.flatnonzero(mask[order])[:count]]


def _first(order: Indexes, excluded: Indexes, count: int) -> Indexes:
    """The first few of an order that are not excluded."""
    ahead = order[: count + len(excluded)]
    return ahead[~np.isin(ahead, excluded)][:count]
