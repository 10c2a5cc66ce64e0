"""The audit: lists proved the slow way, every item scored in float64 and nothing left out."""

from collections.abc import Collection, Iterator

import numpy as np

from nocturne.core.arrays import Floats, Indexes, Mask
from nocturne.kernel.layout import ItemLayout
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import Top, sort_all

_LISTENERS_AT_ONCE = 64
_ITEMS_AT_ONCE = 8_192


def audit(query: Query, top: Top, of_types: Collection[tuple[Mask, Top]] = ()) -> Mask:
    """True for listeners whose list is the head of all that they may get, to the last bit of its scores and bound.

    Args:
        query: as `top_k` takes it.
        top: lists of these listeners; one may be shorter than k, if its bound covers what is missing.
        of_types: masks of items, and lists that must be the heads of what each listener may get of these; shape of a
            mask (items,).

    Returns:
        Shape (listeners,). False also where a list is longer than k, or a bound above the last score of its list.
    """
    users = query.users
    proved = np.zeros(len(users), dtype=np.bool_)
    by_type = [(np.flatnonzero(mask).astype(np.int32), head) for mask, head in of_types]
    for listener, scored in enumerate(_all_scores(users, query.items)):
        allowed, user = query.allowed(listener), users[listener]
        everything = np.flatnonzero(allowed).astype(np.int32)
        proved[listener] = (
            top.lists.lengths[listener] <= query.k
            and _is_head(top, listener, user, query.items, scored, everything)
            and all(
                _is_head(head, listener, user, query.items, scored, of_type[allowed[of_type]])
                for of_type, head in by_type
            )
        )
    return proved


def _is_head(top: Top, listener: int, user: Floats, items: ItemLayout, scored: Floats, allowed: Indexes) -> bool:
    part = slice(top.lists.offsets[listener], top.lists.offsets[listener + 1])
    positions, scores, bound = top.lists.positions[part], top.scores[part], top.bounds[listener]
    # What cannot reach the bound, which must be at most the last score, is neither listed nor above it.
    contenders = allowed[scored[allowed] >= bound - 2 * _rounding(user, items)]
    exact_positions, exact_scores, unlisted = sort_all(user, items, contenders, len(positions))
    return (
        np.array_equal(positions, exact_positions)
        and scores.tobytes() == exact_scores.tobytes()
        and bool(unlisted <= bound <= min(scores, default=np.inf))
    )


def _all_scores(users: Floats, items: ItemLayout) -> Iterator[Floats]:
    """Each listener's score of every item, as products of whole matrices round it."""
    for first in range(0, len(users), _LISTENERS_AT_ONCE):
        some = users[first : first + _LISTENERS_AT_ONCE]
        scores = np.empty((len(some), len(items.order)))
        for start in range(0, len(items.order), _ITEMS_AT_ONCE):
            part = slice(start, start + _ITEMS_AT_ONCE)
            scores[:, part] = some @ items.factors[part].astype(np.float64).T * items.multipliers[part]
        yield from scores


def _rounding(user: Floats, items: ItemLayout) -> float:
    """Largest difference between two float64 sums of a score, and to spare (Higham, 2002, section 3.1)."""
    return float(8 * (len(user) + 3) * 2.0**-53 * np.linalg.norm(user) * items.scale[0])
