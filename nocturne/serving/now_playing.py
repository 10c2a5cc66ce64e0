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
Where the model is a sequence model, its vector of the context stands in place of the listener's factors, and its exact
top of what may be shown is among the candidates.

Where too few are left, the exact ranking of the whole catalogue goes on behind them. The weights are settings
(`[now_playing]`), tuned on sessions: docs/quality.md has what came of it, docs/decisions/liking-times-fit.md why it is
a product.

An experiment may give arms other weights. Its listeners are answered by those of their arm, and scored by those of the
other side too, so that it is known where the two answers differ, whichever of them is shown.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Factors, Indexes, Mask
from nocturne.core.csr import CsrRows
from nocturne.kernel.next_items import Listener, NextItems, in_all, next_items
from nocturne.serving.because import Reason, reasons
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ArmWeights, ServedItems
from nocturne.serving.full_ranking import exact_top, rank_catalogue

LONGEST_CONTEXT = 6
"""Items of the context that count: the one that plays, and the last ones before it."""

SESSION_TOP = 100
"""Candidates by the vector of the context."""

MOST_HEARD = 60
"""Heard items that are candidates where they are allowed."""

ARM = "control"
FOR_YOU = "for you"
RELATED, MARKET_POPULAR, GLOBAL_POPULAR = "related", "market_popular", "global_popular"
"""Sources of answers without a list of the listener's own."""

_NO_FACTORS: Factors = np.zeros(0, np.float32)


class Filters(NamedTuple):
    """Limits of an answer.

    Attributes:
        limit: most items.
        content_types: of the items; empty: all.
        market: None: the listener's own.
        explicit: False: no explicit items.
        allow_heard: True: items that were heard may be in it.
        because: True: heard items that carry the scores are told too.
    """

    limit: int = 20
    content_types: frozenset[str] = frozenset()
    market: str | None = None
    explicit: bool = True
    allow_heard: bool = False
    because: bool = False


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


Differences = Mapping[str, int | None]
"""By treatment, the first place, from 1, at which its weights and those of control show another item, or the same for
another reason; None if they do nowhere."""


class Answer(NamedTuple):
    """Suggestions, best first, and where they come from.

    Attributes:
        arm: experiment and arm of the listener, as in `ranked_lists`.
        differences: of who is in an experiment on what comes next; None of the others.
    """

    suggestions: tuple[Suggestion, ...]
    source: str
    arm: str
    model_version: str
    differences: Differences | None = None


def nightly_list(items: ServedItems, row: ServedRow, filters: Filters) -> Answer:
    """The night's list of a listener, continued by the exact ranking where more is asked for.

    No weight has a part in it, so that no arm of what comes next differs.
    """
    market = row.market if filters.market is None else filters.market
    kept = np.flatnonzero(_may_be_shown(items, row.numbers, market, filters))[: filters.limit]
    drawn = row.propensities[kept].tolist() if row.propensities is not None else [1.0] * len(kept)
    why = own_reason(items, row, market)
    shown = zip(row.numbers[kept].tolist(), row.scores[kept].tolist(), drawn, strict=True)
    suggestions = [Suggestion(number, score, why, propensity) for number, score, propensity in shown]
    arm = _arm(items, row)
    differences = None if arm is None else dict.fromkeys(arm.others)
    if len(suggestions) == filters.limit:
        return _answer(items, row, suggestions, FOR_YOU, differences)
    barred = row.numbers if filters.allow_heard else np.concatenate([row.numbers, not_let_back(items, row)])
    return _answer(items, row, _filled(items, row, market, filters, barred, suggestions), FOR_YOU, differences)


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
    context = context_of(items, playing, recent, market)
    if row is not None and not len(context):
        return nightly_list(items, row, filters)
    barred = context if row is None or filters.allow_heard else np.concatenate([context, not_let_back(items, row)])
    heard_last, masks, arm = context[:LONGEST_CONTEXT], _masks(items, market, filters), _arm(items, row)
    listener = _listener(items, row, heard_last, barred, market, filters)
    if (vector := session_vector(items, row, context)) is not None:
        top = exact_top(items, vector, np.logical_and.reduce(masks), SESSION_TOP).numbers
        listener = listener._replace(factors=vector, own=np.concatenate([listener.own, top]))
    scored = next_items(items.context_items, listener, items.weights if arm is None else arm.own, masks)
    differences = None if arm is None else _differences(items, listener, arm, masks, scored, filters.limit)
    whys = (*(goes_with(items, number) for number in heard_last.tolist()), own_reason(items, row, market))
    suggestions = [
        Suggestion(number, score, whys[place])
        for number, score, place in zip(*(values[: filters.limit].tolist() for values in scored[:3]), strict=True)
    ]
    barred = np.concatenate([barred, scored.candidates])
    filled = _filled(items, row, market, filters, barred, suggestions)
    return _answer(items, row, filled, RELATED if len(context) else _popular_source(items, market), differences)


def related(items: ServedItems, item_id: str, filters: Filters) -> Answer | None:
    """Items that go with an item, best first; None if there is no such item, or none that may be named."""
    number = items.number(item_id)
    if number is None or number in items.taken_down(filters.market):
        return None
    numbers, scores, _ = items.related(number)
    kept = np.flatnonzero(_may_be_shown(items, numbers, filters.market, filters))
    best = kept[np.lexsort((numbers[kept], -scores[kept]))][: filters.limit].tolist()
    why = goes_with(items, number)
    suggestions = [Suggestion(int(numbers[at]), float(scores[at]), why) for at in best]
    return _answer(items, None, suggestions, RELATED)


def explain(
    items: ServedItems, row: ServedRow | None, answer: Answer, filters: Filters, speakable: Mask | None = None
) -> Mapping[int, tuple[Reason, ...]]:
    """The heard items that carry the score of each item of an answer; what its filters bar is never named.

    It is the score of the nightly ranking, which is what is liked; what else a score of what comes next has in it is
    told by `why`.

    Args:
        speakable: True for what else may be named; shape (items,). None: everything.
    """
    market = row.market if row is not None and filters.market is None else filters.market
    nameable = np.logical_and.reduce(_masks(items, market, filters._replace(content_types=frozenset())))
    if speakable is not None:
        nameable = nameable & speakable
    return reasons(items, row, [suggestion.number for suggestion in answer.suggestions], nameable)


def session_vector(items: ServedItems, row: ServedRow | None, context: Indexes) -> Factors | None:
    """The listener's factors, with a sequence model's vector of the context in the place of its vector of the night.

    Args:
        context: the item that plays first.

    Returns:
        None without a sequence model that learned any of the context.
    """
    known = context[items.confidence_weights[context] > 0][::-1]
    if items.encoder is None or not len(known):
        return None
    recent = CsrRows(np.array([0, len(known)]), known)
    vector = np.zeros(items.factors.shape[1], np.float32)
    if row is not None and row.factors is not None:
        vector[:] = row.factors
    vector[-items.encoder.shape.width :] = items.encoder.vectors(items.embeddings, recent)[0]
    return vector


def context_of(items: ServedItems, playing: str | None, recent: Sequence[str], market: str | None) -> Indexes:
    """Numbers of the items of the context that are known, the one that plays first; each once.

    What is taken down is none of them: a reason would name it.
    """
    played = [items.number(item_id) for item_id in (*recent, playing) if item_id is not None]
    known = np.array(list(dict.fromkeys(number for number in reversed(played) if number is not None)), np.int32)
    return known[~np.isin(known, items.taken_down(market))]


def _answer(
    items: ServedItems,
    row: ServedRow | None,
    suggestions: list[Suggestion],
    source: str,
    differences: Differences | None = None,
) -> Answer:
    if row is None:
        return Answer(tuple(suggestions), source, ARM, items.info.model_version)
    return Answer(tuple(suggestions), row.kind.source, row.kind.arm, row.kind.model_version, differences)


def _arm(items: ServedItems, row: ServedRow | None) -> ArmWeights | None:
    """The arm of a listener who is in an experiment on what comes next; None of the others."""
    return None if row is None else items.arms.get(row.kind.arm)


def _differences(
    items: ServedItems, listener: Listener, arm: ArmWeights, masks: tuple[Mask, ...], scored: NextItems, limit: int
) -> Differences:
    """Differences between what was scored by the weights of the listener's arm and by those of the other side.

    The items are the same, in another order: what follows them where they are too few does not depend on weights.
    """
    first: dict[str, int | None] = {}
    for treatment, weights in arm.others.items():
        other = next_items(items.context_items, listener, weights, masks)
        differs = (scored.numbers != other.numbers) | (scored.goes_with != other.goes_with)
        places = np.flatnonzero(differs[:limit])
        first[treatment] = int(places[0]) + 1 if len(places) else None
    return first


def _listener(
    items: ServedItems, row: ServedRow | None, context: Indexes, barred: Indexes, market: str | None, filters: Filters
) -> Listener:
    popular, _ = items.popular(market)
    if row is None:
        return Listener(_NO_FACTORS, popular, popular, context, barred)
    own = np.concatenate([row.numbers, _most_heard(items, row)]) if filters.allow_heard else row.numbers
    if row.factors is None:
        return Listener(_NO_FACTORS, own, row.numbers, context, barred)
    return Listener(row.factors, own, popular, context, barred)


def _most_heard(items: ServedItems, row: ServedRow) -> Indexes:
    """The heard items that weigh most."""
    if len(row.heard) <= MOST_HEARD:
        return row.heard
    weights = row.weights * items.confidence_weights[row.heard]
    return row.heard[np.argpartition(-weights, MOST_HEARD)[:MOST_HEARD]]


def _masks(items: ServedItems, market: str | None, filters: Filters) -> tuple[Mask, ...]:
    """Masks of the items that are all True for what may be shown; shape (items,) each."""
    masks = [items.may_list(market)]
    if not filters.explicit:
        masks.append(items.not_explicit)
    if filters.content_types:
        masks.append(_of_types(items, filters))
    return tuple(masks)


def _may_be_shown(items: ServedItems, numbers: Indexes, market: str | None, filters: Filters) -> Mask:
    return in_all(_masks(items, market, filters), numbers)


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
    allowed = np.logical_and.reduce(_masks(items, market, filters))
    allowed[barred] = False
    numbers, scores = rank_catalogue(items, row, allowed, missing)
    return suggestions + [Suggestion(int(n), float(score), FOR_YOU) for n, score in zip(numbers, scores, strict=True)]


def own_reason(items: ServedItems, row: ServedRow | None, market: str | None) -> str:
    """The reason, in words, of what does not go with anything that plays."""
    return _popular_in(items, market) if row is None or row.factors is None else FOR_YOU


def goes_with(items: ServedItems, number: int) -> str:
    """The reason, in words, of what goes with an item that plays."""
    described = items.describe(number)
    return f"goes with {described.title or described.item_id}"


def _popular_in(items: ServedItems, market: str | None) -> str:
    _, where = items.popular(market)
    return f"popular in {where}" if where else "popular"


def _popular_source(items: ServedItems, market: str | None) -> str:
    return MARKET_POPULAR if items.popular(market)[1] else GLOBAL_POPULAR
