"""Items of a generation that may be listed in a market: by the rules of its night, and by the takedowns since."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from nocturne.core.arrays import Indexes, Mask
from nocturne.core.takedowns import Takedowns

EVERYWHERE = ""
"""Market of listeners who have none, or one that no rule names."""


class RuledItems(Protocol):
    """Items under the rules of their night, as `ServedItems` has them."""

    def number(self, item_id: str, /) -> int | None:
        """Number of an item; None if there is no such item."""

    def by_rules(self, market: str | None) -> Mask:
        """True for items that might be listed in a market when the generation was made; shape (items,)."""

    @property
    def info(self) -> Any:
        """Facts that the items share."""

    @property
    def popular_by_market(self) -> Mapping[str, Indexes]:
        """By market, the most heard items."""

    @property
    def listeners(self) -> Indexes:
        """Listeners of each item; shape (items,)."""

    @property
    def content_types(self) -> Mapping[str, Mask]:
        """By content type, the mask of its items; shape (items,)."""


class Listable:
    """Items that may be listed under some takedowns; worked out for a market when it is first asked for."""

    def __init__(self, items: RuledItems, takedowns: Takedowns) -> None:
        self._items = items
        self._takedowns = takedowns
        self._known: dict[tuple[str, str | None], Any] = {}

    def may_list(self, market: str | None) -> Mask:
        """True for items that may be listed in a market; shape (items,)."""
        mask: Mask = self._once("may_list", market, self._may_list)
        return mask

    def taken_down(self, market: str | None) -> Indexes:
        """Numbers of the items that are taken down in a market, ascending; without a market in any."""
        numbers: Indexes = self._once("taken_down", market, self._taken_down)
        return numbers

    def popular(self, market: str | None) -> Indexes:
        """The most heard items of a market; in place of each that is taken down, the next most heard of its type."""
        numbers: Indexes = self._once("popular", market, self._popular)
        return numbers

    def _once(self, name: str, market: str | None, work: Callable[[str | None], Any]) -> Any:
        """The result for a market, which is one for all markets of which nothing is said."""
        said = (self._items.info.classes, self._items.popular_by_market, self._takedowns.markets)
        scope = market if market is None or any(market in some for some in said) else EVERYWHERE
        if (name, scope) not in self._known:
            self._known[name, scope] = work(market)
        return self._known[name, scope]

    def _may_list(self, market: str | None) -> Mask:
        mask, down = self._items.by_rules(market), self.taken_down(market)
        if len(down):
            mask = mask.copy()
            mask[down] = False
        return mask

    def _taken_down(self, market: str | None) -> Indexes:
        numbers = (self._items.number(item_id) for item_id in self._takedowns.barred(market))
        return np.array(sorted(number for number in numbers if number is not None), np.int32)

    def _popular(self, market: str | None) -> Indexes:
        by_market, allowed, down = self._items.popular_by_market, self.may_list(market), self.taken_down(market)
        if market is not None and market in by_market:
            numbers = by_market[market]
        else:
            everyone = by_market[EVERYWHERE]
            numbers = everyone[self._items.by_rules(market)[everyone]]
        gone = np.isin(numbers, down)
        if not gone.any():
            return numbers
        listeners, others = self._items.listeners, allowed & (self._items.listeners > 0)
        others[numbers] = False
        left = [numbers[~gone]]
        for of_type in self._items.content_types.values():
            some = np.flatnonzero(others & of_type).astype(np.int32)
            left.append(some[np.argsort(-listeners[some], kind="stable")][: int(of_type[numbers[gone]].sum())])
        return np.concatenate(left)
