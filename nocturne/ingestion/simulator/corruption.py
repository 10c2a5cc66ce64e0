"""Corrupted events: copies of sound ones, each with exactly one defect, as lines of text."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from nocturne.ingestion.simulator.world import CORRUPTION, Scenario

Fields = dict[str, Any]
NO_TIMES = ("yesterday", "2011-13-45T99:00:00Z", "1293840000", "", None)
NO_PLAYING_TIMES = (-1, -30_000, 10**12, "12.5", "long")
NO_COUNTS = (0, -3, 1.5, 10**9, "many")

Corrupt = Callable[[Fields, int], None]
"""Puts a defect into an event, given a random number to choose between the forms it takes."""


def _remove(name: str) -> Corrupt:
    def corrupt(event: Fields, choice: int) -> None:
        if choice % 2:
            event[name] = ""
        else:
            del event[name]

    return corrupt


def _replace(name: str, values: tuple[Any, ...]) -> Corrupt:
    def corrupt(event: Fields, choice: int) -> None:
        event[name] = values[choice % len(values)]

    return corrupt


def _shift_time(sign: int, at_least: int) -> Corrupt:
    """Moves an event by at least so many days, forwards or backwards."""

    def corrupt(event: Fields, choice: int) -> None:
        heard = datetime.fromisoformat(event["listened_at"])
        event["listened_at"] = _iso(heard + sign * timedelta(days=at_least + choice % 300))

    return corrupt


def _replace_item(event: Fields, choice: int) -> None:
    event["item_id"] = f"x{choice % 100:07d}"


DEFECTS: dict[str, Corrupt] = {
    "missing_event_id": _remove("event_id"),
    "missing_user_id": _remove("user_id"),
    "missing_item_id": _remove("item_id"),
    "invalid_time": _replace("listened_at", NO_TIMES),
    "invalid_ms_played": _replace("ms_played", NO_PLAYING_TIMES),
    "invalid_plays": _replace("plays", NO_COUNTS),
    "after_day": _shift_time(1, 1),
    "too_late": _shift_time(-1, 366),
    "unknown_item": _replace_item,
}
"""Corruptions by the reason that the pipeline gives for the event."""

KINDS = ("unparsable", *DEFECTS)
"""Kinds of corruption; an unparsable event is corrupted as a line, cut short."""


def corrupt_events(scenario: Scenario, events: pa.Table, first: int, night: int) -> tuple[list[str], Counter[str]]:
    """Corrupted copies of some events of a block and night.

    Args:
        events: sound events of the block.
        first: number of the block's first listener.
        night: nights from the start.

    Returns:
        JSON lines, some cut short, and how many have which defect.
    """
    rng = scenario.rng(CORRUPTION, night, first)
    count = round(scenario.corruption * events.num_rows)
    picked = np.sort(rng.integers(events.num_rows, size=count)) if count else np.empty(0, np.int64)
    kinds = rng.choice(KINDS, size=count).tolist()
    choices = rng.integers(2**31, size=count).tolist()
    lines = []
    for event, kind, choice in zip(events.take(pa.array(picked)).to_pylist(), kinds, choices, strict=True):
        event["event_id"] += "x"  # an event of its own, not a duplicate
        event["listened_at"] = _iso(event["listened_at"])
        if kind in DEFECTS:
            DEFECTS[kind](event, choice)
        line = json.dumps(event, separators=(",", ":"))
        lines.append(line[: 1 + choice % (len(line) - 1)] if kind == "unparsable" else line)
    return lines, Counter(kinds)


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
