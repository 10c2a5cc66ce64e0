"""Listens that are not a listener's taste: conditions on listens, and the listens that meet them. Pure.

    NotTaste(tags=("children",), days=Days(first=date(2026, 1, 1)))

What the catalogue does not say of an item is a no: such listens stay in.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nocturne.core.arrays import Mask
from nocturne.core.masks import mask

_TYPES = {
    "track": "tracks",
    "podcast_episode": "podcast episodes",
    "audiobook": "audiobooks",
    "other": "items of other types",
}
_Types = tuple[Literal["track", "podcast_episode", "audiobook", "other"], ...]
_Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(strict=False, max_length=100)]
_Ids = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=511)], ...], Field(strict=False, max_length=100)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Days(_Frozen):
    """Days of listening from the first to the last, both of them among these, UTC."""

    first: Annotated[date | None, Field(description="null: however long ago")] = None
    last: Annotated[date | None, Field(description="null: from then on")] = None

    @model_validator(mode="after")
    def _a_span(self) -> Self:
        if self.first is None and self.last is None:
            raise ValueError("a span of days has an end at least")
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError(f"a span of days goes on: {self.first} is after {self.last}")
        return self

    def in_words(self) -> str:
        """The days as people say them."""
        if self.first is not None and self.last is not None:
            return f"on {self.first}" if self.first == self.last else f"from {self.first} to {self.last}"
        return f"from {self.first} on" if self.first is not None else f"up to {self.last}"


class NotTaste(_Frozen):
    """Listens that match every field that is given, each by any one of its values. Names: without regard to case."""

    content_types: Annotated[_Types, Field(strict=False, max_length=4, description="to items of these types")] = ()
    creators: Annotated[_Names, Field(description="to items by one of these artists, shows or authors")] = ()
    tags: Annotated[_Names, Field(description="to items with one of these tags")] = ()
    item_ids: Annotated[_Ids, Field(description="to these items themselves")] = ()
    contexts: Annotated[_Names, Field(description="in one of these contexts, as listens land them")] = ()
    days: Annotated[Days | None, Field(description="on these days, UTC; null: on any")] = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self == NotTaste.model_construct():
            raise ValueError(f"a condition names a field: {', '.join(NotTaste.model_fields)}")
        return self

    def in_words(self) -> str:
        """The listens as people name them: `listens to tracks tagged sleep from 2026-01-01 on`."""
        kinds = _either([_TYPES[name] for name in self.content_types]) or "items"
        named = (("tagged", self.tags), ("by", self.creators), ("named", self.item_ids))
        items = [f"{lead} {_either(names)}" for lead, names in named if names]
        about = ["to", kinds, *items] if items or self.content_types else []
        where = [f"in the context {_either(self.contexts)}"] if self.contexts else []
        return " ".join(["listens", *about, *where, *([self.days.in_words()] if self.days else [])])


Requests = Mapping[str, tuple[NotTaste, ...]]
"""Conditions of listeners, by user_id; a listen that meets one of them is not their taste."""


def conditions_of(plan: str) -> tuple[NotTaste, ...]:
    """The listens that a plan says are not its listener's taste; none if it says nothing of them.

    Args:
        plan: as JSON, a valid one.
    """
    return tuple(NotTaste.model_validate_json(json.dumps(each)) for each in json.loads(plan).get("not_taste", ()))


def as_text(conditions: Sequence[NotTaste]) -> str:
    """Conditions as JSON; equal for equal ones."""
    return json.dumps([each.model_dump(mode="json", exclude_defaults=True) for each in conditions])


def not_taste(listens: pa.Table, requests: Requests, items: pa.Table) -> Mask:
    """True for listens that are not their listener's taste; shape (listens,).

    Args:
        listens: user_id, item_id, listened_at and context.
        items: item_id, content_type, creator and tags of the catalogue.
    """
    named = items.filter(pc.is_in(items["item_id"], value_set=pc.unique(listens["item_id"].combine_chunks())))
    facts = named.select(["item_id", "content_type", "creator", "tags"]).to_pylist()
    by_condition: dict[NotTaste, list[str]] = {}
    for user_id, conditions in requests.items():
        for condition in conditions:
            by_condition.setdefault(condition, []).append(user_id)
    out = np.zeros(listens.num_rows, bool)
    for condition, user_ids in by_condition.items():
        theirs = mask(pc.is_in(listens["user_id"], value_set=pa.array(user_ids, pa.string())).combine_chunks())
        out |= theirs & _meet(condition, listens, facts)
    return out


def _meet(condition: NotTaste, listens: pa.Table, facts: Sequence[Mapping[str, Any]]) -> Mask:
    met = np.ones(listens.num_rows, bool)
    if condition.content_types or condition.creators or condition.tags:
        ids = [each["item_id"] for each in facts if _is_meant(condition, each)]
        met &= _among(listens["item_id"], ids)
    if condition.item_ids:
        met &= _among(listens["item_id"], condition.item_ids)
    if condition.contexts:
        wanted = _folded(condition.contexts)
        distinct = pc.unique(listens["context"].drop_null().combine_chunks()).to_pylist()
        met &= _among(listens["context"], [each for each in distinct if _fold(each) in wanted])
    if condition.days is not None:
        for end, compare, ahead in ((condition.days.first, pc.greater_equal, 0), (condition.days.last, pc.less, 1)):
            if end is not None:
                moment = datetime.combine(end, time(), UTC) + timedelta(days=ahead)
                at = pa.scalar(moment, pa.timestamp("us", "UTC"))
                met &= mask(compare(listens["listened_at"], at).combine_chunks())
    return met


def _is_meant(condition: NotTaste, item: Mapping[str, Any]) -> bool:
    creator, tags = item["creator"], [tag for tag in item["tags"] or () if tag is not None]
    return (
        (not condition.content_types or item["content_type"] in condition.content_types)
        and (not condition.creators or (creator is not None and _fold(creator) in _folded(condition.creators)))
        and (not condition.tags or not _folded(condition.tags).isdisjoint(_folded(tags)))
    )


def _among(column: pa.ChunkedArray, values: Sequence[str]) -> Mask:
    return mask(pc.is_in(column, value_set=pa.array(values, pa.string())).combine_chunks())


def _folded(names: Sequence[str]) -> frozenset[str]:
    return frozenset(map(_fold, names))


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)
