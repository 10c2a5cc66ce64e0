"""The understanding of words: what a parser is given, and what it answers. Parsers are in `nocturne.steering.words`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, Protocol

from nocturne.core.service_sections import WordsSettings
from nocturne.steering.plan import Plan

Intent = Literal["steer", "add_to_playlist", "search", "rate", "not_understood"]


class Named(Protocol):
    """An item as words may name it."""

    @property
    def item_id(self) -> str:
        """The item."""

    @property
    def title(self) -> str | None:
        """Its title, if the catalogue has one."""

    @property
    def creator(self) -> str | None:
        """Its artist, show or author, if the catalogue has one."""


class CatalogueNames(Protocol):
    """The names that a generation knows, for a lexicon."""

    @property
    def available(self) -> frozenset[str]:
        """Names of the fields of which the catalogue says something, `years` and `energy` among them."""

    def names(self) -> Mapping[str, Mapping[str, int]]:
        """By field (creators, tags, content_types ...), every value as the catalogue has it, and how many have it."""

    def titles(self) -> Iterable[Named]:
        """Every item with its title and creator, in the order of the items' numbers."""


class Read(NamedTuple):
    """A part of a text that was understood.

    Attributes:
        start, end: characters of the text.
        means: what it stands for, in words.
    """

    text: str
    start: int
    end: int
    means: str


class Slot(NamedTuple):
    """A part of a text that names something, whatever comes of it.

    Attributes:
        type: artist, track, album, genre, playlist, year, sort, music_item, title (of nobody knows what), service ...
        start, end: characters.
        known: True if the catalogue has it.
    """

    type: str
    text: str
    start: int
    end: int
    known: bool


class Understanding(NamedTuple):
    """The plan that a text was understood as, and what was not understood.

    Attributes:
        plan: what was understood; empty if nothing was.
        not_understood: parts of the text that no rule or wish stands for, in their order.
        intent: the kind of request; only `steer` has a plan.
        understood: parts of the text that a rule or wish stands for, in their order.
        taken: sentences on what was taken for something else: names that are spelt otherwise, words by likeness.
        slots: parts of the text that name something, in their order; of a search or rating, a title and kind of work.
    """

    plan: Plan
    not_understood: tuple[str, ...] = ()
    intent: Intent = "steer"
    understood: tuple[Read, ...] = ()
    taken: tuple[str, ...] = ()
    slots: tuple[Slot, ...] = ()


class Parser(Protocol):
    """Turns words into plans; knows no listener."""

    def parse(self, text: str, before: Plan | None = None, playing: Named | None = None) -> Understanding:
        """The plan that a text asks for.

        Args:
            before: the plan that the text refines ("shorter"); None: it stands alone. The answer is the text's part
                alone, which `before.refine` takes.
            playing: the item that "that one" points at; None: it is not understood.
        """


ParserOf = Callable[[CatalogueNames], Parser]
"""Makes the parser of a generation from the names that it knows."""


def parser_of(names: CatalogueNames, settings: WordsSettings | None = None) -> Parser:
    """The parser of a generation, which knows its names.

    Args:
        settings: of words; None: English, and no endpoint.
    """
    from datetime import date

    from nocturne.embedding.encoder import make_encoder
    from nocturne.steering.words.endpoint import with_endpoint
    from nocturne.steering.words.parser import words_parser

    if settings is None:
        return words_parser(names, encoder=make_encoder("hashed"), today=date.today)
    encoder = None if settings.encoder == "none" else make_encoder(settings.encoder)
    local = words_parser(names, settings.language, encoder=encoder, today=date.today)
    return with_endpoint(local, settings)
