"""Languages: the words around names, as data. `languages/en.toml` says what each class holds."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from nocturne.steering.words.tokens import Token, phrase_key, word_key, words_of

_FOLDER = Path(__file__).parent / "languages"
_NESTED = ("leanings",)
_VALUED = ("leanings", "heard", "explicit", "content_types", "diversity", "pointing", "holds", "units", "comparisons")
_ORDERED = ("weekdays", "month_names")
"""Names whose order says which day or month they are."""

_CLASS_OF = {
    "leanings": "leaning",
    "heard": "heard",
    "explicit": "explicit",
    "content_types": "type",
    "diversity": "diversity",
    "pointing": "pointing",
    "holds": "hold",
    "units": "unit",
    "comparisons": "compare",
}
_YEAR = re.compile(r"(1[5-9]|20)\d\d")
_DECADE = re.compile(r"(1[5-9]|20)?(\d)0'?s")
_RECENT_DECADES = 2
"""`10s` is of this century, `20s` of the last one."""


class Meaning(NamedTuple):
    """One reading of a phrase: its class, and what it stands for within it."""

    kind: str
    value: Any = None


class Language:
    """The phrases of a language by their key, and sets of words for one mood."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """A language as its TOML file says.

        Args:
            document: classes, comparisons, leanings, heard, explicit, content_types, nouns, diversity, pointing, holds,
                units, languages, numbers, decades, moods and elsewhere.
        """
        self.name: str = document["name"]
        self.moods: dict[str, tuple[str, ...]] = {name: tuple(said) for name, said in document["moods"].items()}
        self.languages: dict[str, tuple[str, ...]] = {name: tuple(said) for name, said in document["languages"].items()}
        self.nouns = {phrase_key(each): kind for kind, said in document["nouns"].items() for each in said}
        self.elsewhere = frozenset(map(phrase_key, document["elsewhere"]["words"]))
        self.generic = frozenset(map(phrase_key, document["elsewhere"]["generic"]))
        self.screenings = frozenset(map(phrase_key, document["elsewhere"]["screenings"]))
        self.questions = frozenset(map(phrase_key, document["elsewhere"]["questions"]))
        self._meanings: dict[str, tuple[Meaning, ...]] = {}
        self.longest = 1
        for phrase, meaning in _meanings(document):
            key = phrase_key(phrase)
            known = self._meanings.get(key, ())
            if meaning not in known:
                self._meanings[key] = (*known, meaning)
            self.longest = max(self.longest, len(words_of(phrase)))

    def meanings(self, tokens: Sequence[Token]) -> tuple[Meaning, ...]:
        """Readings of words that stand together; none for those that are no phrase of the language."""
        if len(tokens) == 1 and not tokens[0].key:
            return _MARKS.get(tokens[0].text, (Meaning("mark"),))
        found = self._meanings.get("".join(token.key for token in tokens), ())
        if len(tokens) == 1 and (years := read_years(tokens[0].text)):
            return (*found, Meaning("period", years))
        if len(tokens) == 1 and tokens[0].text.isdecimal():
            return (*found, Meaning("number", float(tokens[0].text[:9])))
        return found


_MARKS = {mark: (Meaning("stop"),) for mark in ";.!?:"} | {",": (Meaning("comma"),)}


def read_years(word: str) -> tuple[int, int] | None:
    """First and last year of a year or decade in digits: `1984`, `80s`, `1980s`; None for another word."""
    key = word_key(word)
    if _YEAR.fullmatch(key):
        return int(key), int(key)
    found = _DECADE.fullmatch(key)
    if not found:
        return None
    century, decade = found[1], int(found[2])
    if century is None:
        century = "20" if decade < _RECENT_DECADES else "19"
    elif decade == 0 and len(key) == len("1900s") and century != "20":
        return int(century) * 100, int(century) * 100 + 99
    first = int(century) * 100 + decade * 10
    return first, first + 9


@cache
def load_language(name: str) -> Language:
    """The language of a name, `en` among them."""
    return Language(tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8")))


def _meanings(document: Mapping[str, Any]) -> Iterator[tuple[str, Meaning]]:
    for kind, phrases in document["classes"].items():
        for phrase in phrases:
            yield phrase, Meaning(kind)
    for section in _VALUED:
        for name, said in document[section].items():
            for value, phrases in said.items() if section in _NESTED else [(None, said)]:
                for place, phrase in enumerate(phrases):
                    yield phrase, Meaning(_CLASS_OF[section], name if value is None else (name, value))
                    if name in _ORDERED:
                        yield phrase, Meaning("order", place)
    for phrase, number in document["numbers"].items():
        yield phrase, Meaning("number", float(number))
    for phrase, first in document["decades"].items():
        yield phrase, Meaning("period", (first, first + 9))
