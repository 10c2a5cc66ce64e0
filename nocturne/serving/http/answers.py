"""Answers as bytes of JSON: items with what people see of them, under the generation that they all come from."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nocturne.serving.because import Reason
    from nocturne.serving.cache import Generation
    from nocturne.serving.now_playing import Answer
    from nocturne.serving.reader import Served
    from nocturne.serving.steered import Steered
    from nocturne.serving.taste import TasteReceipt
    from nocturne.steering.parsing import Understanding
    from nocturne.steering.plan import Plan


def encode_answer(
    served: "Served",
    answer: "Answer",
    because: "Mapping[int, Sequence[Reason]] | None" = None,
    today: date | None = None,
) -> bytes:
    """An answer as clients get it.

    Args:
        served: the generation that it was made from.
        answer: items, best first.
        because: by number of an item, heard items that carry its score; None where nobody asked.
        today: the day of which the age is told; by default the present one, UTC.
    """
    items = shown_items(served, answer)
    if because is not None:
        for shown, suggestion in zip(items, answer.suggestions, strict=True):
            shown["because"] = named_reasons(served, because.get(suggestion.number, ()))
    return orjson.dumps(answer_head(served, answer, today) | {"items": items})


def answer_head(served: "Served", answer: "Answer", today: date | None = None) -> dict[str, Any]:
    """The members of an answer before its items."""
    rest = {"source": answer.source, "arm": answer.arm, "model_version": answer.model_version}
    return generation_members(served.generation, today) | rest


def shown_items(served: "Served", answer: "Answer") -> list[dict[str, Any]]:
    """The items of an answer, with what people see of them."""
    describe = served.items.describe
    items: list[dict[str, Any]] = []
    for rank, (number, score, why, propensity) in enumerate(answer.suggestions, start=1):
        item_id, title, creator, content_type, duration_ms, explicit = describe(number)
        items.append(
            {
                "rank": rank,
                "item_id": item_id,
                "title": title,
                "creator": creator,
                "content_type": content_type,
                "duration_ms": duration_ms,
                "explicit": explicit,
                "score": score,
                "why": why,
                "propensity": propensity,
            }
        )
    return items


def named_reasons(served: "Served", because: "Sequence[Reason]") -> list[dict[str, Any]]:
    """Heard items that carry a score, as people see them."""
    described = ((served.items.describe(reason.number), reason.share) for reason in because)
    return [{"item_id": each.item_id, "title": each.title, "share": share} for each, share in described]


def steered_members(
    served: "Served",
    steered: "Steered",
    plan: "Plan",
    words: "Understanding | None" = None,
    taste: "TasteReceipt | None" = None,
) -> dict[str, Any]:
    """The members of an answer by a plan: the plan as understood, in words too, the items, and the receipt.

    Args:
        words: what a text was understood as; None: none was sent.
    """
    answer, receipt = steered
    items = shown_items(served, answer)
    for shown, of_item in zip(items, receipt.items, strict=True):
        shown["liking"] = of_item.liking
        shown["wishes"] = [{"wish": wish, "adds": adds} for wish, adds in of_item.wishes]
        shown["because"] = named_reasons(served, of_item.because)
    asked: dict[str, Any] = {
        "plan": plan.model_dump(mode="json", exclude_defaults=True),
        "in_words": plan.in_words(),
        "digest": plan.digest(),
    }
    told = {
        "might_be_listed": receipt.might,
        "obey": receipt.left,
        "rules": [rule._asdict() for rule in receipt.rules],
        "unknown": receipt.unknown,
        "intent": words.intent if words else None,
        "understood": [each._asdict() for each in words.understood] if words else [],
        "taken": list(words.taken) if words else [],
        "slots": [each._asdict() for each in words.slots] if words else [],
        "not_understood": list(words.not_understood) if words else [],
        "short": receipt.short,
        "not_taste": None if taste is None else taste._asdict(),
    }
    return answer_head(served, answer) | asked | {"items": items, "receipt": told}


def generation_members(generation: "Generation", today: date | None = None) -> dict[str, Any]:
    """A generation as clients get it: its name, the night it was computed for, and how long ago that was."""
    today = today or datetime.now(UTC).date()
    return {
        "generation": generation.name,
        "run_date": generation.run_date,
        "age_days": (today - generation.run_date).days,
    }
