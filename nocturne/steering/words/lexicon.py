"""Lexicons: every name that a catalogue has, as people may write it, with the field that it is a value of.

Names are data of strangers: they are only looked up, whole, and never read as words of a request.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import OSA

from nocturne.steering.parsing import CatalogueNames
from nocturne.steering.words.language import Language
from nocturne.steering.words.tokens import phrase_key, words_of

CLOSE = 0.85
"""Share of the letters that are right, from which a misspelt name is taken for one that the catalogue has."""

_LEAST_FUZZY = 7
"""Letters of a name that may be misspelt; a shorter one is another name."""

_MOST_WORDS = 16
_LONGEST_VALUE = 200
"""Characters of a value that a plan may name."""

_MOST_KEPT = 10_000
_SMOOTHING = 0.5
_LARGEST_EVIDENCE = 3.0


class Entry(NamedTuple):
    """A value of a field of the catalogue.

    Attributes:
        field: tags, creators, titles, languages, or others that a catalogue names.
        value: as the catalogue has it; of a title the item_id.
        items: number of items that have it.
        name: as people read it.
    """

    field: str
    value: str
    items: int
    name: str


class Lexicon:
    """The names of a catalogue, by how they are compared."""

    def __init__(
        self,
        entries: Iterable[Entry],
        language: Language,
        available: frozenset[str] = frozenset({"years", "energy"}),
        types: Iterable[str] = (),
    ) -> None:
        """A lexicon of entries; the words for moods come from the language, if the catalogue has one of them as tag.

        Args:
            available: fields of which the catalogue says something.
            types: content types that the catalogue has.
        """
        self.available, self.types = available, frozenset(types)
        self._by_key: dict[str, list[Entry]] = defaultdict(list)
        self._keys: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._words: dict[str, Counter[str]] = defaultdict(Counter)
        self._evidences: dict[str, dict[str, float]] = {}
        for entry in entries:
            words = words_of(entry.name)
            if not words or len(words) > _MOST_WORDS or len(entry.value) > _LONGEST_VALUE:
                continue
            self._words[entry.field].update(words)
            self._words[entry.field].update(_ending(word) for word in words)
            for key in _keys(entry.field, words):
                self._add(key, entry)
        for said in language.moods.values():
            self._add_mood(said)
        for code, said in language.languages.items():
            for entry in self.find(phrase_key(code), "languages"):
                for phrase in said:
                    self._add(phrase_key(phrase), entry)
        for found in self._by_key.values():
            found.sort(key=lambda entry: (-entry.items, entry.field, entry.value))

    def find(self, key: str, field: str | None = None) -> tuple[Entry, ...]:
        """Entries of a name, the commonest first; `key` is as `phrase_key` has it."""
        found = self._by_key.get(key, ())
        return tuple(entry for entry in found if field is None or entry.field == field)

    def fields_of(self, key: str) -> frozenset[str]:
        """Fields that have a name."""
        return frozenset(entry.field for entry in self._by_key.get(key, ()))

    def closest(self, text: str, field: str) -> Entry | None:
        """The entry of a field whose name differs by no more than a misspelling behind its first letter, if any."""
        key = phrase_key(text)
        if len(key) < _LEAST_FUZZY:
            return None
        alike = self._keys.get((field, key[0]), ())
        found = process.extractOne(key, alike, scorer=OSA.normalized_similarity, score_cutoff=CLOSE)
        return self.find(found[0], field)[0] if found else None

    def evidence(self, words: tuple[str, ...], field: str) -> float:
        """Log odds that words name a value of a field rather than of another, by the words of all its names."""
        if field not in self._words or len(self._words) == 1:
            return 0.0
        total = sum(self._evidence_of(word).get(field, 0.0) for word in words)
        return max(-_LARGEST_EVIDENCE, min(_LARGEST_EVIDENCE, total))

    def tags(self) -> dict[str, int]:
        """Every tag of the catalogue, and how many items have it."""
        return {entry.value: entry.items for found in self._by_key.values() for entry in found if entry.field == "tags"}

    def _evidence_of(self, word: str) -> dict[str, float]:
        """By field, the log odds of one word; that of its ending if no name has it."""
        known = self._evidences.get(word)
        if known is None:
            feature = word if any(counts[word] for counts in self._words.values()) else _ending(word)
            shares = {name: (counts[feature] + _SMOOTHING) / self._totals[name] for name, counts in self._words.items()}
            total, others = sum(shares.values()), max(1, len(shares) - 1)
            known = {name: math.log(share * others / max(total - share, 1e-12)) for name, share in shares.items()}
            if len(self._evidences) < _MOST_KEPT:
                self._evidences[word] = known
        return known

    @cached_property
    def _totals(self) -> dict[str, float]:
        return {name: sum(counts.values()) + _SMOOTHING * 1000 for name, counts in self._words.items()}

    def _add(self, key: str, entry: Entry) -> None:
        if key and entry not in self._by_key[key]:
            self._by_key[key].append(entry)
            self._keys[entry.field, key[0]].append(key)

    def _add_mood(self, said: tuple[str, ...]) -> None:
        """Let each word for a mood stand for the tags for it that the catalogue has, unless it is a tag itself."""
        keys = [phrase_key(phrase) for phrase in said]
        has = [entry for key in keys for entry in self.find(key, "tags")]
        for key in keys:
            if not self.find(key, "tags"):
                for entry in has:
                    self._add(key, entry)


def make_lexicon(names: CatalogueNames, language: Language) -> Lexicon:
    """The lexicon of a catalogue."""
    fields = dict(names.names())
    types = fields.pop("content_types", {})
    entries = [Entry(field, value, count, value) for field, values in fields.items() for value, count in values.items()]
    entries += [Entry("titles", item.item_id, 1, item.title) for item in names.titles() if item.title]
    return Lexicon(entries, language, names.available, types)


def entries_of(fields: Mapping[str, Iterable[str]]) -> list[Entry]:
    """Entries of names that each stand for themselves, by field."""
    return [
        Entry(field, value, count, value)
        for field, values in fields.items()
        for value, count in Counter(values).items()
    ]


def _ending(word: str) -> str:
    return f"-{word[-3:]}"


def _keys(field: str, words: tuple[str, ...]) -> list[str]:
    """Forms under which a name is found: without its article, a tag in singular and plural."""
    key = "".join(words)
    keys = [key]
    if len(words) > 1 and words[0] == "the" and field in {"creators", "titles", "albums", "playlists"}:
        keys.append("".join(words[1:]))
    if field == "creators" and words[0] != "the":
        keys.append("the" + key)
    if field == "tags" and len(key) > 3:
        keys.append(key[:-1] if key.endswith("s") else key + "s")
    return keys
