"""Plans: what a listener wants of a list, typed. Hard rules, soft wishes, size, and how long they hold.

    Plan(never=(Rule(tags=("christmas",)),), more=(Wish(about="tag", value="jazz"),), size=Size(items=10))

A plan is stateless, and `Plan.refine` puts another behind it. `docs/steering.md` says what comes of each member,
`docs/plan.schema.json` is its JSON schema.
"""

import hashlib
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from nocturne.core.errors import UsageError
from nocturne.ingestion.not_taste import NotTaste
from nocturne.steering.conditions import TYPE_WORDS, Part, Rule

MOST_ITEMS = 100
"""Items that any plan may ask for; a service may have a lower limit."""

MOST_RULES = 50
"""Rules or wishes of one member of a plan."""

About = Literal["tag", "genre", "mood", "creator", "item", "content_type", "language"]
Leaning = Annotated[float, Field(ge=-1, le=1)]
Unknown = Literal["allowed", "barred"]
SESSION, ALWAYS = "session", "always"

FIELD_OF: dict[About, str] = {
    "tag": "tags",
    "genre": "genres",
    "mood": "moods",
    "creator": "creators",
    "item": "item_ids",
    "content_type": "content_types",
    "language": "languages",
}
"""The field of a condition that a wish's subject is a value of."""

_LEANING_WORDS = {
    "familiarity": ("what is new to the listener", "what they know"),
    "popularity": ("what is niche", "what is mainstream"),
    "energy": ("what is calm", "what is energetic"),
    "length": ("what is short", "what is long"),
}


class PlanError(UsageError):
    """A plan that is not as its schema says: mend it."""


class ContradictionError(UsageError):
    """A plan that no item can obey, whatever the catalogue: drop one of the rules that are named."""


class Wish(Part):
    """A soft wish: items that match it are raised among those that obey the rules, or lowered."""

    about: Annotated[About, Field(description="the kind of thing wished for; item: what goes with that item")]
    value: Annotated[
        str, Field(min_length=1, max_length=511, description="its name, as in the catalogue; of an item its item_id")
    ]
    strength: Annotated[float, Field(gt=0, le=1, description="beside liking, whose largest is 1")] = 0.5

    @model_validator(mode="after")
    def _a_type(self) -> Self:
        if self.about == "content_type" and self.value not in TYPE_WORDS:
            raise ValueError(f"a content type is one of {', '.join(TYPE_WORDS)}")
        return self

    def in_words(self) -> str:
        """The thing wished for, as people name it."""
        if self.about == "item":
            return f"items like {self.value}"
        if self.about == "content_type":
            return TYPE_WORDS[self.value]
        return f"items by {self.value}" if self.about == "creator" else self.value


class Leanings(Part):
    """Soft wishes along a scale, from -1 to 1; null: none."""

    familiarity: Annotated[Leaning | None, Field(description="-1: new to the listener; 1: what they know")] = None
    popularity: Annotated[Leaning | None, Field(description="-1: niche; 1: mainstream")] = None
    energy: Annotated[Leaning | None, Field(description="-1: calm; 1: energetic, if the catalogue has it")] = None
    length: Annotated[Leaning | None, Field(description="-1: short items; 1: long ones")] = None

    def given(self) -> dict[str, float]:
        """The leanings that there are, by name; 0 is none."""
        values = {name: getattr(self, name) for name in Leanings.model_fields}
        return {name: value for name, value in values.items() if value}

    def in_words(self, name: str) -> str:
        """One of them, as people say it."""
        return f"rather {_LEANING_WORDS[name][getattr(self, name) > 0]}"


class Size(Part):
    """The length of the list: as many items as keep within every limit that is given."""

    items: Annotated[int | None, Field(ge=1, le=MOST_ITEMS, description="items at most")] = None
    minutes: Annotated[
        float | None, Field(gt=0, le=10_000, description="minutes at most; items of unknown length are left out")
    ] = None


Rules = Annotated[tuple[Rule, ...], Field(strict=False, max_length=MOST_RULES)]
Wishes = Annotated[tuple[Wish, ...], Field(strict=False, max_length=MOST_RULES)]


class Plan(Part):
    """A listener's plan for a list. Without a member that says otherwise it is the night's list."""

    version: Annotated[Literal[1], Field(description="version of this schema")] = 1
    only: Annotated[Rules, Field(description="hard: every item matches each of these")] = ()
    never: Annotated[Rules, Field(description="hard: no item matches any of these")] = ()
    more: Annotated[Wishes, Field(description="soft: items that match are raised")] = ()
    less: Annotated[Wishes, Field(description="soft: items that match are lowered")] = ()
    leanings: Annotated[Leanings, Field(description="soft: wishes along a scale")] = Leanings()
    size: Annotated[Size, Field(description="length of the list")] = Size()
    diversity: Annotated[
        float | None, Field(ge=0, le=1, description="strength of unlikeness within the list; null: as every night")
    ] = None
    max_per_creator: Annotated[
        int | None, Field(ge=1, le=MOST_ITEMS, description="hard: items of one creator in the list; null: any number")
    ] = None
    unknown: Annotated[
        Unknown | None,
        Field(
            description="what `never` does with an item of which the catalogue does not say whether it matches; "
            "null: allowed. `only` never lets such an item in"
        ),
    ] = None
    not_taste: Annotated[
        tuple[NotTaste, ...],
        Field(
            strict=False,
            max_length=50,
            description="hard: nothing is learned from the listener's listens that match any of these, from the next "
            "night on and for as long as the plan holds; lists leave out what was heard as before",
        ),
    ] = ()
    holds: Annotated[
        Literal["session", "always"] | date | None,
        Field(description="session, always, or the last day; null: for the session"),
    ] = None

    @property
    def empty(self) -> bool:
        """True if nothing is asked for but how long that holds, and what unknown is taken for."""
        return self.as_at_night and self.size.items is None and not self.not_taste

    @property
    def as_at_night(self) -> bool:
        """True if nothing is asked of the items, but how many: the night's own list answers."""
        asked = self.only, self.never, self.more, self.less, self.leanings.given()
        limits = self.diversity, self.max_per_creator, self.size.minutes
        return not any(asked) and limits == (None, None, None)

    @property
    def lasts(self) -> bool:
        """True if it holds longer than the session."""
        return self.holds not in {None, SESSION}

    @property
    def asks_softly(self) -> bool:
        """True if a wish may change the order of what obeys the rules."""
        return bool(self.more or self.less or self.leanings.given() or self.diversity)

    @property
    def unknown_is(self) -> Unknown:
        """The setting for unknown values, with its default."""
        return self.unknown or "allowed"

    @property
    def wants_heard(self) -> bool:
        """True if items heard before may be listed: a rule asks for them alone, or a leaning for what is familiar."""
        return any(rule.heard for rule in self.only) or (self.leanings.familiarity or 0) > 0

    def fields(self) -> frozenset[str]:
        """Names of what the plan needs of a catalogue: fields of conditions, and `popularity` and `energy`."""
        of_rules = (rule.all_fields() for rule in (*self.only, *self.never))
        of_wishes = {FIELD_OF[wish.about] for wish in (*self.more, *self.less)}
        scales = {"heard" if name == "familiarity" else name for name in self.leanings.given()}
        lengths = {"duration"} if self.size.minutes is not None else set()
        caps = {"creators"} if self.max_per_creator is not None else set()
        of_listens = {name for each in self.not_taste for name in ("creators", "tags") if getattr(each, name)}
        named = frozenset().union(*of_rules, of_wishes, scales, lengths, caps, of_listens)
        return frozenset("duration" if name == "length" else name for name in named)

    def refine(self, later: "Plan") -> "Plan":
        """The plan with another behind it: rules of both hold; of wishes and sizes the later ones, where both say.

        Raises:
            PlanError: there are too many rules or wishes.
            ContradictionError: no item could obey both.
        """
        size = self.size.model_copy(update=_given(later.size))
        leanings = self.leanings.model_copy(update=_given(later.leanings))
        single = {name: getattr(later, name) for name in ("diversity", "max_per_creator", "unknown", "holds")}
        members = {name: value for name, value in single.items() if value is not None}
        asked_later = {(wish.about, wish.value.casefold()) for wish in (*later.more, *later.less)}
        for name in ("more", "less"):
            kept = [wish for wish in getattr(self, name) if (wish.about, wish.value.casefold()) not in asked_later]
            members[name] = (*kept, *getattr(later, name))
        for name in ("only", "never", "not_taste"):
            members[name] = tuple(dict.fromkeys((*getattr(self, name), *getattr(later, name))))
        try:
            refined = Plan.model_validate(dict(self) | members | {"size": size, "leanings": leanings})
        except ValidationError as error:
            raise _invalid(error, "the plan and what refines it") from None
        refined.check()
        return refined

    def of_lists(self) -> "Plan":
        """The plan without what it says of learning: all that it asks of lists."""
        return self.model_copy(update={"not_taste": ()})

    def check(self) -> None:
        """Look for rules of which no item can obey all.

        Raises:
            ContradictionError: with the sentences that contradict each other.
        """
        from nocturne.steering.contradictions import contradictions

        found = contradictions(self)
        if found:
            raise ContradictionError(
                "the plan contradicts itself",
                found="; ".join(dict.fromkeys(each.in_words for each in found)),
                expected="rules that an item can obey together",
                fix="drop one of them",
            )

    def digest(self) -> str:
        """SHA-256 of all that the plan asks for, in hexadecimal; equal for equal plans."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The plan as JSON, without the members that say nothing."""
        return self.model_dump_json(exclude_defaults=True)

    def in_words(self) -> str:
        """The plan in English, a sentence a member; `The night's list.` if it is empty."""
        sentences = [f"Only {rule.in_words()}." for rule in self.only]
        sentences += [f"Never {rule.in_words()}." for rule in self.never]
        sentences += [f"More {wish.in_words()}{_emphasis(wish)}." for wish in self.more]
        sentences += [f"Less {wish.in_words()}{_emphasis(wish)}." for wish in self.less]
        sentences += [f"{self.leanings.in_words(name).capitalize()}." for name in self.leanings.given()]
        if self.max_per_creator is not None:
            sentences.append(f"At most {self.max_per_creator} by the same creator.")
        if self.diversity:
            sentences.append("As unlike each other as can be." if self.diversity > 0.5 else "With variety.")
        sentences += self._size_in_words()
        if self.unknown is not None:
            taken = {"allowed": "is let in", "barred": "is kept out"}[self.unknown]
            sentences.append(f"What might be one of these, for all that the catalogue says, {taken}.")
        sentences += [f"Nothing is learned from {each.in_words()} that are still on record." for each in self.not_taste]
        if self.holds is not None:
            lasting = {SESSION: "For this session", ALWAYS: "From now on"}.get(str(self.holds), f"Until {self.holds}")
            sentences.append(f"{lasting}.")
        return " ".join(sentences) if not self.empty or self.holds else "The night's list."

    def _size_in_words(self) -> list[str]:
        limits = []
        if self.size.items is not None:
            limits.append(f"{self.size.items} items" if self.size.items > 1 else "1 item")
        if self.size.minutes is not None:
            limits.append(f"{self.size.minutes:g} minutes" if self.size.minutes != 1 else "1 minute")
        return [f"At most {' and '.join(limits)}."] if limits else []


def read_plan(text: str | bytes, where: str = "") -> Plan:
    """The plan of a JSON document, with every contradiction looked for.

    Args:
        where: the place of the document, for messages.

    Raises:
        PlanError: it is not as the schema says.
        ContradictionError: no item can obey it.
    """
    try:
        plan = Plan.model_validate_json(text)
    except ValidationError as error:
        raise _invalid(error, where) from None
    plan.check()
    return plan


def plan_schema() -> dict[str, Any]:
    """The JSON schema of plans, as `docs/plan.schema.json` publishes it."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Plan"}
    return head | Plan.model_json_schema()


def _given(part: Part) -> dict[str, Any]:
    return {name: value for name, value in part if value is not None}


def _emphasis(wish: Wish) -> str:
    if wish.strength > 0.75:
        return ", much"
    return ", a little" if wish.strength < 0.3 else ""


def _invalid(error: ValidationError, where: str) -> PlanError:
    """The error as people read it; nothing that was sent is quoted."""
    found = [
        f"{'.'.join(map(str, each['loc'])) or 'plan'}: {each['msg']}"
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return PlanError(
        "the plan is not valid",
        where=where,
        found="; ".join(found[:10]),
        expected="what docs/plan.schema.json says",
        fix="mend the members that are named",
    )
