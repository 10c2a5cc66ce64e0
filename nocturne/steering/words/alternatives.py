"""Alternatives: groups of terms of one scope put together into conditions, one of which an item has to meet.

    rock and jazz               either
    songs from the 80s and 90s  either; and so `80s and 90s rock` is rock of either
    rock and jazz from the 80s  either, of the 80s: what is said at an end of a list holds for all of it
    after 1980 and before 1990  both: one of them is open at an end, and years are left
    jazz and Miles Davis        either

What does not fit into a plan is left out, and kept for the receipt.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from nocturne.steering.conditions import MOST_EXCEPTIONS, MOST_NAMES, MOST_YEARS, Duration, Years
from nocturne.steering.words.terms import Term

if TYPE_CHECKING:
    from nocturne.steering.words.lexicon import Entry

Mode = Literal["want", "never", "only", "more", "less", "like", "except"]
Bundle = dict[str, list[Any]]
"""Fields of a condition with their values, in the order in which they were said."""

_FIELD_OF = {"tags": "tags", "creators": "creators", "titles": "item_ids", "languages": "languages"}
_MODIFIERS = frozenset({"years", "duration", "languages", "heard"})
"""Fields that say more of what another one names; a kind of item begins something new: `jazz and podcasts`."""

_TOLD = _MODIFIERS | {"content_types"}
_LISTED = frozenset({"tags", "creators"})
"""Fields of a list that what stands at its end holds for."""

_SPARE = {"tags": ("tags", "genres", "moods")}
"""Fields that are all looked up among the tags: two tags that an item must both have stand in two of them."""

_SINGLE = frozenset({"duration", "heard"})


class Alternatives:
    """The conditions of one scope: an item meets one bundle of each of them; of a scope that forbids, none."""

    def __init__(self, groups: Iterable[tuple[str, list[Term]]], mode: Mode) -> None:
        """Conditions of groups of terms, each with what joins it to the one before it."""
        self._mode = mode
        self.conditions: list[list[Bundle]] = []
        self.left_out: list[Term] = []
        for joined, terms in groups:
            self._add(joined, terms)

    @property
    def bundles(self) -> list[Bundle]:
        """Every bundle of every condition."""
        return [bundle for condition in self.conditions for bundle in condition]

    def _add(self, joined: str, terms: list[Term]) -> None:
        bundle, beyond = self._bundle(terms)
        if not bundle:
            return
        if not self.conditions:
            self.conditions += [[bundle], *([[beyond]] if beyond else [])]
            return
        condition = self.conditions[-1]
        merged = self._merged(condition[-1], bundle, joined)
        if merged is not None and _fits(merged):
            condition[-1] = merged
        elif merged is not None:
            self.left_out += terms
        elif joined != "or" and self._narrows(condition, bundle):
            for each in condition:
                each.update(bundle)
        elif joined != "or" and self._goes_beside(condition, bundle):
            self.conditions.append([bundle])
        elif not self._listed(condition, bundle):
            self._alternative(condition, bundle, terms)

    def _bundle(self, terms: Iterable[Term]) -> tuple[Bundle, Bundle]:
        """Alternatives that stand beside each other; and the tags beyond those for which a condition has fields."""
        bundle: Bundle = {}
        beyond: Bundle = {}
        for term in terms:
            name, values = _condition(term)
            spare = _SPARE.get(name, (name,))
            # another condition holds as well as this one, where no alternative is between them
            places = [bundle, beyond] if not self.conditions and self._mode in {"want", "only"} else [bundle]
            free = [(place, each) for place in places for each in spare if each not in place]
            if free and (free[0][0] is bundle or len(spare) > 1):
                free[0][0][free[0][1]] = values[:MOST_NAMES]
                continue
            joined = _either_or_both(name, bundle[name], values, "") if len(spare) == 1 else None
            if joined is None or not _fits({name: joined}):
                self.left_out.append(term)
            else:
                bundle[name] = joined
        return bundle, beyond

    def _merged(self, last: Bundle, bundle: Bundle, joined: str) -> Bundle | None:
        """One bundle of two where they list values of one field; None if they are two."""
        names, lasts = list(bundle), list(last)
        shared = [name for name in names if name in last]
        if len(shared) != 1:
            return None
        name = shared[0]
        behind = len(names) == 1 and (len(lasts) == 1 or name in _MODIFIERS or name == lasts[-1] == "content_types")
        before = len(lasts) == 1 and name == names[0] and (name in _MODIFIERS or name == "content_types")
        listed = name in _LISTED and self._mode != "never" and self._is_list(name, names, lasts)
        if not (behind or before or listed):
            return None
        values = _either_or_both(name, last[name], bundle[name], joined)
        # the order of what is said is kept: it tells what stands at an end of a list
        return None if values is None else (bundle if before or (listed and len(lasts) == 1) else last) | {name: values}

    def _is_list(self, name: str, names: list[str], lasts: list[str]) -> bool:
        """True for a name behind or before another one, and what holds for both at the outer end of one of them."""
        if len(lasts) == 1:
            return names[0] == name and _MODIFIERS.issuperset(names[1:])
        return len(names) == 1 and lasts[-1] == name and _TOLD.issuperset(lasts[:-1])

    def _narrows(self, condition: list[Bundle], bundle: Bundle) -> bool:
        """True if a bundle says more of all that is before it: `jazz, in spanish`."""
        return self._mode != "never" and _MODIFIERS.issuperset(bundle) and not _shared(condition, bundle)

    def _goes_beside(self, condition: list[Bundle], bundle: Bundle) -> bool:
        """True if what is before a bundle says more of it: `from the 80s, jazz and rock`."""
        told = all(_TOLD.issuperset(each) for each in condition)
        return self._mode in {"want", "only"} and told and not _shared(condition, bundle)

    def _listed(self, condition: list[Bundle], bundle: Bundle) -> bool:
        """True if a bundle of one field was put to an alternative that has that field alone."""
        if len(bundle) > 1 or _SINGLE & set(bundle):
            return False
        for place, other in enumerate(condition):
            if other.keys() == bundle.keys():
                name = next(iter(bundle))
                longer = {name: [*other[name], *bundle[name]]}
                if _fits(longer):
                    condition[place] = longer
                    return True
        return False

    def _alternative(self, condition: list[Bundle], bundle: Bundle, terms: list[Term]) -> None:
        most = {"want": 1 + MOST_EXCEPTIONS, "only": 1 + MOST_EXCEPTIONS, "except": MOST_EXCEPTIONS}.get(self._mode)
        if most is not None and len(condition) == most:
            self.left_out += terms
        else:
            condition.append(bundle)


def members_of(bundle: Mapping[str, list[Any]]) -> dict[str, Any]:
    """A condition's members: tuples of distinct values, or the one value of what has no more."""
    return {name: values[0] if name in _SINGLE else tuple(dict.fromkeys(values)) for name, values in bundle.items()}


def _condition(term: Term) -> tuple[str, list[Any]]:
    """The field of a condition, and its values."""
    if term.kind in {"name", "likely"}:
        entries: tuple[Entry, ...] = term.value
        return _FIELD_OF[entries[0].field], [entry.value for entry in entries]
    if term.kind == "years":
        return "years", [Years(first=term.value[0], last=term.value[1])]
    if term.kind == "duration":
        return "duration", [Duration(at_least=term.value[0], at_most=term.value[1])]
    if term.kind == "heard":
        return "heard", [term.value == "known"]
    return "content_types", [term.value]


def _shared(condition: Iterable[Bundle], bundle: Bundle) -> bool:
    return any(set(bundle) & set(each) for each in condition)


def _fits(bundle: Bundle) -> bool:
    """True if a condition has room for the values of every field."""
    return all(
        len(dict.fromkeys(values)) <= (MOST_YEARS if name == "years" else MOST_NAMES) for name, values in bundle.items()
    )


def _either_or_both(name: str, values: list[Any], others: list[Any], joined: str) -> list[Any] | None:
    """Values of a field that two parts of a text give: what both allow, or else either; None if no field says so."""
    if name in {"years", "duration"} and joined != "or":
        both = [each for one in values for other in others if (each := _both(one, other))]
        if both and (name == "duration" or any(_is_open(each) for each in (*values, *others))):
            return both
    if name in _SINGLE:
        return values if values == others else None
    return [*values, *others]


def _is_open(years: Years) -> bool:
    return years.first is None or years.last is None


def _both(one: Any, other: Any) -> Any | None:
    """The range that two ranges share; None if they share nothing."""
    low, high = _ends(one)
    other_low, other_high = _ends(other)
    low, high = _outer(max, low, other_low), _outer(min, high, other_high)
    if low is not None and high is not None and low > high:
        return None
    return Years(first=low, last=high) if isinstance(one, Years) else Duration(at_least=low, at_most=high)


def _ends(span: Years | Duration) -> tuple[Any, Any]:
    return (span.first, span.last) if isinstance(span, Years) else (span.at_least, span.at_most)


def _outer(choose: Callable[[Any, Any], Any], one: Any, other: Any) -> Any:
    """The one of two ends that is there, or of both the one that is chosen."""
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)
