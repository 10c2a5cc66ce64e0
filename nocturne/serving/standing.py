"""Lists and next items of listeners whose plan holds: the night's list obeys it already, and what follows has to. Pure.

Filters of a request are rules beside the plan's. A plan with wishes or a size is answered as if it were sent; of one
with rules alone the night's list comes first, as it was ranked and drawn.
"""

from collections.abc import Sequence

import numpy as np

from nocturne.core.arrays import Mask
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ServedItems
from nocturne.serving.now_playing import ARM, Answer, Filters, Suggestion, own_reason
from nocturne.serving.steered import SteerRequest, steer
from nocturne.steering.bitmaps import obeying
from nocturne.steering.conditions import Rule
from nocturne.steering.plan import ContradictionError, Plan, PlanError


def nightly_list(items: ServedItems, row: ServedRow, plan: Plan, filters: Filters) -> Answer:
    """The night's list of a listener by their plan, continued by the exact ranking under it."""
    whole = _with_filters(plan, filters)
    if whole is None:
        return _nothing(items, row)
    if whole.asks_softly or whole.size != Plan().size or whole.max_per_creator is not None:
        return steer(items, row, _request(whole, filters)).answer
    market = row.market if filters.market is None else filters.market
    allowed = obeying(whole, items.fields, row.heard, items.may_list, items.may_list(market)).allowed
    kept = np.flatnonzero(allowed[row.numbers])[: filters.limit]
    drawn = row.propensities[kept].tolist() if row.propensities is not None else [1.0] * len(kept)
    why = own_reason(items, row, market)
    listed = zip(row.numbers[kept].tolist(), row.scores[kept].tolist(), drawn, strict=True)
    suggestions = [Suggestion(number, score, why, propensity) for number, score, propensity in listed]
    if len(suggestions) < filters.limit:
        known = set(row.numbers.tolist())
        more = steer(items, row, _request(whole, filters._replace(limit=filters.limit + len(known))))
        others = [each for each in more.answer.suggestions if each.number not in known]
        suggestions += others[: filters.limit - len(suggestions)]
    return Answer(tuple(suggestions), row.kind.source, row.kind.arm, row.kind.model_version)


def now_playing(
    items: ServedItems, row: ServedRow | None, plan: Plan, playing: str | None, recent: Sequence[str], filters: Filters
) -> Answer:
    """Items to play next by the plan of a listener."""
    whole = _with_filters(plan, filters)
    if whole is None:
        return _nothing(items, row)
    if row is not None and playing is None and not recent:
        return nightly_list(items, row, plan, filters)
    return steer(items, row, _request(whole, filters, playing, recent)).answer


def speakable(items: ServedItems, plan: Plan) -> Mask:
    """True for items that may be named to a listener: those that no `never` of their plan bars; shape (items,)."""
    everything = np.ones(len(items), bool)
    return obeying(plan, items.fields, np.zeros(0, np.int32), items.may_list, everything).unbarred


def on_top(standing: Plan | None, asked: Plan) -> Plan:
    """The plan of a request: behind the one that holds, if it is for the session; in its place, if it holds too.

    Raises:
        ContradictionError: no item can obey both.
        PlanError: both together ask for too much.
    """
    if standing is None or asked.lasts:
        return asked
    return standing.model_copy(update={"holds": None}).refine(asked)


def _request(plan: Plan, filters: Filters, playing: str | None = None, recent: Sequence[str] = ()) -> SteerRequest:
    return SteerRequest(
        plan, playing, recent, filters.limit, filters.limit, filters.market, filters.allow_heard, stands=True
    )


def _with_filters(plan: Plan, filters: Filters) -> Plan | None:
    """The plan with the filters of a request as rules; None: nothing can obey both."""
    types = sorted(filters.content_types)
    only = (Rule.model_validate({"content_types": tuple(types)}),) if types else ()
    never = () if filters.explicit else (Rule(explicit=True),)
    try:
        return plan.refine(Plan(only=only, never=never))
    except (ContradictionError, PlanError):
        return None


def _nothing(items: ServedItems, row: ServedRow | None) -> Answer:
    if row is None:
        return Answer((), "none", ARM, items.info.model_version)
    return Answer((), row.kind.source, row.kind.arm, row.kind.model_version)
