"""Eligibility: the items that may be listed on a night in each market, by the catalogue's rules."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Codes, Mask
from nocturne.core.takedowns import NONE, Takedowns
from nocturne.ingestion.catalogue import CONTENT_TYPES, UNNAMED_TYPE

Classes = npt.NDArray[np.int32]

EVERYWHERE = "*"


@dataclass(frozen=True)
class Markets:
    """The items that may be listed in each market. Markets under the same rules are one class, and share a mask.

    Attributes:
        classes: class of each market that any rule names, and under None of listeners without a market.
        others: class of every other market.
        masks: what may be listed in each class; shape (classes, items).
        digests: hash of each class's mask, and of the content types of what may be listed.
        types: content type of each item, its place in CONTENT_TYPES; empty where none matters; shape (items,).
        of_plans: class of each listener with a plan, by user_id; these come behind the classes of markets.
    """

    classes: dict[str | None, int]
    others: int
    masks: Mask
    digests: tuple[str, ...]
    types: Codes = field(default_factory=lambda: np.zeros(0, np.int32))
    of_plans: Mapping[str, int] = field(default_factory=dict)

    @property
    def plain(self) -> int:
        """Number of classes of markets."""
        return min(self.of_plans.values(), default=len(self.masks))

    def of_listeners(self, user_ids: pa.Array, markets: pa.Array) -> Classes:
        """The class of each listener: of their plan, or of their market; shape (listeners,)."""
        classes = self.of(markets)
        if self.of_plans:
            planned = np.flatnonzero(np.asarray(pc.is_in(user_ids, value_set=self._planned)))
            classes[planned] = [self.of_plans[user_ids[place].as_py()] for place in planned.tolist()]
        return classes

    @cached_property
    def _planned(self) -> pa.Array:
        return pa.array(sorted(self.of_plans), pa.string())

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Items that may be listed in each class."""
        sizes: npt.NDArray[np.int64] = self.masks.sum(axis=1)
        return sizes

    def of(self, markets: pa.Array) -> Classes:
        """The class of each listener's market; shape (listeners,)."""
        encoded = markets.dictionary_encode()
        of_market = [self.classes.get(market, self.others) for market in encoded.dictionary.to_pylist()]
        places = encoded.indices.fill_null(len(of_market)).to_numpy(zero_copy_only=False)
        classes: Classes = np.array([*of_market, self.classes[None]], dtype=np.int32)[places]
        return classes

    def among(self, known: Mask) -> "Markets":
        """The same without the other items, which nobody may get; shape of the mask (items,)."""
        rules = {market: self.masks[number] & known for market, number in self.classes.items()}
        return _grouped(rules, self.masks[self.others] & known, self.types)


def markets(
    item_ids: pa.Array,
    catalogue: pa.Table,
    run_date: date,
    explicit_blocked_markets: Collection[str],
    takedowns: Takedowns = NONE,
) -> Markets:
    """The rules of every market, for some items.

    An item that the catalogue never named has no rules against it; one that it no longer names may not be listed.
    A listener without a market gets nothing that is restricted to markets, nothing that is taken down in any, and
    nothing explicit if any market blocks that.

    Args:
        item_ids: the items; shape (items,).
        catalogue: rows of `items` of the night.
        takedowns: that the night obeys.
    """
    place = pc.index_in(item_ids, value_set=catalogue["item_id"].combine_chunks())
    rows_of_items = catalogue.take(place)
    night = pa.scalar(run_date, pa.date32())
    started = pc.fill_null(pc.less_equal(rows_of_items["available_from"], night), True)
    not_over = pc.fill_null(pc.greater_equal(rows_of_items["available_until"], night), True)
    named = pc.invert(pc.fill_null(rows_of_items["absent"], False))
    available = pc.and_(pc.and_(started, not_over), named).to_numpy()
    explicit = pc.fill_null(rows_of_items["explicit"], False).to_numpy()
    restricted = pc.is_valid(rows_of_items["markets"]).to_numpy()
    licences = rows_of_items["markets"].combine_chunks()
    licensed_item = pc.list_parent_indices(licences).to_numpy()
    licensed_in = pc.list_flatten(licences).dictionary_encode()
    licensed_markets = licensed_in.dictionary.to_pylist()
    codes = licensed_in.indices.to_numpy()

    def mask(market: str | None, blocked: bool) -> Mask:
        licensed = ~restricted
        if market in licensed_markets:
            licensed[licensed_item[codes == licensed_markets.index(market)]] = True
        may: Mask = available & licensed & ~(explicit & blocked)
        return may & ~_among(item_ids, takedowns.barred(market))

    everywhere = EVERYWHERE in explicit_blocked_markets
    rules = {
        market: mask(market, everywhere or market in explicit_blocked_markets)
        for market in sorted({*licensed_markets, *explicit_blocked_markets, *takedowns.markets} - {EVERYWHERE, None})
    }
    other, without = mask(EVERYWHERE, everywhere), mask(None, bool(explicit_blocked_markets))
    content_types = pc.fill_null(rows_of_items["content_type"].combine_chunks(), UNNAMED_TYPE)
    types = pc.index_in(content_types, value_set=pa.array(CONTENT_TYPES)).to_numpy().astype(np.int32)
    return _grouped({**rules, None: without}, other, types)


def _among(item_ids: pa.Array, some: Collection[str]) -> Mask:
    return np.asarray(pc.is_in(item_ids, value_set=pa.array(sorted(some), pa.string())))


def mask_digest(mask: Mask, types: Codes | None = None) -> str:
    """64 bits of a mask, the same whatever items that may not be listed come behind it.

    Args:
        types: of the items; those that may be listed count.
    """
    of_types = b"" if types is None else types[mask].tobytes()
    return hashlib.sha256(np.packbits(mask).tobytes().rstrip(b"\0") + of_types).hexdigest()[:16]


def _grouped(rules: dict[str | None, Mask], other: Mask, types: Codes) -> Markets:
    """Give the same masks the same class."""
    distinct: dict[str, int] = {}
    masks: list[Mask] = []

    def number(mask: Mask) -> int:
        digest = mask_digest(mask, types)
        if digest not in distinct:
            distinct[digest] = len(masks)
            masks.append(mask)
        return distinct[digest]

    others = number(other)
    classes = {market: number(mask) for market, mask in rules.items()}
    return Markets(classes, others, np.stack(masks), tuple(distinct), types)
