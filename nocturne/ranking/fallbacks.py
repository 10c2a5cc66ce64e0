"""Lists for listeners of whom the model knows nothing: their last one, or what is popular."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nocturne.ranking.eligibility import Markets
from nocturne.training.model import Counts, Floats, Indexes, Model

SOURCES = PREVIOUS, MARKET_POPULAR, GLOBAL_POPULAR = "previous", "market_popular", "global_popular"


@dataclass(frozen=True)
class Fallbacks:
    """What every listener may fall back to.

    Attributes:
        tie_order: rank of each item among equally popular ones; shape (items,).
    """

    model: Model
    markets: Markets
    tie_order: Counts
    top_k: int

    @cached_property
    def everyone(self) -> tuple[Indexes, ...]:
        """By class, what may be listed there, by number of listeners everywhere."""
        order = self._by_listeners(self.model.listeners)
        return tuple(order[mask[order]] for mask in self.markets.masks)

    @cached_property
    def local(self) -> dict[str, Indexes]:
        """By market, what may be listed there, by number of listeners there."""
        orders = {market: self._by_listeners(heard) for market, heard in self.model.market_listeners.items()}
        classes = {market: self.markets.classes.get(market, self.markets.others) for market in orders}
        return {market: order[self.markets.masks[classes[market]][order]] for market, order in orders.items()}

    def list_for(
        self, market: str | None, market_class: int, seen: Indexes, previous: Indexes
    ) -> tuple[Indexes, Floats, str]:
        """The list of one listener: positions, scores and source.

        Args:
            seen: positions that the listener may not get.
            previous: positions of their last personal list, best first; -1 for items the model lacks.
        """
        may = self.markets.masks[market_class]
        everyone = self.everyone[market_class]
        kept = previous[previous >= 0]
        kept = kept[may[kept] & ~np.isin(kept, seen)][: self.top_k]
        if len(kept):
            # What was heard or withdrawn since is made up for by popular items.
            fill = _first(everyone, np.concatenate([seen, kept]), self.top_k - len(kept))
            listed = np.concatenate([kept, fill])
            return listed, np.arange(len(listed), 0, -1, dtype=np.float64), PREVIOUS
        popular = _first(everyone, seen, self.top_k)
        local = _first(self.local[market], seen, self.top_k) if market in self.local else popular[:0]
        if market is not None and 0 < len(local) == len(popular):
            return local, self.model.market_listeners[market][local].astype(np.float64), MARKET_POPULAR
        return popular, self.model.listeners[popular].astype(np.float64), GLOBAL_POPULAR

    def _by_listeners(self, heard: Counts) -> Indexes:
        order = np.lexsort((self.tie_order, -heard))[: int((heard > 0).sum())]
        return order.astype(np.int32)


def _first(order: Indexes, without: Indexes, count: int) -> Indexes:
    """The first few of an order, without some."""
    ahead = order[: count + len(without)]
    return ahead[~np.isin(ahead, without)][:count]
