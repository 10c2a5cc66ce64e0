"""Next items given what plays now: a listener's candidates and what goes with the context, scored together. Pure.

The candidates are the listener's list, what is related to each item of the context (the one that plays and those just
played) and, where heard items are allowed, those that the listener heard most. Candidates that may not be listed in
the market, that were heard and may not come back, or that are in the context are dropped. The score of the others is

    liking x (personal_weight + fit) + session_weight x session + relation + popularity_weight x popularity

- liking: the inner product with the listener's factors, times the item's multiplier, as a share of the largest of all
  candidates, below 0 counted as 0; 1 where the listener has no factors.
- fit: the cosine of the factors and those of an item of the context, below 0 counted as 0.
- session: the inner product with the factors of the context, else as liking.
- relation: related_weight x what the related score for an item of the context has beyond that cosine, as what is heard
  after it has; creator_weight for what else its creator has, where factors lack; 0 for what is not related.
- popularity: 1 / log2(1 + place) among the popular of the market, or in the list of a listener without factors.

Fit, relation and the factors of the context are means over its items, weighted by recent_decay ^ (items played since).
Where too few are left, the exact ranking of the whole catalogue goes on behind them. The weights are settings
(`[now_playing]`), tuned on sessions: docs/quality.md has what came of it, docs/decisions/liking-times-fit.md why it is
a product.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Factors, Floats, Indexes, Mask, Positions
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import SOURCES, ServedItems
from nocturne.serving.full_ranking import rank_catalogue

LONGEST_CONTEXT = 6
"""Items of the context that count: the one that plays, and the last ones before it."""

MOST_HEARD = 60
"""Heard items that are candidates where they are allowed."""

ARM = "control"
FOR_YOU = "for you"
RELATED, MARKET_POPULAR, GLOBAL_POPULAR = "related", "market_popular", "global_popular"
"""Sources of answers without a list of the listener's own."""

_CREATOR = SOURCES.index("creator")
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


def nightly_list(items: ServedItems, row: ServedRow, filters: Filters) -> Answer:
    """The night's list of a listener, continued by the exact ranking where more is asked for."""
    market = row.market if filters.market is None else filters.market
    kept = np.flatnonzero(_may_be_shown(items, row.numbers, market, filters))[: filters.limit]
    drawn = row.propensities if row.propensities is not None else np.ones(len(row.numbers))
    why = FOR_YOU if row.factors is not None else _popular_in(items, market)
    suggestions = [Suggestion(int(row.numbers[at]), float(row.scores[at]), why, float(drawn[at])) for at in kept]
    barred = row.numbers if filters.allow_heard else np.concatenate([row.numbers, not_let_back(items, row)])
    return _answer(items, row, _filled(items, row, market, filters, barred, suggestions), FOR_YOU)


def now_playing(
    items: ServedItems, row: ServedRow | None, playing: str | None, recent: Sequence[str], filters: Filters
) -> Answer:
    """Items to play next; without a context that is known, the night's list, or what is popular.

    Args:
        row: the listener's; None of one without a list.
        playing: the item that plays; None if none does.
        recent: items played before it, oldest first.
    """
    market = row.market if row is not None and filters.market is None else filters.market
    played = [items.number(item_id) for item_id in (*recent, playing) if item_id is not None]
    context = np.array(list(dict.fromkeys(number for number in reversed(played) if number is not None)), np.int32)
    if row is not None and not len(context):
        return nightly_list(items, row, filters)
    barred = context if row is None or filters.allow_heard else np.concatenate([context, not_let_back(items, row)])
    candidates = _candidates(items, row, context[:LONGEST_CONTEXT], barred, market, filters)
    scores, kept = candidates.scores, np.flatnonzero(candidates.allowed)
    best = kept[np.argsort(-scores[kept], kind="stable")][: filters.limit]
    suggestions = _suggestions(candidates.numbers[best], scores[best], _whys(items, candidates, best, context, market))
    barred = np.concatenate([barred, candidates.numbers])
    filled = _filled(items, row, market, filters, barred, suggestions)
    return _answer(items, row, filled, RELATED if len(context) else _popular_source(items, market))


def related(items: ServedItems, item_id: str, filters: Filters) -> Answer | None:
    """Items that go with an item, best first; None if there is no such item."""
    number = items.number(item_id)
    if number is None:
        return None
    numbers, scores, _ = items.related(number)
    kept = np.flatnonzero(_may_be_shown(items, numbers, filters.market, filters))
    best = kept[np.lexsort((numbers[kept], -scores[kept]))][: filters.limit].tolist()
    why = _goes_with(items, number)
    suggestions = [Suggestion(int(numbers[at]), float(scores[at]), why) for at in best]
    return _answer(items, None, suggestions, RELATED)


def _answer(items: ServedItems, row: ServedRow | None, suggestions: list[Suggestion], source: str) -> Answer:
    if row is None:
        return Answer(tuple(suggestions), source, ARM, items.info.model_version)
    return Answer(tuple(suggestions), row.kind.source, row.kind.arm, row.kind.model_version)


class _Candidates(NamedTuple):
    """Candidates with the parts of their scores; shape (candidates,).

    Attributes:
        allowed: may be in the answer.
        liking: None if the listener has no factors.
        fits, relations: to each item of the context; shape (candidates, context).
        decay: weight of each item of the context in means; shape (context,).
    """

    numbers: Indexes
    allowed: Mask
    liking: Floats | None
    fits: Factors
    session: Floats
    relations: Factors
    popularity: Floats
    decay: Factors
    weights: Mapping[str, float]

    @property
    def scores(self) -> Floats:
        """The formula."""
        personal = self.weights["personal_weight"] + self.fits @ self.decay
        liked = personal if self.liking is None else self.liking * personal
        scores: Floats = (
            liked
            + self.weights["session_weight"] * self.session
            + self.relations @ self.decay
            + self.weights["popularity_weight"] * self.popularity
        )
        return scores


def _candidates(
    items: ServedItems, row: ServedRow | None, context: Indexes, barred: Indexes, market: str | None, filters: Filters
) -> _Candidates:
    weights = items.info.now_playing
    popular, _ = items.popular(market)
    listed = popular if row is None else row.numbers
    heard = _most_heard(items, row) if row is not None and filters.allow_heard else listed[:0]
    around = [items.related(number) for number in context.tolist()]
    own = len(listed) + len(heard)
    numbers, place = np.unique(np.concatenate([listed, heard, *(each.numbers for each in around)]), return_inverse=True)
    allowed = _may_be_shown(items, numbers, market, filters) & ~_among(numbers, barred)
    factors, multipliers, of_context = items.factors[numbers], items.multipliers[numbers], items.factors[context]
    cosines = factors @ (of_context * items.inverse_norms[context, None]).T
    cosines *= items.inverse_norms[numbers, None]
    relations = np.zeros(cosines.shape, np.float32)
    if around:
        related, of = place[own:], np.repeat(np.arange(len(around)), [len(each.numbers) for each in around])
        beyond = np.concatenate([each.scores for each in around]) - cosines[related, of]
        of_creator = np.concatenate([each.sources for each in around]) == _CREATOR
        beyond = weights["related_weight"] * np.maximum(beyond, 0)
        relations[related, of] = np.where(of_creator, weights["creator_weight"], beyond)
    decay = (weights["recent_decay"] ** np.arange(len(context))).astype(np.float32)
    decay /= max(1, decay.sum())
    liking = None
    leading = popular
    if row is not None and row.factors is not None:
        liking = _shares(factors @ row.factors * multipliers, allowed)
    elif row is not None:
        leading = listed
    at, known = _places(numbers, leading)
    popularity = np.zeros(len(numbers))
    popularity[at] = _discounts(len(leading))[known]
    session = _shares(factors @ (decay @ of_context) * multipliers, allowed)
    fits = np.maximum(cosines, 0)
    return _Candidates(numbers, allowed, liking, fits, session, relations, popularity, decay, weights)


def _most_heard(items: ServedItems, row: ServedRow) -> Indexes:
    """The heard items that weigh most."""
    if len(row.heard) <= MOST_HEARD:
        return row.heard
    weights = row.weights * items.confidence_weights[row.heard]
    return row.heard[np.argpartition(-weights, MOST_HEARD)[:MOST_HEARD]]


def _shares(scores: Floats, allowed: Mask) -> Floats:
    """Scores as shares of the largest that is allowed; 0 for those below 0."""
    largest = scores.max(initial=0, where=allowed)
    shares: Floats = np.maximum(scores, 0) / (largest if largest > 0 else 1)
    return shares


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
    """Reasons of some candidates, in words: what they go with, if that is more than they are liked; or for whom."""
    goes_with = (candidates.fits[some] + candidates.relations[some]) * candidates.decay
    related = [_goes_with(items, number) for number in context[: goes_with.shape[1]].tolist()]
    nothing = _popular_in(items, market) if candidates.liking is None else FOR_YOU
    liking = np.zeros(len(some)) if candidates.liking is None else candidates.liking[some]
    if not related:
        return [nothing] * len(some)
    best = np.where(goes_with.sum(axis=1) > liking, goes_with.argmax(axis=1), -1)
    words = (*related, nothing)
    return [words[number] for number in best.tolist()]


def _goes_with(items: ServedItems, number: int) -> str:
    described = items.describe(number)
    return f"goes with {described.title or described.item_id}"


def _popular_in(items: ServedItems, market: str | None) -> str:
    _, where = items.popular(market)
    return f"popular in {where}" if where else "popular"


def _popular_source(items: ServedItems, market: str | None) -> str:
    return MARKET_POPULAR if items.popular(market)[1] else GLOBAL_POPULAR
