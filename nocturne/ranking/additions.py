"""Additions: items that a listener may get since the night before, told by the class of their market then and now.

Listeners with a plan are left out: their pools stand only while they may get the same.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nocturne.core.arrays import Counts, Factors, Floats, Mask
from nocturne.core.csr import CsrRows
from nocturne.kernel.layout import ItemLayout
from nocturne.kernel.merge import find_reaching
from nocturne.ranking.eligibility import Classes

_MOST_MERGED = 1 / 3
"""Share of the model's items up to which additions are merged; a fresh ranking costs twice as much there, and as
much at three fifths, measured with 64 factors and pools of 225 of 40,000 items."""


_OF_A_PLAN = -1


@dataclass(frozen=True)
class Additions:
    """The items that may be listed tonight, and those that might be on the night before.

    Attributes:
        then: shape (classes then, items).
        tonight: shape (classes now, items).
    """

    then: Mask
    tonight: Mask

    @cached_property
    def counts(self) -> Counts:
        """Added items by class then and class now; shape (classes then, classes now)."""
        counts = [[int((now & ~then).sum()) for now in self.tonight] for then in self.then]
        return np.array(counts, dtype=np.int64)

    @cached_property
    def too_many(self) -> Mask:
        """True where so many were added that a fresh ranking costs less; shape (classes then, classes now)."""
        mask: Mask = self.counts > _MOST_MERGED * self.tonight.shape[1]
        return mask

    def of(self, then: Classes, now: Classes) -> Counts:
        """Added items of listeners, by their classes; none where a class is of a plan."""
        of_markets = self._of_markets(then, now)
        added = np.zeros(len(now), np.int64)
        added[of_markets] = self.counts[then[of_markets], now[of_markets]]
        return added

    def are_too_many(self, then: Classes, now: Classes) -> Mask:
        """True for listeners to whom so many were added that a fresh ranking costs less."""
        too_many: Mask = self.of(then, now) > _MOST_MERGED * self.tonight.shape[1]
        return too_many

    def _of_markets(self, then: Classes, now: Classes) -> Mask:
        return (then < len(self.then)) & (now < len(self.tonight))

    def find_reaching(
        self, then: Classes, now: Classes, users: Factors, norms: Floats, bounds: Floats, items: ItemLayout
    ) -> tuple[Counts, CsrRows]:
        """The listeners whose bounds added items may reach, and these items.

        Args:
            then, now: class of each listener's market.
            users: factors, rounded to single precision; shape (listeners, factors).
            norms, bounds: as `kernel.merge.find_reaching` takes them.

        Returns:
            Places of listeners, ascending, and a row of positions for each.
        """
        classes = len(self.tonight)
        pairs = np.where(self._of_markets(then, now), then * classes + now, _OF_A_PLAN)
        owners, positions = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        for pair in np.unique(pairs[pairs != _OF_A_PLAN]).tolist():
            before, tonight = divmod(pair, classes)
            if self.counts[before, tonight]:
                some = np.flatnonzero(pairs == pair)
                added = np.flatnonzero(self.tonight[tonight] & ~self.then[before]).astype(np.int32)
                places, reaching = find_reaching(users[some], norms[some], bounds[some], items, added)
                owners.append(some[places])
                positions.append(reaching)
        owner = np.concatenate(owners)
        listeners, lengths = np.unique(owner, return_counts=True)
        in_order = np.concatenate(positions)[np.argsort(owner, kind="stable")]
        return listeners, CsrRows(np.concatenate([[0], np.cumsum(lengths)]), in_order)
