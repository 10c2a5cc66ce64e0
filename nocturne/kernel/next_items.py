"""Next items: candidates for what follows the items of a context, scored together for one listener."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from nocturne.core.arrays import Factors, Floats, Indexes, Mask, Positions
from nocturne.kernel.arguments import frozen


class ContextItems(NamedTuple):
    """The items as compiled loops take them; shape (items,) but for what is said.

    Attributes:
        factors: shape (items, factors); zeros without any.
        inverse_norms: 1 over the norm of the factors; 0 without any.
        multipliers: of scores.
        starts: where the related items of each item begin, and the last ones end; shape (items + 1,).
        related, related_scores, related_sources: laid end to end; shape (related,).
        creator: the source of items that the creator alone relates.
    """

    factors: Factors
    inverse_norms: Factors
    multipliers: Floats
    starts: Indexes
    related: Indexes
    related_scores: Factors
    related_sources: npt.NDArray[np.uint8]
    creator: int


class Listener(NamedTuple):
    """A listener, known or not, and what they hear.

    Attributes:
        factors: shape (factors,), or (0,) of one without any.
        own: candidates besides the related items.
        leading: items that are popular with them, most popular first.
        context: numbers of the items, the one that plays first.
        barred: numbers that may not be offered.
    """

    factors: Factors
    own: Indexes
    leading: Indexes
    context: Indexes
    barred: Indexes


class Weights(NamedTuple):
    """Weights of the parts of a score, by the names of their settings; `serving.now_playing` has the formula."""

    personal_weight: float
    session_weight: float
    related_weight: float
    creator_weight: float
    popularity_weight: float
    recent_decay: float


class NextItems(NamedTuple):
    """Items that may come next, best first; shape (items,).

    Attributes:
        candidates: all that were scored, offered or not, ascending; shape (candidates,).
        goes_with: place in the context of what each goes with most, if that is more than it is liked; else -1.
    """

    numbers: Indexes
    scores: Floats
    goes_with: Positions
    candidates: Indexes


def next_items(items: ContextItems, listener: Listener, weights: Weights, masks: tuple[Mask, ...]) -> NextItems:
    """Score the listener's own candidates and what is related to their context; equal scores in order of number.

    Args:
        items: read-only arrays, as `frozen` gives them.
        masks: what may be offered is True in all of them; shape (items,) each.
    """
    numbers = np.concatenate((listener.own, *(_related_to(items, number) for number in listener.context.tolist())))
    candidates = _distinct(numbers)
    offered = in_all(masks, candidates)
    numbers, scores, goes_with = _next_items(items, Listener._make(frozen(*listener)), weights, candidates, offered)
    return NextItems(numbers, scores, goes_with, candidates)


def in_all(masks: tuple[Mask, ...], numbers: Indexes) -> Mask:
    """True for the numbers at which all masks, one at least, are True; shape of the numbers."""
    first, *others = masks
    among: Mask = first[numbers]
    for mask in others:
        among &= mask[numbers]
    return among


def _related_to(items: ContextItems, number: int) -> Indexes:
    return items.related[items.starts[number] : items.starts[number + 1]]


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _distinct(numbers):
    """The distinct numbers, ascending."""
    ordered = np.sort(numbers)
    kept = 0
    for place in range(len(ordered)):
        if not place or ordered[place] != ordered[place - 1]:
            ordered[kept] = ordered[place]
            kept += 1
    return ordered[:kept]


@njit(cache=True)
def _next_items(items, listener, weights, candidates, offered):
    _bar(candidates, listener.barred, offered)
    context, known = listener.context, len(listener.factors) > 0
    decay = weights.recent_decay ** np.arange(len(context))
    decay /= max(1.0, decay.sum())
    cosines = _cosines(items, context, candidates)
    relations = _relations(items, context, candidates, cosines, weights)
    sessions = _shares(items, candidates, _mean_factors(items, context, decay), offered)
    likings = _shares(items, candidates, listener.factors, offered) if known else np.ones(len(candidates))
    scores, goes_with = np.empty(len(candidates)), np.empty(len(candidates), np.int64)
    for candidate in range(len(candidates)):
        fit, relation, most, goes_with[candidate] = 0.0, 0.0, -1.0, -1
        for place in range(len(context)):
            fits = max(cosines[candidate, place], np.float32(0)) * decay[place]
            relates = relations[candidate, place] * decay[place]
            fit, relation, goes = fit + fits, relation + relates, fits + relates
            if goes > most:
                most, goes_with[candidate] = goes, place
        liking, session = likings[candidate], sessions[candidate]
        if fit + relation <= (liking if known else 0.0):
            goes_with[candidate] = -1
        scores[candidate] = liking * (weights.personal_weight + fit) + weights.session_weight * session + relation
    for place in range(len(listener.leading)):
        candidate = _place(candidates, listener.leading[place])
        if candidate >= 0:
            scores[candidate] += weights.popularity_weight / np.log2(place + 2.0)
    kept = np.flatnonzero(offered)
    best = kept[np.argsort(-scores[kept], kind="mergesort")]
    return candidates[best], scores[best], goes_with[best]


@njit(cache=True)
def _bar(candidates, barred, offered):
    for number in barred:
        candidate = _place(candidates, number)
        if candidate >= 0:
            offered[candidate] = False


@njit(cache=True)
def _mean_factors(items, context, decay):
    mean = np.zeros(items.factors.shape[1], np.float32)
    for place in range(len(context)):
        mean += np.float32(decay[place]) * items.factors[context[place]]
    return mean


@njit(cache=True)
def _cosines(items, context, candidates):
    """Cosines of the candidates and the items of the context; shape (candidates, context)."""
    cosines, of_context = np.empty((len(candidates), len(context)), np.float32), items.factors[context]
    for candidate in range(len(candidates)):
        number = candidates[candidate]
        for place in range(len(context)):
            other = context[place]
            inner = _inner(items.factors, number, of_context[place])
            cosines[candidate, place] = inner * items.inverse_norms[number] * items.inverse_norms[other]
    return cosines


@njit(cache=True)
def _relations(items, context, candidates, cosines, weights):
    """Weighted relations of the candidates and the items of the context; shape (candidates, context)."""
    relations = np.zeros(cosines.shape, np.float32)
    for place in range(len(context)):
        for entry in range(items.starts[context[place]], items.starts[context[place] + 1]):
            candidate = _place(candidates, items.related[entry])
            if items.related_sources[entry] == items.creator:
                relations[candidate, place] = weights.creator_weight
            else:
                beyond = max(items.related_scores[entry] - cosines[candidate, place], np.float32(0))
                relations[candidate, place] = weights.related_weight * beyond
    return relations


@njit(cache=True)
def _shares(items, candidates, factors, offered):
    """Scores by some factors as shares of the largest that is offered; 0 of those below 0."""
    shares, largest = np.empty(len(candidates)), 0.0
    for candidate in range(len(candidates)):
        number = candidates[candidate]
        shares[candidate] = max(_inner(items.factors, number, factors) * items.multipliers[number], 0.0)
        if offered[candidate]:
            largest = max(largest, shares[candidate])
    return shares / (largest if largest > 0 else 1.0)


@njit(cache=True)
def _place(ordered, number):
    """Place of a number among ascending ones; -1 if it is not among them."""
    low, high = 0, len(ordered)
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < number:
            low = middle + 1
        else:
            high = middle
    return low if low < len(ordered) and ordered[low] == number else -1


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _inner(rows, row, vector):
    total = np.float32(0)
    for factor in range(len(vector)):
        total += rows[row, factor] * vector[factor]
    return total
