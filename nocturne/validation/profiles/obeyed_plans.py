"""Plans of listeners, held against lists by the reading of their rules item by item, which ranking does not use."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Mask
from nocturne.core.night import Night
from nocturne.steering.item_fields import ItemFacts
from nocturne.steering.obedience import broken_rules
from nocturne.steering.plan import Plan
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.catalogue_rules import Catalogue

HELD_TO_PLANS = ("user_id", "items")
"""Columns of lists that are read."""

_NEEDED = ("item_id", "content_type", "creator", "tags", "duration_ms", "explicit")
_IF_THERE = ("language", "year")
_UNNAMED_TYPE = "other"


@dataclass(frozen=True)
class ObeyedPlans:
    """The plans of a night, and what its catalogue says of items.

    Attributes:
        plans: of listeners who ask something of the items, by user_id.
        rows: of the night's `items`, by item_id.
        rules: of the catalogue.
        heard: item_ids that each listener with a plan has heard, by user_id.
    """

    plans: dict[str, Plan]
    rows: dict[str, dict[str, Any]]
    rules: Catalogue
    heard: dict[str, frozenset[str]]
    _barred: dict[str, Mask] = field(default_factory=dict)

    @classmethod
    def of(cls, night: Night) -> "ObeyedPlans":
        """The plans that hold on a night."""
        stored = tables.night_rows(night, "steers", ["user_id", "plan"]).to_pylist()
        plans = {row["user_id"]: Plan.model_validate_json(row["plan"]) for row in stored}
        plans = {user_id: plan for user_id, plan in plans.items() if plan.only or plan.never}
        catalogue = tables.night_rows(night, "items") if plans else tables.night_rows(night, "items").slice(0, 0)
        names = [*_NEEDED, *(name for name in _IF_THERE if name in catalogue.column_names)]
        return cls(
            plans,
            {row["item_id"]: row for row in catalogue.select(names).to_pylist()},
            Catalogue(
                catalogue,
                night.run_date,
                night.settings.ranking.explicit_blocked_markets,
                tables.night_rows(night, "takedowns", Catalogue.WORDS),
            ),
            _heard(night, sorted(plans)),
        )

    def broken(self, lists: StoredRows) -> int:
        """Lists that hold an item which breaks a rule of their listener's plan.

        Args:
            lists: HELD_TO_PLANS columns.
        """
        if not self.plans:
            return 0
        listed = lists.of_listeners(sorted(self.plans)).to_pylist()
        return sum(self._breaks(row["user_id"], [entry["item_id"] for entry in row["items"]]) for row in listed)

    def allowed(self, user_id: str, item_ids: Sequence[str]) -> Mask:
        """True for the items that obey the plan of a listener, all without one; shape (items,)."""
        if user_id not in self.plans:
            return np.ones(len(item_ids), bool)
        return np.array([not self._breaks(user_id, [item_id]) for item_id in item_ids], bool)

    def _breaks(self, user_id: str, item_ids: Collection[str]) -> bool:
        heard = self.heard.get(user_id, frozenset())
        return any(
            broken_rules(self.plans[user_id], self._facts(item_id), heard, partial(self._plays_in, item_id))
            for item_id in item_ids
        )

    def _facts(self, item_id: str) -> ItemFacts:
        row = self.rows.get(item_id, {})
        milliseconds = row.get("duration_ms")
        return ItemFacts(
            item_id,
            row.get("content_type") or _UNNAMED_TYPE,
            row.get("creator"),
            tuple(row.get("tags") or ()),
            row.get("language"),
            row.get("year"),
            row.get("explicit"),
            None if milliseconds is None else milliseconds / 1000,
        )

    def _plays_in(self, item_id: str, market: str) -> bool:
        if market not in self._barred:
            self._barred[market] = self.rules.barred(market)
        place = self._places.get(item_id)
        return place is None or not self._barred[market][place]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item_id: place for place, item_id in enumerate(self.rows)}


def _heard(night: Night, listeners: Sequence[str]) -> dict[str, frozenset[str]]:
    if not listeners:
        return {}
    rows = StoredRows.at(night, "interactions", ("user_id", "item_indexes")).of_listeners(listeners)
    index = tables.night_rows(night, "item_index", ["item_id", "item_index"])
    known = pc.unique(rows["item_indexes"].combine_chunks().flatten())
    some = index.filter(pc.is_in(index["item_index"], value_set=known.cast(pa.int32())))
    names = dict(zip(some["item_index"].to_pylist(), some["item_id"].to_pylist(), strict=True))
    return {
        row["user_id"]: frozenset(names[item] for item in row["item_indexes"] if item in names)
        for row in rows.to_pylist()
    }
