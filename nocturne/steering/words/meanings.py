"""Meanings: what a term of a text was taken down as, in words, for whoever reads the receipt of a plan."""

from collections.abc import Callable, Mapping
from typing import Any

from nocturne.steering.conditions import TYPE_WORDS, Duration, Years
from nocturne.steering.plan import SESSION, Leanings
from nocturne.steering.words.terms import Term

_FIELDS = {"tags": "tag", "creators": "creator", "titles": "title", "languages": "language"}
_POINTED = {"playing": "what plays", "its_creator": "the creator of what plays"}


def meaning_of(term: Term) -> str:
    """Meaning of a term: `tag jazz`, `years 1980 to 1989`, `10 items`."""
    if term.kind in {"name", "likely"}:
        entry = term.value[0]
        return f"{_FIELDS[entry.field]} {entry.name}"
    said = _SAID.get(term.kind)
    return said(term.value) if said else term.kind.replace("_", " ")


def _counted(number: float, unit: str) -> str:
    return f"{number:g} {unit}" if number != 1 else f"1 {unit.removesuffix('s')}"


def _leaning(value: tuple[str, str]) -> str:
    name, direction = value
    return Leanings.model_validate({name: 1.0 if direction == "up" else -1.0}).in_words(name)


def _lasting(value: Any) -> str:
    return {SESSION: "for this session", "always": "from now on"}.get(str(value), f"until {value}")


_SAID: Mapping[str, Callable[[Any], str]] = {
    "years": lambda value: f"years {Years(first=value[0], last=value[1]).in_words()}",
    "duration": lambda value: f"items {Duration(at_least=value[0], at_most=value[1]).in_words()}",
    "items": lambda value: _counted(value, "items"),
    "minutes": lambda value: _counted(round(value, 2), "minutes"),
    "per_creator": lambda value: f"{value} by the same creator",
    "hold": _lasting,
    "leaning": _leaning,
    "inclined": lambda value: ", ".join(f"tag {entry.name}" for entry in value),
    "heard": lambda value: "heard before" if value == "known" else "new to the listener",
    "explicit": lambda value: "explicit" if value == "yes" else "not explicit",
    "noun": lambda value: TYPE_WORDS[value],
    "type": lambda value: TYPE_WORDS[value],
    "diversity": lambda value: "more variety" if value == "up" else "less variety",
    "pointing": lambda value: _POINTED[value],
}
