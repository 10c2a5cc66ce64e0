"""Lines of takedowns: as the landing zone keeps them, and one taken apart, or the reason why it is none. Pure."""

import json
from datetime import date
from typing import Any

import orjson

from nocturne.core.takedowns import Takedown
from nocturne.ingestion.times import parse_time

FOLDER = "takedowns"
EVERYWHERE = "*"
"""No name of a market: rules of settings say it for all markets."""

LONGEST_WHY = 1_000
"""Characters of a reason; what follows is cut off."""

REASONS = ("unparsable", "missing_id", "long_id", "invalid_market", "invalid_asked_at", "invalid_from_night", "no_why")


class NoTakedown(Exception):  # noqa: N818 - counted, and told of as a number
    """A line that is no takedown, by one of REASONS."""


def takedown_line(word: Takedown) -> bytes:
    """A word on an item as the landing zone keeps it; docs/landing.md has the format."""
    return orjson.dumps(word._asdict(), option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def parse_line(line: bytes, max_id_bytes: int) -> Takedown:
    """The word of a line; one without a night of its own is obeyed from the night of the day on which it was said.

    Raises:
        NoTakedown: it is none; the reason is its text.
    """
    told = _object(line)
    item_id, takedown_id = (_text(told.get(name), max_id_bytes) for name in ("item_id", "takedown_id"))
    market = told.get("market")
    if market is not None and (not isinstance(market, str) or market in {"", EVERYWHERE} or not _is_text(market)):
        raise NoTakedown("invalid_market")
    asked_at, lifts, why = parse_time(told.get("asked_at")), told.get("lifts", False), told.get("why")
    if asked_at is None:
        raise NoTakedown("invalid_asked_at")
    if not isinstance(lifts, bool):
        raise NoTakedown("unparsable")
    if not isinstance(why, str) or not why.strip() or not _is_text(why):
        raise NoTakedown("no_why")
    from_night = _day(told.get("from_night")) if told.get("from_night") is not None else asked_at.date()
    return Takedown(item_id, market, asked_at, takedown_id, why[:LONGEST_WHY], from_night, lifts)


def _object(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        raise NoTakedown("unparsable") from None
    if not isinstance(told, dict):
        raise NoTakedown("unparsable")
    return told


def _text(value: object, max_id_bytes: int) -> str:
    if not isinstance(value, str) or not value:
        raise NoTakedown("missing_id")
    if not _is_text(value):
        raise NoTakedown("unparsable")
    if len(value.encode()) > max_id_bytes:
        raise NoTakedown("long_id")
    return value


def _is_text(value: str) -> bool:
    """False of half a character, which JSON can say and UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _day(value: object) -> date:
    try:
        if isinstance(value, str) and len(value) == len("2025-01-04"):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise NoTakedown("invalid_from_night")
