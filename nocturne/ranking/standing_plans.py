"""Plans that hold on a night: what each listener who has one may be listed, beside the classes of markets.

A plan's rules leave a part of what may be listed in the listener's market. Listeners whose plans leave the same are one
class, whose digest tells whether a pool still stands; listeners without a plan keep the classes that they had.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Indexes, Mask
from nocturne.core.night import Night
from nocturne.ingestion.catalogue import CONTENT_TYPES
from nocturne.ranking.eligibility import Markets, mask_digest
from nocturne.steering.bitmaps import Catalogue, obeying
from nocturne.steering.item_fields import ItemFields
from nocturne.steering.plan import Plan
from nocturne.storage import tables
from nocturne.storage.stored_rows import StoredRows
from nocturne.training.confidences import columns_of
from nocturne.training.model import Model

_NEEDED = ("item_id", "creator", "tags", "duration_ms", "explicit")
_IF_THERE = ("language", "year", "energy")


@dataclass(frozen=True)
class Planned:
    """A listener with a plan.

    Attributes:
        heard: positions of what they have heard, where a rule is about that; else none.
    """

    user_id: str
    plan: Plan
    market: str | None
    heard: Indexes


def with_plans(markets: Markets, planned: Sequence[Planned], catalogue: Catalogue) -> Markets:
    """The same with a class for everything that plans leave, behind those of markets.

    Args:
        planned: listeners with a plan.
        catalogue: fields of the items that the masks are about.
    """
    if not planned:
        return markets
    masks: list[Mask] = []
    digests: list[str] = []
    numbers: dict[str, int] = {}
    known: dict[tuple[object, ...], int] = {}
    of_plans: dict[str, int] = {}
    for each in sorted(planned, key=lambda one: one.user_id):
        base = markets.classes[None] if each.market is None else markets.classes.get(each.market, markets.others)
        key = (each.plan.digest(), base, each.heard.tobytes())
        if key not in known:
            mask = obeying(each.plan, catalogue, each.heard, _playable(markets), markets.masks[base]).allowed
            digest = mask_digest(mask, markets.types)
            if digest not in numbers:
                numbers[digest] = len(markets.masks) + len(masks)
                masks.append(mask)
                digests.append(digest)
            known[key] = numbers[digest]
        of_plans[each.user_id] = known[key]
    return replace(
        markets,
        masks=np.concatenate([markets.masks, np.stack(masks)]),
        digests=(*markets.digests, *digests),
        of_plans=of_plans,
    )


def planned_listeners(night: Night, model: Model) -> list[Planned]:
    """Listeners with a plan that asks something of the items, and who have a row of `interactions`."""
    stored = tables.night_rows(night, "steers", ["user_id", "plan"]).to_pylist()
    plans = {row["user_id"]: Plan.model_validate_json(row["plan"]) for row in stored}
    plans = {user_id: plan for user_id, plan in plans.items() if plan.only or plan.never}
    if not plans:
        return []
    rows = StoredRows.at(night, "interactions", ("user_id", "market", "item_indexes")).of_listeners(sorted(plans))
    return [
        Planned(row["user_id"], plan, row["market"], _heard(plan, row["item_indexes"], model))
        for row in rows.to_pylist()
        if (plan := plans[row["user_id"]])
    ]


def fields_of(item_ids: pa.Array, catalogue: pa.Table) -> ItemFields:
    """The fields of items that rules read, as the night's catalogue has them.

    Args:
        item_ids: the items; shape (items,).
        catalogue: rows of `items` of the night.
    """
    place = pc.index_in(item_ids, value_set=catalogue["item_id"].combine_chunks())
    names = [*_NEEDED, *(name for name in _IF_THERE if name in catalogue.column_names)]
    rows = catalogue.select(names).take(place).combine_chunks()
    columns = {name: rows[name].combine_chunks() for name in names} | {"item_id": item_ids}
    columns["explicit_known"] = columns["explicit"].is_valid()
    types = pc.fill_null(catalogue["content_type"].take(place).combine_chunks(), "other")
    masks = {name: np.asarray(pc.equal(types, name)) for name in CONTENT_TYPES}
    numbers: dict[str, int] = {}

    def number(item_id: str) -> int | None:
        if not numbers:
            numbers.update({each: at for at, each in enumerate(item_ids.to_pylist())})
        return numbers.get(item_id)

    return ItemFields(pa.RecordBatch.from_pydict(columns), masks, number, np.zeros(len(item_ids)))


def _heard(plan: Plan, item_indexes: Sequence[int], model: Model) -> Indexes:
    """Positions of what was heard, if the plan has a rule on that."""
    if not any("heard" in rule.all_fields() for rule in (*plan.only, *plan.never)):
        return np.zeros(0, np.int32)
    positions = columns_of(np.array(item_indexes, np.int32), model.position)
    return positions[positions >= 0].astype(np.int32)


def _playable(markets: Markets) -> Callable[[str], Mask]:
    return lambda market: np.asarray(markets.masks[markets.classes.get(market, markets.others)])
