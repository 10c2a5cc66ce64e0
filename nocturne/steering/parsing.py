"""The understanding of words: what a parser is given, and what it answers. Parsers are in `nocturne.steering.words`."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from nocturne.steering.plan import Plan


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

    def names(self) -> Mapping[str, Mapping[str, int]]:
        """By field (creators, tags, languages ...), every value as the catalogue has it, and how many have it."""

    def titles(self) -> Iterable[Named]:
        """Every item with its title and creator, in the order of the items' numbers."""


class Understanding(NamedTuple):
    """The plan that a text was understood as, and what was not understood.

    Attributes:
        plan: what was understood; empty if nothing was.
        not_understood: parts of the text that no rule or wish stands for, in their order.
    """

    plan: Plan
    not_understood: tuple[str, ...] = ()


class Parser(Protocol):
    """Turns words into plans; knows no listener."""

    def parse(self, text: str, before: Plan | None = None) -> Understanding:
        """The plan that a text asks for.

        Args:
            before: the plan that the text refines ("shorter", "without that one"); None: it stands alone. The answer is
                the text's part alone, which `before.refine` takes.
        """


class NoParser:
    """A parser that understands nothing, and says so: for services without words."""

    def parse(self, text: str, before: Plan | None = None) -> Understanding:  # noqa: ARG002 - nothing is understood
        """An empty plan, and all of the text as not understood."""
        return Understanding(Plan(), (text,))


ParserOf = Callable[[CatalogueNames], Parser]
"""Makes the parser of a generation from the names that it knows."""


def parser_of(names: CatalogueNames) -> Parser:  # noqa: ARG001 - no parser reads them yet
    """The parser of a generation, which knows its names."""
    return NoParser()
