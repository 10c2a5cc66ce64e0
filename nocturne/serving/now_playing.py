"""Next items given what plays now: a listener's candidates and what goes with the context, scored together. Pure.

The candidates are the listener's list, and what is related to each item of the context: the one that plays and those
just played. Candidates that may not be listed in the market, that were heard and may not come back, or that are in the
context are dropped. The score of the others is

    personal_weight x p + list_weight x l + context_weight x c + popularity_weight x q

where p is the inner product with the listener's factors, times the item's multiplier, as a share of the largest among
the candidates; l is 1 / log2(1 + place in the list), 0 beyond it; c is the mean of the related scores from each item
of the context, weighted by recent_decay ^ (items played since), below 0 counted as 0; q is 1 / log2(1 + place) among
the popular of the market. Where too few are left, the exact ranking of the whole catalogue goes on behind them.
The weights are settings (`[now_playing]`), tuned on sessions: docs/quality.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Floats, Indexes, Mask, Positions
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import Related, ServedItems
from nocturne.serving.full_ranking import rank_catalogue
from nocturne.serving.reader import Served

LONGEST_CONTEXT = 6
"""Items of the context that count: the one that plays, and the last ones before it."""

ARM = "control"
FOR_YOU = "for you"
RELATED, MARKET_POPULAR, GLOBAL_POPULAR = "related", "market_popular", "global_popular"
"""Sources of answers without a list of the listener's own."""


_DISCOUNTS: Floats = 1 / np.log2(np.arange(2, 1002))


class Filters(NamedTuple):
    """Limits of an answer.

    Attributes:
        limit: most items.
        content_types: of the items; empty: all.
        market: None: the listener's own.
        explicit: False: no explicit items.
        allow_heard: True: items that were heard may be in it.
    """

    limit: int = 20
    content_types: frozenset[str] = frozenset()
    market: str | None = None
    explicit: bool = True
    allow_heard: bool = False


class Suggestion(NamedTuple):
    """An item of an answer.

    Attributes:
        number: of the item.
        why: for people.
        propensity: probability of the item at its place; 1 unless it was drawn.
    """

    number: int
    score: float
    why: str
    propensity: float = 1.0


class Answer(NamedTuple):
    """Suggestions, best first, and where they come from."""

    suggestions: tuple[Suggestion, ...]
    source: str
    arm: str
    model_version: str


def nightly_list(served: Served, user_id: str, filters: Filters) -> Answer | None:
    """The night's list of a listener, continued by the exact ranking where more is asked for; None without one."""
    row = served.row(user_id)
    if row is None:
        return None
    items, market = served.items, row.market if filters.market is None else filters.market
    kept = np.flatnonzero(_may_be_shown(items, row.numbers, market, filters))[: filters.limit]
    drawn = row.propensities if row.propensities is not None else np.ones(len(row.numbers))
    why = FOR_YOU if row.factors is not None else _popular_in(items, market)
    suggestions = [Suggestion(int(row.numbers[at]), float(row.scores[at]), why, float(drawn[at])) for at in kept]
    barred = row.numbers if filters.allow_heard else np.concatenate([row.numbers, not_let_back(items, row)])
    return _answer(served, row, _filled(items, row, market, filters, barred, suggestions), FOR_YOU)


def now_playing(served: Served, user_id: str, playing: str | None, recent: Sequence[str], filters: Filters) -> Answer:
    """Items to play next; without a context that is known, the night's list, or what is popular.

    Args:
        playing: the item that plays; None if none does.
        recent: items played before it, oldest first.
    """
    items, row = served.items, served.row(user_id)
    market = row.market if row is not None and filters.market is None else filters.market
    played = [items.number(item_id) for item_id in (*recent, playing) if item_id is not None]
    context = np.array(list(dict.fromkeys(number for number in reversed(played) if number is not None)), np.int32)
    if row is not None and not len(context):
        return nightly_list(served, user_id, filters) or _answer(served, None, [], FOR_YOU)
    candidates = _candidates(items, row, context[:LONGEST_CONTEXT], market)
    barred = context if row is None or filters.allow_heard else np.concatenate([context, not_let_back(items, row)])
    allowed = _may_be_shown(items, candidates.numbers, market, filters) & ~_among(candidates.numbers, barred)
    scores, kept = candidates.scores, np.flatnonzero(allowed)
    best = kept[np.argsort(-scores[kept], kind="stable")][: filters.limit]
    suggestions = _suggestions(candidates.numbers[best], scores[best], _whys(items, candidates, best, context, market))
    barred = np.concatenate([barred, candidates.numbers])
    filled = _filled(items, row, market, filters, barred, suggestions)
    return _answer(served, row, filled, RELATED if len(context) else _popular_source(items, market))


def related(served: Served, item_id: str, filters: Filters) -> Answer | None:
    """Items that go with an item, best first; None if there is no such item."""
    items = served.items
    number = items.number(item_id)
    if number is None:
        return None
    numbers, scores, _ = items.related(number)
    kept = np.flatnonzero(_may_be_shown(items, numbers, filters.market, filters))
    best = kept[np.lexsort((numbers[kept], -scores[kept]))][: filters.limit].tolist()
    why = _goes_with(items, number)
    suggestions = [Suggestion(int(numbers[at]), float(scores[at]), why) for at in best]
    return _answer(served, None, suggestions, RELATED)


def _answer(served: Served, row: ServedRow | None, suggestions: list[Suggestion], source: str) -> Answer:
    if row is None:
        return Answer(tuple(suggestions), source, ARM, served.items.info.model_version)
    return Answer(tuple(suggestions), row.kind.source, row.kind.arm, row.kind.model_version)


class _Candidates(NamedTuple):
    """Candidates with the parts of their scores, weighted; shape (candidates,).

    Attributes:
        goes_with: place in the context of the item that each goes with best; -1 if with none.
    """

    numbers: Indexes
    personal: Floats
    context: Floats
    popular: Floats
    goes_with: npt.NDArray[np.int64]

    @property
    def scores(self) -> Floats:
        """The sums of all parts."""
        return self.personal + self.context + self.popular


def _candidates(items: ServedItems, row: ServedRow | None, context: Indexes, market: str | None) -> _Candidates:
    weights = items.info.now_playing
    popular, _ = items.popular(market)
    listed = popular if row is None else row.numbers
    around = [items.related(number) for number in context.tolist()]
    numbers, place = np.unique(np.concatenate([listed, *(each.numbers for each in around)]), return_inverse=True)
    personal = np.zeros(len(numbers))
    if row is not None:
        personal[place[: len(listed)]] = weights["list_weight"] * _discounts(len(listed))
        personal += weights["personal_weight"] * _likings(items, row, numbers)
    among_popular = np.zeros(len(numbers))
    at, known = _places(numbers, popular)
    among_popular[at] = _discounts(len(popular))[known]
    of_context, goes_with = _fit(around, place[len(listed) :], len(numbers), weights["recent_decay"])
    return _Candidates(
        numbers,
        personal,
        weights["context_weight"] * of_context,
        weights["popularity_weight"] * among_popular,
        goes_with,
    )


def _fit(
    around: Sequence[Related], place: Positions, candidates: int, recent_decay: float
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The mean of each candidate's related scores, and the place in the context of what it goes with best.

    Args:
        around: related items of each item of the context, the last one first.
        place: among the candidates, of all of these in turn.
    """
    fit, best, goes_with = np.zeros(candidates), np.zeros(candidates), np.full(candidates, -1)
    decay = recent_decay ** np.arange(len(around))
    start = 0
    for at, each in enumerate(around):
        here = place[start : start + len(each.numbers)]
        share = np.maximum(each.scores, 0) * (decay[at] / decay.sum())
        fit[here] += share
        better = share > best[here]
        best[here[better]], goes_with[here[better]] = share[better], at
        start += len(each.numbers)
    return fit, goes_with


def _places(numbers: Indexes, others: Indexes) -> tuple[Positions, Mask]:
    """Places of other numbers among ascending ones, of those that are, and the mask of these."""
    if not len(numbers):
        return np.zeros(0, np.int64), np.zeros(len(others), bool)
    at = np.minimum(np.searchsorted(numbers, others), len(numbers) - 1)
    known: Mask = numbers[at] == others
    return at[known], known


def _among(numbers: Indexes, others: Indexes) -> Mask:
    """True for ascending numbers that are among the others."""
    among = np.zeros(len(numbers), bool)
    among[_places(numbers, others)[0]] = True
    return among


def _likings(items: ServedItems, row: ServedRow, numbers: Indexes) -> Floats:
    """Scores by the factors alone, as shares of the largest; 0 without factors."""
    if row.factors is None or not len(numbers):
        return np.zeros(len(numbers))
    scores: Floats = (items.factors[numbers] @ row.factors) * items.multipliers[numbers]
    largest = scores.max()
    return scores / largest if largest > 0 else scores


def _discounts(places: int) -> Floats:
    """1 / log2(1 + place), from place 1."""
    if places > len(_DISCOUNTS):
        return np.asarray(1 / np.log2(np.arange(2, places + 2)))
    return _DISCOUNTS[:places]


def _may_be_shown(items: ServedItems, numbers: Indexes, market: str | None, filters: Filters) -> Mask:
    allowed = items.may_list(market)[numbers]
    if not filters.explicit:
        allowed &= ~items.explicit[numbers]
    if filters.content_types:
        allowed &= _of_types(items, filters)[numbers]
    return allowed


def _of_types(items: ServedItems, filters: Filters) -> Mask:
    of_types = np.zeros(len(items), bool)
    for content_type in filters.content_types & items.content_types.keys():
        of_types |= items.content_types[content_type]
    return of_types


def not_let_back(items: ServedItems, row: ServedRow) -> Indexes:
    """Heard items that may not be listed yet."""
    return row.heard if row.days is None else row.heard[row.days < items.info.let_back_after_days]


def _filled(
    items: ServedItems,
    row: ServedRow | None,
    market: str | None,
    filters: Filters,
    barred: Indexes,
    suggestions: list[Suggestion],
) -> list[Suggestion]:
    """The suggestions, and behind them the best of the rest of the catalogue while there are too few.

    Args:
        barred: numbers that may not follow.
    """
    missing = filters.limit - len(suggestions)
    if missing <= 0:
        return suggestions
    if row is None or row.factors is None:
        popular, _ = items.popular(market)
        rest = popular[_may_be_shown(items, popular, market, filters) & ~np.isin(popular, barred)][:missing]
        why = _popular_in(items, market)
        return suggestions + [Suggestion(number, 0.0, why) for number in rest.tolist()]
    allowed = items.may_list(market).copy()
    if not filters.explicit:
        allowed &= ~items.explicit
    if filters.content_types:
        allowed &= _of_types(items, filters)
    allowed[barred] = False
    numbers, scores = rank_catalogue(items, row, allowed, missing)
    return suggestions + [Suggestion(int(n), float(score), FOR_YOU) for n, score in zip(numbers, scores, strict=True)]


def _suggestions(numbers: Indexes, scores: Floats, whys: Sequence[str]) -> list[Suggestion]:
    return [Suggestion(*each) for each in zip(numbers.tolist(), scores.tolist(), whys, strict=True)]


def _whys(
    items: ServedItems, candidates: _Candidates, some: Positions, context: Indexes, market: str | None
) -> list[str]:
    """The largest part of the score of some candidates, in words."""
    related = [_goes_with(items, number) for number in context[:LONGEST_CONTEXT].tolist()]
    words = (*related, FOR_YOU, _popular_in(items, market))
    parts = np.stack([candidates.context[some], candidates.personal[some], candidates.popular[some]])
    largest = parts.argmax(axis=0)
    word = np.where(largest == 0, candidates.goes_with[some], len(related) + largest - 1)
    return [words[number] for number in word.tolist()]


def _goes_with(items: ServedItems, number: int) -> str:
    described = items.describe(number)
    return f"goes with {described.title or described.item_id}"


def _popular_in(items: ServedItems, market: str | None) -> str:
    _, where = items.popular(market)
    return f"popular in {where}" if where else "popular"


def _popular_source(items: ServedItems, market: str | None) -> str:
    return MARKET_POPULAR if items.popular(market)[1] else GLOBAL_POPULAR
