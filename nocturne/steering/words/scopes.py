"""Scopes: terms put together into a plan, by what each negation, exception, comparison and wish reaches.

A scope reaches from its word (`no`, `only`, `more`, `except` ...) up to a stop, the next such word, or a verb.

    no rap except Parade Tower     never items tagged rap, except items by Parade Tower
    calm jazz or blues, no vocals  only what is calm and jazz, or blues; never vocals
    more jazz, less pop            two wishes

What is asked for plainly is a rule if the whole text was understood, and a wish if it was not: nobody knows what the
rest of it would have changed. What is forbidden is a rule in any case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nocturne.steering.conditions import Duration, Match, Rule, Years
from nocturne.steering.parsing import Named
from nocturne.steering.plan import About, Leanings, Plan, Size, Wish
from nocturne.steering.words.terms import Term

if TYPE_CHECKING:
    from nocturne.steering.words.lexicon import Entry

Mode = Literal["want", "never", "only", "more", "less", "like", "except"]
Bundle = dict[str, list[Any]]
_MODE_OF: dict[str, Mode] = {
    "no": "never", "except": "except", "only": "only", "more": "more", "less": "less", "like": "like",
}  # fmt: skip
_FIELD_OF = {"tags": "tags", "creators": "creators", "titles": "item_ids", "languages": "languages"}
_ABOUT: dict[str, About] = {"tags": "tag", "creators": "creator", "titles": "item", "languages": "language"}
_NAMES = frozenset({"tags", "creators", "item_ids", "languages"})
_SPARE = {"tags": ("tags", "genres", "moods")}
"""Fields that are all looked up among the tags: two tags that an item must both have stand in two of them."""

_MOST, _MOST_EXCEPTIONS = 50, 20
_LEANING, _DIVERSE, _MOST_VALUES, _MOST_LIKE = 0.5, 0.6, 100, 3
_STRENGTH = {"much": 0.8, "lot": 0.8, "lots": 0.8, "bit": 0.25, "little": 0.25}


@dataclass
class Scope:
    """The terms that one word reaches; groups of them stand beside each other, joined by `and`, `or` or a comma."""

    mode: Mode
    strength: float = 0.5
    groups: list[tuple[str, list[Term]]] = field(default_factory=list)

    def add(self, term: Term, joined: str) -> None:
        """Put a term to the group before it, or behind a join to a new one."""
        if joined or not self.groups:
            self.groups.append((joined, []))
        self.groups[-1][1].append(term)


@dataclass
class Draft:
    """A plan in the making."""

    only: list[Rule] = field(default_factory=list)
    never: list[Rule] = field(default_factory=list)
    more: list[Wish] = field(default_factory=list)
    less: list[Wish] = field(default_factory=list)
    leanings: dict[str, float] = field(default_factory=dict)
    size: dict[str, Any] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)
    unused: list[Term] = field(default_factory=list)

    @classmethod
    def joined(cls, drafts: Iterable["Draft"]) -> "Draft":
        """The draft of all sentences; of sizes, leanings and the like the latest counts."""
        whole = cls()
        for draft in drafts:
            for name in ("only", "never", "more", "less", "unused"):
                getattr(whole, name).extend(getattr(draft, name))
            for name in ("leanings", "size", "members"):
                getattr(whole, name).update(getattr(draft, name))
        return whole

    @property
    def says(self) -> bool:
        """True if something is asked for."""
        return bool(self.only or self.never or self.more or self.less or self.leanings or self.size or self.members)

    def plan(self) -> Plan:
        """The plan; the latest of two wishes for the same thing counts."""
        wishes = {(wish.about, wish.value.casefold()): wish for wish in (*self.more, *self.less)}
        kept = {id(wish) for wish in wishes.values()}
        return Plan(
            only=tuple(dict.fromkeys(self.only))[:_MOST],
            never=tuple(dict.fromkeys(self.never))[:_MOST],
            more=tuple(wish for wish in self.more if id(wish) in kept)[:_MOST],
            less=tuple(wish for wish in self.less if id(wish) in kept)[:_MOST],
            leanings=Leanings(**self.leanings),
            size=Size(**self.size),
            **self.members,
        )


def scopes_of(terms: Sequence[Term]) -> list[Scope]:
    """Scopes of a text in their order; each term but words of scope is in one of them."""
    scopes, joined = [Scope("want")], ""
    for place, term in enumerate(terms):
        current = scopes[-1]
        if term.kind == "mode":
            if not (current.mode in {"more", "less"} and not current.groups and term.value == "like"):
                scopes.append(Scope(_MODE_OF[term.value]))
            joined = ""
        elif term.kind == "verb":
            if current.groups and current.mode != "want":
                scopes.append(Scope("want"))
        elif term.kind == "stop":
            joined = term.value if term.value in {"and", "or", "comma"} else ""
            ends = term.value in {"stop", "but"} or (term.value == "comma" and not _goes_on(terms, place, current))
            if ends and (current.groups or term.value != "comma"):
                scopes.append(Scope("want"))
                joined = ""
        elif term.kind != "noun" or current.mode not in {"more", "less", "like"}:
            current.add(term, joined)
            joined = ""
    return scopes


def _goes_on(terms: Sequence[Term], place: int, scope: Scope) -> bool:
    """True if a comma is within a list: `no rap, metal or pop`, but not `no rap, jazz please`."""
    if scope.mode == "want":
        return True
    for term in terms[place + 1 :]:
        if term.kind == "stop" and term.value in {"and", "or"}:
            return True
        if term.kind in {"mode", "verb"} or (term.kind == "stop" and term.value != "comma"):
            return False
    return False


class Drafting:
    """Scopes turned into the members of a plan."""

    def __init__(self, *, certain: bool, playing: Named | None, before: Plan | None) -> None:
        """Drafting of one text.

        Args:
            certain: True if the whole text was understood.
            playing: the item that `that one` points at.
            before: the plan that the text refines.
        """
        self._certain, self._playing, self._before = certain, playing, before
        self.draft = Draft()

    def read(self, scopes: Iterable[Scope]) -> Draft:
        """The draft of all scopes."""
        barred: list[int] = []
        for scope in scopes:
            self._kinds(scope)
            groups = [(joined, self._without_single(terms, scope)) for joined, terms in scope.groups]
            bundles = _bundles([(joined, terms) for joined, terms in groups if terms], scope.mode)
            if not bundles:
                continue
            if scope.mode == "except":
                self._except(bundles, barred)
            elif scope.mode == "never":
                barred = list(range(len(self.draft.never), len(self.draft.never) + len(bundles)))
                self.draft.never += [Rule(**_given(bundle)) for bundle in bundles]
            elif scope.mode == "only" or (scope.mode == "want" and self._certain):
                self._only(bundles)
                barred = []
            else:
                self._wish(groups, scope)
                barred = []
        return self.draft

    def _only(self, bundles: list[Bundle]) -> None:
        """Rules: alternatives in one with the others as exceptions, what is no name in one each."""
        named = [bundle for bundle in bundles if _NAMES & set(bundle) or set(bundle) & {"genres", "moods"}]
        self.draft.only += [Rule(**_given(bundle)) for bundle in bundles if bundle not in named]
        if named:
            unless = tuple(Match(**_given(bundle)) for bundle in named[1 : _MOST_EXCEPTIONS + 1])
            self.draft.only.append(Rule(**_given(named[0]), unless=unless))

    def _except(self, bundles: list[Bundle], barred: list[int]) -> None:
        matches = tuple(Match(**_given(bundle)) for bundle in bundles)
        if not barred:
            self.draft.never += [Rule(**dict(match)) for match in matches]
        for place in barred:
            rule = self.draft.never[place]
            self.draft.never[place] = rule.model_copy(update={"unless": (*rule.unless, *matches)[:_MOST_EXCEPTIONS]})

    def _kinds(self, scope: Scope) -> None:
        """A rule for content types that a scope asks for by nouns; forbidden are they if nothing else is."""
        nouns = [term for _, terms in scope.groups for term in terms if term.kind == "noun"]
        if not nouns:
            return
        scope.groups = [(joined, [term for term in terms if term.kind != "noun"]) for joined, terms in scope.groups]
        rule = Rule(content_types=tuple(dict.fromkeys(term.value for term in nouns)))
        if scope.mode in {"want", "only"}:
            self.draft.only.append(rule)
        elif not any(terms for _, terms in scope.groups):
            self.draft.never.append(rule)

    def _wish(self, groups: Sequence[tuple[str, list[Term]]], scope: Scope) -> None:
        target = self.draft.less if scope.mode == "less" else self.draft.more
        for _, terms in groups:
            for term in terms:
                if term.kind in {"name", "likely"}:
                    target += [
                        Wish(about=_ABOUT[entry.field], value=entry.value, strength=scope.strength)
                        for entry in term.value[:_MOST_LIKE]
                    ]
                elif term.kind == "type" and scope.mode == "want":
                    self.draft.only.append(Rule(content_types=(term.value,)))
                elif term.kind == "type":
                    target.append(Wish(about="content_type", value=term.value, strength=scope.strength))
                elif scope.mode == "want":
                    self._only(_bundles([("", [term])], "want"))
                else:
                    self.draft.unused.append(term)

    def _without_single(self, terms: list[Term], scope: Scope) -> list[Term]:
        """Terms of a group that conditions are made of; those of the whole list are taken out."""
        kept = []
        for term in terms:
            if term.kind == "pointing":
                self._point(term, scope)
            elif term.kind == "unknown" or (term.kind == "likely" and scope.mode in {"never", "only", "except"}):
                self.draft.unused.append(term)
            elif not self._single(term, scope):
                kept.append(term)
        return kept

    def _single(self, term: Term, scope: Scope) -> bool:
        """True if a term is of the whole list, and was taken down."""
        draft, reversed_ = self.draft, scope.mode in {"never", "less", "except"}
        if term.kind == "leaning":
            name, direction = term.value
            self._lean(name, -direction_sign(direction) if reversed_ else direction_sign(direction))
        elif term.kind == "inclined":
            (draft.less if reversed_ else draft.more).extend(Wish(about="tag", value=each.value) for each in term.value)
        elif term.kind == "items":
            draft.size["items"] = term.value
        elif term.kind == "minutes":
            draft.size["minutes"] = term.value
        elif term.kind == "per_creator":
            draft.members["max_per_creator"] = term.value
        elif term.kind == "hold":
            draft.members["holds"] = term.value
        elif term.kind == "diversity":
            draft.members["diversity"] = _DIVERSE if (term.value == "up") != reversed_ else 0.0
        elif term.kind == "explicit":
            if (term.value == "no") != reversed_:
                draft.never.append(Rule(explicit=True))
            else:
                draft.only.append(Rule(explicit=True))
        else:
            return False
        return True

    def _lean(self, name: str, direction: float) -> None:
        """A leaning; of length, a shorter list where the plan before has a size."""
        size = self._before.size if self._before else Size()
        if name == "length" and (size.items or size.minutes):
            factor = 2.0 if direction > 0 else 0.5
            if size.items:
                self.draft.size["items"] = max(1, min(100, round(size.items * factor)))
            if size.minutes:
                self.draft.size["minutes"] = min(10_000.0, size.minutes * factor)
            return
        self.draft.leanings[name] = direction * _LEANING

    def _point(self, term: Term, scope: Scope) -> None:
        """A rule or wish about what plays, or about its creator; nothing where nothing plays."""
        playing = self._playing
        creator = playing.creator if playing else None
        if playing is None or (term.value == "its_creator" and not creator):
            self.draft.unused.append(term)
            return
        by_creator = term.value == "its_creator"
        if scope.mode in {"never", "except"}:
            self.draft.never.append(
                Rule(creators=(creator,)) if by_creator and creator else Rule(item_ids=(playing.item_id,))
            )
            return
        wish = (
            Wish(about="creator", value=creator)
            if by_creator and creator
            else Wish(about="item", value=playing.item_id)
        )
        (self.draft.less if scope.mode == "less" else self.draft.more).append(wish)


def direction_sign(direction: str) -> float:
    """1 for up, -1 for down."""
    return 1.0 if direction == "up" else -1.0


def _bundles(groups: Sequence[tuple[str, list[Term]]], mode: Mode) -> list[Bundle]:
    """Conditions of groups: what stands beside each other together, what is joined as alternatives."""
    bundles: list[Bundle] = []
    for joined, terms in groups:
        bundle: Bundle = {}
        for term in terms:
            name, values = _condition(term)
            free = [each for each in _SPARE.get(name, (name,)) if each not in bundle]
            bundle.setdefault(free[0] if free else name, []).extend(values)
        last = bundles[-1] if bundles else None
        same = last is not None and len(last) == 1 and last.keys() == bundle.keys() and last.keys() <= _NAMES
        if last is not None and joined and same:
            last[next(iter(last))] += next(iter(bundle.values()))
        elif last is not None and mode != "never" and joined != "or" and not _NAMES & set(bundle):
            last.update({name: values for name, values in bundle.items() if name not in last})
        else:
            bundles.append(bundle)
    return bundles


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


def _given(bundle: Bundle) -> dict[str, Any]:
    """A condition's members: tuples of distinct values, or the one value of what has no more."""
    single = {"duration", "heard", "explicit"}
    return {
        name: values[0] if name in single else tuple(dict.fromkeys(values))[:_MOST_VALUES]
        for name, values in bundle.items()
    }
