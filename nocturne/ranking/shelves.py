"""Shelves: for each content type the exact top of what a listener may get of it, however little there is of the type.

A pool is the exact top of everything, so that its items of a type are the exact top of that type, as far as they go.
Only what lies beyond is stored, as the pool's *shelf*; and where a pool holds too few of a type, the rest is ranked on
a layout of that type's items alone. Shelves are carried over with their pool. Items that may no longer be listed, or
are of another type now, leave; items that are new to a type are merged where they reach; what is too short then is
ranked.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Codes, Counts, Floats, Indexes, Mask
from nocturne.core.csr import CsrRows
from nocturne.core.sections import RankingSettings
from nocturne.ingestion.catalogue import CONTENT_TYPES
from nocturne.kernel.audit import audit
from nocturne.kernel.autotune import KernelPlan
from nocturne.kernel.by_type import Heads
from nocturne.kernel.layout import ItemLayout
from nocturne.kernel.merge import merge
from nocturne.kernel.top_k import Top, exact_scores
from nocturne.kernel.warm_start import still_allowed
from nocturne.ranking.additions import Additions
from nocturne.ranking.eligibility import Markets
from nocturne.ranking.fallbacks import Fallbacks
from nocturne.ranking.listeners import ListenerFactors, Listeners
from nocturne.ranking.new_types import NewTypes, TypeBridge, find_new_types
from nocturne.ranking.pools import CarryOver, Pools, PreviousPools
from nocturne.ranking.reranker import Reranker
from nocturne.ranking.type_items import TypeItems
from nocturne.training.bridges import StoredBridge
from nocturne.training.model import Model


@dataclass(frozen=True)
class Shelves:
    """The best items of every type for some listeners: a row for each listener and type, in the order of types.

    Attributes:
        heads: the exact top of the type, by the factors or by the bridge into it; empty for listeners without a pool,
            and where what is popular of the type is listed.
        in_pool: items at the head of each row that are in the pool too; shape (rows,).
        candidates: items of the type that the list may hold; shape (rows,).
        new_types: rows of types that the listener has heard nothing of.
        types: count.
    """

    heads: Heads
    in_pool: Counts
    candidates: Counts
    new_types: NewTypes
    types: int

    def beyond_pool(self) -> tuple[CsrRows, npt.NDArray[np.floating]]:
        """The positions of each listener that are beyond the pool, a type after the other, and their scores."""
        beyond = self.heads.between(self.in_pool, self.heads.positions.shape[1])
        return self.of_listeners(beyond), self.heads.scores[beyond]

    def of_listeners(self, mask: Mask) -> CsrRows:
        """Some of the positions, the types of a listener in one row, one after the other."""
        lengths = mask.sum(axis=1).reshape(-1, self.types).sum(axis=1)
        return CsrRows(np.concatenate([[0], np.cumsum(lengths)]), self.heads.positions[:, : mask.shape[1]][mask])

    def by_factors(self, first: Counts | int, last: int) -> Mask:
        """True from one place to before another, of rows by the factors; shape (rows, last)."""
        mask: Mask = self.heads.between(first, last)[:, :last] & ~self.new_types.rows[:, None]
        return mask

    def best(self, k: int) -> tuple[CsrRows, Floats]:
        """The first k of each row by the factors, and their scores, rounded to single precision."""
        first = self.by_factors(0, k)
        offsets = np.concatenate([[0], np.cumsum(first.sum(axis=1))])
        return CsrRows(offsets, self.heads.positions[:, :k][first]), self.heads.scores[:, :k][first].astype(np.float64)


@dataclass(frozen=True)
class ShelfRanker:
    """All that shelves need beside the listeners: the same on every executor.

    Attributes:
        items: the whole catalogue.
        markets, previous_markets: what may be listed tonight, and might be on the night before.
        bridges: into content types, as the model has them; None where popularity is the best that can be said.
        drawing: of the places of lists of new types that are drawn; None where nothing is.
    """

    model: Model
    items: ItemLayout
    markets: Markets
    previous_markets: Markets | None
    settings: RankingSettings
    bridges: Mapping[str, StoredBridge | None] = field(default_factory=dict)
    drawing: Reranker | None = None

    @cached_property
    def content_types(self) -> tuple[str, ...]:
        """The types that have shelves, in the order of the alphabet."""
        return tuple(sorted(self.settings.shelf_types))

    @cached_property
    def depth(self) -> int:
        """Items in a full row, count."""
        return self.settings.shelf_items + self.settings.shelf_reserve

    @cached_property
    def codes(self) -> Codes:
        """The place in `content_types` of each item's type tonight; -1 for other types; shape (items,)."""
        return self._codes_in(self.markets)

    @cached_property
    def previous_codes(self) -> Codes:
        """The same on the night before."""
        return self._codes_in(self.previous_markets or self.markets)

    @cached_property
    def of_types(self) -> tuple[TypeItems | None, ...]:
        """The items of each type; None without any."""
        positions = (np.flatnonzero(self.codes == code).astype(np.int32) for code in range(len(self.content_types)))
        return tuple(self._lay_out(some) if len(some) else None for some in positions)

    @cached_property
    def type_bridges(self) -> tuple[TypeBridge | None, ...]:
        """The bridge into each type, if the model has one."""
        markets = self.markets, self.previous_markets
        bridges = enumerate(self.bridges.get(name) for name in self.content_types)
        return tuple(
            TypeBridge.of(code, bridge, self.items, *markets, self.codes, self.previous_codes) if bridge else None
            for code, bridge in bridges
        )

    @cached_property
    def additions(self) -> tuple[Additions, ...]:
        """Items added to each type, those among them that were of another type."""
        before, tonight = self.previous_markets or self.markets, self.markets
        then, now = before.masks[: before.plain], tonight.masks[: tonight.plain]
        return tuple(
            Additions(then & (self.previous_codes == code), now & (self.codes == code))
            for code in range(len(self.content_types))
        )

    @cached_property
    def fallbacks(self) -> tuple[Fallbacks, ...]:
        """Lists of each type for listeners without factors."""
        return self._popular(self.settings.shelf_items)

    @cached_property
    def new_fallbacks(self) -> tuple[Fallbacks, ...]:
        """Popular items of each type, as deep as what is drawn is drawn from."""
        return self._popular(self.depth)

    @cached_property
    def sizes(self) -> Counts:
        """Items of each type that may be listed; shape (classes, types)."""
        sizes = [(self.markets.masks & (self.codes == code)).sum(axis=1) for code in range(len(self.content_types))]
        return np.stack(sizes, axis=1)

    def prepare(self) -> None:
        """Work out what depends on no listener."""
        for owner, name in (
            *((self, name) for name in ("codes", "previous_codes", "of_types", "sizes", "type_bridges")),
            *((additions, name) for additions in self.additions for name in ("counts", "too_many")),
            *((bridge, name) for bridge in self.type_bridges if bridge for name in ("sizes", "additions")),
            *((fallbacks, name) for fallbacks in self.fallbacks + self.new_fallbacks for name in ("heads", "local")),
        ):
            getattr(owner, name)

    def shelve(
        self,
        listeners: Listeners,
        previous: PreviousPools,
        standing: CarryOver,
        pools: Pools,
        factors: ListenerFactors,
        plan: KernelPlan,
    ) -> Shelves:
        """The shelves of some listeners.

        Args:
            standing: the pools of the night before that stand, before anything was merged.
            pools: of tonight.
            plan: how the exact top is found.
        """
        types, new = len(self.content_types), self._new_types(listeners, self.codes, pools.personal)
        candidates = self._count_candidates(listeners, new)
        in_pool = Heads.empty(len(candidates), self.depth)
        in_pool.append(pools.items, pools.scores, self.codes, types)
        in_pool.lengths[new.rows] = 0
        heads = self._carry_over(listeners, previous, standing, new)
        self._merge(heads, listeners, previous, standing, factors, new)
        longer = in_pool.lengths > heads.lengths
        for name in ("positions", "scores", "lengths"):
            getattr(heads, name)[longer] = getattr(in_pool, name)[longer]
        needed = np.where(np.repeat(standing.stands, types), self.settings.shelf_items, self.depth)
        short = (heads.lengths < np.minimum(needed, candidates)) & np.repeat(pools.personal, types)
        for code in range(types):
            by_factors = np.flatnonzero((short & ~new.rows)[code::types])
            self._rank(heads, code, listeners, by_factors, self.of_types[code], factors.of, plan)
            bridge, crossing = self.type_bridges[code], np.flatnonzero((short & new.by_bridge)[code::types])
            if bridge:
                self._rank(heads, code, listeners, crossing, bridge.of_type, partial(bridge.users, listeners), plan)
        return Shelves(heads, in_pool.lengths, candidates, new, types)

    def tops(self, shelves: Shelves, some: Counts, users: Floats) -> Iterator[tuple[Mask, Top]]:
        """For each type the mask of its items, and the rows of some listeners as exact tops by their factors.

        A row with other than the exact scores, rounded, is empty, which is no exact top; one that is not by the factors
        claims nothing.

        Args:
            users: factors of these listeners.
        """
        for code in range(shelves.types):
            places = some * shelves.types + code
            lists, scores = _exact(shelves.heads, places, users, self.items, np.arange(len(self.codes), dtype=np.int32))
            others = shelves.new_types.rows[places]
            kept = ~np.repeat(others, lists.lengths)
            lists, scores = lists.where(kept), scores[kept]
            yield self.codes == code, Top(lists, scores, np.where(others, np.inf, _last(lists, scores, -np.inf)))

    def audit_bridges(self, shelves: Shelves, some: Counts, listeners: Listeners) -> Mask:
        """True for listeners whose lists by bridges are the exact tops of what they may get; shape (some,)."""
        proved = np.ones(len(some), np.bool_)
        for code, bridge in enumerate(self.type_bridges):
            crossing = np.flatnonzero(shelves.new_types.by_bridge[some * shelves.types + code])
            if bridge and len(crossing):
                who = some[crossing]
                users, place = bridge.users(listeners, who), bridge.of_type.place
                lists, scores = _exact(shelves.heads, who * shelves.types + code, users, bridge.of_type.items, place)
                top = Top(lists, scores, _last(lists, scores, -np.inf))
                heard, classes = listeners.already_heard.take(who), listeners.classes[who]
                proved[crossing] = audit(bridge.of_type.query(users, self.depth, heard, classes), top)
        return proved

    def _codes_in(self, markets: Markets) -> Codes:
        of_type = np.full(len(CONTENT_TYPES) + 1, -1, np.int32)
        of_type[[CONTENT_TYPES.index(name) for name in self.content_types]] = np.arange(len(self.content_types))
        return of_type[markets.types]

    def _lay_out(self, positions: Indexes) -> TypeItems:
        items = self.items
        factors, multipliers = items.factors[positions], items.multipliers[positions]
        return TypeItems.of(positions, factors, multipliers, items.tie_order, self.markets.masks)

    def _popular(self, length: int) -> tuple[Fallbacks, ...]:
        masks = (self.markets.masks & (self.codes == code) for code in range(len(self.content_types)))
        return tuple(
            Fallbacks(self.model, replace(self.markets, masks=mask), self.items.tie_order, length) for mask in masks
        )

    def _new_types(self, listeners: Listeners, codes: Codes, personal: Mask) -> NewTypes:
        """Types new to listeners with a pool, by the types of items on a night."""
        known = enumerate(self.content_types)
        bridges = {code: self.bridges[name] for code, name in known if name in self.bridges}
        leading = {
            code: bridge for code, bridge in bridges.items() if bridge is None or (codes[bridge.targets] == code).any()
        }
        new, mask = find_new_types(listeners, codes, leading, len(self.content_types)), personal
        return NewTypes(*(rows & np.repeat(mask, len(self.content_types)) for rows in new))

    def _count_candidates(self, listeners: Listeners, new: NewTypes) -> Counts:
        types = len(self.content_types)
        heard = listeners.already_heard
        owner = np.repeat(np.arange(len(listeners.classes)), heard.lengths)
        code = self.codes[heard.positions]
        counted = (code >= 0) & self.markets.masks[listeners.classes[owner], heard.positions]
        of_heard = np.bincount(owner[counted] * types + code[counted], minlength=len(listeners.classes) * types)
        candidates: Counts = self.sizes[listeners.classes].ravel() - of_heard
        for bridge in self.type_bridges:
            if bridge:
                crossing = np.flatnonzero(new.by_bridge[bridge.code :: types])
                candidates[crossing * types + bridge.code] = bridge.count(listeners)[crossing]
        return candidates

    def _carry_over(self, listeners: Listeners, previous: PreviousPools, standing: CarryOver, new: NewTypes) -> Heads:
        """The rows of the night before where the pool stands, without what may no longer be listed."""
        types, stored = len(self.content_types), previous.shelf_items
        heads = Heads.empty(len(listeners.classes) * types, self.depth)
        heads.append(standing.items, standing.scores, self.codes, types)
        heads.lengths[new.rows] = 0
        owner = np.repeat(np.arange(len(listeners.classes)), stored.lengths)
        stays = standing.stands[owner] & (stored.positions >= 0)
        stays &= self.markets.masks[listeners.classes[owner], stored.positions]
        stays &= self.codes[stored.positions] == self.previous_codes[stored.positions]
        heads.append(stored.where(stays), previous.shelf_scores[stays], self.codes, types)
        before = self._new_types(listeners, self.previous_codes, standing.stands)
        heads.lengths[(new.by_bridge != before.by_bridge) | (new.rows != before.rows)] = 0
        return heads

    def _rank(
        self,
        heads: Heads,
        code: int,
        listeners: Listeners,
        some: Counts,
        of_type: TypeItems | None,
        users: Callable[[Counts], Floats],
        plan: KernelPlan,
    ) -> None:
        """Rank the items of a type for some listeners."""
        if of_type and len(some):
            heard, classes = listeners.already_heard.take(some), listeners.classes[some]
            top = of_type.rank(users(some), self.depth, heard, classes, plan)
            heads.put(some * len(self.content_types) + code, top.lists, top.scores)

    def _merge(
        self,
        heads: Heads,
        listeners: Listeners,
        previous: PreviousPools,
        standing: CarryOver,
        factors: ListenerFactors,
        new: NewTypes,
    ) -> None:
        """Put what is new to a type into the rows that it reaches; lists by bridges are ranked again instead."""
        types, stands = len(self.content_types), np.flatnonzero(standing.stands)
        then, now = previous.classes[stands], listeners.classes[stands]
        for bridge in self.type_bridges:
            if bridge:
                rows = stands * types + bridge.code
                heads.lengths[rows[new.by_bridge[rows] & (bridge.additions.of(then, now) > 0)]] = 0
        if not any(additions.of(then, now).any() for additions in self.additions):
            return
        stored = previous.factors_of(stands, self.items.factors.shape[1])
        norms = previous.numbers("norm")[stands]
        for code, additions in enumerate(self.additions):
            mine = np.flatnonzero(~new.rows[stands * types + code])
            rows, before, tonight = stands[mine] * types + code, then[mine], now[mine]
            heads.lengths[rows[additions.are_too_many(before, tonight)]] = 0
            ends = heads.ends(rows)
            reached, added = additions.find_reaching(before, tonight, stored[mine], norms[mine], ends, self.items)
            some = stands[mine[reached]]
            added = still_allowed(added, listeners.already_heard.take(some), tonight[reached], self.markets.masks)
            added = _without(added, heads.positions[rows[reached]], heads.lengths[rows[reached]])
            self._merge_rows(heads, rows[reached], factors.of(some), added)

    def _merge_rows(self, heads: Heads, rows: Counts, users: Floats, added: CsrRows) -> None:
        lists = heads.rows(rows)
        scores = exact_scores(users, self.items, lists)
        top = merge(users, self.items, self.depth, Top(lists, scores, _last(lists, scores, np.inf)), added)
        heads.put(rows, top.lists, top.scores)


def _exact(heads: Heads, rows: Counts, users: Floats, items: ItemLayout, place: Indexes) -> tuple[CsrRows, Floats]:
    """Some rows in places among items, with the exact scores of their users; empty where others are stored."""
    lists = heads.rows(rows)
    lists = CsrRows(lists.offsets, place[lists.positions])
    scores = exact_scores(users, items, lists)
    owner = np.repeat(np.arange(len(rows)), lists.lengths)
    right = ~np.isin(owner, owner[scores.astype(np.float32) != heads.scores_of(rows)])
    return lists.where(right), scores[right]


def _last(rows: CsrRows, scores: Floats, of_empty: float) -> Floats:
    """The last score of each row."""
    last = np.full(len(rows.lengths), of_empty)
    filled = rows.lengths > 0
    last[filled] = scores[rows.offsets[1:][filled] - 1]
    return last


def _without(rows: CsrRows, others: Indexes, lengths: Counts) -> CsrRows:
    """The positions of rows that are not among the first few of a row of a matrix."""
    owner = np.repeat(np.arange(len(lengths)), rows.lengths)
    filled = np.arange(others.shape[1]) < lengths[:, None]
    return rows.where(~((others[owner] == rows.positions[:, None]) & filled[owner]).any(axis=1))
