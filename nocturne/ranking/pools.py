"""Carry-over: pools of the night before that need not be computed again.

A pool is the exact top of what a listener may get, deeper than their list. Between two nights it can only change
by the listener's row, the model, the numbers' build, an item let back to the listener, and what may be listed in
their market. Items that may no longer be listed leave the pool, and what is left is the exact top of the rest;
items that may be listed since are merged into it where they reach it.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Factors, Floats, Indexes, Mask
from nocturne.core.csr import CsrRows, entries_of, fill_empty_rows
from nocturne.kernel.top_k import Top
from nocturne.ranking.additions import Additions
from nocturne.ranking.eligibility import Classes, Markets
from nocturne.training.confidences import columns_of
from nocturne.training.model import Model

ALS = "als"


class RecomputeReason(IntEnum):
    """Why a pool is computed; CARRIED when it is not, FORCED when settings say so.

    MERGED pools are carried over too, with added items in their places; ITEM_ADDED is for too many of those.
    PLAN_CHANGED is for listeners with a plan, now or then, who may get other items than then.
    """

    CARRIED = 0
    NEW_LISTENER = 1
    ROW_CHANGED = 2
    MODEL_CHANGED = 3
    BUILD_CHANGED = 4
    ITEM_LET_BACK = 5
    CATALOGUE_UNKNOWN = 6
    ITEM_ADDED = 7
    POOL_SHORT = 8
    FORCED = 9
    MERGED = 10
    PLAN_CHANGED = 11

    @property
    def stored_name(self) -> str:
        """Its key in `rankings.reasons`, where FORCED keeps the name of the first nights."""
        return "asked_for" if self is RecomputeReason.FORCED else self.name.lower()


@dataclass(frozen=True)
class PreviousPools:
    """The pools of an earlier night, aligned with the listeners of tonight.

    Attributes:
        columns: row_digest, model_version, build, rankable, valid_until, factors, norm, bound, listed and source as in
            `pools`, null where there is none.
        items: positions in tonight's model of the pool's items, best first; -1 for items that it lacks.
        scores: aligned with the items.
        shelf_items: the same of what is beyond the pool.
        shelf_scores: aligned with them, single precision.
        classes: class of the listener's market that night.
    """

    columns: pa.Table
    items: CsrRows
    scores: Floats
    shelf_items: CsrRows
    shelf_scores: npt.NDArray[np.float32]
    classes: Classes

    @classmethod
    def of(
        cls, pools: pa.Table, model: Model, previous_markets: Markets, user_ids: pa.Array, markets: pa.Array
    ) -> "PreviousPools":
        """Read the pools of an earlier night with positions in tonight's model.

        Args:
            pools: rows of `pools`, null where a listener has none.
            previous_markets: what might be listed that night.
            user_ids, markets: of the listeners, as in `interactions`.
        """
        items, shelf_items = (_positions(pools[name], model) for name in ("items", "shelf_items"))
        scores, shelf_scores = (_entries(pools[name].combine_chunks()) for name in ("scores", "shelf_scores"))
        columns = pools.drop(["items", "scores", "shelf_items", "shelf_scores"])
        return cls(columns, items, scores, shelf_items, shelf_scores, previous_markets.of_listeners(user_ids, markets))

    def items_in_model(self) -> CsrRows:
        """The pools without the items that tonight's model lacks."""
        return self.items.where(self.items.positions >= 0)

    def numbers(self, name: str) -> Floats:
        """One of the columns; NaN where it is null."""
        return np.asarray(self.columns[name].cast(pa.float64()).to_numpy())

    def factors(self, carried: Mask, width: int) -> Factors:
        """The factors of listeners whose pool is carried over; zeros for the others; shape (listeners, factors)."""
        factors = np.zeros((len(carried), width), np.float32)
        factors[carried] = self.factors_of(np.flatnonzero(carried), width)
        return factors

    def factors_of(self, listeners: Counts, width: int) -> Factors:
        """The factors of some listeners with a pool; shape (listeners, factors)."""
        stored: Factors = _entries(self.columns["factors"].take(pa.array(listeners)).combine_chunks())
        return stored.reshape(-1, width)

    def listed(self, listener: int) -> Indexes:
        """The positions of the listener's list, best first; -1 for items that tonight's model lacks."""
        places = self.columns["listed"][listener].as_py() or []
        return self.items.row(listener)[np.array(places, np.int64)]


@dataclass(frozen=True)
class CarryOverInputs:
    """Tonight's side of the comparison that decides whether pools stand.

    Attributes:
        row_digests: as in `interactions`.
        classes: class of the listener's market.
        previous_markets: what might be listed that night, as its catalogue says today.
        additions: of the model's items.
        day: the night, in days since 1970-01-01.
    """

    row_digests: pa.Array
    classes: Classes
    model_version: str
    build: str
    markets: Markets
    previous_markets: Markets
    additions: Additions
    day: int


@dataclass(frozen=True)
class CarryOver:
    """Every listener's reason to compute their pool, and the pools that need not be.

    Attributes:
        reasons: a RecomputeReason each; shape (listeners,).
        items: of the pools that stand, those that may still be listed, best first; none for the others.
        scores: aligned with the items.
        bounds: upper bound of the score of items outside a pool that stands; shape (listeners,).
    """

    reasons: npt.NDArray[np.int8]
    items: CsrRows
    scores: Floats
    bounds: Floats

    @classmethod
    def nothing(cls, listeners: int) -> "CarryOver":
        """Every pool is computed."""
        reasons = np.full(listeners, RecomputeReason.FORCED, dtype=np.int8)
        return cls(reasons, CsrRows.empty(listeners), np.zeros(0), np.full(listeners, -np.inf))

    @property
    def stands(self) -> Mask:
        """True for pools that need not be computed; shape (listeners,)."""
        return _stand(self.reasons)

    def top(self, listeners: Counts) -> Top:
        """The pools of some listeners."""
        return _top_of(self.items, self.scores, self.bounds, listeners)

    def merged(self, listeners: Counts, tops: Top) -> "CarryOver":
        """The same with other pools for some listeners, ascending, into which additions were merged."""
        reasons, bounds = self.reasons.copy(), self.bounds.copy()
        reasons[listeners], bounds[listeners] = RecomputeReason.MERGED, tops.bounds
        others = np.ones(len(reasons), dtype=np.bool_)
        others[listeners] = False
        of_others = np.repeat(others, self.items.lengths)
        rows, values = self.items.where(of_others), self.scores[of_others]
        return CarryOver(reasons, *fill_empty_rows(rows, values, listeners, tops.lists, tops.scores), bounds)

    def without_short(self, candidates: Counts, candidates_needed: int) -> "CarryOver":
        """The same, but that pools with too few items for a list, of more that there are, are to be computed.

        Args:
            candidates: items that each listener may get; shape (listeners,).
        """
        lengths = self.items.lengths
        short = self.stands & (lengths < candidates_needed) & (lengths != candidates)
        reasons = np.where(short, np.int8(RecomputeReason.POOL_SHORT), self.reasons)
        long_enough = np.repeat(~short, lengths)
        return CarryOver(reasons, self.items.where(long_enough), self.scores[long_enough], self.bounds)


@dataclass(frozen=True)
class Pools:
    """Every listener's pool: carried over or computed; empty for those of whom the model knows nothing.

    Attributes:
        reasons: a RecomputeReason each; shape (listeners,).
        personal: who has a pool; shape (listeners,).
        items: positions, best first.
        scores: aligned with the items.
        factors: of the listener; zeros without any; shape (listeners, factors).
        norms: norm of the listener's factors; shape (listeners,).
        bounds: upper bound of the score of items outside the pool; -inf if there are none; shape (listeners,).
    """

    reasons: npt.NDArray[np.int8]
    personal: Mask
    items: CsrRows
    scores: Floats
    factors: Factors
    norms: Floats
    bounds: Floats

    @classmethod
    def of(cls, carry_over: CarryOver, previous: PreviousPools, computed: Counts, top: Top, users: Floats) -> "Pools":
        """Put together what is carried over and what was computed.

        Args:
            computed: the listeners of `top` and `users`, ascending.
            users: their factors.
        """
        personal = carry_over.stands
        personal[computed] = True
        items, scores = fill_empty_rows(carry_over.items, carry_over.scores, computed, top.lists, top.scores)
        norms, bounds = previous.numbers("norm").copy(), carry_over.bounds.copy()
        norms[computed], bounds[computed] = np.sqrt(np.einsum("uf,uf->u", users, users)), top.bounds
        factors = previous.factors(carry_over.stands, users.shape[1])
        factors[computed] = users
        return cls(carry_over.reasons, personal, items, scores, factors, norms, bounds)

    def top(self, listeners: Counts) -> Top:
        """The pools of some listeners."""
        return _top_of(self.items, self.scores, self.bounds, listeners)

    @property
    def stands(self) -> Mask:
        """True for pools that were not computed; shape (listeners,)."""
        return _stand(self.reasons)

    def heads(self, k: int) -> tuple[CsrRows, Floats]:
        """The first k of every pool, and their scores."""
        return self.items.heads(self.scores, k)


def plan_carry_over(previous: PreviousPools, inputs: CarryOverInputs) -> CarryOver:
    """Decide for every listener whether the pool of the earlier night still stands, without what was added since.

    Example: a pool whose row, model and build are the same, and two of whose items may no longer be listed, is carried
    over without them.
    """
    listeners = len(previous.classes)
    owner = np.repeat(np.arange(listeners), np.diff(previous.items.offsets))
    positions = previous.items.positions
    listable = (positions >= 0) & inputs.markets.masks[inputs.classes[owner], positions]
    rankable = pa.array(inputs.previous_markets.digests, pa.string()).take(pa.array(previous.classes))
    columns = previous.columns
    tests = {
        RecomputeReason.NEW_LISTENER: _differ(columns["source"], ALS),
        RecomputeReason.MODEL_CHANGED: _differ(columns["model_version"], inputs.model_version),
        RecomputeReason.ROW_CHANGED: _differ(columns["row_digest"], inputs.row_digests),
        RecomputeReason.BUILD_CHANGED: _differ(columns["build"], inputs.build),
        RecomputeReason.ITEM_LET_BACK: _true(pc.less_equal(columns["valid_until"].cast(pa.int32()), inputs.day)),
        RecomputeReason.CATALOGUE_UNKNOWN: _differ(columns["rankable"], rankable),
        RecomputeReason.PLAN_CHANGED: _planned_otherwise(previous, inputs),
        RecomputeReason.ITEM_ADDED: inputs.additions.are_too_many(previous.classes, inputs.classes),
    }
    reasons = np.select(list(tests.values()), [np.int8(reason) for reason in tests], np.int8(RecomputeReason.CARRIED))
    listable &= (reasons == RecomputeReason.CARRIED)[owner]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[listable], minlength=listeners))])
    bounds = np.fmax(previous.numbers("bound"), -np.inf)
    return CarryOver(reasons.astype(np.int8), CsrRows(offsets, positions[listable]), previous.scores[listable], bounds)


def _planned_otherwise(previous: PreviousPools, inputs: CarryOverInputs) -> Mask:
    """True for listeners with a plan, tonight or then, who might not get the same items then."""
    planned = (previous.classes >= inputs.previous_markets.plain) | (inputs.classes >= inputs.markets.plain)
    tonight = pa.array(inputs.markets.digests, pa.string()).take(pa.array(inputs.classes))
    return planned & _differ(previous.columns["rankable"], tonight)


def _stand(reasons: npt.NDArray[np.int8]) -> Mask:
    return np.isin(reasons, (RecomputeReason.CARRIED, RecomputeReason.MERGED))


def _top_of(items: CsrRows, scores: Floats, bounds: Floats, listeners: Counts) -> Top:
    offsets, entries = entries_of(items.offsets, listeners)
    return Top(CsrRows(offsets, items.positions[entries]), scores[entries], bounds[listeners])


def _differ(stored: pa.ChunkedArray, expected: pa.Array | str) -> Mask:
    return ~_true(pc.equal(stored, expected))


def _true(answers: pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(answers, False))


def _positions(column: pa.ChunkedArray, model: Model) -> CsrRows:
    lists = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    return CsrRows(np.concatenate([[0], np.cumsum(lengths)]), columns_of(_entries(lists), model.position))


def _entries(lists: pa.ListArray) -> npt.NDArray[Any]:
    return np.asarray(pc.list_flatten(lists).to_numpy())
