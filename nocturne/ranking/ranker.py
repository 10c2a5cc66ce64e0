"""Interactions + a model -> every listener's pool and list for the night.

Whoever has heard something the model knows gets the exact top of the catalogue: the pool of the night before
where it still stands, a new one where it may not. Everyone else falls back: to the list of the night before, to
what their market hears most, to what everyone hears most.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.csr import Rows, filled
from nocturne.core.settings import RankingSettings
from nocturne.ingestion.interactions import EPOCH
from nocturne.kernel.audit import audit
from nocturne.kernel.autotune import Way, fastest_way, rank
from nocturne.kernel.blend import blend
from nocturne.kernel.layout import Eligible, Items
from nocturne.kernel.numeric_build import numeric_build
from nocturne.kernel.solve import solve_users
from nocturne.kernel.top_k import Top
from nocturne.ranking.eligibility import Markets, Mask
from nocturne.ranking.fallbacks import PREVIOUS, Fallbacks
from nocturne.ranking.listeners import Listeners
from nocturne.ranking.pools import ALS, Before, Plan, Pools, Reason, Tonight, plan, reach_of_added
from nocturne.ranking.reranker import Reranker
from nocturne.training.model import Counts, Floats, Model
from nocturne.training.sampling import Hashes, hash_ids, spread

CONTROL = "control"
USUAL_WAY = Way(panel=16, warm=False)


@dataclass
class Account:
    """What ranking some listeners came to.

    Attributes:
        reasons: listeners by why their pool was computed, or carried, and by the source of lists without a pool.
        seconds: processor time by what it was spent on.
    """

    listeners: int = 0
    audited: int = 0
    mismatches: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, other: "Account") -> None:
        """Add up what was done elsewhere."""
        self.listeners += other.listeners
        self.audited += other.audited
        self.mismatches += other.mismatches
        self.reasons.update(other.reasons)
        for what, seconds in other.seconds.items():
            self.seconds[what] += seconds

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Book the time of a block of code."""
        started = time.thread_time()
        yield
        self.seconds[what] += time.thread_time() - started


@dataclass(frozen=True)
class Lists:
    """Some listeners' lists.

    Attributes:
        items: positions, best first.
        scores: aligned with the items.
        sources: a source each; shape (listeners,).
        propensities: of each item, given those above it; null for lists of which nothing was drawn.
    """

    items: Rows
    scores: Floats
    sources: list[str]
    propensities: pa.Array


@dataclass(frozen=True)
class Ranker:
    """All that ranking needs beside the listeners' rows: the same on every executor.

    Attributes:
        items: the model's items, laid out.
        markets: what may be listed tonight.
        markets_before: what might be listed on the night that pools are carried over from; None without one.
        audited: share of the listeners whose pools are proved.
        way: how the exact top is found; it changes no list.
        reranker: how lists are chosen from the candidates; None: they are their heads.
    """

    model: Model
    items: Items
    markets: Markets
    markets_before: Markets | None
    run_date: date
    settings: RankingSettings
    audited: float
    way: Way = USUAL_WAY
    reranker: Reranker | None = None

    @cached_property
    def considered(self) -> int:
        """Items at the head of a pool that a list is chosen from."""
        return max(self.settings.top_k, self.settings.candidates)

    @cached_property
    def depth(self) -> int:
        """Items in a full pool."""
        return self.considered + self.settings.reserve

    @cached_property
    def build(self) -> str:
        """What the bits of a pool depend on beside the row and the model."""
        return f"{numeric_build()}-{self.depth}-{self.settings.let_back_after_days}"

    @cached_property
    def eligible(self) -> Eligible:
        """What may be listed, laid out as the items are."""
        return Eligible.of(self.markets.masks, self.items)

    @cached_property
    def reach(self) -> Floats:
        """How large a score of a unit vector with what was added since the night before can be, by class."""
        norms = np.empty(len(self.items.order))
        norms[self.items.order] = self.items.norms * self.items.scale
        return reach_of_added(self.markets_before or self.markets, self.markets, norms)

    @cached_property
    def fallbacks(self) -> Fallbacks:
        """What listeners without factors get."""
        return Fallbacks(self.model, self.markets, self.items.tie_order, self.settings.top_k)

    @cached_property
    def item_hashes(self) -> Hashes:
        """64 bits of each item id."""
        return hash_ids(self.model.item_ids, 0)

    def prepare(self) -> "Ranker":
        """Work out what depends on no listener, so that nobody who is sent this has to."""
        _ = self.model.position, self.items.place, self.items.rounding, self.eligible, self.reach, self.item_hashes
        return self

    def rank(self, rows: pa.RecordBatch, before: pa.Table, account: Account) -> tuple[pa.Table, pa.Table]:
        """Rank some listeners.

        What they get does not depend on how rows are cut into batches, nor on what is carried over.

        Args:
            rows: rows of `interactions`.
            before: rows of `pools` of the night before, aligned with them; null where there is none.
            account: what is done is added to it.

        Returns:
            Rows of `pools` and of `ranked_lists`, without run_date and bucket.
        """
        with account.timing("plan"):
            listeners, found, planned = self._plan(rows, before)
            needed = np.flatnonzero(listeners.known & (planned.reasons != Reason.CARRIED))
        with account.timing("solve"):
            users = self.solve(listeners, needed)
            nonzero = users.any(axis=1)
            needed, users = needed[nonzero], users[nonzero]
        with account.timing("score"):
            top = self._top(listeners, needed, users, found.items)
        pools = Pools.of(planned, found, needed, top, np.sqrt(np.einsum("uf,uf->u", users, users)))
        with account.timing("audit"):
            self._audit(listeners, pools, account)
        with account.timing("assemble"):
            lists = self._lists(listeners, pools, found)
            account.listeners += rows.num_rows
            account.reasons.update(source for source in lists.sources if source != ALS)
            for reason, count in enumerate(np.bincount(pools.reasons[pools.personal])):
                account.reasons[Reason(reason).name.lower()] += int(count)
            return self._pool_rows(listeners, pools, found, lists), self._list_rows(listeners, lists)

    def choose_way(self, rows: pa.RecordBatch, before: pa.Table) -> Way:
        """The fastest way to rank, measured on some listeners."""
        listeners, found, _ = self._plan(rows, before)
        known = np.flatnonzero(listeners.known)
        previous = found.items.where(found.items.positions >= 0).take(known)
        return fastest_way(
            self.solve(listeners, known), self.items, self.depth, listeners.seen.take(known),
            listeners.classes[known], self.eligible, previous if len(previous.positions) else None,
        )  # fmt: skip

    def _plan(self, rows: pa.RecordBatch, before: pa.Table) -> tuple[Listeners, Before, Plan]:
        listeners = Listeners.of(rows, self.model, self.markets, self.settings.let_back_after_days, self.run_date)
        markets_before = self.markets_before or self.markets
        found = Before.of(before, self.model, markets_before, rows.column("market"))
        if not self.settings.carry_over:
            return listeners, found, Plan.everyone(rows.num_rows)
        return listeners, found, plan(found, markets_before, self._tonight(listeners), self.reach)

    def _tonight(self, listeners: Listeners) -> Tonight:
        return Tonight(
            row_digests=listeners.rows.column("digest"),
            classes=listeners.classes,
            candidates=listeners.candidates,
            model_version=self.model.version,
            build=self.build,
            markets=self.markets,
            needed=self.considered,
            day=(self.run_date - EPOCH).days,
        )

    def solve(self, listeners: Listeners, some: Counts) -> Floats:
        """The factors of some listeners."""
        als, entries = self.model.settings, listeners.entries.take(some)
        return solve_users(
            self.items.factors, self.model.spectrum, als.regularization,
            entries.offsets, entries.columns, entries.confidences, als.regularization_exponent,
        )  # fmt: skip

    def _top(self, listeners: Listeners, needed: Counts, users: Floats, previous: Rows) -> Top:
        known = previous.where(previous.positions >= 0).take(needed)
        seen, classes = listeners.seen.take(needed), listeners.classes[needed]
        return rank(users, self.items, self.depth, seen, classes, self.eligible, self.way, known)

    def _audit(self, listeners: Listeners, pools: Pools, account: Account) -> None:
        """Prove the pools of a sample of listeners by scoring everything in float64."""
        hashes = hash_ids(listeners.rows.column("user_id"), (self.run_date - EPOCH).days)
        sample = np.flatnonzero(pools.personal & (hashes / 2.0**64 < self.audited))
        proved = audit(
            self.solve(listeners, sample), self.items, self.depth, listeners.seen.take(sample),
            listeners.classes[sample], self.eligible, pools.top(sample),
        )  # fmt: skip
        account.audited += len(sample)
        account.mismatches += int((~proved).sum())

    def _lists(self, listeners: Listeners, pools: Pools, found: Before) -> Lists:
        """Every listener's list: chosen from the head of the pool, or a fallback, which is not re-ranked."""
        candidates, scores = self._blend(listeners, *pools.heads(self.considered))
        heads, scores, propensities = self._choose(listeners, candidates, scores)
        without = np.flatnonzero(~pools.personal)
        sources = [ALS] * len(pools.personal)
        if not len(without):
            return Lists(heads, scores, sources, propensities)
        markets = listeners.rows.column("market")
        lists = [
            self.fallbacks.list_for(
                markets[place].as_py(), listeners.classes[place], listeners.seen.row(place), found.listed(place)
            )
            for place in without.tolist()
        ]
        for place, (_, _, source) in zip(without.tolist(), lists, strict=True):
            sources[place] = source
        offsets = np.concatenate([[0], np.cumsum([len(positions) for positions, _, _ in lists])])
        others = Rows(offsets, np.concatenate([positions for positions, _, _ in lists]))
        together, all_scores = filled(heads, scores, without, others, np.concatenate([score for _, score, _ in lists]))
        return Lists(together, all_scores, sources, propensities)

    def _choose(self, listeners: Listeners, candidates: Rows, scores: Floats) -> tuple[Rows, Floats, pa.Array]:
        """The third stage: lists from candidates in order, their scores and propensities."""
        if self.reranker is None:
            heads, scores = candidates.heads(scores, self.settings.top_k)
            return heads, scores, pa.nulls(listeners.rows.num_rows, pa.list_(pa.float64()))
        user_ids = listeners.rows.column("user_id")
        lists, scores, propensities = self.reranker.lists(
            user_ids, candidates, scores, listeners.entries, self.settings.top_k
        )
        explored = self.reranker.were_explored(lists)
        rows, propensities = _only(lists, propensities, explored)
        offsets = pa.array(rows.offsets.astype(np.int32))
        return lists, scores, pa.ListArray.from_arrays(offsets, pa.array(propensities), mask=pa.array(~explored))

    def _blend(self, listeners: Listeners, candidates: Rows, scores: Floats) -> tuple[Rows, Floats]:
        """The second stage: candidates in the order of the factors and their neighbourhoods together."""
        rows, model = listeners.entries, self.model
        return blend(
            candidates, scores, rows.offsets, rows.columns, rows.confidences,
            model.neighbours, model.similarities, model.settings.neighbour_weight,
        )  # fmt: skip

    def _pool_rows(self, listeners: Listeners, pools: Pools, found: Before, lists: Lists) -> pa.Table:
        """Rows of `pools`: a list that was carried on without factors is a pool as deep as the list."""
        count, sources = len(pools.personal), pa.array(lists.sources, pa.string())
        deep, deep_scores = _only(pools.items, pools.scores, pools.personal)
        of_previous = np.asarray(pc.equal(sources, PREVIOUS))
        carried_on, their_scores = _only(lists.items, lists.scores, of_previous)
        items, all_scores = filled(
            deep, deep_scores, np.flatnonzero(of_previous), carried_on.take(np.flatnonzero(of_previous)), their_scores
        )
        offsets = pa.array(items.offsets.astype(np.int32))
        item_indexes = pa.array(self.model.item_indexes[items.positions])
        personal = pa.array(pools.personal)
        carried = pa.array(pools.personal & (pools.reasons == Reason.CARRIED))
        tonight = pa.repeat(pa.scalar(self.run_date), count)
        rankable = pa.array(self.markets.digests).take(pa.array(listeners.classes))
        columns = {
            "user_id": listeners.rows.column("user_id"),
            "source": sources,
            "items": pa.ListArray.from_arrays(offsets, item_indexes),
            "scores": pa.ListArray.from_arrays(offsets, pa.array(all_scores)),
            "listed": pa.array(lists.items.lengths.astype(np.int32)),
            "row_digest": listeners.rows.column("digest"),
            "model_version": pa.repeat(self.model.version, count),
            "build": pa.repeat(self.build, count),
            "rankable": rankable,
            "valid_until": listeners.valid_until,
            "norm": pc.if_else(personal, pa.array(pools.norms), None),
            "bound": pc.if_else(pc.and_(personal, pc.is_finite(pa.array(pools.bounds))), pa.array(pools.bounds), None),
            "computed_on": pc.if_else(carried, found.facts["computed_on"].combine_chunks(), tonight),
        }
        return pa.table(columns).filter(pa.array(pools.personal | of_previous))

    def _list_rows(self, listeners: Listeners, lists: Lists) -> pa.Table:
        count, sources = listeners.rows.num_rows, pa.array(lists.sources, pa.string())
        item_ids = self.model.item_ids.take(pa.array(lists.items.positions))
        pairs = pa.StructArray.from_arrays([item_ids, pa.array(lists.scores)], names=["item_id", "score"])
        columns = {
            "user_id": listeners.rows.column("user_id"),
            "market": listeners.rows.column("market"),
            "arm": pa.repeat(CONTROL, count),
            "items": pa.ListArray.from_arrays(pa.array(lists.items.offsets.astype(np.int32)), pairs),
            "propensities": lists.propensities,
            "source": sources,
            "model_version": pa.repeat(self.model.version, count),
            "candidates": pa.array(listeners.candidates.astype(np.int32)),
            "digest": self._digests(lists.items, lists.scores, sources),
        }
        return pa.table(columns)

    def _digests(self, lists: Rows, scores: Floats, sources: pa.Array) -> pa.Array:
        """64 bits of every list and its source, in hexadecimal."""
        place = np.arange(len(scores)) - np.repeat(lists.offsets[:-1], lists.lengths)
        entries = self.item_hashes[lists.positions] ^ spread(scores.view(np.uint64) + place.astype(np.uint64))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(spread(entries), dtype=np.uint64)])[lists.offsets]
        digests = spread((sums[1:] - sums[:-1]) ^ hash_ids(sources, 0))
        return pa.array([f"{digest:016x}" for digest in digests.tolist()])


def _only(rows: Rows, values: Floats, kept: Mask) -> tuple[Rows, Floats]:
    """Empty the rows that are not kept."""
    entries = np.repeat(kept, rows.lengths)
    return rows.where(entries), values[entries]
