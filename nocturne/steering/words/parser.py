"""The parser that needs no server: words of a request to a plan, by the lexicon of a catalogue and a language."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from nocturne.embedding.encoder import TextEncoder
from nocturne.steering.parsing import CatalogueNames, Intent, Named, Read, Slot, Understanding
from nocturne.steering.plan import Plan
from nocturne.steering.words.intents import FOREIGN, SCOPED, Evidence, elsewhere, intent_features, intent_of
from nocturne.steering.words.language import Language, load_language
from nocturne.steering.words.lexicon import Lexicon, make_lexicon
from nocturne.steering.words.meanings import meaning_of
from nocturne.steering.words.nearest import NearestTags
from nocturne.steering.words.readings import Readings
from nocturne.steering.words.scopes import Draft, Drafting, scopes_of
from nocturne.steering.words.segments import FIELD_OF, RULES, Lattice, Segment, best_path
from nocturne.steering.words.sentences import sentences_of
from nocturne.steering.words.terms import Term, TermReader
from nocturne.steering.words.tokens import Token, span_text, tokenize

WEIGHTS = Path(__file__).parent / "weights.json"
_SILENT = frozenset({"mode", "stop", "verb"})
_LONGEST_TAG = 5
_KEPT = RULES | {"play", "offer", "stop", "det"}
"""Classes that are read as what they are, whatever a tag says."""

_FIRST: tuple[Intent, ...] = ("steer", "add_to_playlist", "search", "rate", "not_understood")
"""The intent of a text of several sentences is the first of these that one of them has."""

_SLOT_OF = {"item": "music_item", "period": "year"}
_SOUGHT = {"item": "work", **dict.fromkeys(FIELD_OF, "title")}
_SLOTS = frozenset({"year", "sort", "music_item", "service", "owner", "work"})


class _Sentence(NamedTuple):
    """A sentence that was read; the places of its terms are characters."""

    text: str
    intent: Intent
    draft: Draft
    used: list[Term]
    lost: tuple[str, ...]
    slots: list[Slot]


class WordsParser:
    """Turns words into plans. Knows no listener; names of the catalogue are looked up and never obeyed."""

    def __init__(
        self,
        lexicon: Lexicon,
        language: str = "en",
        *,
        encoder: TextEncoder | None = None,
        today: Callable[[], date] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        """A parser for one catalogue.

        Args:
            encoder: maps words that nothing knows to tags; None: they are not understood.
            today: tells the date that `until friday` counts from; None: such times are not understood.
            weights: of the grammar; None: those that come with it.
        """
        self._weights = weights or load_weights()
        self.lexicon, self.language, self._today = lexicon, load_language(language), today
        self._nearest = NearestTags(lexicon.tags(), encoder) if encoder else None

    def parse(
        self, text: str, before: Plan | None = None, playing: Named | None = None, *, steering: bool = False
    ) -> Understanding:
        """The plan that a text asks for, each sentence of it read for itself.

        Args:
            before: the plan that the text refines ("shorter"); the answer is the text's part alone.
            playing: the item that "that one" points at; None: it is not understood.
            steering: True if the text is known to be about a list, as in a conversation about one: a sentence with
                another intent makes a plan all the same.
        """
        tokens = tokenize(text)
        if not tokens:
            return Understanding(Plan(), (), "not_understood")
        sentences = [self._sentence(text, part, before, playing) for part in sentences_of(tokens, self.language)]
        intents = {each.intent for each in sentences}
        intent = next(each for each in _FIRST if each in intents)
        heard = [each for each in sentences if each.intent == "steer" or (steering and each.draft.says)]
        draft, fitting = Draft(), list[_Sentence]()
        for each in heard:
            longer = draft.with_another(each.draft)
            if longer.fits:
                draft, fitting = longer, [*fitting, each]
        used = [term for each in fitting for term in each.used]
        left_out = [each for each in sentences if each in heard or each.intent == "not_understood"]
        lost = [
            part
            for each in sentences
            for part in ((each.text,) if each in left_out and each not in fitting else each.lost)
        ]
        taken = tuple(term.taken for term in used if term.taken)
        intent = "steer" if heard else intent
        slots = tuple(slot for each in sentences for slot in each.slots)
        read = tuple(_read(each, text) for each in used)
        return Understanding(draft.plan(), (*lost, *_behind(text, tokens)), intent, read, taken, slots)

    def _sentence(self, text: str, tokens: Sequence[Token], before: Plan | None, playing: Named | None) -> _Sentence:
        likeliest, segments, used, draft = self._read(text, tokens, before, playing)
        intent = intent_of(segments, self._evidence(tokens, segments, used, draft), self._weights["intents"])
        placed = [each._replace(start=tokens[each.start].start, end=tokens[each.end - 1].end) for each in used]
        scoped = intent == "steer" and any(segment.kind in SCOPED for segment in segments)
        slots = _slots(segments if scoped else likeliest, intent, text, tokens)
        return _Sentence(span_text(text, tokens), intent, draft, placed, _texts(draft.unused, text, tokens), slots)

    def intent_features(self, text: str) -> list[str]:
        """Names of the features that the weights of intents are of."""
        tokens = tokenize(text)
        _, segments, used, draft = self._read(text, tokens, None, None)
        return intent_features(segments, self._evidence(tokens, segments, used, draft))

    def _read(
        self, text: str, tokens: Sequence[Token], before: Plan | None, playing: Named | None
    ) -> tuple[list[Segment], list[Segment], list[Term], Draft]:
        """The likeliest segments of a text, those to be read, their terms that a draft stands for, and the draft."""
        likeliest, segments = self._segments(tokens)
        said = Readings(text, tokens, segments, self.language)
        today = self._today() if self._today else None
        terms = TermReader(said, self.lexicon, self._nearest, today, self.language.nouns).terms()
        certain = not any(term.kind in {"unknown", "likely"} for term in terms)
        draft = Drafting(certain=certain, playing=playing, before=before).read(scopes_of(terms))
        unused = {(term.start, term.end) for term in draft.unused}
        used = [term for term in terms if term.kind not in _SILENT and (term.start, term.end) not in unused]
        return likeliest, segments, used, draft

    def _evidence(
        self, tokens: Sequence[Token], segments: Sequence[Segment], used: Sequence[Term], draft: Draft
    ) -> Evidence:
        foreign = [each for each in segments if each.kind in FOREIGN]
        strange, outside, shown, asks = elsewhere(tokens, segments, self.language)
        return Evidence(
            understood=_words(used, tokens),
            lost=_words(draft.unused, tokens) + _words(foreign, tokens),
            names=_words([term for term in used if term.kind == "name"], tokens),
            strange=strange,
            outside=outside,
            shown=shown,
            asks=asks,
            says=draft.says,
        )

    def _segments(self, tokens: Sequence[Token]) -> tuple[list[Segment], list[Segment]]:
        """The likeliest segments of a text, and those to be read.

        In the latter, what seems to be a name that nothing knows is cut up, if all of it is known words and names.
        """
        lattice = Lattice(tokens, self.language, self.lexicon)
        path = best_path(lattice, self._weights["segments"])
        likeliest = [arc.segment for arc in path[0]] if path else []
        segments = likeliest
        for name in [each for each in likeliest if each.kind in FIELD_OF and not each.known]:
            segments = self._cut(lattice, segments, name) or segments
        if lattice.verb not in {"add", "search", "rate"}:
            segments = [self._tagged(each, tokens) for each in self._with_tags(segments, tokens)]
        return likeliest, segments

    def _with_tags(self, segments: Sequence[Segment], tokens: Sequence[Token]) -> list[Segment]:
        """The segments, those which together are a tag of several words as one: `singer-songwriter`, `new wave`."""
        found: list[Segment] = []
        place = 0
        while place < len(segments):
            start = segments[place].start
            for end in range(min(len(segments), place + _LONGEST_TAG), place + 1, -1):
                part = segments[place:end]
                key = "".join(token.key for token in tokens[start : part[-1].end])
                if not any(each.kind in _KEPT for each in part) and self.lexicon.find(key, "tags"):
                    found.append(Segment("genre", start, part[-1].end, None, known=True))
                    place = end
                    break
            else:
                found.append(segments[place])
                place += 1
        return found

    def _tagged(self, segment: Segment, tokens: Sequence[Token]) -> Segment:
        """A kind of work that the catalogue has for a tag, as that tag: `soundtrack`, `film`."""
        key = "".join(token.key for token in tokens[segment.start : segment.end])
        if segment.kind in {"item", "work"} and key not in self.language.generic and self.lexicon.find(key, "tags"):
            return segment._replace(kind="genre", known=True)
        return segment

    def _cut(self, lattice: Lattice, segments: list[Segment], name: Segment) -> list[Segment] | None:
        """The segments with a name cut into what is known; None if something of it is not, or none is a name."""
        kept = set(segments) - {name}

        def allowed(segment: Segment) -> bool:
            if segment.end <= name.start or name.end <= segment.start:
                return segment in kept
            return name.start <= segment.start and segment.end <= name.end and self._is_known(segment, lattice.tokens)

        path = best_path(lattice, self._weights["segments"], allowed)
        found = [arc.segment for arc in path[0]] if path else []
        inside = [each for each in found if name.start <= each.start < name.end]
        named = any(each.known or each.kind == "other" for each in inside)
        return found if named and len(inside) > 1 else None

    def _is_known(self, segment: Segment, tokens: Sequence[Token]) -> bool:
        if segment.kind == "other":
            return bool(self.lexicon.fields_of(tokens[segment.start].key) & {"tags", "creators"})
        return segment.known or segment.kind not in FIELD_OF


def words_parser(
    names: CatalogueNames,
    language: str = "en",
    *,
    encoder: TextEncoder | None = None,
    today: Callable[[], date] | None = None,
) -> WordsParser:
    """The parser of a catalogue."""
    known: Language = load_language(language)
    return WordsParser(make_lexicon(names, known), language, encoder=encoder, today=today)


@cache
def load_weights() -> dict[str, Any]:
    """Weights of the grammar, `segments` and `intents`, as `benchmarks.fit_words` fitted them."""
    weights: dict[str, Any] = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return weights


def _slots(segments: Sequence[Segment], intent: Intent, text: str, tokens: Sequence[Token]) -> list[Slot]:
    """The segments that name something."""
    renamed = _SLOT_OF | (_SOUGHT if intent in {"search", "rate"} else {})
    found = []
    for segment in segments:
        kind = renamed.get(segment.kind, segment.kind)
        if segment.kind in FIELD_OF or kind in _SLOTS:
            start, end = tokens[segment.start].start, tokens[segment.end - 1].end
            found.append(Slot(kind, text[start:end], start, end, segment.known))
    return found


def _words(parts: Iterable[Term | Segment], tokens: Sequence[Token]) -> int:
    """Words of parts of a text."""
    return sum(bool(token.key) for part in parts for token in tokens[part.start : part.end])


def _texts(terms: Sequence[Term], text: str, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Texts of terms in their order, those that stand together as one."""
    spans: list[list[int]] = []
    for start, end in sorted((term.start, term.end) for term in terms):
        if spans and start <= spans[-1][1]:
            spans[-1][1] = max(end, spans[-1][1])
        else:
            spans.append([start, end])
    return tuple(text[tokens[start].start : tokens[end - 1].end] for start, end in spans)


def _behind(text: str, tokens: Sequence[Token]) -> tuple[str, ...]:
    """The part of a text that was too long to be read."""
    rest = text[tokens[-1].end :].strip()
    return (rest,) if len(rest) > 1 else ()


def _read(term: Term, text: str) -> Read:
    """A term whose places are characters, as people read it."""
    return Read(text[term.start : term.end], term.start, term.end, meaning_of(term))
