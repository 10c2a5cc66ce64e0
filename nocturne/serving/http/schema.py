"""Answers as the OpenAPI document describes them; `answers` writes the same members, without these classes."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Document(BaseModel):
    """An object of JSON that has all its members, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ItemShown(Document):
    """An item of an answer."""

    rank: Annotated[int, Field(ge=1, description="Place in the answer, from 1")]
    item_id: Annotated[str, Field(description="The item, as in the catalogue")]
    title: Annotated[str | None, Field(description="Title for people; data of strangers: escape it")]
    creator: Annotated[str | None, Field(description="Artist, show or author; data of strangers: escape it")]
    content_type: Annotated[str, Field(description="track, podcast_episode, audiobook or other")]
    duration_ms: Annotated[int | None, Field(description="Length, milliseconds")]
    explicit: Annotated[bool, Field(description="True if the item is marked explicit")]
    score: Annotated[float, Field(description="What the order is by; comparable within one answer")]
    why: Annotated[str, Field(description="Why it is here: for you, goes with TITLE, popular in MARKET, ...")]
    propensity: Annotated[
        float, Field(ge=0, le=1, description="Probability that it is shown at this place; 1 unless its place was drawn")
    ]


class GenerationShown(Document):
    """The generation that an answer is from."""

    generation: Annotated[str, Field(description="Name of the generation: all of an answer is of this one")]
    run_date: Annotated[date, Field(description="Night that it was computed for, UTC")]
    age_days: Annotated[int, Field(description="Days from that night to today, UTC")]


class AnswerShown(GenerationShown):
    """Items, best first, and where they come from."""

    source: Annotated[str, Field(description="What the answer was made from: als, previous, market_popular, ...")]
    arm: Annotated[str, Field(description="Experiment and arm, as EXPERIMENT/ARM; control of who is in none")]
    model_version: Annotated[str, Field(description="Model that the answer depends on")]
    items: Annotated[list[ItemShown], Field(description="Best first; fewer than asked for where there are fewer")]


class GenerationsShown(Document):
    """The generations that the cache keeps."""

    served: Annotated[GenerationShown, Field(description="Served now")]
    earlier: Annotated[
        list[GenerationShown], Field(description="Those that a rollback could serve instead, the one before first")
    ]


class Alive(Document):
    """The answer of a process that runs."""

    status: Literal["alive"]


class Ready(GenerationShown):
    """The answer of a process that can serve."""

    status: Literal["ready"]


class ViolationShown(Document):
    """A part of a request that is not valid."""

    where: Annotated[str, Field(description="query.NAME, path.NAME, or body.NAME")]
    message: Annotated[str, Field(description="What is wrong with it, for people")]


class ProblemShown(Document):
    """An error, as RFC 9457 has it."""

    type: Annotated[str, Field(description="URI that tells the error apart; the same whenever it happens")]
    title: Annotated[str, Field(description="The error in a sentence; the same whenever it happens")]
    status: Annotated[int, Field(description="Status of the response")]
    detail: Annotated[str | None, Field(description="What to do, or more about this one")] = None
    errors: Annotated[list[ViolationShown] | None, Field(description="Parts of the request that are not valid")] = None


ITEM_EXAMPLE = {
    "rank": 1,
    "item_id": "t0000542",
    "title": "Window & Wave",
    "creator": "Parade Tower",
    "content_type": "track",
    "duration_ms": 214000,
    "explicit": False,
    "score": 1.40995,
    "why": "for you",
    "propensity": 1.0,
}
GENERATION_EXAMPLE = {"generation": "2025-01-03-8f14e45f", "run_date": "2025-01-03", "age_days": 1}
LIST_EXAMPLE = GENERATION_EXAMPLE | {
    "source": "als",
    "arm": "control",
    "model_version": "als-2025-01-01-d0154bfb",
    "items": [ITEM_EXAMPLE],
}
NOW_PLAYING_EXAMPLE = LIST_EXAMPLE | {
    "source": "now_playing",
    "items": [ITEM_EXAMPLE | {"why": "goes with Your Hidden Ocean"}],
}
RELATED_EXAMPLE = LIST_EXAMPLE | {"source": "related", "items": NOW_PLAYING_EXAMPLE["items"]}
GENERATIONS_EXAMPLE = {
    "served": GENERATION_EXAMPLE,
    "earlier": [{"generation": "2025-01-02-c9f0f895", "run_date": "2025-01-02", "age_days": 2}],
}
