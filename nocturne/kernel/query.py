"""A query: some listeners, a catalogue, and what each of them may get of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Floats, Mask
from nocturne.core.csr import CsrRows
from nocturne.kernel.layout import Eligible, ItemLayout


@dataclass(frozen=True)
class Query:
    """A request for the k best of the items that each listener may get.

    Attributes:
        users: the listeners' factors, finite; zero, or of norms whose squares float64 holds; shape
            (listeners, factors).
        items: the catalogue.
        k: items in a full list, at least 1.
        already_heard: positions that a listener may not get, in any order.
        classes: which row of `eligible` holds for each listener; shape (listeners,).
        eligible: what may be listed.
    """

    users: Floats
    items: ItemLayout
    k: int
    already_heard: CsrRows
    classes: npt.NDArray[np.int32]
    eligible: Eligible

    def part(self, listeners: slice) -> "Query":
        """The same of consecutive listeners, without a copy."""
        start, stop, _ = listeners.indices(len(self.users))
        already_heard = CsrRows(self.already_heard.offsets[start : stop + 1], self.already_heard.positions)
        return Query(self.users[listeners], self.items, self.k, already_heard, self.classes[listeners], self.eligible)

    def allowed(self, listener: int) -> Mask:
        """Mask of the positions that one listener may get; shape (items,)."""
        allowed: Mask = self.eligible.masks[self.classes[listener]].copy()
        allowed[self.already_heard.row(listener)] = False
        return allowed
