"""The items of a content type, laid out by themselves: a product over a twentieth of the catalogue, for audiobooks."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Codes, Floats, Indexes, Mask, Positions
from nocturne.core.csr import CsrRows
from nocturne.kernel.autotune import KernelPlan, rank
from nocturne.kernel.layout import Eligible, ItemLayout, lay_out_items
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import Top


@dataclass(frozen=True)
class TypeItems:
    """Some of the model's items, with factors of the model or others.

    Attributes:
        positions: in the model, ascending.
        items: these alone, laid out; there is at least one.
        eligible: of them, what may be listed.
        place: of each position of the model among them; -1 for others.
    """

    positions: Indexes
    items: ItemLayout
    eligible: Eligible
    place: Indexes

    @classmethod
    def of(
        cls,
        positions: Indexes,
        factors: npt.NDArray[np.float32],
        multipliers: Floats,
        tie_order: Positions,
        masks: Mask,
    ) -> "TypeItems":
        """Lay out items.

        Args:
            factors, multipliers: of these items.
            tie_order, masks: of all items of the model.
        """
        laid_out = lay_out_items(factors, multipliers, np.argsort(np.argsort(tie_order[positions])))
        place = np.full(masks.shape[1], -1, np.int32)
        place[positions] = np.arange(len(positions))
        return cls(positions, laid_out, Eligible.of(np.ascontiguousarray(masks[:, positions]), laid_out), place)

    def query(self, users: Floats, k: int, already_heard: CsrRows, classes: Codes) -> Query:
        """The best k for some listeners, in places among these items; arguments are of the whole model."""
        places = CsrRows(already_heard.offsets, self.place[already_heard.positions])
        return Query(users, self.items, k, places.where(places.positions >= 0), classes, self.eligible)

    def rank(self, users: Floats, k: int, already_heard: CsrRows, classes: Codes, plan: KernelPlan) -> Top:
        """The best k for some listeners; arguments and positions are of the whole model."""
        top = rank(self.query(users, k, already_heard, classes), plan)
        return replace(top, lists=CsrRows(top.lists.offsets, self.positions[top.lists.positions]))
