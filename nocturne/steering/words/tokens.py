"""Tokens: words, numbers and marks of a text, each with its place and the form in which it is compared."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from nocturne.embedding.hashed import normalized

LONGEST_TEXT = 2000
"""Characters of a text that are read; what comes behind is not understood."""

_TOKEN = re.compile(
    r"\d+(?=(?:min|mins|minutes|h|hr|hrs|sec|secs)\b)|[^\W_]+(?:['\u2019](?!s\b)[^\W_]+)*|['\u2019]s\b|[^\w\s]|_",
    re.IGNORECASE,
)
_NOT_WORD = re.compile(r"[\W_]+")


class Token(NamedTuple):
    """A word or mark of a text.

    Attributes:
        text: as it stands.
        key: as it is compared: letters and digits without accents and case, `and` for `&`; empty for a mark.
        start, end: characters of the text.
    """

    text: str
    key: str
    start: int
    end: int

    @property
    def is_capitalized(self) -> bool:
        """True if it begins with a capital."""
        return self.text[:1].isupper()


def tokenize(text: str) -> list[Token]:
    """Words and marks of a text, in their order."""
    return [
        Token(found[0], word_key(found[0]), found.start(), found.end())
        for found in _TOKEN.finditer(text[:LONGEST_TEXT])
    ]


def word_key(word: str) -> str:
    """A word as it is compared."""
    return "and" if word == "&" else _NOT_WORD.sub("", normalized(word))


def phrase_key(text: str) -> str:
    """A phrase as it is compared: its words laid end to end, so that `hip-hop`, `hip hop` and `hiphop` are one."""
    return "".join(token.key for token in tokenize(text))


def words_of(text: str) -> tuple[str, ...]:
    """Words of a text as they are compared, marks left out."""
    return tuple(token.key for token in tokenize(text) if token.key)


def span_text(text: str, tokens: Sequence[Token]) -> str:
    """The part of a text that tokens which stand together cover."""
    return text[tokens[0].start : tokens[-1].end] if tokens else ""
