"""Autotuning: the fastest plan to rank by tonight, measured, for it depends on factors, lists and processor."""

from dataclasses import dataclass
from itertools import product
from time import perf_counter

import numpy as np

from nocturne.core.csr import CsrRows
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import Top, top_k
from nocturne.kernel.warm_start import score_lower_bounds

_BLOCKS_PER_PANEL = (4, 16, 64)
_ROUNDS = 3


@dataclass(frozen=True)
class KernelPlan:
    """The way to find exact lists; every plan finds the same ones.

    Attributes:
        blocks_per_panel: blocks of items between two raises of the listeners' thresholds.
        warm_start: whether last night's lists give the first thresholds.
    """

    blocks_per_panel: int
    warm_start: bool


def rank(query: Query, plan: KernelPlan, previous: CsrRows | None = None) -> Top:
    """`top_k` by a plan; a listener without a previous list has an empty row in `previous`."""
    lower_bounds = None
    if plan.warm_start and previous is not None:
        lower_bounds = score_lower_bounds(query, previous)
    return top_k(query, lower_bounds, plan.blocks_per_panel)


def autotune(query: Query, previous: CsrRows | None) -> KernelPlan:
    """Rank a sample by every sensible plan and return the one that took least, the making of thresholds included.

    Args:
        query: of a sample of the listeners, a few hundred or more. Without any, the simplest plan is returned.
        previous: the sample's lists of last night, if there are any.
    """
    warm_starts = (False, True) if previous else (False,)
    plans = [KernelPlan(blocks, warm_start) for warm_start, blocks in product(warm_starts, _BLOCKS_PER_PANEL)]
    if len(query.users) == 0:
        return plans[0]
    seconds = dict.fromkeys(plans, np.inf)
    for counted in (False, *[True] * _ROUNDS):
        for plan in plans:
            start = perf_counter()
            rank(query, plan, previous)
            if counted:
                seconds[plan] = min(seconds[plan], perf_counter() - start)
    return min(plans, key=seconds.__getitem__)
