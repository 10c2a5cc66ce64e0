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
from typing import Any

from nocturne.steering.conditions import LONGEST_NAME, MOST_EXCEPTIONS, Match, Rule
from nocturne.steering.parsing import Named
from nocturne.steering.plan import MOST_RULES, About, Leanings, Plan, Size, Wish
from nocturne.steering.words.alternatives import Alternatives, Mode, members_of
from nocturne.steering.words.terms import Term

Groups = Sequence[tuple[str, list[Term]]]
_MODE_OF: dict[str, Mode] = {
    "no": "never", "except": "except", "only": "only", "more": "more", "less": "less", "like": "like",
}  # fmt: skip
_ABOUT: dict[str, About] = {"tags": "tag", "creators": "creator", "titles": "item", "languages": "language"}
_NAMED = frozenset({"name", "likely"})
_KINDS = frozenset({"noun", "type"})

_LEANING, _DIVERSE, _MOST_LIKE = 0.5, 0.6, 3
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

    def with_another(self, later: "Draft") -> "Draft":
        """The draft of both; of sizes, leanings and the like the later one's count."""
        return Draft(
            only=[*self.only, *later.only],
            never=[*self.never, *later.never],
            more=[*self.more, *later.more],
            less=[*self.less, *later.less],
            leanings=self.leanings | later.leanings,
            size=self.size | later.size,
            members=self.members | later.members,
            unused=[*self.unused, *later.unused],
        )

    @property
    def fits(self) -> bool:
        """True if a plan has room for every rule and wish."""
        lists = *map(dict.fromkeys, (self.only, self.never)), *self._wishes()
        return all(len(each) <= MOST_RULES for each in lists)

    @property
    def says(self) -> bool:
        """True if something is asked for."""
        return bool(self.only or self.never or self.more or self.less or self.leanings or self.size or self.members)

    def plan(self) -> Plan:
        """The plan; the latest of two wishes for the same thing counts."""
        more, less = self._wishes()
        return Plan(
            only=tuple(dict.fromkeys(self.only)),
            never=tuple(dict.fromkeys(self.never)),
            more=more,
            less=less,
            leanings=Leanings(**self.leanings),
            size=Size(**self.size),
            **self.members,
        )

    def _wishes(self) -> tuple[tuple[Wish, ...], tuple[Wish, ...]]:
        """Wishes for more and for less, the latest of each thing."""
        latest = {(wish.about, wish.value.casefold()): id(wish) for wish in (*self.more, *self.less)}
        kept = set(latest.values())
        return tuple(wish for wish in self.more if id(wish) in kept), tuple(
            wish for wish in self.less if id(wish) in kept
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
            if not any(terms for _, terms in groups):
                continue
            if scope.mode == "except":
                self._except(groups, barred)
            elif scope.mode == "never":
                bundles = self._conditions(groups, "never").bundles
                barred = list(range(len(self.draft.never), len(self.draft.never) + len(bundles)))
                self.draft.never += [Rule(**members_of(bundle)) for bundle in bundles]
            elif scope.mode == "only" or (scope.mode == "want" and self._certain):
                self._only(groups, scope.mode)
                barred = []
            else:
                self._wish(groups, scope)
                barred = []
        return self.draft

    def _conditions(self, groups: Groups, mode: Mode) -> Alternatives:
        """Conditions of groups of terms; what a plan has no room for is not used."""
        found = Alternatives(groups, mode)
        self.draft.unused += found.left_out
        return found

    def _only(self, groups: Groups, mode: Mode) -> None:
        """Rules: of each condition one alternative, with the others as exceptions."""
        for first, *others in self._conditions(groups, mode).conditions:
            unless = tuple(Match(**members_of(bundle)) for bundle in others)
            self.draft.only.append(Rule(**members_of(first), unless=unless))

    def _except(self, groups: Groups, barred: Sequence[int]) -> None:
        """Exceptions of the rules before; without one, rules that forbid."""
        matches = tuple(Match(**members_of(bundle)) for bundle in self._conditions(groups, "except").bundles)
        if not barred:
            self.draft.never += [Rule(**dict(match)) for match in matches]
        for place in barred:
            rule = self.draft.never[place]
            if len(rule.unless) + len(matches) > MOST_EXCEPTIONS:
                self.draft.unused += [term for _, terms in groups for term in terms]
                return
            self.draft.never[place] = rule.model_copy(update={"unless": (*rule.unless, *matches)})

    def _kinds(self, scope: Scope) -> None:
        """A rule for content types that a scope asks for by nouns; forbidden are they if nothing else is."""
        said = [term for _, terms in scope.groups for term in terms]
        if not any(term.kind == "noun" for term in said):
            return
        asked = scope.mode in {"want", "only"}
        alone = all(term.kind in _KINDS for term in said)
        taken = _KINDS if asked or alone else {"noun"}
        scope.groups = [(joined, [term for term in terms if term.kind not in taken]) for joined, terms in scope.groups]
        rule = Rule(content_types=tuple(dict.fromkeys(term.value for term in said if term.kind in taken)))
        if asked:
            self.draft.only.append(rule)
        elif alone:
            self.draft.never.append(rule)

    def _wish(self, groups: Groups, scope: Scope) -> None:
        """Wishes for what is named; of a scope that asks, what is no name stays a rule."""
        target = self.draft.less if scope.mode == "less" else self.draft.more
        asks = scope.mode == "want"
        for _, terms in groups:
            for term in terms:
                if term.kind in _NAMED:
                    about = _ABOUT[term.value[0].field]
                    wishes = [Wish(about=about, value=entry.value, strength=scope.strength) for entry in term.value]
                    self._add_wishes(target, wishes[:_MOST_LIKE], term)
                elif term.kind == "type" and not asks:
                    wish = Wish(about="content_type", value=term.value, strength=scope.strength)
                    self._add_wishes(target, [wish], term)
                elif not asks:
                    self.draft.unused.append(term)
        if asks:
            self._only(
                [(joined, [term for term in terms if term.kind not in _NAMED]) for joined, terms in groups], "want"
            )

    def _add_wishes(self, target: list[Wish], wishes: Sequence[Wish], term: Term) -> None:
        """Wishes of a term, if a plan has room for them."""
        if len(target) + len(wishes) > MOST_RULES:
            self.draft.unused.append(term)
        else:
            target += wishes

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
            wishes = [Wish(about="tag", value=each.value) for each in term.value]
            self._add_wishes(draft.less if reversed_ else draft.more, wishes, term)
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
        if playing is None or (term.value == "its_creator" and not 0 < len(creator or "") <= LONGEST_NAME):
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
        self._add_wishes(self.draft.less if scope.mode == "less" else self.draft.more, [wish], term)


def direction_sign(direction: str) -> float:
    """1 for up, -1 for down."""
    return 1.0 if direction == "up" else -1.0
