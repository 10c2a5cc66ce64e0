"""Requests as they are checked: each part has a type, a range and a sentence, which the OpenAPI document repeats."""

import re
from collections import defaultdict
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from nocturne.core.service_sections import ServiceSettings
from nocturne.ingestion.takedown_lines import LONGEST_WHY
from nocturne.serving.http.problems import INVALID, MALFORMED, Refused, Violation, problem
from nocturne.serving.now_playing import Filters
from nocturne.steering.plan import Plan

LONGEST_ID = 511
"""Characters; an embedded cache holds no id of more than 511 bytes."""

LONGEST_TEXT = 500
"""Characters of what a listener asks for."""

USUAL_ITEMS = 20
MOST_TAKEDOWNS = 1_000
MOST_PARAMETERS = 32
MOST_VIOLATIONS = 10
_REMEMBERED = 4096

ContentType = Literal["track", "podcast_episode", "audiobook", "other"]
Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]

_BOOLEANS = {"true": True, "false": False}
_INTEGER = re.compile(r"-?[0-9]{1,9}")


def _whole(number: Any) -> Any:
    """A number without a fraction as the integer that it is: JSON has one kind of numbers."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _limit(most: int) -> Any:
    """The type of a number of items."""
    bounds = Field(ge=1, le=most, description="Items wanted at most", examples=[10])
    return Annotated[int, bounds, BeforeValidator(_whole)]


def _recent(most: int) -> Any:
    """The type of the items played before."""
    description = "Items played before it, oldest first; none of them is offered again"
    return Annotated[list[Id], Field(max_length=most, description=description, examples=[["t0000542"]])]


class FilterQuery(BaseModel):
    """The items that an answer may hold; the settings bound their number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    limit: int = USUAL_ITEMS
    content_types: Annotated[
        list[ContentType],
        Field(max_length=4, description="Only items of these types; none: of every type", examples=[["track"]]),
    ] = Field(default_factory=list)
    market: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description="Only items that may be played in this market; absent: in the listener's own",
            examples=["SE"],
        ),
    ] = None
    explicit: Annotated[bool, Field(description="False: no item that is marked explicit", examples=[True])] = True
    because: Annotated[
        bool, Field(description="True: tell which heard items carry the score of each item", examples=[False])
    ] = False


class NowPlayingQuery(FilterQuery):
    """A listener, and what they hear now."""

    user_id: Annotated[Id, Field(description="The listener, as in their events", examples=["u00000007"])]
    playing: Annotated[
        Id | None, Field(description="The item that plays now; null: nothing does", examples=["t0000697"])
    ] = None
    recent: list[Id] = Field(default_factory=list)
    allow_heard: Annotated[
        bool, Field(description="True: items that the listener has heard before may come again", examples=[False])
    ] = False


class SteerQuery(BaseModel):
    """A listener, and what they want: words, a plan, or a plan that the words refine."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    user_id: Annotated[Id, Field(description="The listener, as in their events", examples=["u00000007"])]
    text: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=LONGEST_TEXT,
            description="What the listener asks for, in words; beside a plan it refines that",
            examples=["no christmas, more jazz, ten songs"],
        ),
    ] = None
    plan: Annotated[Plan | None, Field(description="What the listener asks for, typed; null: the night's list")] = None
    playing: Annotated[
        Id | None, Field(description="The item that plays now; null: nothing does", examples=["t0000697"])
    ] = None
    recent: list[Id] = Field(default_factory=list)
    limit: int = USUAL_ITEMS
    market: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description="Only items that may be played in this market; absent: in the listener's own",
            examples=["SE"],
        ),
    ] = None


class TakedownQuery(BaseModel):
    """Items that may not be shown any more, or may be again."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    item_ids: Annotated[
        list[Id], Field(min_length=1, max_length=MOST_TAKEDOWNS, description="The items", examples=[["t0000542"]])
    ]
    why: Annotated[
        str,
        Field(
            min_length=1,
            max_length=LONGEST_WHY,
            pattern=r"\S",
            description="The reason, for whoever asks later",
            examples=["court order 17/25"],
        ),
    ]
    market: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description="Only in this market; absent: everywhere, and to lift in every market",
            examples=["SE"],
        ),
    ] = None
    lift: Annotated[bool, Field(description="True: they may be listed again", examples=[False])] = False
    unseen: Annotated[
        bool, Field(description="True: also items that what is served does not know yet", examples=[False])
    ] = False


class Listening(NamedTuple):
    """A request for what comes next, once it is checked."""

    user_id: str
    playing: str | None
    recent: list[str]
    filters: Filters


class Queries:
    """Checks requests, within the limits of the settings.

    Attributes:
        of_lists: the query string that goes with a listener or an item.
        of_now_playing: the body that says what plays.
        of_steering: the body that says what is wanted.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        limit: Any = (_limit(settings.max_items), min(USUAL_ITEMS, settings.max_items))
        recent: Any = (_recent(settings.max_recent), Field(default_factory=list))
        self.of_lists = create_model("FilterQuery", __base__=FilterQuery, limit=limit)
        self.of_now_playing = create_model("NowPlayingQuery", __base__=NowPlayingQuery, limit=limit, recent=recent)
        self.of_steering = create_model("SteerQuery", __base__=SteerQuery, limit=limit, recent=recent)
        self.filters = lru_cache(_REMEMBERED)(self._filters)
        """Clients ask with the same few query strings: each is checked once."""

    def listening(self, body: bytes) -> Listening:
        """The body of a request for what comes next.

        Raises:
            Refused: it is no JSON, or a part of it is not valid.
        """
        try:
            query = self.of_now_playing.model_validate_json(body)
        except ValidationError as error:
            raise _refused(error, "body") from None
        filters = _as_filters(query, allow_heard=query.allow_heard)
        return Listening(query.user_id, query.playing, query.recent, filters)

    def steering(self, body: bytes) -> SteerQuery:
        """The body of a request for a list by a plan.

        Raises:
            Refused: it is no JSON, or a part of it is not valid.
        """
        try:
            return self.of_steering.model_validate_json(body)
        except ValidationError as error:
            raise _refused(error, "body") from None

    def takedown(self, body: bytes) -> TakedownQuery:
        """The body of a request to take items down.

        Raises:
            Refused: it is no JSON, or a part of it is not valid.
        """
        try:
            return TakedownQuery.model_validate_json(body)
        except ValidationError as error:
            raise _refused(error, "body") from None

    def _filters(self, query_string: bytes) -> Filters:
        """The filters of a query string.

        Raises:
            Refused: it cannot be read, or a part of it is not valid.
        """
        try:
            pairs = parse_qsl(
                query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
            )
        except ValueError:  # not UTF-8, or too many
            detail = f"the query is not at most {MOST_PARAMETERS} parameters in UTF-8"
            raise Refused(problem(MALFORMED, detail)) from None
        values: dict[str, list[str]] = defaultdict(list)
        for name, text in pairs:
            values[name].append(text)
        try:
            return _as_filters(self.of_lists.model_validate({name: _typed(name, values[name]) for name in values}))
        except ValidationError as error:
            raise _refused(error, "query") from None


def check_id(name: str, text: str) -> str:
    """An id of a path, which is not longer than any.

    Raises:
        Refused: it is.
    """
    if len(text) <= LONGEST_ID:
        return text
    violation = Violation(f"path.{name}", f"String should have at most {LONGEST_ID} characters")
    raise Refused(problem(INVALID, violations=[violation]))


def _as_filters(query: FilterQuery, *, allow_heard: bool = False) -> Filters:
    types = frozenset(query.content_types)
    return Filters(query.limit, types, query.market, query.explicit, allow_heard, query.because)


def _typed(name: str, texts: list[str]) -> object:
    """The value of a parameter as its JSON would be; what is no number or boolean stays text, and is refused."""
    if name == "content_types" or len(texts) > 1:
        return texts
    if name == "limit" and _INTEGER.fullmatch(texts[0]):
        return int(texts[0])
    return _BOOLEANS.get(texts[0], texts[0]) if name in {"explicit", "because"} else texts[0]


def _refused(error: ValidationError, part: str) -> Refused:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] == "json_invalid":
        return Refused(problem(MALFORMED, f"the {part} is no JSON"))
    violations = [
        Violation(".".join((part, *map(str, each["loc"])))[:100], each["msg"]) for each in problems[:MOST_VIOLATIONS]
    ]
    return Refused(problem(INVALID, violations=violations))
