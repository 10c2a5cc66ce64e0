"""Lists of a content type for listeners who have heard nothing of it: by the model's bridge, or what is popular of it.

Factors of such listeners know nothing of the type but through others who heard both, and popularity is often better:
docs/content.md. So where a bridge is proved better than popularity, its ranking of the type's learned items takes the
place of that by the factors. It is exact, stored, carried over and proved like any shelf.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Codes, Counts, Floats, Mask
from nocturne.core.csr import CsrRows
from nocturne.core.sections import RerankingSettings
from nocturne.kernel.arguments import Traits
from nocturne.kernel.layout import ItemLayout
from nocturne.ranking.additions import Additions
from nocturne.ranking.eligibility import Markets
from nocturne.ranking.listeners import Listeners
from nocturne.ranking.reranker import Reranker
from nocturne.ranking.type_items import TypeItems
from nocturne.training.bridges import StoredBridge
from nocturne.training.confidences import Confidences


class NewTypes(NamedTuple):
    """Rows of listeners, a row for each of them and type in the order of types, who heard nothing of the type.

    Attributes:
        rows: whose list is not by the factors; shape (rows,).
        by_bridge: those among them whose list is by the bridge; shape (rows,).
    """

    rows: Mask
    by_bridge: Mask


@dataclass(frozen=True)
class TypeBridge:
    """The bridge of a model into a content type, with its items laid out.

    Attributes:
        code: of the type.
        of_type: the learned items of the type tonight.
        codes, previous_codes: type of each item tonight and on the night before; shape (items,).
    """

    code: int
    bridge: StoredBridge
    of_type: TypeItems
    markets: Markets
    previous_markets: Markets | None
    codes: Codes
    previous_codes: Codes

    @classmethod
    def of(
        cls,
        code: int,
        bridge: StoredBridge,
        items: ItemLayout,
        markets: Markets,
        previous_markets: Markets | None,
        codes: Codes,
        previous_codes: Codes,
    ) -> "TypeBridge | None":
        """Lay out the items that the bridge leads to; None if no such item is of the type tonight."""
        still = codes[bridge.targets] == code
        positions, factors = bridge.targets[still], bridge.factors[still]
        if not len(positions):
            return None
        ones = np.ones(len(positions))
        of_type = TypeItems.of(positions, factors, ones, items.tie_order, markets.masks)
        return cls(code, bridge, of_type, markets, previous_markets, codes, previous_codes)

    @cached_property
    def sizes(self) -> Counts:
        """Items that may be listed in each class; shape (classes,)."""
        sizes: Counts = self.markets.masks[:, self.of_type.positions].sum(axis=1)
        return sizes

    @cached_property
    def additions(self) -> Additions:
        """Items that lists by the bridge may hold since the night before."""
        before, tonight, led_to = self.previous_markets or self.markets, self.markets, self.of_type.place >= 0
        then, now = before.masks[: before.plain], tonight.masks[: tonight.plain]
        return Additions(then & led_to & (self.previous_codes == self.code), now & led_to & (self.codes == self.code))

    def users(self, listeners: Listeners, some: Counts) -> Floats:
        """Some listeners as the bridge takes them; shape (some, axes + 1)."""
        return self.bridge.listeners(heard_of(listeners.entries.take(some)), len(self.codes))

    def count(self, listeners: Listeners) -> Counts:
        """Items that a list by the bridge may hold; shape (listeners,)."""
        heard = listeners.already_heard
        owner = np.repeat(np.arange(len(listeners.classes)), heard.lengths)
        led_to = (self.of_type.place[heard.positions] >= 0) & self.markets.masks[
            listeners.classes[owner], heard.positions
        ]
        counts: Counts = self.sizes[listeners.classes] - np.bincount(owner[led_to], minlength=len(listeners.classes))
        return counts


def find_new_types(
    listeners: Listeners,
    codes: Codes,
    bridges: Mapping[int, StoredBridge | None],
    types: int,
) -> NewTypes:
    """The types that listeners have heard nothing of, where the model has decided on a bridge.

    Who heard no item of other types that a bridge leads from is left to the factors.

    Args:
        codes: type of each item; -1 for types without lists; shape (items,).
        bridges: by code of a type; None where popularity is the best that can be said.
    """
    heard = heard_of(listeners.entries)
    owner = np.repeat(np.arange(len(heard.lengths)), heard.lengths)
    rows = np.zeros((len(heard.lengths), types), np.bool_)
    by_bridge = rows.copy()
    for code, bridge in bridges.items():
        new = (heard.lengths > 0) & ~_any(owner, codes[heard.positions] == code, len(rows))
        if bridge is not None:
            is_source = np.zeros(len(codes), np.bool_)
            is_source[bridge.sources] = True
            new &= _any(owner, is_source[heard.positions], len(rows))
            by_bridge[:, code] = new
        rows[:, code] = new
    return NewTypes(rows.ravel(), by_bridge.ravel())


def heard_of(entries: Confidences) -> CsrRows:
    """Positions of the items that the model learns a listener by."""
    return CsrRows(entries.offsets, entries.columns)


def drawing_of_new_types(settings: RerankingSettings, items: int, day: int) -> Reranker | None:
    """The drawing of some places of lists of new types, which are not re-ranked otherwise; None if none is drawn.

    Args:
        items: of the model, count.
        day: the night, in days since 1970-01-01.
    """
    if not settings.new_type_places:
        return None
    neutral = {"max_per_creator": 0, "diversity": 0.0, "type_calibration": 0.0, "genre_calibration": 0.0}
    drawn = neutral | {"fresh_slots": 0, "exploration_places": settings.new_type_places}
    nothing = np.zeros(items, np.int32)
    traits = Traits(nothing - 1, nothing, np.arange(items + 1, dtype=np.int64), nothing, nothing > 0)
    return Reranker(settings.model_copy(update=drawn), traits, day)


def _any(owner: Counts, mask: Mask, count: int) -> Mask:
    some: Mask = np.bincount(owner[mask], minlength=count) > 0
    return some
