"""A query: some listeners, a catalogue, and what each of them may get of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nocturne.core.csr import Rows
from nocturne.kernel.layout import Eligible, Items

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Query:
    """The k best items are asked for, of those that each listener may get.

    Attributes:
        users: the listeners' factors, finite; zero, or of norms whose squares float64 holds; shape
            (listeners, factors).
        items: the catalogue.
        k: items in a full list, at least 1.
        seen: positions that a listener may not get, in any order.
        classes: which row of `eligible` holds for each listener; shape (listeners,).
        eligible: what may be listed.
    """

    users: Floats
    items: Items
    k: int
    seen: Rows
    classes: npt.NDArray[np.int32]
    eligible: Eligible

    def part(self, listeners: slice) -> "Query":
        """The same of consecutive listeners, without a copy."""
        start, stop, _ = listeners.indices(len(self.users))
        seen = Rows(self.seen.offsets[start : stop + 1], self.seen.positions)
        return Query(self.users[listeners], self.items, self.k, seen, self.classes[listeners], self.eligible)

    def allowed(self, listener: int) -> Mask:
        """What one listener may get, by position; shape (items,)."""
        allowed: Mask = self.eligible.masks[self.classes[listener]].copy()
        allowed[self.seen.row(listener)] = False
        return allowed
