"""The filling of a list from ordered candidates: size, items of one creator, and unlikeness."""

from typing import Protocol

import numpy as np

from nocturne.core.arrays import Codes, Floats, Indexes
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import Exploration, RerankRules, Traits
from nocturne.kernel.rerank import rerank
from nocturne.steering.plan import Plan


class Measured(Protocol):
    """A catalogue with what lists are measured by."""

    @property
    def creators(self) -> Codes:
        """The creator of each item, numbered; -1 without one; shape (items,)."""

    @property
    def traits(self) -> Traits:
        """Creators, content types and tags, for unlikeness."""

    def amounts(self, field: str) -> Floats:
        """`duration` in seconds; NaN where it is unknown; shape (items,)."""


def fill(candidates: Indexes, scores: Floats, plan: Plan, catalogue: Measured, wanted: int) -> list[int]:
    """Places among the candidates of the items of a list, in its order.

    The best candidate is taken that keeps within the minutes that are left and has a creator with room, then the next.
    With diversity those come first that the night's re-ranking chooses by the same strength, in the order of their
    scores.

    Args:
        candidates: numbers of items, best first.
        scores: falling, aligned with them.
        wanted: items at most.
    """
    order = _unlike_first(candidates, scores, plan, catalogue, wanted) if plan.diversity else np.arange(len(candidates))
    creators = catalogue.creators[candidates]
    left = np.inf if plan.size.minutes is None else 60 * plan.size.minutes
    seconds = np.zeros(len(candidates)) if plan.size.minutes is None else catalogue.amounts("duration")[candidates]
    used: dict[int, int] = {}
    places: list[int] = []
    for place in order.tolist():
        creator = int(creators[place])
        full = plan.max_per_creator is not None and creator >= 0 and used.get(creator, 0) >= plan.max_per_creator
        if full or not seconds[place] <= left:  # NaN is not
            continue
        places.append(place)
        used[creator] = used.get(creator, 0) + 1
        left -= seconds[place]
        if len(places) == wanted:
            break
    return places


class _NoRow:
    """A row of nothing heard: unlikeness does not depend on it."""

    offsets = np.zeros(2, np.int64)
    columns = np.zeros(0, np.int32)
    confidences = np.zeros(0)


def _unlike_first(candidates: Indexes, scores: Floats, plan: Plan, catalogue: Measured, wanted: int) -> Indexes:
    """Places of all candidates: those that the re-ranking chooses for unlikeness, and behind them the others."""
    if not len(candidates):
        return candidates
    rules = RerankRules(wanted, plan.max_per_creator or 0, 0, plan.diversity or 0.0, 0.0, 0.0)
    nothing_drawn = Exploration(np.zeros(0, np.int64), np.zeros((1, 0)), 1.0)
    rows = CsrRows(np.array([0, len(candidates)]), candidates.astype(np.int32))
    lists, _, _ = rerank(rows, scores, _NoRow(), catalogue.traits, rules, nothing_drawn)
    chosen = np.isin(candidates, lists.positions)
    return np.concatenate([np.flatnonzero(chosen), np.flatnonzero(~chosen)]).astype(np.int32)
