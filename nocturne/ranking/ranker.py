"""The ranker: interactions + a model -> every listener's pool and list for the night.

Listeners who heard an item of the model get the exact top of the catalogue: the pool of the night before where it
still stands, a new one where it may not. All others get a fallback: the list of the night before, what their market
hears most, or what everyone hears most.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Factors, Floats, Mask
from nocturne.core.csr import CsrRows, fill_empty_rows
from nocturne.core.experiment import CONTROL
from nocturne.core.hashing import Hashes, hash_ids
from nocturne.core.list_arrays import marked_places
from nocturne.core.sections import RankingSettings
from nocturne.ingestion.interactions import EPOCH
from nocturne.kernel.audit import audit
from nocturne.kernel.autotune import KernelPlan, autotune, rank
from nocturne.kernel.layout import Eligible, ItemLayout
from nocturne.kernel.merge import merge
from nocturne.kernel.numeric_build import numeric_build
from nocturne.kernel.places import places_in
from nocturne.kernel.query import Query
from nocturne.kernel.solve import solve_users
from nocturne.kernel.warm_start import still_allowed
from nocturne.ranking.additions import Additions
from nocturne.ranking.eligibility import Markets
from nocturne.ranking.fallbacks import PREVIOUS, Fallbacks
from nocturne.ranking.listeners import ListenerFactors, Listeners
from nocturne.ranking.lists import Lists, SecondStage, digests, list_entries
from nocturne.ranking.pools import (
    ALS,
    CarryOver,
    CarryOverInputs,
    Pools,
    PreviousPools,
    RecomputeReason,
    plan_carry_over,
)
from nocturne.ranking.reranker import Reranker
from nocturne.ranking.shelf_rows import shelf_rows
from nocturne.ranking.shelves import ShelfRanker, Shelves
from nocturne.ranking.stats import RankingStats
from nocturne.storage.contracts import contract
from nocturne.training.model import Model

DEFAULT_PLAN = KernelPlan(blocks_per_panel=16, warm_start=False)


class Ranked(NamedTuple):
    """Rows of the tables of ranking, without run_date and bucket: `pools`, `ranked_lists` and `shelf_lists`."""

    pools: pa.Table
    lists: pa.Table
    shelf_lists: pa.Table


@dataclass(frozen=True)
class Ranker:
    """All that ranking needs beside the listeners' rows: the same on every executor.

    Attributes:
        items: the model's items, laid out.
        markets: what may be listed tonight.
        previous_markets: what might be listed on the night that pools are carried over from; None without one.
        audit_share: share of the listeners whose pools are proved.
        kernel_plan: how the exact top is found; it changes no list.
        reranker: how lists are chosen from the candidates; None: they are their heads.
        shelf_ranker: of the lists of each content type; None: nobody gets these.
    """

    model: Model
    items: ItemLayout
    markets: Markets
    previous_markets: Markets | None
    run_date: date
    settings: RankingSettings
    audit_share: float
    kernel_plan: KernelPlan = DEFAULT_PLAN
    reranker: Reranker | None = None
    shelf_ranker: ShelfRanker | None = None

    @cached_property
    def considered(self) -> int:
        """Items at the head of a pool that a list is chosen from, count."""
        return max(self.settings.top_k, self.settings.candidates)

    @cached_property
    def depth(self) -> int:
        """Items in a full pool, count."""
        return self.considered + self.settings.reserve

    @cached_property
    def build(self) -> str:
        """Hash of the numeric build, and the settings that a pool depends on beside the row and the model."""
        return f"{numeric_build()}-{self.depth}-{self.settings.let_back_after_days}"

    @cached_property
    def eligible(self) -> Eligible:
        """The markets' masks, laid out as the items are."""
        return Eligible.of(self.markets.masks, self.items)

    @cached_property
    def additions(self) -> Additions:
        """Items that may be listed since the night before."""
        then = self.previous_markets or self.markets
        return Additions(then.masks[: then.plain], self.markets.masks[: self.markets.plain])

    @cached_property
    def solved_by(self) -> Factors:
        """The factors of items that listeners are solved by; shape (items, factors)."""
        encoder = self.model.encoder
        if not encoder:
            return self.items.factors
        return np.ascontiguousarray(self.items.factors[:, : -encoder.shape.width])

    @cached_property
    def embeddings(self) -> Factors:
        """Embeddings of the items, as the model's encoder reads them; of no items without one."""
        return self.model.encoder.embeddings(self.items.factors) if self.model.encoder else self.items.factors[:0]

    @cached_property
    def fallbacks(self) -> Fallbacks:
        """Lists for listeners without factors."""
        return Fallbacks(self.model, self.markets, self.items.tie_order, self.settings.top_k)

    @cached_property
    def item_hashes(self) -> Hashes:
        """64 bits of each item id."""
        return hash_ids(self.model.item_ids, 0)

    def prepare(self) -> "Ranker":
        """Work out what depends on no listener, so that nobody who is sent this has to."""
        # A cached property that was read once is sent along with its value.
        for owner, name in (
            (self.model, "position"),
            (self.items, "place"),
            (self.items, "rounding"),
            (self, "solved_by"),
            (self, "embeddings"),
            (self, "eligible"),
            (self.additions, "counts"),
            (self.additions, "too_many"),
            (self, "item_hashes"),
            (self.fallbacks, "heads"),
            (self.fallbacks, "local"),
        ):
            getattr(owner, name)
        if self.shelf_ranker:
            self.shelf_ranker.prepare()
        return self

    def rank(self, rows: pa.RecordBatch, previous_rows: pa.Table, stats: RankingStats) -> Ranked:
        """Rank some listeners.

        What they get does not depend on how rows are cut into batches, nor on what is carried over.

        Args:
            rows: rows of `interactions`.
            previous_rows: rows of `pools` of the night before, aligned with them; null where there is none.
            stats: what is done is added to it.
        """
        with stats.timing("plan"):
            listeners, previous = self._read(rows, previous_rows)
            standing = self._plan(listeners, previous)
            factors = ListenerFactors(
                rows.num_rows, self.items.factors.shape[1], lambda some: self.solve(listeners, some)
            )
        with stats.timing("merge"):
            carry_over = self._merge(listeners, previous, standing, factors)
            computed = np.flatnonzero(listeners.in_model & ~carry_over.stands)
        with stats.timing("solve"):
            users = factors.of(computed)
            nonzero = users.any(axis=1)
            computed, users = computed[nonzero], users[nonzero]
        with stats.timing("score"):
            query = self._query(listeners, computed, users)
            top = rank(query, self.kernel_plan, previous.items_in_model().take(computed))
        pools, shelves = Pools.of(carry_over, previous, computed, top, users), None
        if self.shelf_ranker:
            with stats.timing("shelve"):
                shelves = self.shelf_ranker.shelve(listeners, previous, standing, pools, factors, self.kernel_plan)
        with stats.timing("audit"):
            self._audit(listeners, pools, shelves, stats)
        with stats.timing("assemble"):
            second_stage = SecondStage.of(*pools.heads(self.considered), listeners.entries, self.model)
            lists = self._lists(listeners, pools, previous, second_stage)
            stats.listeners += rows.num_rows
            stats.reasons.update(source for source in lists.sources if source != ALS)
            for reason, count in enumerate(np.bincount(pools.reasons[pools.personal])):
                stats.reasons[RecomputeReason(reason).stored_name] += int(count)
            pool_rows = self._pool_rows(listeners, pools, previous, lists, shelves)
            list_rows = self._list_rows(listeners, lists)
        with stats.timing("list shelves"):
            of_types = (
                shelf_rows(self.shelf_ranker, listeners, pools.personal, shelves, second_stage, self.item_hashes)
                if self.shelf_ranker and shelves
                else contract("shelf_lists").arrow_schema.empty_table()
            )
        return Ranked(pool_rows, list_rows, of_types)

    def autotune(self, rows: pa.RecordBatch, previous_rows: pa.Table) -> KernelPlan:
        """The fastest plan, measured on some listeners; the arguments are as `rank` takes them."""
        listeners, previous = self._read(rows, previous_rows)
        sample = np.flatnonzero(listeners.in_model)
        previous_lists = previous.items_in_model().take(sample)
        query = self._query(listeners, sample, self.solve(listeners, sample))
        return autotune(query, previous_lists if len(previous_lists.positions) else None)

    def _read(self, rows: pa.RecordBatch, previous_rows: pa.Table) -> tuple[Listeners, PreviousPools]:
        listeners = Listeners.of(rows, self.model, self.markets, self.settings.let_back_after_days, self.run_date)
        markets = self.previous_markets or self.markets
        of_listeners = rows.column("user_id"), rows.column("market")
        return listeners, PreviousPools.of(previous_rows, self.model, markets, *of_listeners)

    def _plan(self, listeners: Listeners, previous: PreviousPools) -> CarryOver:
        if not self.settings.carry_over:
            return CarryOver.nothing(listeners.rows.num_rows)
        return plan_carry_over(previous, self._inputs(listeners))

    def _inputs(self, listeners: Listeners) -> CarryOverInputs:
        return CarryOverInputs(
            row_digests=listeners.rows.column("digest"),
            classes=listeners.classes,
            model_version=self.model.version,
            build=self.build,
            markets=self.markets,
            previous_markets=self.previous_markets or self.markets,
            additions=self.additions,
            day=(self.run_date - EPOCH).days,
        )

    def _merge(
        self, listeners: Listeners, previous: PreviousPools, standing: CarryOver, factors: ListenerFactors
    ) -> CarryOver:
        """Put what was added since into the pools that it may reach; those still too short are to be computed."""
        stands = np.flatnonzero(standing.stands)
        then, now = previous.classes[stands], listeners.classes[stands]
        if not self.additions.of(then, now).any():
            return standing.without_short(listeners.candidates, self.considered)
        stored, norms = previous.factors_of(stands, self.items.factors.shape[1]), previous.numbers("norm")[stands]
        reached, added = self.additions.find_reaching(then, now, stored, norms, standing.bounds[stands], self.items)
        already_heard = listeners.already_heard.take(stands[reached])
        unheard = still_allowed(added, already_heard, now[reached], self.markets.masks)
        some = np.flatnonzero(unheard.lengths)
        reached = stands[reached[some]]
        top = merge(factors.of(reached), self.items, self.depth, standing.top(reached), unheard.take(some))
        return standing.merged(reached, top).without_short(listeners.candidates, self.considered)

    def solve(self, listeners: Listeners, some: Counts) -> Floats:
        """The factors of some listeners: solved, encoded, or both, one behind the other."""
        model, parts = self.model, []
        if width := self.solved_by.shape[1]:
            ridge, exponent = model.settings.regularization, model.settings.regularization_exponent
            rows = listeners.entries.take(some)
            parts.append(solve_users(self.solved_by, model.spectrum[:width], ridge, rows, exponent))
        if model.encoder:
            parts.append(model.encoder.vectors(self.embeddings, listeners.recent.take(some)))
        return np.concatenate(parts, axis=1)

    def _query(self, listeners: Listeners, some: Counts, users: Floats) -> Query:
        """A full pool for some listeners, of whom these are the factors."""
        already_heard, classes = listeners.already_heard.take(some), listeners.classes[some]
        return Query(users, self.items, self.depth, already_heard, classes, self.eligible)

    def _audit(self, listeners: Listeners, pools: Pools, shelves: Shelves | None, stats: RankingStats) -> None:
        """Prove the pools and shelves of a sample of listeners by scoring everything in float64."""
        hashes = hash_ids(listeners.rows.column("user_id"), (self.run_date - EPOCH).days)
        sample = np.flatnonzero(pools.personal & (hashes / 2.0**64 < self.audit_share))
        query = self._query(listeners, sample, self.solve(listeners, sample))
        of_types = self.shelf_ranker.tops(shelves, sample, query.users) if self.shelf_ranker and shelves else ()
        proved = audit(query, pools.top(sample), [*of_types])
        if self.shelf_ranker and shelves:
            proved &= self.shelf_ranker.audit_bridges(shelves, sample, listeners)
        stats.audited += len(sample)
        stats.mismatches += int((~proved).sum())

    def _lists(self, listeners: Listeners, pools: Pools, previous: PreviousPools, second_stage: SecondStage) -> Lists:
        """Every listener's list: chosen from the head of the pool, or a fallback, which is not re-ranked."""
        heads, scores, propensities = self._rerank(listeners, *second_stage.in_order())
        without = np.flatnonzero(~pools.personal)
        sources = [ALS] * len(pools.personal)
        if not len(without):
            return Lists(heads, scores, sources, propensities)
        markets = listeners.rows.column("market")
        fallbacks = [
            self.fallbacks.list_for(
                markets[listener].as_py(),
                listeners.classes[listener],
                listeners.already_heard.row(listener),
                previous.listed(listener),
            )
            for listener in without.tolist()
        ]
        for listener, (_, _, source) in zip(without.tolist(), fallbacks, strict=True):
            sources[listener] = source
        offsets = np.concatenate([[0], np.cumsum([len(positions) for positions, _, _ in fallbacks])])
        others = CsrRows(offsets, np.concatenate([positions for positions, _, _ in fallbacks]))
        other_scores = np.concatenate([score for _, score, _ in fallbacks])
        return Lists(*fill_empty_rows(heads, scores, without, others, other_scores), sources, propensities)

    def _rerank(self, listeners: Listeners, candidates: CsrRows, scores: Floats) -> tuple[CsrRows, Floats, pa.Array]:
        """The third stage: lists from candidates in order, their scores and propensities."""
        top_k = self.settings.top_k
        if self.reranker is None:
            heads, scores = candidates.heads(scores, top_k)
            return heads, scores, pa.nulls(listeners.rows.num_rows, pa.list_(pa.float64()))
        user_ids = listeners.rows.column("user_id")
        lists, scores, propensities = self.reranker.rerank(user_ids, candidates, scores, listeners.entries, top_k)
        explored = self.reranker.were_explored(lists)
        rows, propensities = _only(lists, propensities, explored)
        offsets = pa.array(rows.offsets.astype(np.int32))
        return lists, scores, pa.ListArray.from_arrays(offsets, pa.array(propensities), mask=pa.array(~explored))

    def _pool_rows(
        self, listeners: Listeners, pools: Pools, previous: PreviousPools, lists: Lists, shelves: Shelves | None
    ) -> pa.Table:
        """Rows of `pools`: a list that was carried on without factors is a pool as deep as the list."""
        count, sources = len(pools.personal), pa.array(lists.sources, pa.string())
        deep, deep_scores = _only(pools.items, pools.scores, pools.personal)
        of_previous = np.asarray(pc.equal(sources, PREVIOUS))
        carried_on, their_scores = _only(lists.items, lists.scores, of_previous)
        items, all_scores = fill_empty_rows(
            deep, deep_scores, np.flatnonzero(of_previous), carried_on.take(np.flatnonzero(of_previous)), their_scores
        )
        listed, _ = _only(lists.items, lists.scores, pools.personal | of_previous)
        places = pa.array(places_in(listed, items, len(self.model.item_indexes)))
        offsets = pa.array(items.offsets.astype(np.int32))
        item_indexes = pa.array(self.model.item_indexes[items.positions])
        personal = pa.array(pools.personal)
        carried = pa.array(pools.personal & pools.stands)
        tonight = pa.repeat(pa.scalar(self.run_date), count)
        rankable = pa.array(self.markets.digests).take(pa.array(listeners.classes))
        beyond, beyond_scores = shelves.beyond_pool() if shelves else (CsrRows.empty(count), np.zeros(0, np.float32))
        shelf_offsets = pa.array(beyond.offsets.astype(np.int32))
        columns = {
            "user_id": listeners.rows.column("user_id"),
            "source": sources,
            "items": pa.ListArray.from_arrays(offsets, item_indexes),
            "scores": pa.ListArray.from_arrays(offsets, pa.array(all_scores)),
            "listed": pa.ListArray.from_arrays(pa.array(listed.offsets.astype(np.int32)), places),
            "shelf_items": pa.ListArray.from_arrays(shelf_offsets, pa.array(self.model.item_indexes[beyond.positions])),
            "shelf_scores": pa.ListArray.from_arrays(shelf_offsets, pa.array(beyond_scores)),
            "row_digest": listeners.rows.column("digest"),
            "model_version": pa.repeat(self.model.version, count),
            "build": pa.repeat(self.build, count),
            "rankable": rankable,
            "valid_until": listeners.valid_until,
            "factors": _rows_or_null(pools.factors, pools.personal),
            "norm": pc.if_else(personal, pa.array(pools.norms), None),
            "bound": pc.if_else(pc.and_(personal, pc.is_finite(pa.array(pools.bounds))), pa.array(pools.bounds), None),
            "computed_on": pc.if_else(carried, previous.columns["computed_on"].combine_chunks(), tonight),
        }
        return pa.table(columns).filter(pa.array(pools.personal | of_previous))

    def _list_rows(self, listeners: Listeners, lists: Lists) -> pa.Table:
        count, sources = listeners.rows.num_rows, pa.array(lists.sources, pa.string())
        columns = {
            "user_id": listeners.rows.column("user_id"),
            "market": listeners.rows.column("market"),
            "arm": pa.repeat(CONTROL, count),
            "items": list_entries(self.model.item_ids, lists.items, pa.array(lists.scores)),
            "propensities": lists.propensities,
            "cold": marked_places(lists.items.offsets, self.model.cold[lists.items.positions]),
            "source": sources,
            "model_version": pa.repeat(self.model.version, count),
            "candidates": pa.array(listeners.candidates.astype(np.int32)),
            "digest": digests(self.item_hashes, lists.items, lists.scores, sources),
        }
        return pa.table(columns)


def _rows_or_null(matrix: Factors, present: Mask) -> pa.ListArray:
    """The rows of a matrix as lists; null for those that are not there."""
    ends = np.concatenate([[0], np.cumsum(present)]).astype(np.int32) * np.int32(matrix.shape[1])
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(matrix[present].ravel()), mask=pa.array(~present))


def _only(rows: CsrRows, values: Floats, mask: Mask) -> tuple[CsrRows, Floats]:
    """The same rows, empty but for those of the mask."""
    entries = np.repeat(mask, rows.lengths)
    return rows.where(entries), values[entries]
