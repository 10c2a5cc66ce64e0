"""Answers as the OpenAPI document describes them; `answers` writes the same members, without these classes."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from nocturne.steering.parsing import Intent
from nocturne.steering.plan import Plan


class Document(BaseModel):
    """An object of JSON that has all its members, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ReasonShown(Document):
    """A heard item that carries the score of an item."""

    item_id: Annotated[str, Field(description="The heard item, as in the catalogue")]
    title: Annotated[str | None, Field(description="Its title; data of strangers: escape it")]
    share: Annotated[float, Field(description="Share of the score of the nightly ranking that it carries")]


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
    because: Annotated[
        list[ReasonShown], Field(description="Heard items that carry most of its score, if `because` was asked for")
    ] = []


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


class WishMoved(Document):
    """A wish, and what it did to an item's score."""

    wish: Annotated[str, Field(description="The wish, in words; may hold data of strangers: escape it")]
    adds: Annotated[float, Field(description="What it added to the score; below 0 where it lowered it")]


class SteeredItemShown(ItemShown):
    """An item of a list by a plan."""

    liking: Annotated[float, Field(description="Score without wishes, as a share of the largest candidate's")]
    wishes: Annotated[list[WishMoved], Field(description="Wishes that moved it")]


class RuleShown(Document):
    """A hard rule, and what it did."""

    kind: Literal["only", "never"]
    rule: Annotated[str, Field(description="The rule, in words; may hold data of strangers: escape it")]
    removed: Annotated[int, Field(ge=0, description="Items that might have been listed and that it removes")]
    unknown: Annotated[int, Field(ge=0, description="Items of which the catalogue does not say whether they match")]
    nobody: Annotated[list[str], Field(description="Values in it that no item of the catalogue has")]


class ReadShown(Document):
    """A part of the text that was understood."""

    text: Annotated[str, Field(description="The part as it was sent")]
    start: Annotated[int, Field(ge=0, description="Its first character")]
    end: Annotated[int, Field(ge=0, description="The character behind its last one")]
    means: Annotated[
        str, Field(description="What it stands for, `creator Parade Tower`; may hold data of strangers: escape it")
    ]


class SlotShown(Document):
    """A part of the text that names something, whatever came of it."""

    type: Annotated[str, Field(description="artist, track, album, genre, playlist, year, sort, music_item, title …")]
    text: Annotated[str, Field(description="The part as it was sent")]
    start: Annotated[int, Field(ge=0, description="Its first character")]
    end: Annotated[int, Field(ge=0, description="The character behind its last one")]
    known: Annotated[bool, Field(description="The catalogue has such a name")]


class TasteShown(Document):
    """The account of listens that are not the listener's taste: which are kept out, and which cannot be any more."""

    on_record_since: Annotated[
        date | None, Field(description="First night whose listens can still be taken out; null if those of all can")
    ]
    kept_out: Annotated[int, Field(ge=0, description="Listens that are kept out by what was asked for before")]
    since: Annotated[date | None, Field(description="The night that took that in; null if nothing was asked before")]
    older: Annotated[bool, Field(description="True if listens stayed in then that were no longer on record")]
    in_words: Annotated[list[str], Field(description="What becomes of it, a sentence each")]


class ReceiptShown(Document):
    """The account of a plan: what each rule and wish did."""

    might_be_listed: Annotated[int, Field(ge=0, description="Items that might have been listed without it")]
    obey: Annotated[int, Field(ge=0, description="Those of them that obey its rules")]
    rules: Annotated[list[RuleShown], Field(description="Hard rules, `only` before `never`")]
    unknown: Annotated[
        Literal["allowed", "barred"], Field(description="What `never` did with items of which nothing is known")
    ]
    intent: Annotated[Intent | None, Field(description="What the text asks for: only steer has a plan; null: no text")]
    understood: Annotated[list[ReadShown], Field(description="Parts of the text that a rule or wish stands for")]
    taken: Annotated[
        list[str],
        Field(description="Words that were taken for others, in sentences; may hold data of strangers: escape them"),
    ]
    slots: Annotated[list[SlotShown], Field(description="Parts of the text that name something, of any intent")]
    not_understood: Annotated[list[str], Field(description="Parts of the text that no rule or wish stands for")]
    short: Annotated[str, Field(description="Why there are fewer items than asked for; empty if there are not")]
    not_taste: Annotated[
        TasteShown | None,
        Field(description="What becomes of listens that are not their taste; null if nothing"),
    ]


class SteeredShown(AnswerShown):
    """A list by a plan, with the plan as it was understood, and its receipt."""

    plan: Annotated[Plan, Field(description="The plan, without the members that say nothing")]
    in_words: Annotated[str, Field(description="The plan in English; may hold data of strangers: escape it")]
    digest: Annotated[str, Field(description="SHA-256 of the plan")]
    items: Annotated[list[SteeredItemShown], Field(description="Best first; every one obeys every hard rule")]  # type: ignore[assignment]
    receipt: Annotated[ReceiptShown, Field(description="What each rule and wish did")]


class GenerationsShown(Document):
    """The generations that the cache keeps."""

    served: Annotated[GenerationShown, Field(description="Served now")]
    earlier: Annotated[
        list[GenerationShown], Field(description="Those that a rollback could serve instead, the one before first")
    ]


class TakedownShown(Document):
    """A word on an item: it is taken down, or that is lifted."""

    item_id: Annotated[str, Field(description="The item")]
    market: Annotated[str | None, Field(description="The market in which; null: everywhere")]
    asked_at: Annotated[datetime, Field(description="When it was asked for, UTC")]
    takedown_id: Annotated[str, Field(description="Identity of the word")]
    why: Annotated[str, Field(description="The reason, as it was sent")]
    from_night: Annotated[date, Field(description="First night that obeys it; what is shown obeys it already")]
    lifts: Annotated[bool, Field(description="True: the item may be listed again")]


class TakedownsShown(Document):
    """The answer to a request that is obeyed."""

    version: Annotated[int, Field(description="Version of all takedowns that are obeyed now")]
    takedowns: Annotated[
        list[TakedownShown], Field(description="What is new; nothing of items that were taken down before")
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
STEER_EXAMPLE = LIST_EXAMPLE | {
    "plan": {
        "never": [{"tags": ["christmas"]}],
        "more": [{"about": "tag", "value": "jazz"}],
        "size": {"items": 1},
        "not_taste": [{"tags": ["children"]}],
        "holds": "always",
    },
    "in_words": "Never items tagged christmas. More jazz. At most 1 item. Nothing is learned from listens to items "
    "tagged children that are still on record. From now on.",
    "digest": "9b2f0c2f1b5f0a6a8f7f2c64d0c1f4a1c7d2a7e6a6d3f0b0f4a8f5a9d8b7c6e5",
    "items": [
        ITEM_EXAMPLE
        | {
            "why": "more jazz",
            "liking": 0.90995,
            "wishes": [{"wish": "more jazz", "adds": 0.5}],
            "because": [{"item_id": "t0000697", "title": "Your Hidden Ocean", "share": 0.4}],
        }
    ],
    "receipt": {
        "might_be_listed": 941,
        "obey": 925,
        "rules": [{"kind": "never", "rule": "items tagged christmas", "removed": 16, "unknown": 2, "nobody": []}],
        "unknown": "allowed",
        "intent": "steer",
        "understood": [
            {"text": "christmas", "start": 3, "end": 12, "means": "tag christmas"},
            {"text": "jaz", "start": 19, "end": 22, "means": "tag jazz"},
            {"text": "one song", "start": 24, "end": 32, "means": "1 item"},
        ],
        "taken": ["“jaz” was read as jazz"],
        "slots": [
            {"type": "genre", "text": "christmas", "start": 3, "end": 12, "known": True},
            {"type": "genre", "text": "jaz", "start": 19, "end": 22, "known": False},
            {"type": "music_item", "text": "song", "start": 28, "end": 32, "known": False},
        ],
        "not_understood": [],
        "short": "",
        "not_taste": {
            "on_record_since": "2024-12-01",
            "kept_out": 12,
            "since": "2025-01-02",
            "older": False,
            "in_words": ["12 listens are kept out since the night of 2025-01-02; that stays so."],
        },
    },
}
RELATED_EXAMPLE = LIST_EXAMPLE | {"source": "related", "items": NOW_PLAYING_EXAMPLE["items"]}
TAKEDOWNS_EXAMPLE = {
    "version": 1,
    "takedowns": [
        {
            "item_id": "t0000542",
            "market": "SE",
            "asked_at": "2025-01-04T09:12:00+00:00",
            "takedown_id": "0f0b0d2b8f3a4a6f9f9a3b0d6c1e2f34",
            "why": "court order 17/25",
            "from_night": "2025-01-04",
            "lifts": False,
        }
    ],
}
GENERATIONS_EXAMPLE = {
    "served": GENERATION_EXAMPLE,
    "earlier": [{"generation": "2025-01-02-c9f0f895", "run_date": "2025-01-02", "age_days": 2}],
}
