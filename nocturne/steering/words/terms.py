"""Terms: what each part of a text says, for `scopes` to put together: names, amounts, scales, and words of scope."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from nocturne.steering.words.amounts import read_amount
from nocturne.steering.words.lexicon import Entry, Lexicon
from nocturne.steering.words.nearest import NearestTags
from nocturne.steering.words.readings import Readings
from nocturne.steering.words.segments import FIELD_OF
from nocturne.steering.words.tokens import Token

MODES = ("no", "except", "only", "more", "less", "like")
STOPS = ("stop", "comma", "but", "and", "or")
PLAIN = ("leaning", "heard", "explicit", "type", "diversity")
_SILENT = frozenset({
    "play", "offer", "add", "search", "use", "wish", "music", "item", "items", "work", "maker", "style", "list", "year",
    "by", "from", "on", "with", "to", "named", "det", "owner", "service", "possessive", "mark", "unit", "rate",
    "points",
})  # fmt: skip
"""Classes of words that say nothing of what is to be heard."""

_NAMED_FIRST: Mapping[str, tuple[str, ...]] = {
    "titles": ("titles", "creators", "tags", "languages"),
    "albums": ("creators", "tags", "titles", "languages"),
    "playlists": ("tags", "creators", "titles", "languages"),
    "tags": ("tags", "creators", "languages", "titles"),
    "creators": ("creators", "tags", "languages", "titles"),
}
"""Fields that rules know, by the field that a name seems to be of, the likeliest first."""

_PRAISE = frozenset({"good", "best", "greatest", "favorite", "favourite", "top", "first", "last"})
_LONGEST_PART = 4
_MOST_TERMS = 50
"""Terms of a text that are read, so that no text asks for more rules than a plan may have."""


class Term(NamedTuple):
    """A part of a text that says something.

    Attributes:
        kind: mode, stop, verb, name, unknown, or one of amounts and scales.
        value: of a name its entries in one field; of a mode or stop its class.
        start, end: tokens.
    """

    kind: str
    value: Any
    start: int
    end: int
    taken: str = ""


class TermReader:
    """Reads the terms of a text."""

    def __init__(
        self,
        said: Readings,
        lexicon: Lexicon,
        nearest: NearestTags | None,
        today: date | None,
        nouns: Mapping[str, str],
    ) -> None:
        """A reader of one text.

        Args:
            nouns: content types by the words for them.
        """
        self._said, self._lexicon, self._nearest, self._today, self._nouns = said, lexicon, nearest, today, nouns

    def terms(self) -> list[Term]:
        """Terms of the text, in their order."""
        found: list[Term] = []
        place = 0
        while place < len(self._said):
            tagged = self._tagged_years(place)
            amount = None if tagged else read_amount(self._said, place, self._today)
            if tagged:
                found.append(tagged)
            elif amount:
                end = self._said.segments[amount.end - 1].end if amount.end > place else 0
                found.append(Term(amount.kind, amount.value, self._said.segments[place].start, end))
                if amount.kind == "items" and (noun := self._noun(amount.end - 1)):
                    found.append(noun)
                place = amount.end
                continue
            else:
                found += self._segment(place, found)
            place += 1
        return [term if place < _MOST_TERMS else term._replace(kind="unknown") for place, term in enumerate(found)]

    def _noun(self, place: int) -> Term | None:
        """The content type that a noun stands for, where the catalogue has another one too: `songs`."""
        segment = self._said.segments[place]
        kind = self._nouns.get(_key(self._said.tokens(place, place + 1)))
        if self._said.is_name(place) or kind is None or self._lexicon.types <= {kind}:
            return None
        return Term("noun", kind, segment.start, segment.end)

    def _tagged_years(self, place: int) -> Term | None:
        """Years that are a tag too, where they are wished for more or less, or the catalogue has no years."""
        segment = self._said.segments[place]
        if segment.kind != "period":
            return None
        before = place - 1
        while self._said.is_filler(before) or self._said.has(before, "from", "music", "item", "items"):
            before -= 1
        if "years" in self._lexicon.available and not self._said.has(before, "more", "less", "like"):
            return None
        entries = self._lexicon.find(_key(self._said.tokens(place, place + 1)), "tags")
        return Term("name", entries[:1], segment.start, segment.end) if entries else None

    def _segment(self, place: int, before: list[Term]) -> Iterator[Term]:
        segment, said = self._said.segments[place], self._said
        if said.is_name(place):
            yield from self._name(place)
            return
        if pointed := self._pointed(place, before):
            yield pointed
            return
        for kind in (*MODES, *STOPS):
            if said.has(place, kind) and not (kind == "only" and said.has(said.after(place), "play", "offer", "wish")):
                yield Term("stop" if kind in STOPS else "mode", kind, segment.start, segment.end)
                return
        if inclined := self._inclined(place):
            yield inclined
            return
        for kind in PLAIN:
            if values := said.values(place, kind):
                yield Term(kind, values[0], segment.start, segment.end)
                return
        if segment.kind in {"play", "offer", "add", "search"}:
            yield Term("verb", segment.kind, segment.start, segment.end)
        else:
            yield from self._rest(place)

    def _rest(self, place: int) -> Iterator[Term]:
        """A noun for a kind of item, or words that may be a tag."""
        segment = self._said.segments[place]
        if noun := self._noun(place):
            yield noun
        elif segment.kind not in _SILENT and not self._is_praise(place):
            yield from self._words(segment.start, segment.end, "tags")

    def _inclined(self, place: int) -> Term | None:
        """A leaning to energy as a wish for moods, where the catalogue has those and no energy."""
        values = [each for each in self._said.values(place, "leaning") if each[0] == "energy"]
        if not values or "energy" in self._lexicon.available:
            return None
        key = {"up": "energetic", "down": "calm"}[values[0][1]]
        entries = self._lexicon.find(key, "tags")
        segment = self._said.segments[place]
        return Term("inclined", entries, segment.start, segment.end) if entries else None

    def _pointed(self, place: int, before: list[Term]) -> Term | None:
        """`that one` as what plays; `this` alone only where nothing follows that it belongs to."""
        values = self._said.values(place, "pointing")
        if not values:
            return None
        segment = self._said.segments[place]
        alone = segment.end - segment.start == 1
        follows = place + 1 < len(self._said) and not self._said.has(place + 1, *STOPS, "wish")
        if alone and (follows or not before or before[-1].kind != "mode"):
            return None
        return Term("pointing", values[0], segment.start, segment.end)

    def _is_praise(self, place: int) -> bool:
        return self._said.has(place, "sort") and self._said.text(place, place + 1).casefold() in _PRAISE

    def _name(self, place: int) -> Iterator[Term]:
        segment = self._said.segments[place]
        field = FIELD_OF.get(segment.kind, "languages")
        yield from self._words(segment.start, segment.end, field)

    def _words(self, start: int, end: int, field: str) -> Iterator[Term]:
        """Words that name something: as a whole, else parts that are all known, else a near spelling."""
        tokens = self._said.tokens_between(start, end)
        if entries := self._find(tokens, field):
            yield Term("name", entries, start, end)
            return
        if parts := self._parts(start, end):
            yield from parts
            return
        text = self._said.text_between(start, end)
        if close := self._closest(text, field):
            yield Term("name", (close,), start, end, taken=f"“{text}” was read as {close.name}")
            return
        tag = self._nearest.find(text) if self._nearest else None
        if tag:
            entry = Entry("tags", tag, 1, tag)
            yield Term("likely", (entry,), start, end, taken=f"“{text}” was taken for the tag {tag}, by likeness")
            return
        yield Term("unknown", field, start, end)

    def _closest(self, text: str, field: str) -> Entry | None:
        fields = dict.fromkeys((*(["titles"] if field == "titles" else []), "creators", "tags"))
        return next((close for name in fields if (close := self._lexicon.closest(text, name))), None)

    def _find(self, tokens: tuple[Token, ...], field: str) -> tuple[Entry, ...]:
        key = _key(tokens)
        order = _NAMED_FIRST.get(field, ("languages",))
        return next((found for name in order if (found := self._lexicon.find(key, name))), ())

    def _parts(self, start: int, end: int) -> list[Term]:
        """Tags, creators and languages that cover the words entirely, the longest first; none if they do not."""
        parts, place = [], start
        while place < end:
            for behind in range(min(end, place + _LONGEST_PART), place, -1):
                key = _key(self._said.tokens_between(place, behind))
                fields = ("tags", "languages", "creators")
                if entries := next((found for name in fields if (found := self._lexicon.find(key, name))), ()):
                    parts.append(Term("name", entries, place, behind))
                    place = behind
                    break
            else:
                return []
        return parts


def _key(tokens: tuple[Token, ...]) -> str:
    return "".join(token.key for token in tokens)
