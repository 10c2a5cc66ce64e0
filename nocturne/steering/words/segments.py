"""Segmentation: a text as names and words around names, the likeliest of all ways to cut it.

Every phrase of the language and every span that may be a name is an arc between two places of the text. A path's score
is the sum of the weights of its features: of an arc, whether the catalogue knows the name, how its words look, what
stands behind it; and of two neighbours, which class follows which. Features are of classes, never of single words, so
that the weights of one language do for another.

Source: Sarawagi and Cohen (2004), "Semi-Markov conditional random fields for information extraction", section 2.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nocturne.steering.words.language import Language, Meaning
from nocturne.steering.words.lexicon import Lexicon
from nocturne.steering.words.tokens import Token

FIELD_OF: Mapping[str, str] = {
    "artist": "creators",
    "track": "titles",
    "album": "albums",
    "genre": "tags",
    "playlist": "playlists",
    "title": "titles",
}
"""Classes of names, and the field of a catalogue that has them; a title is of a track or album, or of neither."""

LONGEST_NAME = 14
"""Words of a name that nothing knows."""

RULES = frozenset({
    "no", "except", "only", "more", "less", "like", "but", "comma", "or", "compare", "leaning", "heard", "explicit",
    "type", "diversity", "pointing", "hold", "unit", "number",
})  # fmt: skip
"""Classes of steering, of which the sentences that weights are fitted on have next to none: nothing is learned of them
but that they are words around names."""

_SCOPING = frozenset({"no", "more", "less", "like", "except"})

VERBS = ("play", "offer", "add", "search", "rate")
_OTHER = "other"
_START = "start"

Weights = Mapping[str, float]
Features = dict[str, float]


class Segment(NamedTuple):
    """A part of a text.

    Attributes:
        kind: a class of the language, of names (artist, track, album, genre, playlist, title), `language`, or other.
        start, end: tokens.
        value: what the phrase stands for.
        known: True for a name that the catalogue has in this class.
    """

    kind: str
    start: int
    end: int
    value: Any = None
    known: bool = False


class Arc(NamedTuple):
    """A segment that may be, and its features."""

    segment: Segment
    features: Features


class Lattice:
    """All segments that a text may be cut into."""

    def __init__(self, tokens: Sequence[Token], language: Language, lexicon: Lexicon) -> None:
        """The lattice of a text."""
        self.tokens, self._language, self._lexicon = tokens, language, lexicon
        self._phrases = _without_inner([self._phrases_at(start) for start in range(len(tokens))])
        self.verb = self._first_verb()
        self._mixed = len({token.is_capitalized for token in tokens[1:] if token.key}) == 2
        self.arcs: list[list[Arc]] = [list(self._arcs_at(start)) for start in range(len(tokens))]

    def _phrases_at(self, start: int) -> list[tuple[int, Meaning]]:
        farthest = min(len(self.tokens), start + self._language.longest) + 1
        ends = [end for end in range(start + 1, farthest) if end == start + 1 or self._has_ends(start, end)]
        found = [
            (end, meaning)
            for end in ends
            for meaning in self._language.meanings(self.tokens[start:end])
            if meaning.kind != "order"
        ]
        if owner := self._owner_end(start):
            found.append((owner, Meaning("owner")))
        if top := self._top_end(start):
            found.append((top, Meaning("sort")))
        return found

    def _has_ends(self, start: int, end: int) -> bool:
        """True if words, and no marks, are at both ends."""
        return bool(self.tokens[start].key and self.tokens[end - 1].key)

    def _owner_end(self, start: int) -> int | None:
        """The end of somebody's, as in `noreen's`."""
        after = self.tokens[start + 1 : start + 2]
        return start + 2 if self.tokens[start].key and after and after[0].key == "s" and _is_mark(after[0]) else None

    def _top_end(self, start: int) -> int | None:
        """The end of a sort with a number, as in `top-20` or `top five`."""
        if not any(meaning.kind == "sort" for meaning in self._language.meanings(self.tokens[start : start + 1])):
            return None
        end = start + 2 if [each.text for each in self.tokens[start + 1 : start + 2]] == ["-"] else start + 1
        numbered = any(meaning.kind == "number" for meaning in self._language.meanings(self.tokens[end : end + 1]))
        return end + 1 if numbered else None

    def _first_verb(self) -> str:
        place = 0
        while place < len(self.tokens):
            longest = max(self._phrases[place], key=lambda each: each[0], default=None)
            if longest is None:
                place += 1
                continue
            kinds = [meaning.kind for end, meaning in self._phrases[place] if end == longest[0]]
            if verbs := [kind for kind in kinds if kind in VERBS]:
                return verbs[0]
            place = longest[0]
        return "none"

    def _arcs_at(self, start: int) -> Iterator[Arc]:
        for end, meaning in self._phrases[start]:
            yield Arc(Segment(meaning.kind, start, end, meaning.value), self._phrase_features(start, end, meaning.kind))
        if not self._phrases[start]:
            yield Arc(Segment(_OTHER, start, start + 1), self._other_features(start))
        if not self.tokens[start].key or _is_mark(self.tokens[start]):
            return
        for end in range(start + 1, min(len(self.tokens), start + LONGEST_NAME) + 1):
            if self.tokens[end - 1].key and not (end - start == 1 and _is_mark(self.tokens[start])):
                yield from self._names(start, end)

    def _names(self, start: int, end: int) -> Iterator[Arc]:
        key = "".join(token.key for token in self.tokens[start:end])
        fields = self._lexicon.fields_of(key)
        shared = self._shape(start, end)
        for kind, field in FIELD_OF.items():
            known = field in fields
            features = self._name_features(kind, known, bool(fields), start, end) | shared
            yield Arc(Segment(kind, start, end, None, known), features)
        if "languages" in fields:
            yield Arc(Segment("language", start, end, None, True), {"function": 1.0, "function:words": end - start})

    def _name_features(self, kind: str, known: bool, elsewhere: bool, start: int, end: int) -> Features:
        size = end - start
        features = {
            f"{kind}>{self._class_at(end)}": 1.0,
            f"{kind}@{self.verb}": 1.0,
            f"{kind}:words": min(size, 6) / 3,
            f"{kind}:size{min(size, 4)}": 1.0,
        }
        if known:
            features[f"{kind}:known{min(size, 3)}"] = 1.0
            features["name:known"] = size
            return features
        features[f"{kind}:{'elsewhere' if elsewhere else 'new'}"] = 1.0
        words = tuple(token.key for token in self.tokens[start:end] if token.key)
        features[f"{kind}:alike"] = self._lexicon.evidence(words, FIELD_OF[kind])
        for place in range(start, end):
            kinds = self._single(place)
            where = "first" if place == start else "last" if place == end - 1 else "inside"
            features[f"name:{where}:{kinds}"] = features.get(f"name:{where}:{kinds}", 0.0) + 1.0
        return features

    def _shape(self, start: int, end: int) -> Features:
        """Features of a name's look, whatever it names."""
        features: Features = {"name": 1.0, "name:words": end - start}
        if not self._mixed:
            return features
        words = [token for token in self.tokens[start:end] if token.key]
        large = sum(token.is_capitalized for token in words)
        features["name:capital"] = large
        features["name:small"] = len(words) - large
        if start > 1 and words[0].is_capitalized and self.tokens[start - 1].is_capitalized:
            features["name:cut"] = 1.0
        if end < len(self.tokens) and words[-1].is_capitalized and self.tokens[end].is_capitalized:
            features["name:cut"] = features.get("name:cut", 0.0) + 1.0
        return features

    def _phrase_features(self, start: int, end: int, kind: str) -> Features:
        features: Features = {"function": 1.0, "function:words": end - start}
        if kind not in RULES:
            features |= {kind: 1.0, f"{kind}@{self.verb}": 1.0}
        if kind in {"item", "sort", "period", "list", "owner", "maker", "service"}:
            features[f"{kind}>{self._class_at(end)}"] = 1.0
        if self._mixed and start > 0:
            large = sum(token.is_capitalized for token in self.tokens[start:end])
            if large and kind != "service":
                features["function:capital"] = large
        return features

    def _other_features(self, start: int) -> Features:
        large = self._mixed and start > 0 and self.tokens[start].is_capitalized
        return {_OTHER: 1.0} | ({"other:capital": 1.0} if large else {})

    def _class_at(self, place: int) -> str:
        """Class of what begins at a place, an article and what is behind it as one."""
        if place >= len(self.tokens):
            return "end"
        longest = max(self._phrases[place], key=lambda each: each[0], default=None)
        if longest is None:
            return "word"
        end, meaning = longest
        if meaning.kind == "det" and end < len(self.tokens):
            behind = max(self._phrases[end], key=lambda each: each[0], default=None)
            return f"det+{behind[1].kind}" if behind else "det"
        return meaning.kind

    def _single(self, place: int) -> str:
        return next((meaning.kind for end, meaning in self._phrases[place] if end == place + 1), "word")


def _without_inner(phrases: list[list[tuple[int, Meaning]]]) -> list[list[tuple[int, Meaning]]]:
    """Phrases without those inside a longer one of steering: `that one` is not `one`.

    `that song` is what plays only behind a word of scope, as in `without that song`.
    """
    covers, scoped = set(), False
    for start, found in enumerate(phrases):
        for end, meaning in found:
            if end - start > 1 and meaning.kind in RULES and (scoped or meaning.kind != "pointing"):
                covers.add((start, end))
        scoped |= any(meaning.kind in _SCOPING for _, meaning in found)
    return [
        [
            (end, meaning)
            for end, meaning in found
            if not any(first <= start and end <= last and (first, last) != (start, end) for first, last in covers)
        ]
        for start, found in enumerate(phrases)
    ]


def best_path(
    lattice: Lattice, weights: Weights, allowed: Callable[[Segment], bool] | None = None
) -> tuple[list[Arc], float] | None:
    """The arcs of the path whose weights sum up highest, and the sum; None if what is allowed leaves no path."""
    ends = len(lattice.tokens)
    best: list[dict[str, tuple[float, str, int, Arc | None]]] = [{} for _ in range(ends + 1)]
    best[0][_START] = (0.0, "", 0, None)
    for place in range(ends):
        if not best[place]:
            continue
        for arc in lattice.arcs[place]:
            segment = arc.segment
            if allowed is not None and not allowed(segment):
                continue
            own = sum(weights.get(name, 0.0) * amount for name, amount in arc.features.items())
            onward = best[segment.end]
            for state, (score, *_) in best[place].items():
                total = score + own + weights.get(_pair(state, segment.kind), 0.0)
                after = _state(state, segment.kind)
                if after not in onward or total > onward[after][0]:
                    onward[after] = (total, state, place, arc)
    if not best[ends]:
        return None
    state = max(best[ends], key=lambda each: best[ends][each][0])
    total, path, place = best[ends][state][0], [], ends
    while place:
        _, before, came_from, last = best[place][state]
        assert last
        path.append(last)
        state, place = before, came_from
    return path[::-1], total


def path_features(path: Sequence[Arc]) -> Features:
    """Features of a path, of its arcs and of their order."""
    features: Features = {}
    state = _START
    for arc in path:
        for name, amount in arc.features.items():
            features[name] = features.get(name, 0.0) + amount
        if pair := _pair(state, arc.segment.kind):
            features[pair] = features.get(pair, 0.0) + 1.0
        state = _state(state, arc.segment.kind)
    return features


def _pair(state: str, kind: str) -> str:
    """The feature of two classes that follow each other; none of steering."""
    return "" if kind in RULES or state.removesuffix("+") in RULES else f"{state}|{kind}"


def _state(before: str, kind: str) -> str:
    """Class of what stands before; an article lets through what is before it."""
    if kind == "mark":
        return before
    return f"{before.removesuffix('+')}+" if kind == "det" else kind


def _is_mark(token: Token) -> bool:
    return token.text[0] in "'\u2019"
