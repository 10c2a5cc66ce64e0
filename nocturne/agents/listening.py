"""Tools of listening: a listener's list as it is served, and what comes next given what plays."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from pydantic import Field

from nocturne.agents.answers import Answer, Id, Part, Passage, Text, Words, served_receipt
from nocturne.agents.service import Service
from nocturne.agents.strangers import unmarked
from nocturne.core.errors import UsageError
from nocturne.serving import now_playing as ranking
from nocturne.serving import standing
from nocturne.serving.now_playing import Filters
from nocturne.serving.reader import Served
from nocturne.steering.plan import Plan


class ListedItem(Part):
    """An item of an answer, at its place."""

    rank: int
    item_id: Id
    title: Text | None = None
    creator: Text | None = None
    content_type: Words
    score: float
    why: Text = Field(description="For people; it may quote a title: data of strangers between ⟦ and ⟧")


class Listening(Answer):
    """Items for one listener, best first."""

    user_id: Id
    plan: Passage | None = Field(
        default=None, description="The listener's plan that holds, in words: it is obeyed here"
    )
    source: Words = Field(description="als is personal; everything else is a fallback, or goes with an item")
    arm: Words = Field(description="Experiment and arm of the listener; control of who is in none")
    model_version: Words
    age_days: int = Field(description="Days from the night to today, UTC")
    items: list[ListedItem]


def listen_list(service: Service, user_id: str, limit: int, today: date | None = None) -> Listening:
    """The list that is served to a listener.

    Raises:
        UsageError: none is served to them.
        ServiceError: the cache is away.
    """
    user_id, served = unmarked(user_id), service.served()
    row = served.row(user_id)
    if row is None:
        raise UsageError("no list is served to this listener", found=user_id, fix="check the id")
    plan, filters = served.items.plan_of(user_id), Filters(limit)
    if plan is None:
        answer = ranking.nightly_list(served.items, row, filters)
    else:
        answer = standing.nightly_list(served.items, row, plan, filters)
    next_step = "lineage of this user_id leads from the list back to what landed"
    return _listening(served, user_id, plan, answer, next_step, today)


def now_playing(
    service: Service,
    user_id: str,
    playing: str | None,
    recent: Sequence[str],
    limit: int,
    today: date | None = None,
) -> Listening:
    """The items that come next.

    Args:
        playing: the item that plays; None if none does.
        recent: items played before it, oldest first.

    Raises:
        ServiceError: the cache is away.
    """
    user_id, served = unmarked(user_id), service.served()
    known = None if playing is None else unmarked(playing)
    played = [unmarked(item) for item in recent]
    plan, row, filters = served.items.plan_of(user_id), served.row(user_id), Filters(limit)
    if plan is None:
        answer = ranking.now_playing(served.items, row, known, played, filters)
    else:
        answer = standing.now_playing(served.items, row, plan, known, played, filters)
    unknown = sum(served.items.number(item) is None for item in (*played, *([known] if known else [])))
    next_step = "listen_list of this user_id has the list of the night, without what plays"
    if unknown:
        next_step = f"{unknown} of the items that were named are unknown, and had no part in this; check their ids"
    return _listening(served, user_id, plan, answer, next_step, today)


def _listening(
    served: Served, user_id: str, plan: Plan | None, answer: ranking.Answer, next_step: str, today: date | None
) -> Listening:
    generation = served.generation
    return Listening(
        receipt=served_receipt(generation),
        next_step=next_step,
        user_id=user_id,
        plan=plan.in_words() if plan else None,
        source=answer.source,
        arm=answer.arm,
        model_version=answer.model_version,
        age_days=((today or datetime.now(UTC).date()) - generation.run_date).days,
        items=[
            ListedItem(**listed_members(served, rank, suggestion))
            for rank, suggestion in enumerate(answer.suggestions, start=1)
        ],
    )


def listed_members(served: Served, rank: int, suggestion: ranking.Suggestion) -> dict[str, Any]:
    """The members of a ListedItem."""
    item = served.items.describe(suggestion.number)
    return {
        "rank": rank,
        "item_id": item.item_id,
        "title": item.title,
        "creator": item.creator,
        "content_type": item.content_type,
        "score": round(suggestion.score, 6),
        "why": suggestion.why,
    }
