"""Conditions on items: values of the catalogue's fields, and of the listener's own past, that a rule names."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_NAMES, MOST_YEARS, MOST_EXCEPTIONS = 100, 20, 5
"""Values of a field, ranges of years and exceptions of a rule that a condition may have."""

LONGEST_NAME = 200
"""Characters of a name."""

ContentType = Literal["track", "podcast_episode", "audiobook", "other"]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Names = Annotated[tuple[Name, ...], Field(strict=False, max_length=MOST_NAMES)]
ItemIds = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=511)], ...], Field(strict=False, max_length=MOST_NAMES)
]

TYPE_WORDS: dict[str, str] = {
    "track": "tracks",
    "podcast_episode": "podcast episodes",
    "audiobook": "audiobooks",
    "other": "items of other types",
}


class Part(BaseModel):
    """A part of a plan: frozen, strict about names and types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Years(Part):
    """Years of release from the first to the last, both of them among these."""

    first: Annotated[int | None, Field(ge=0, le=9999, description="null: however old")] = None
    last: Annotated[int | None, Field(ge=0, le=9999, description="null: however new")] = None

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        _check_range(self.first, self.last)
        return self

    def in_words(self) -> str:
        """The years as people say them."""
        if self.first is not None and self.last is not None:
            return f"of {self.first}" if self.first == self.last else f"of {self.first} to {self.last}"
        return f"of {self.first} or later" if self.first is not None else f"of {self.last} or earlier"


class Duration(Part):
    """Lengths of an item, in seconds, both ends among them."""

    at_least: Annotated[float | None, Field(ge=0, le=1e7, description="seconds; null: however short")] = None
    at_most: Annotated[float | None, Field(ge=0, le=1e7, description="seconds; null: however long")] = None

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        _check_range(self.at_least, self.at_most)
        return self

    def in_words(self) -> str:
        """The lengths as people say them."""
        if self.at_least is None:
            return f"of at most {_length(self.at_most)}"
        if self.at_most is None:
            return f"of at least {_length(self.at_least)}"
        return f"of {_length(self.at_least)} to {_length(self.at_most)}"


class Match(Part):
    """Items that match every field that is given, each by any one of its values.

    Names are compared without regard to case. Genres and moods are looked up among the tags where the catalogue has no
    fields of their own.
    """

    content_types: Annotated[
        tuple[ContentType, ...], Field(strict=False, max_length=4, description="of one of these types")
    ] = ()
    creators: Annotated[Names, Field(description="by one of these artists, shows or authors")] = ()
    tags: Annotated[Names, Field(description="with one of these tags")] = ()
    genres: Annotated[Names, Field(description="of one of these genres")] = ()
    moods: Annotated[Names, Field(description="of one of these moods")] = ()
    languages: Annotated[Names, Field(description="in one of these languages, as the catalogue writes them")] = ()
    years: Annotated[
        tuple[Years, ...], Field(strict=False, max_length=MOST_YEARS, description="released in one of these years")
    ] = ()
    explicit: Annotated[bool | None, Field(description="true: marked explicit; false: not; null: either")] = None
    duration: Annotated[Duration | None, Field(description="of such a length; null: of any")] = None
    markets: Annotated[Names, Field(description="that may be played in one of these markets")] = ()
    heard: Annotated[
        bool | None, Field(description="true: heard by the listener before; false: new to them; null: either")
    ] = None
    item_ids: Annotated[ItemIds, Field(description="these items themselves")] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.fields():
            raise ValueError(f"a condition names a field: {', '.join(Match.model_fields)}")
        return self

    def fields(self) -> tuple[str, ...]:
        """Names of the fields that are given, in their order here."""
        return tuple(name for name in Match.model_fields if getattr(self, name) not in ((), None))

    def in_words(self) -> str:
        """The items, in the plural, as people name them: `explicit tracks by Parade Tower`."""
        before = [{True: "explicit", False: "clean"}[self.explicit]] if self.explicit is not None else []
        before += [_either(names) for names in (self.moods, self.genres) if names]
        kinds = _either(tuple(TYPE_WORDS[name] for name in self.content_types)) or "items"
        after = [f"{lead} {_either(names)}" for lead, names in self._named() if names]
        after += [_either(tuple(each.in_words() for each in self.years))] if self.years else []
        after += [self.duration.in_words()] if self.duration else []
        if self.heard is not None:
            after.append("that were heard before" if self.heard else "that are new to the listener")
        return " ".join((*before, kinds, *after))

    def _named(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (
            ("tagged", self.tags),
            ("by", self.creators),
            ("in", self.languages),
            ("playable in", self.markets),
            ("named", self.item_ids),
        )


class Rule(Match):
    """A condition of a hard rule, and who is excused from it."""

    unless: Annotated[
        tuple[Match, ...],
        Field(
            strict=False,
            max_length=MOST_EXCEPTIONS,
            description="items that match one of these are let through in any case",
        ),
    ] = ()

    def all_fields(self) -> frozenset[str]:
        """Names of the fields that the rule reads, those of its exceptions too."""
        return frozenset(self.fields()).union(*(each.fields() for each in self.unless))

    def in_words(self) -> str:
        """The items as people name them, with the exceptions."""
        excused = _either(tuple(each.in_words() for each in self.unless))
        return f"{super().in_words()}, except {excused}" if excused else super().in_words()


def _either(names: tuple[str, ...]) -> str:
    """Some names as alternatives: `a, b or c`."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _length(seconds: float | None) -> str:
    """A length of time as people say it, a number of minutes or seconds."""
    seconds = seconds or 0
    amount, unit = (seconds, "second") if seconds < 60 or seconds % 30 else (seconds / 60, "minute")
    return f"{amount:g} {unit}" if amount == 1 else f"{amount:g} {unit}s"


def _check_range(low: float | None, high: float | None) -> None:
    if low is None and high is None:
        raise ValueError("a range has an end at least")
    if low is not None and high is not None and low > high:
        raise ValueError(f"a range rises: {low:g} is above {high:g}")
