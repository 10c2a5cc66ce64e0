"""Which listeners' pools are still what computing them again would give.

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

from nocturne.core.csr import Rows, entries_of, filled
from nocturne.kernel.top_k import Top
from nocturne.ranking.eligibility import Classes, Markets, Mask
from nocturne.training.model import Counts, Floats, Indexes, Model, columns_of

ALS = "als"


class Reason(IntEnum):
    """Why a pool is computed; CARRIED when it is not."""

    CARRIED = 0
    NEW_LISTENER = 1
    ROW_CHANGED = 2
    MODEL_CHANGED = 3
    BUILD_CHANGED = 4
    ITEM_LET_BACK = 5
    CATALOGUE_UNKNOWN = 6
    ITEM_ADDED = 7
    POOL_SHORT = 8
    ASKED_FOR = 9


@dataclass(frozen=True)
class Before:
    """The pools of an earlier night, aligned with the listeners of tonight.

    Attributes:
        facts: row_digest, model_version, build, rankable, valid_until, norm, bound, listed and source as in `pools`,
            null where there is none.
        items: positions in tonight's model of what the pool held, best first; -1 for items that it lacks.
        scores: aligned with the items.
        classes: class of the listener's market that night.
    """

    facts: pa.Table
    items: Rows
    scores: Floats
    classes: Classes

    @classmethod
    def of(cls, pools: pa.Table, model: Model, markets_before: Markets, markets: pa.Array) -> "Before":
        """See the pools of an earlier night through a model.

        Args:
            pools: rows of `pools`, null where a listener has none.
            markets: the listeners' markets, as in `interactions`.
        """
        held = pools["items"].combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(held), 0).to_numpy()
        items = Rows(np.concatenate([[0], np.cumsum(lengths)]), columns_of(_entries(held), model.position))
        scores = _entries(pools["scores"].combine_chunks())
        return cls(pools.drop(["items", "scores"]), items, scores, markets_before.of(markets))

    def numbers(self, name: str) -> Floats:
        """A column of facts; NaN where it is null."""
        return np.asarray(self.facts[name].cast(pa.float64()).to_numpy())

    def listed(self, listener: int) -> Indexes:
        """What was listed for the listener, best first."""
        return self.items.row(listener)[: self.facts["listed"][listener].as_py() or 0]


@dataclass(frozen=True)
class Tonight:
    """What pools are held against, of each listener.

    Attributes:
        row_digests: as in `interactions`.
        classes: class of the listener's market.
        candidates: items that the listener may get; shape (listeners,).
        needed: items that a list is chosen from.
        day: the night, in days since 1970-01-01.
    """

    row_digests: pa.Array
    classes: Classes
    candidates: Counts
    model_version: str
    build: str
    markets: Markets
    needed: int
    day: int


@dataclass(frozen=True)
class Plan:
    """What becomes of each listener's pool.

    Attributes:
        reasons: a Reason each; shape (listeners,).
        items: what is left of the pools that are carried over, best first; none for the others.
        scores: aligned with the items.
        bounds: upper bound of the score of what is not in a pool that is carried over; shape (listeners,).
    """

    reasons: npt.NDArray[np.int8]
    items: Rows
    scores: Floats
    bounds: Floats

    @classmethod
    def everyone(cls, listeners: int) -> "Plan":
        """Compute every pool, whatever there is."""
        reasons = np.full(listeners, Reason.ASKED_FOR, dtype=np.int8)
        return cls(reasons, Rows.empty(listeners), np.zeros(0), np.full(listeners, -np.inf))


@dataclass(frozen=True)
class Pools:
    """Every listener's pool: carried over or computed; empty for those of whom the model knows nothing.

    Attributes:
        reasons: a Reason each; shape (listeners,).
        personal: who has a pool; shape (listeners,).
        items: positions, best first.
        scores: aligned with the items.
        norms: norm of the listener's factors; shape (listeners,).
        bounds: upper bound of the score of what is not in the pool; -inf if that is nothing; shape (listeners,).
    """

    reasons: npt.NDArray[np.int8]
    personal: Mask
    items: Rows
    scores: Floats
    norms: Floats
    bounds: Floats

    @classmethod
    def of(cls, planned: Plan, before: Before, computed: Counts, top: Top, norms: Floats) -> "Pools":
        """Put together what is carried over and what was computed.

        Args:
            computed: the listeners of `top` and `norms`, ascending.
        """
        personal = planned.reasons == Reason.CARRIED
        personal[computed] = True
        items, scores = filled(planned.items, planned.scores, computed, top.lists, top.scores)
        all_norms, bounds = before.numbers("norm").copy(), planned.bounds.copy()
        all_norms[computed], bounds[computed] = norms, top.bounds
        return cls(planned.reasons, personal, items, scores, all_norms, bounds)

    def top(self, listeners: Counts) -> Top:
        """The pools of some listeners."""
        offsets, entries = entries_of(self.items.offsets, listeners)
        return Top(Rows(offsets, self.items.positions[entries]), self.scores[entries], self.bounds[listeners])

    def heads(self, k: int) -> tuple[Rows, Floats]:
        """The first k of every pool, and their scores."""
        return self.items.heads(self.scores, k)


def plan(before: Before, markets_before: Markets | None, tonight: Tonight, reach: Floats) -> Plan:
    """Decide for every listener whether the pool of the earlier night still stands.

    Args:
        markets_before: what might be listed that night, as its catalogue says today.
        reach: for a class then and a class now, the largest norm, multipliers included, of what may be listed now
            and might not then; -inf if there is nothing; shape (classes then, classes now).
    """
    listeners = len(before.classes)
    owner = np.repeat(np.arange(listeners), np.diff(before.items.offsets))
    positions = before.items.positions
    kept = (positions >= 0) & tonight.markets.masks[tonight.classes[owner], positions]
    lengths = np.bincount(owner[kept], minlength=listeners)
    ends = np.cumsum(lengths)
    scores = before.scores[kept]
    worst = np.full(listeners, -np.inf)
    worst[lengths > 0] = scores[ends[lengths > 0] - 1]
    added = reach[before.classes, tonight.classes]
    # Where nothing was added, or there was no pool, there is nothing to compare.
    largest = np.where(added > -np.inf, added * before.numbers("norm") * (1 + 1e-9), -np.inf)
    short = (lengths < tonight.needed) & (lengths != tonight.candidates)
    known = tonight.markets if markets_before is None else markets_before
    rankable = pa.array(known.digests, pa.string()).take(pa.array(before.classes))
    tests = {
        Reason.NEW_LISTENER: _differ(before.facts["source"], ALS),
        Reason.MODEL_CHANGED: _differ(before.facts["model_version"], tonight.model_version),
        Reason.ROW_CHANGED: _differ(before.facts["row_digest"], tonight.row_digests),
        Reason.BUILD_CHANGED: _differ(before.facts["build"], tonight.build),
        Reason.ITEM_LET_BACK: _true(pc.less_equal(before.facts["valid_until"].cast(pa.int32()), tonight.day)),
        Reason.CATALOGUE_UNKNOWN: _differ(before.facts["rankable"], rankable),
        Reason.ITEM_ADDED: (added > -np.inf) & ~(largest < worst),
        Reason.POOL_SHORT: short,
    }
    reasons = np.select(list(tests.values()), [np.int8(reason) for reason in tests], np.int8(Reason.CARRIED))
    carried = reasons == Reason.CARRIED
    kept &= carried[owner]
    offsets = np.concatenate([[0], np.cumsum(np.where(carried, lengths, 0))])
    bounds = np.fmax(before.numbers("bound"), largest)
    return Plan(reasons.astype(np.int8), Rows(offsets, positions[kept]), before.scores[kept], bounds)


def reach_of_added(before: Markets, now: Markets, norms: Floats) -> Floats:
    """`reach` of `plan`.

    Args:
        norms: upper bound of each item's norm, multipliers included; shape (items,).
    """
    reach = np.full((len(before.masks), len(now.masks)), -np.inf)
    for then, may_then in enumerate(before.masks):
        for tonight, may_now in enumerate(now.masks):
            reach[then, tonight] = norms[may_now & ~may_then].max(initial=-np.inf)
    return reach


def _differ(found: pa.ChunkedArray, expected: pa.Array | str) -> Mask:
    return ~_true(pc.equal(found, expected))


def _true(answers: pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(answers, False))


def _entries(lists: pa.ListArray) -> npt.NDArray[Any]:
    return np.asarray(pc.list_flatten(lists).to_numpy())
