"""A list by a plan: the exact top of what obeys its rules, ordered by its wishes, with a receipt. Pure.

1. The rules are bitmaps over the whole catalogue (`steering.bitmaps`).
2. The candidates are the exact top under them by the listener's factors, or by those of what plays for a listener
   without any, in the order of the night's second stage; else what is most heard. For wishes for more of something,
   the exact top of that under the same rules are candidates too. What plays orders them as it orders what comes next.
3. Wishes are added (`steering.wishes`), and the list is filled in that order up to its size; items without factors
   follow behind. While it is too short, candidates are taken deeper.
4. Every item is held against the rules once more, by another reading of them (`steering.obedience`).

A plan that asks nothing of the items is answered with what comes next, or the night's list, as without a plan.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Factors, Floats, Indexes, Mask
from nocturne.kernel.next_items import Listener, next_items
from nocturne.serving.because import Reason, reasons
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ServedItems
from nocturne.serving.full_ranking import Ranked, blended, exact_top, scored
from nocturne.serving.now_playing import (
    ARM,
    FOR_YOU,
    GLOBAL_POPULAR,
    LONGEST_CONTEXT,
    MARKET_POPULAR,
    RELATED,
    Answer,
    Filters,
    Suggestion,
    context_of,
    goes_with,
    not_let_back,
    now_playing,
)
from nocturne.steering.bitmaps import RuleReceipt, obeying, require_fields
from nocturne.steering.filling import fill
from nocturne.steering.obedience import require_obedience
from nocturne.steering.plan import Plan, Unknown
from nocturne.steering.wishes import Space, WishReceipt, as_liking, matching_any, wish_scores

DEPTH = 500
"""Candidates that wishes order at least, if there are so many."""

DEEPER, DEEPEST = 4, 20_000
"""The number of candidates is multiplied by this while a list is too short, up to so many."""

_NOBODY: Indexes = np.zeros(0, np.int32)


class SteerRequest(NamedTuple):
    """A plan, and what the listener hears now.

    Attributes:
        playing: the item that plays; None if none does.
        recent: items played before it, oldest first.
        limit: items wanted at most, where the plan does not say.
        most: items of any answer.
        market: None: the listener's own.
        allow_heard: True: items that were heard may be in it, whatever the plan says of familiarity.
        stands: True of a plan that was taken in before: what the catalogue lacks by now is unknown of each item.
    """

    plan: Plan
    playing: str | None = None
    recent: Sequence[str] = ()
    limit: int = 20
    most: int = 100
    market: str | None = None
    allow_heard: bool = False
    stands: bool = False


class ItemReceipt(NamedTuple):
    """One item's part of a receipt.

    Attributes:
        liking: score without wishes, as a share of the largest of the candidates.
        wishes: wishes that moved it, in words, with what each added.
        because: heard items that carry its score, with their shares.
    """

    liking: float
    wishes: tuple[tuple[str, float], ...]
    because: tuple[Reason, ...]


class Receipt(NamedTuple):
    """The account of a plan: what each rule and wish did.

    Attributes:
        rules: what each hard rule removed.
        might: items that might have been listed without the plan.
        left: those of them that obey it.
        unknown: what a value that the catalogue does not say was taken for by `never`.
        items: aligned with the suggestions of the answer.
        short: why there are fewer items than were asked for; empty if there are not.
    """

    rules: tuple[RuleReceipt, ...]
    might: int
    left: int
    unknown: Unknown
    items: tuple[ItemReceipt, ...]
    short: str


class Steered(NamedTuple):
    """An answer by a plan, and its receipt."""

    answer: Answer
    receipt: Receipt


class _Asked(NamedTuple):
    """A request with all that it is answered from.

    Attributes:
        context: numbers of what plays and was just played, the one that plays first.
        heard: numbers of the items that the listener has heard.
        allowed: True for what may be in the answer; shape (items,).
        wanted: items at most.
    """

    items: ServedItems
    row: ServedRow | None
    plan: Plan
    context: Indexes
    heard: Indexes
    allowed: Mask
    wanted: int
    market: str | None

    @property
    def factors(self) -> Factors | None:
        """The listener's factors; None of one without any."""
        return None if self.row is None else self.row.factors


class _Ordered(NamedTuple):
    """Candidates, best first: the score of each, its part without wishes, what each wish adds, and why it is there."""

    numbers: Indexes
    scores: Floats
    liking: Floats
    wishes: tuple[WishReceipt, ...]
    whys: tuple[str, ...]


def steer(items: ServedItems, row: ServedRow | None, request: SteerRequest) -> Steered:
    """The list of a plan.

    Args:
        row: the listener's; None of one without a list.

    Raises:
        MissingFieldError: the plan needs a field that the catalogue lacks.
        ContradictionError: no item can obey it.
        DisobedienceError: a mistake of the program, instead of an answer that breaks a rule.
    """
    plan = request.plan
    plan.check()
    if not request.stands:
        require_fields(plan, items.fields)
    market = row.market if row is not None and request.market is None else request.market
    context = context_of(items, request.playing, request.recent, market)
    heard = _NOBODY if row is None else row.heard
    listed = items.may_list(market).copy()
    listed[context] = False
    if row is not None and not (plan.wants_heard or request.allow_heard):
        listed[not_let_back(items, row)] = False
    obeyed = obeying(plan, items.fields, heard, items.may_list, listed)
    wanted = min(plan.size.items or (request.most if plan.size.minutes else request.limit), request.most)
    asked = _Asked(items, row, plan, context, heard, obeyed.allowed, wanted, market)
    answer, chosen = _as_at_night(asked, request) if plan.as_at_night else _steered(asked)
    numbers = [suggestion.number for suggestion in answer.suggestions]
    if not plan.as_at_night:
        _look_through(asked, numbers)
    because = reasons(items, row, numbers, items.may_list(market) & obeyed.unbarred)
    receipts = tuple(
        each._replace(because=because.get(number, ())) for number, each in zip(numbers, chosen, strict=True)
    )
    might, left = int(np.count_nonzero(listed)), int(np.count_nonzero(obeyed.allowed))
    short = "" if len(numbers) == wanted else _why_short(plan, left, len(numbers))
    return Steered(answer, Receipt(obeyed.rules, might, left, plan.unknown_is, receipts, short))


def _as_at_night(asked: _Asked, request: SteerRequest) -> tuple[Answer, list[ItemReceipt]]:
    """The items that come next without a plan, or the night's list where nothing plays."""
    filters = Filters(limit=asked.wanted, market=request.market)
    answer = now_playing(asked.items, asked.row, request.playing, request.recent, filters)
    liking = as_liking(np.array([suggestion.score for suggestion in answer.suggestions]))
    return answer, [ItemReceipt(share, (), ()) for share in liking.tolist()]


def _steered(asked: _Asked) -> tuple[Answer, list[ItemReceipt]]:
    plan, left = asked.plan, int(np.count_nonzero(asked.allowed))
    depth = max(asked.wanted, asked.items.info.candidates, DEPTH if plan.asks_softly else 0)
    while True:
        ordered = _ordered(asked, depth)
        places = fill(ordered.numbers, ordered.scores, plan, asked.items.fields, asked.wanted)
        filled = len(places) == asked.wanted or (plan.size.minutes is not None and len(places) > 0)
        if filled or len(ordered.numbers) >= left or depth >= DEEPEST:
            break
        depth *= DEEPER
    suggestions, receipts = [], []
    for place in places:
        moved = tuple((wish, float(adds[place])) for wish, adds in ordered.wishes if adds[place])
        wish, added = max(moved, key=lambda each: each[1], default=("", 0.0))
        why = wish if added > 0 else ordered.whys[place]
        suggestions.append(Suggestion(int(ordered.numbers[place]), float(ordered.scores[place]), why))
        receipts.append(ItemReceipt(float(ordered.liking[place]), moved, ()))
    return Answer(tuple(suggestions), *_origin(asked)), receipts


def _origin(asked: _Asked) -> tuple[str, str, str]:
    """Source, arm and model of an answer."""
    if asked.row is not None:
        return asked.row.kind.source, asked.row.kind.arm, asked.row.kind.model_version
    popular = MARKET_POPULAR if asked.items.popular(asked.market)[1] else GLOBAL_POPULAR
    return RELATED if len(asked.context) else popular, ARM, asked.items.info.model_version


def _ordered(asked: _Asked, depth: int) -> _Ordered:
    """Candidates that obey the rules, by liking and wishes together; equal scores in the order of liking."""
    items = asked.items
    tops = [_top(asked, asked.allowed, depth)]
    wished = asked.allowed & matching_any(asked.plan.more, items.fields) if asked.plan.more else None
    if wished is not None and wished.any():
        tops.append(_top(asked, wished, depth))
    liked, whys = _liked(asked, tops)
    rest = _without_factors(asked, liked.numbers, wished, depth)
    numbers = np.concatenate([liked.numbers, rest])
    liking = as_liking(liked.scores)
    liking = np.concatenate([liking, np.full(len(rest), liking.min(initial=0.0))])
    whys = (*whys, *(_own_reason(asked) for _ in rest))
    wishes = wish_scores(asked.plan, numbers, items.fields, Space(items.factors, items.inverse_norms), asked.heard)
    scores = liking + sum((receipt.adds for receipt in wishes), np.zeros(len(numbers)))
    order = np.argsort(-scores, kind="stable")
    sorted_wishes = tuple(WishReceipt(receipt.wish, receipt.adds[order]) for receipt in wishes)
    return _Ordered(numbers[order], scores[order], liking[order], sorted_wishes, tuple(whys[at] for at in order))


def _top(asked: _Asked, allowed: Mask, depth: int) -> Ranked:
    """The exact top by the listener's factors, else by those of the context, else by what is listed or popular.

    Scores of what is popular are those that it has in what comes next: 1 / log2(1 + place).
    """
    items = asked.items
    if asked.factors is not None:
        return exact_top(items, asked.factors, allowed, depth)
    session = _session(items, asked.context)
    if session.any():
        return exact_top(items, session, allowed, depth)
    leading = asked.row.numbers if asked.row is not None else items.popular(asked.market)[0]
    leading = leading[allowed[leading]]
    others = allowed.copy()
    others[leading] = False
    behind = np.flatnonzero(others)
    behind = behind[np.argsort(-items.popularity[behind], kind="stable")]
    numbers = np.concatenate([leading, behind])[:depth].astype(np.int32)
    return Ranked(numbers, 1 / np.log2(2 + np.arange(len(numbers))))


def _session(items: ServedItems, context: Indexes) -> Factors:
    """Factors of what plays: a sum over the context, later items counting for more; shape (factors,)."""
    last = context[:LONGEST_CONTEXT]
    session: Factors = (items.weights.recent_decay ** np.arange(len(last)) @ items.factors[last]).astype(np.float32)
    return session


def _liked(asked: _Asked, tops: Sequence[Ranked]) -> tuple[Ranked, tuple[str, ...]]:
    """Candidates by the score that they have without wishes, and why each of them, in words."""
    first = tops[0]
    numbers = first.numbers if len(tops) == 1 else np.unique(np.concatenate([top.numbers for top in tops]))
    if len(asked.context):
        return _going_with(asked, numbers)
    if asked.row is not None and asked.factors is not None:
        exact = first if len(numbers) == len(first.numbers) else scored(asked.items, asked.factors, numbers)
        liked = blended(asked.items, asked.row, exact)
    else:
        beyond = np.setdiff1d(numbers, first.numbers)
        lowest = first.scores.min(initial=1.0)
        order = np.argsort(-asked.items.popularity[beyond], kind="stable")
        liked = Ranked(
            np.concatenate([first.numbers, beyond[order]]),
            np.concatenate([first.scores, lowest * asked.items.popularity[beyond][order]]),
        )
    return liked, (_own_reason(asked),) * len(liked.numbers)


def _going_with(asked: _Asked, own: Indexes) -> tuple[Ranked, tuple[str, ...]]:
    """Candidates, and what is related to the context, as what comes next is scored."""
    items, last = asked.items, asked.context[:LONGEST_CONTEXT]
    factors = asked.factors if asked.factors is not None else np.zeros(0, np.float32)
    arm = None if asked.row is None else items.arms.get(asked.row.kind.arm)
    listener = Listener(factors, own, items.popular(asked.market)[0], last, asked.context)
    found = next_items(items.context_items, listener, items.weights if arm is None else arm.own, (asked.allowed,))
    whys = (*(goes_with(items, number) for number in last.tolist()), _own_reason(asked))
    return Ranked(found.numbers, found.scores), tuple(whys[place] for place in found.goes_with.tolist())


def _without_factors(asked: _Asked, ranked: Indexes, wished: Mask | None, depth: int) -> Indexes:
    """Allowed items that the model lacks: those wished for, and as many others as the ranked ones are too few."""
    unplaced = asked.allowed > asked.items.in_model
    unplaced[ranked] = False
    some = np.flatnonzero(unplaced & wished)[:depth] if wished is not None else ranked[:0]
    if len(ranked) < depth:
        unplaced[some] = False
        some = np.concatenate([some, np.flatnonzero(unplaced)[: depth - len(ranked)]])
    return some.astype(np.int32)


def _own_reason(asked: _Asked) -> str:
    if asked.factors is not None:
        return FOR_YOU
    where = asked.items.popular(asked.market)[1]
    return f"popular in {where}" if where else "popular"


def _look_through(asked: _Asked, numbers: Sequence[int]) -> None:
    """Hold every item against the rules once more.

    Raises:
        DisobedienceError: one breaks a rule, or the list its size.
    """
    items = asked.items
    facts = items.fields.facts(numbers)
    number_of = {each.item_id: number for each, number in zip(facts, numbers, strict=True)}
    heard = {item_id for item_id, known in zip(number_of, np.isin(numbers, asked.heard).tolist(), strict=True) if known}
    require_obedience(asked.plan, facts, heard, lambda item, market: bool(items.may_list(market)[number_of[item]]))


def _why_short(plan: Plan, left: int, given: int) -> str:
    if left <= given:
        return f"{left} items obey the rules"
    if plan.size.minutes is not None:
        return f"{plan.size.minutes:g} minutes are full"
    return f"no more items keep to {plan.max_per_creator} by the same creator" if plan.max_per_creator else ""
