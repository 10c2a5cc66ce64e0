"""A world small enough to know by heart: two listeners, five items, two sound nights, written literally.

Ana is in SE, Ben nowhere in particular. `b` may be played in SE only, `c` is explicit, `d` ended yesterday.
Both listened to `a`, Ana to `b` as well; each gets a list of two.
"""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from nocturne import tables
from nocturne.contracts import contract
from nocturne.night import Night

YESTERDAY, TONIGHT = date(2025, 3, 1), date(2025, 3, 2)
SETTINGS = ("tables.buckets=1", "ranking.top_k=2", "als.factors=2")
MODEL = "als-2025-03-02-00000000"
Row = dict[str, Any]


def write(night: Night, table: str, rows: list[Row]) -> None:
    """Replace the night's rows of a table; columns left out are null."""
    tables.replace(pa.Table.from_pylist(rows, schema=contract(table).arrow_schema), table, night)


def items(day: date = TONIGHT) -> list[Row]:
    rules: dict[str, Row] = {
        "a": {},
        "b": {"markets": ["SE"]},
        "c": {"explicit": True},
        "d": {"available_until": YESTERDAY},
        "e": {},
    }
    return [
        {"run_date": day, "item_id": item, "content_type": "track", "title": item.upper()} | rule
        for item, rule in rules.items()
    ]


def listens(day: date = TONIGHT) -> list[Row]:
    heard = [("1", "ana", "a"), ("2", "ana", "b"), ("3", "ben", "a")]
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return [
        {
            "run_date": day,
            "event_id": f"{day}/{event}",
            "user_id": user,
            "item_id": item,
            "listened_at": at,
            "plays": 1,
            "late": False,
        }
        for event, user, item in heard
    ]


def quarantine(day: date = TONIGHT) -> list[Row]:
    return [{"run_date": day, "reason": "unparsable", "file": "events.jsonl", "raw": "{"}]


def ingests(day: date = TONIGHT, listens: int = 3) -> list[Row]:
    return [
        {
            "run_date": day,
            "rows_read": listens + 2,
            "listens": listens,
            "duplicates": 1,
            "quarantined": 1,
            "late": 0,
            "listeners": 2,
            "reasons": [("unparsable", 1)],
        }
    ]


def item_index() -> list[Row]:
    return [
        {"first_night": TONIGHT, "item_index": index, "item_id": item}
        for index, item in enumerate(["a", "b", "c", "e"])
    ]


def interactions(day: date = TONIGHT) -> list[Row]:
    heard = {"ana": [0, 1], "ben": [0]}
    return [
        {
            "run_date": day,
            "bucket": 0,
            "user_id": user,
            "market": "SE" if user == "ana" else None,
            "period": 223,
            "item_indexes": indexes,
            "play_sums": [1 << 20] * len(indexes),
            "second_sums": [0] * len(indexes),
            "last_heard": [day] * len(indexes),
            "changed_on": day,
            "digest": user,
        }
        for user, indexes in heard.items()
    ]


def models(trained_on: date = TONIGHT) -> list[Row]:
    return [
        {
            "run_date": trained_on,
            "model_version": MODEL,
            "state": "live",
            "moves": [{"number": 1, "state": "live", "since": trained_on, "by": "train_als", "why": "the first one"}],
            "origin": "train_als",
            "settings": '{"factors": 2}',
            "anchor_date": trained_on,
            "regularization": 1.0,
            "listeners": 2,
            "items": 4,
            "entries": 3,
            "spectrum": [2.0, 2.0],
            "losses": [0.5, 0.25],
            "metrics": [],
            "code_version": "0.0.0+000000000000",
            "inputs": [{"table": "interactions", "version": 1}],
            "seconds": 0.1,
        }
    ]


def item_factors(trained_on: date = TONIGHT) -> list[Row]:
    factors = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 0.0], "e": [0.0, 1.0]}
    return [
        {
            "run_date": trained_on,
            "model_version": MODEL,
            "item_index": index,
            "item_id": item,
            "factors": vector,
            "confidence_weight": 1.0,
            "score_multiplier": 1.0,
            "listeners": 1,
            "market_listeners": [],
            "neighbours": [],
            "similarities": [],
        }
        for index, (item, vector) in enumerate(factors.items())
    ]


def ranked_lists(day: date = TONIGHT) -> list[Row]:
    return [
        {
            "run_date": day,
            "bucket": 0,
            "user_id": user,
            "market": "SE" if user == "ana" else None,
            "arm": "control",
            "items": [{"item_id": "c", "score": 0.75}, {"item_id": "e", "score": 0.5}],
            "source": "als",
            "model_version": MODEL,
            "candidates": 2,
            "digest": user,
        }
        for user in ("ana", "ben")
    ]


def pools(day: date = TONIGHT) -> list[Row]:
    return [
        {
            "run_date": day,
            "bucket": 0,
            "user_id": user,
            "source": "als",
            "items": [2, 3],
            "scores": [0.75, 0.5],
            "listed": 2,
            "row_digest": user,
            "model_version": MODEL,
            "build": "build",
            "rankable": "rankable",
            "norm": 1.0,
            "bound": 0.25,
            "computed_on": day,
        }
        for user in ("ana", "ben")
    ]


def rankings(day: date = TONIGHT) -> list[Row]:
    return [
        {
            "run_date": day,
            "model_version": MODEL,
            "listeners": 2,
            "personal": 2,
            "audited": 2,
            "mismatches": 0,
            "unexplained": 0,
            "reasons": [("new_listener", 2)],
            "way": "cold",
            "seconds": [("score", 0.1)],
            "bytes": 1000,
        }
    ]


def write_sound_world(night: Night) -> None:
    """Both nights, but listens and model of the second one only."""
    write(night, "item_index", item_index())
    write(night, "models", models())
    write(night, "item_factors", item_factors())
    write(night, "listens", listens())
    write(night, "quarantine", quarantine())
    for day in (YESTERDAY, TONIGHT):
        of_day = Night(day, night.landing, night.warehouse, night.cache, night.settings)
        for table, rows in (("items", items), ("ingests", ingests), ("interactions", interactions)):
            write(of_day, table, rows(day))
        for table, rows in (("pools", pools), ("ranked_lists", ranked_lists), ("rankings", rankings)):
            write(of_day, table, rows(day))
