"""Carry-over: pools of the night before that need not be computed again.

A pool is the exact top of what a listener may get, deeper than their list. Between two nights it can only change
by the listener's row, the model, the numbers' build, an item let back to the listener, and what may be listed in
their market. Items that may no longer be listed leave the pool, and what is left is the exact top of the rest;
an item that may be listed again matters only if the largest score it could have reaches the end of the pool.
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
from nocturne.ranking.eligibility import Classes, Markets
from nocturne.training.confidences import columns_of
from nocturne.training.model import Model

ALS = "als"


class RecomputeReason(IntEnum):
    """Why a pool is computed; CARRIED when it is not, FORCED when settings say so."""

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
        classes: class of the listener's market that night.
    """

    columns: pa.Table
    items: CsrRows
    scores: Floats
    classes: Classes

    @classmethod
    def of(cls, pools: pa.Table, model: Model, previous_markets: Markets, markets: pa.Array) -> "PreviousPools":
        """Read the pools of an earlier night with positions in tonight's model.

        Args:
            pools: rows of `pools`, null where a listener has none.
            previous_markets: what might be listed that night.
            markets: the listeners' markets, as in `interactions`.
        """
        lists = pools["items"].combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        items = CsrRows(np.concatenate([[0], np.cumsum(lengths)]), columns_of(_entries(lists), model.position))
        scores = _entries(pools["scores"].combine_chunks())
        return cls(pools.drop(["items", "scores"]), items, scores, previous_markets.of(markets))

    def items_in_model(self) -> CsrRows:
        """The pools without the items that tonight's model lacks."""
        return self.items.where(self.items.positions >= 0)

    def numbers(self, name: str) -> Floats:
        """One of the columns; NaN where it is null."""
        return np.asarray(self.columns[name].cast(pa.float64()).to_numpy())

    def factors(self, carried: Mask, width: int) -> Factors:
        """The factors of listeners whose pool is carried over; zeros for the others; shape (listeners, factors)."""
        factors = np.zeros((len(carried), width), np.float32)
        stored = self.columns["factors"].filter(pa.array(carried)).combine_chunks()
        factors[carried] = _entries(stored).reshape(-1, width)
        return factors

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
        candidates: items that the listener may get; shape (listeners,).
        candidates_needed: items that a list is chosen from.
        day: the night, in days since 1970-01-01.
    """

    row_digests: pa.Array
    classes: Classes
    candidates: Counts
    model_version: str
    build: str
    markets: Markets
    candidates_needed: int
    day: int


@dataclass(frozen=True)
class CarryOver:
    """Every listener's reason to compute their pool, and the pools that need not be.

    Attributes:
        reasons: a RecomputeReason each; shape (listeners,).
        items: of the pools that are carried over, those that may still be listed, best first; none for the others.
        scores: aligned with the items.
        bounds: upper bound of the score of items outside a pool that is carried over; shape (listeners,).
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
        personal = carry_over.reasons == RecomputeReason.CARRIED
        personal[computed] = True
        items, scores = fill_empty_rows(carry_over.items, carry_over.scores, computed, top.lists, top.scores)
        norms, bounds = previous.numbers("norm").copy(), carry_over.bounds.copy()
        norms[computed], bounds[computed] = np.sqrt(np.einsum("uf,uf->u", users, users)), top.bounds
        factors = previous.factors(carry_over.reasons == RecomputeReason.CARRIED, users.shape[1])
        factors[computed] = users
        return cls(carry_over.reasons, personal, items, scores, factors, norms, bounds)

    def top(self, listeners: Counts) -> Top:
        """The pools of some listeners."""
        offsets, entries = entries_of(self.items.offsets, listeners)
        return Top(CsrRows(offsets, self.items.positions[entries]), self.scores[entries], self.bounds[listeners])

    def heads(self, k: int) -> tuple[CsrRows, Floats]:
        """The first k of every pool, and their scores."""
        return self.items.heads(self.scores, k)


def plan_carry_over(
    previous: PreviousPools, previous_markets: Markets, inputs: CarryOverInputs, added_norms: Floats
) -> CarryOver:
    """Decide for every listener whether the pool of the earlier night still stands.

    Example: a pool whose row, model and build are the same, and two of whose items may no longer be listed, is carried
    over without them, while it holds as many items as a list is chosen from.

    Args:
        previous_markets: what might be listed that night, as its catalogue says today.
        added_norms: as `largest_added_norm` gives them.
    """
    listeners = len(previous.classes)
    owner = np.repeat(np.arange(listeners), np.diff(previous.items.offsets))
    positions = previous.items.positions
    listable = (positions >= 0) & inputs.markets.masks[inputs.classes[owner], positions]
    lengths = np.bincount(owner[listable], minlength=listeners)
    ends = np.cumsum(lengths)
    scores = previous.scores[listable]
    worst = np.full(listeners, -np.inf)
    worst[lengths > 0] = scores[ends[lengths > 0] - 1]
    norms = added_norms[previous.classes, inputs.classes]
    # Where nothing was added, or there was no pool, there is nothing to compare.
    largest = np.where(norms > -np.inf, norms * previous.numbers("norm") * (1 + 1e-9), -np.inf)
    short = (lengths < inputs.candidates_needed) & (lengths != inputs.candidates)
    rankable = pa.array(previous_markets.digests, pa.string()).take(pa.array(previous.classes))
    columns = previous.columns
    tests = {
        RecomputeReason.NEW_LISTENER: _differ(columns["source"], ALS),
        RecomputeReason.MODEL_CHANGED: _differ(columns["model_version"], inputs.model_version),
        RecomputeReason.ROW_CHANGED: _differ(columns["row_digest"], inputs.row_digests),
        RecomputeReason.BUILD_CHANGED: _differ(columns["build"], inputs.build),
        RecomputeReason.ITEM_LET_BACK: _true(pc.less_equal(columns["valid_until"].cast(pa.int32()), inputs.day)),
        RecomputeReason.CATALOGUE_UNKNOWN: _differ(columns["rankable"], rankable),
        RecomputeReason.ITEM_ADDED: (norms > -np.inf) & ~(largest < worst),
        RecomputeReason.POOL_SHORT: short,
    }
    reasons = np.select(list(tests.values()), [np.int8(reason) for reason in tests], np.int8(RecomputeReason.CARRIED))
    carried = reasons == RecomputeReason.CARRIED
    listable &= carried[owner]
    offsets = np.concatenate([[0], np.cumsum(np.where(carried, lengths, 0))])
    bounds = np.fmax(previous.numbers("bound"), largest)
    return CarryOver(reasons.astype(np.int8), CsrRows(offsets, positions[listable]), previous.scores[listable], bounds)


def largest_added_norm(previous: Markets, tonight: Markets, norms: Floats) -> Floats:
    """The largest norm, multipliers included, of what may be listed tonight and might not then.

    Args:
        norms: upper bound of each item's norm, multipliers included; shape (items,).

    Returns:
        For a class then and a class now; -inf if nothing was added; shape (classes then, classes now).
    """
    largest = np.full((len(previous.masks), len(tonight.masks)), -np.inf)
    for class_then, listable_then in enumerate(previous.masks):
        for class_now, listable_now in enumerate(tonight.masks):
            largest[class_then, class_now] = norms[listable_now & ~listable_then].max(initial=-np.inf)
    return largest


def _differ(stored: pa.ChunkedArray, expected: pa.Array | str) -> Mask:
    return ~_true(pc.equal(stored, expected))


def _true(answers: pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(answers, False))


def _entries(lists: pa.ListArray) -> npt.NDArray[Any]:
    return np.asarray(pc.list_flatten(lists).to_numpy())
