"""The audit: lists proved the slow way, every item scored in float64 and nothing left out."""

from collections.abc import Iterator

import numpy as np

from nocturne.core.arrays import Floats, Mask
from nocturne.kernel.layout import ItemLayout
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import Top, sort_all

_LISTENERS_AT_ONCE = 64
_ITEMS_AT_ONCE = 8_192


def audit(query: Query, top: Top) -> Mask:
    """True for listeners whose list is the head of all that they may get, to the last bit of its scores and bound.

    Args:
        query: as `top_k` takes it.
        top: lists of these listeners; one may be shorter than k, if its bound covers what is missing.

    Returns:
        Shape (listeners,). False also where a list is longer than k, or its bound above its last score.
    """
    users, items = query.users, query.items
    proved = np.zeros(len(users), dtype=np.bool_)
    for listener, scored in enumerate(_all_scores(users, items)):
        part = slice(top.lists.offsets[listener], top.lists.offsets[listener + 1])
        positions, scores, bound = top.lists.positions[part], top.scores[part], top.bounds[listener]
        contenders = _contenders(scored, query.allowed(listener), len(positions), _rounding(users[listener], items))
        exact_positions, exact_scores, unlisted = sort_all(users[listener], items, contenders, len(positions))
        proved[listener] = (
            len(positions) <= query.k
            and np.array_equal(positions, exact_positions)
            and scores.tobytes() == exact_scores.tobytes()
            and unlisted <= bound <= min(scores, default=np.inf)
        )
    return proved


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


def _contenders(scores: Floats, allowed: Mask, length: int, rounding: float) -> Mask:
    """The allowed items that can be among the first of that length, or next."""
    allowed_scores = scores[allowed]
    if len(allowed_scores) <= length + 1:
        return allowed
    place = len(allowed_scores) - length - 1
    last = np.partition(allowed_scores, place)[place]
    contenders: Mask = allowed & (scores >= last - 2 * rounding)
    return contenders
