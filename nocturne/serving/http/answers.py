"""Answers as bytes of JSON: items with what people see of them, under the generation that they all come from."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from nocturne.serving.cache import Generation
    from nocturne.serving.now_playing import Answer
    from nocturne.serving.reader import Served


def encode_answer(served: "Served", answer: "Answer", today: date | None = None) -> bytes:
    """An answer as clients get it.

    Args:
        served: the generation that it was made from.
        answer: items, best first.
        today: the day of which the age is told; by default the present one, UTC.
    """
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
    head = generation_members(served.generation, today)
    rest = {"source": answer.source, "arm": answer.arm, "model_version": answer.model_version, "items": items}
    return orjson.dumps(head | rest)


def generation_members(generation: "Generation", today: date | None = None) -> dict[str, Any]:
    """A generation as clients get it: its name, the night it was computed for, and how long ago that was."""
    today = today or datetime.now(UTC).date()
    return {
        "generation": generation.name,
        "run_date": generation.run_date,
        "age_days": (today - generation.run_date).days,
    }
