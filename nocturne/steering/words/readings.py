"""Readings: the segments of a text with every sense that the language gives their words, one after the other."""

from collections.abc import Sequence
from typing import Any

from nocturne.steering.words.language import Language
from nocturne.steering.words.segments import FIELD_OF, Segment
from nocturne.steering.words.tokens import Token

FILLERS = frozenset({"det", "mark", "wish"})


class Readings:
    """The segments of a text, by number."""

    def __init__(self, text: str, tokens: Sequence[Token], segments: Sequence[Segment], language: Language) -> None:
        """Readings of a text that was cut into segments."""
        self.segments, self._tokens, self._text = segments, tokens, text
        self._senses = [self._senses_of(segment, language) for segment in segments]

    def __len__(self) -> int:
        return len(self.segments)

    def has(self, place: int, *kinds: str) -> bool:
        """True if there is a segment at a place, and it has one of these senses."""
        return 0 <= place < len(self) and any(kind in self._senses[place] for kind in kinds)

    def values(self, place: int, kind: str) -> list[Any]:
        """Values that a segment stands for in one sense; none if it has another."""
        return self._senses[place].get(kind, []) if 0 <= place < len(self) else []

    def is_name(self, place: int) -> bool:
        """True for a segment that names something."""
        return 0 <= place < len(self) and self.segments[place].kind in {*FIELD_OF, "language"}

    def is_filler(self, place: int) -> bool:
        """True for a segment that says nothing of itself."""
        return 0 <= place < len(self) and self.segments[place].kind in FILLERS

    def after(self, place: int) -> int:
        """The next place whose segment says something."""
        place += 1
        while place < len(self) and self.segments[place].kind in {"det", "mark"}:
            place += 1
        return place

    def tokens(self, first: int, end: int) -> tuple[Token, ...]:
        """Tokens of segments from the first up to the end, which is not among them."""
        return self.tokens_between(self.segments[first].start, self.segments[end - 1].end)

    def text(self, first: int, end: int) -> str:
        """The part of the text that segments cover."""
        return self.text_between(self.segments[first].start, self.segments[end - 1].end)

    def tokens_between(self, start: int, end: int) -> tuple[Token, ...]:
        """Tokens from one up to another."""
        return tuple(self._tokens[start:end])

    def text_between(self, start: int, end: int) -> str:
        """The part of the text that tokens cover."""
        return self._text[self._tokens[start].start : self._tokens[end - 1].end]

    def _senses_of(self, segment: Segment, language: Language) -> dict[str, list[Any]]:
        senses: dict[str, list[Any]] = {segment.kind: [segment.value]}
        if segment.kind in FIELD_OF:
            return senses
        for meaning in language.meanings(self._tokens[segment.start : segment.end]):
            values = senses.setdefault(meaning.kind, [])
            if meaning.value not in values:
                values.append(meaning.value)
        return senses
