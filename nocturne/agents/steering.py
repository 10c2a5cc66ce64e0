"""Tools of steering: a list by a plan with its account, and why one item is, or is not, in a listener's list."""

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from nocturne.agents.answers import Answer, Id, Part, Passage, Text, Words, served_receipt
from nocturne.agents.listening import ListedItem, listed_members
from nocturne.agents.service import Service
from nocturne.agents.strangers import unmarked
from nocturne.agents.tool import without
from nocturne.core.errors import UsageError
from nocturne.serving.because import Reason, reasons
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.now_playing import not_let_back
from nocturne.serving.reader import Served
from nocturne.serving.standing import on_top, speakable
from nocturne.serving.steered import Steered, SteerRequest, steer
from nocturne.serving.taste import TasteReceipt, taste_receipt
from nocturne.steering.bitmaps import obeying
from nocturne.steering.parsing import Parser, Understanding, parser_of
from nocturne.steering.plan import MOST_ITEMS, Plan, plan_schema, read_plan


class Moved(Part):
    """A wish, and what it added to an item's score, whose part without wishes is a share of the largest."""

    wish: Text
    adds: float


class Because(Part):
    """A heard item that carries a score, and the share of it."""

    item_id: Id
    title: Text | None = None
    share: float


class SteeredItem(ListedItem):
    """An item of a steered list."""

    wishes: list[Moved] = Field(default_factory=list, description="Wishes that moved it")
    because: list[Because] = Field(default_factory=list, description="Heard items that carry its score")


class RuleAccount(Part):
    """A hard rule, and what it did."""

    kind: Words
    rule: Text
    removed: int = Field(description="Items that it removes of those that might have been listed")
    unknown: int = Field(description="Of these, items of which the catalogue does not say whether they match")
    nobody: list[Text] = Field(default_factory=list, description="Values that no item has")


class ReadPart(Part):
    """A part of the text that was understood."""

    text: Text
    means: Text = Field(description="What it stands for")


class SteeredList(Answer):
    """A list by a plan: hard rules hold for every item, wishes order what obeys them."""

    user_id: Id
    in_words: Passage = Field(
        description="The plan as understood, behind the one of the listener that holds: it may name tags and creators"
    )
    plan: Passage = Field(description="The plan as JSON: hand it back as plan, with another text, to refine it")
    intent: Words | None = Field(default=None, description="What the text asks for: only steer has a plan")
    understood: list[ReadPart] = Field(default_factory=list, description="Parts of the text that the plan stands for")
    taken: list[Text] = Field(default_factory=list, description="Words of the text that were taken for others")
    not_understood: list[Text] = Field(description="Parts of the text that nothing was done for")
    items: list[SteeredItem]
    rules: list[RuleAccount]
    might_be_listed: int
    obey: int = Field(description="Of these, items that obey every rule")
    unknown_is: Words = Field(description="allowed or barred: by `never`, where the catalogue does not say")
    short: Text | None = Field(default=None, description="Why there are fewer items than were asked for")
    not_taste: list[Words] = Field(description="What would become of listens that are not the listener's taste")
    source: Words
    arm: Words


class Explained(Answer):
    """One item, for one listener."""

    user_id: Id
    item_id: Id
    title: Text | None = None
    creator: Text | None = None
    rank: int | None = Field(default=None, description="Place in the list that is served; none if it is not in it")
    score: float | None = None
    source: Words
    arm: Words
    because: list[Because] = Field(description="Heard items that carry its score by the model, with their shares of it")
    heard: bool = Field(description="The listener has heard it")
    may_be_listed: bool = Field(description="The catalogue lets it be listed in their market on that night")
    bars: list[Words] = Field(description="What keeps it out of the list, as far as is known")


class Steerer:
    """Steers by words and plans; the parser of a generation is made once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._parser: tuple[str, Parser] | None = None
        self._lock = threading.Lock()

    def steer(
        self,
        user_id: str,
        text: str | None,
        plan: Mapping[str, Any] | str | None,
        playing: str | None,
        recent: Sequence[str],
        limit: int,
    ) -> SteeredList:
        """The list of a plan, or of words that become one, or refine it.

        Raises:
            UsageError: the plan is not valid, contradicts itself, or needs what the catalogue lacks.
            ServiceError: the cache is away.
        """
        user_id, served = unmarked(user_id), self._service.served()
        before = None if plan is None else _read(plan)
        asked, words = before or Plan(), None
        known = None if playing is None else unmarked(playing)
        if text is not None:
            words = self._understand(served, text, before, known)
            asked = asked.refine(words.plan)
        asked = on_top(served.items.plan_of(user_id), asked)
        request = SteerRequest(asked, known, [unmarked(item) for item in recent], limit, MOST_ITEMS)
        steered = steer(served.items, served.row(user_id), request)
        taste = taste_receipt(served.items, user_id, asked)
        return _steered(served, user_id, steered, asked, words, taste)

    def _understand(self, served: Served, text: str, before: Plan | None, playing: str | None) -> Understanding:
        number = None if playing is None else served.items.number(playing)
        named = None if number is None else served.items.describe(number)
        with self._lock:
            if self._parser is None or self._parser[0] != served.generation.name:
                self._parser = (served.generation.name, parser_of(served.items.fields))
            return self._parser[1].parse(text, before, named)


def plan_argument() -> dict[str, Any]:
    """The schema of a plan as an agent needs it: names and values, without defaults and without a sentence a member."""
    schema: dict[str, Any] = without(plan_schema(), frozenset({"default", "title"}))
    parts: dict[str, Any] = without({"$defs": schema["$defs"]}, frozenset({"description"}))
    return schema | parts


def explain_item(service: Service, user_id: str, item_id: str) -> Explained:
    """The place of an item in a listener's list, what carries its score, and what keeps it out.

    Raises:
        UsageError: nobody knows the listener, or the item.
        ServiceError: the cache is away.
    """
    user_id, item_id, served = unmarked(user_id), unmarked(item_id), service.served()
    items, row = served.items, served.row(user_id)
    if row is None:
        raise UsageError("no list is served to this listener", found=user_id, fix="check the id")
    number = items.number(item_id)
    if number is None:
        raise UsageError("the generation has no such item", found=item_id, fix="take an item_id of an answer")
    listed = row.numbers.tolist()
    rank = listed.index(number) + 1 if number in listed else None
    may_list = items.may_list(row.market)
    plan = items.plan_of(user_id)
    nameable = may_list if plan is None else may_list & speakable(items, plan)
    carried = reasons(items, row, list(dict.fromkeys([*listed, number])), nameable).get(number, ())
    described = items.describe(number)
    heard = bool(np.isin(number, row.heard))
    return Explained(
        receipt=served_receipt(served.generation),
        next_step="lineage of this user_id leads to the listens, and to the rows that landed",
        user_id=user_id,
        item_id=item_id,
        title=described.title,
        creator=described.creator,
        rank=rank,
        score=None if rank is None else round(float(row.scores[rank - 1]), 6),
        source=row.kind.source,
        arm=row.kind.arm,
        because=_because(served, carried),
        heard=heard,
        may_be_listed=bool(may_list[number]),
        bars=[] if rank else _bars(served, row, plan, number),
    )


def _bars(served: Served, row: ServedRow, plan: Plan | None, number: int) -> list[str]:
    """Reasons for which an item is not in a list."""
    items = served.items
    bars = {
        "the catalogue bars it in the listener's market": not items.may_list(row.market)[number],
        "the listener's plan bars it": plan is not None and not _obeys(served, row, plan, number),
        "the listener has heard it, and it is not let back yet": np.isin(number, not_let_back(items, row)),
        "the model does not know it": not items.inverse_norms[number] > 0,
        "the list is not by the listener's factors": row.factors is None,
    }
    found = [bar for bar, holds in bars.items() if holds]
    return found or ["others have a higher score"]


def _obeys(served: Served, row: ServedRow, plan: Plan, number: int) -> bool:
    items = served.items
    allowed = obeying(plan, items.fields, row.heard, items.may_list, np.ones(len(items), bool)).allowed
    return bool(allowed[number])


def _read(plan: Mapping[str, Any] | str) -> Plan:
    """A plan as an agent sends it: an object, or the text that an answer had; names in it may have marks."""
    text = unmarked(plan) if isinstance(plan, str) else json.dumps(_unmarked(plan), ensure_ascii=True)
    return read_plan(text, "plan")


def _unmarked(value: Any) -> Any:
    if isinstance(value, str):
        return unmarked(value)
    if isinstance(value, Mapping):
        return {name: _unmarked(each) for name, each in value.items()}
    return [_unmarked(each) for each in value] if isinstance(value, list) else value


def _steered(
    served: Served,
    user_id: str,
    steered: Steered,
    plan: Plan,
    words: Understanding | None,
    taste: TasteReceipt | None,
) -> SteeredList:
    answer, account = steered
    items = [
        SteeredItem(
            **listed_members(served, rank, suggestion),
            wishes=[Moved(wish=wish, adds=round(adds, 6)) for wish, adds in of_item.wishes],
            because=_because(served, of_item.because),
        )
        for rank, (suggestion, of_item) in enumerate(zip(answer.suggestions, account.items, strict=True), start=1)
    ]
    return SteeredList(
        receipt=served_receipt(served.generation),
        next_step=_next_step(plan, words.not_understood if words else ()),
        user_id=user_id,
        in_words=plan.in_words(),
        plan=plan.to_json(),
        intent=words.intent if words else None,
        understood=[ReadPart(text=each.text, means=each.means) for each in words.understood] if words else [],
        taken=list(words.taken) if words else [],
        not_understood=list(words.not_understood) if words else [],
        items=items,
        rules=[RuleAccount(**rule._asdict() | {"nobody": list(rule.nobody)}) for rule in account.rules],
        might_be_listed=account.might,
        obey=account.left,
        unknown_is=account.unknown,
        short=account.short or None,
        not_taste=list(taste.in_words) if taste else [],
        source=answer.source,
        arm=answer.arm,
    )


def _next_step(plan: Plan, not_understood: Sequence[str]) -> str:
    if not_understood:
        return "say what was not understood in other words, or send a plan"
    if plan.lasts:
        return "nothing of it is kept: `POST /v1/steer` of the service keeps a plan that holds"
    if plan.empty:
        return "nothing was asked for: this is what comes without a plan"
    return "to refine it, call steer again with this plan and another text; explain_item tells of one item"


def _because(served: Served, carried: Iterable[Reason]) -> list[Because]:
    described = ((served.items.describe(reason.number), reason.share) for reason in carried)
    return [Because(item_id=each.item_id, title=each.title, share=round(share, 4)) for each, share in described]
