"""Takedowns: items that may not be listed any more, in one market or anywhere, and what lifts them. Pure.

Every word on an item has an instant. On one item and market the last word holds, and a word that lifts an item
everywhere ends all that was said of it before. So it does not matter in what order words come, nor how often.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import NamedTuple

Key = tuple[str, str | None]
"""Item and market."""


class Takedown(NamedTuple):
    """A word on an item: it is taken down, or that is lifted.

    Attributes:
        market: None: everywhere.
        asked_at: UTC.
        takedown_id: tells words of one instant apart.
        from_night: the first night that obeys it; what is served obeys it at once.
        lifts: True: the item may be listed again.
    """

    item_id: str
    market: str | None
    asked_at: datetime
    takedown_id: str
    why: str
    from_night: date
    lifts: bool = False

    @property
    def key(self) -> Key:
        """Item and market that it is about."""
        return self.item_id, self.market

    @property
    def order(self) -> tuple[datetime, str]:
        """Its place among all words: later ones hold."""
        return self.asked_at, self.takedown_id


@dataclass(frozen=True)
class Takedowns:
    """The last word on every item and market, in order of both.

    Attributes:
        words: at most one for each item and market.
    """

    words: tuple[Takedown, ...] = ()

    @classmethod
    def of(cls, words: Iterable[Takedown]) -> "Takedowns":
        """The last of some words."""
        last: dict[Key, Takedown] = {}
        for word in words:
            before = last.get(word.key)
            if before is None or before.order < word.order:
                last[word.key] = word
        return cls(tuple(sorted(last.values(), key=lambda word: (word.item_id, word.market is not None, word.market))))

    def with_words(self, words: Iterable[Takedown]) -> "Takedowns":
        """The same and some more; what was said before or after does not matter."""
        return Takedowns.of((*self.words, *words))

    @cached_property
    def in_force(self) -> tuple[Takedown, ...]:
        """The words by which items may not be listed."""
        everywhere = {word.item_id: word for word in self.words if word.market is None}
        return tuple(word for word in self.words if not word.lifts and not _is_lifted(word, everywhere))

    @cached_property
    def item_ids(self) -> frozenset[str]:
        """Items that may not be listed in some market at least."""
        return frozenset(word.item_id for word in self.in_force)

    @cached_property
    def markets(self) -> frozenset[str]:
        """Markets in which an item may not be listed that may be elsewhere."""
        return frozenset(word.market for word in self.in_force if word.market is not None)

    def barred(self, market: str | None) -> frozenset[str]:
        """Items that may not be listed in a market; without a market, which may be any, those of all markets."""
        if market is None:
            return self.item_ids
        return self._barred[market] if market in self.markets else self._barred[None]

    @cached_property
    def _barred(self) -> dict[str | None, frozenset[str]]:
        everywhere = frozenset(word.item_id for word in self.in_force if word.market is None)
        barred: dict[str | None, frozenset[str]] = {None: everywhere}
        for market in self.markets:
            barred[market] = everywhere | {word.item_id for word in self.in_force if word.market == market}
        return barred


NONE = Takedowns()


def _is_lifted(word: Takedown, everywhere: dict[str, Takedown]) -> bool:
    lift = everywhere.get(word.item_id)
    return lift is not None and lift.lifts and lift.order > word.order
