"""Rows of steers: a landed line taken apart, or the reason why it is none, and the plan that holds for each listener.

A line says that a listener asked for a plan that holds longer than its session. The last one asked for stands, until
its last day or until the listener asks for another; a plan that asks nothing ends what was asked before. Pure.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from nocturne.ingestion.times import parse_time
from nocturne.steering.plan import ContradictionError, Plan, PlanError, read_plan

REASONS = ("unparsable", "missing_id", "long_id", "invalid_asked_at", "invalid_plan", "does_not_last")


class Steer(NamedTuple):
    """A plan that a listener asked for.

    Attributes:
        asked_at: UTC.
    """

    user_id: str
    steer_id: str
    asked_at: datetime
    plan: Plan

    @property
    def holds_until(self) -> date | None:
        """The last night that the plan holds on; None without an end."""
        return self.plan.holds if isinstance(self.plan.holds, date) else None


@dataclass(frozen=True)
class Rules:
    """The rules that a night holds landed lines to.

    Attributes:
        run_date: the landing day: what was asked later is another night's.
        max_id_bytes: longest id, bytes of UTF-8.
    """

    run_date: date
    max_id_bytes: int


class NoSteer(Exception):  # noqa: N818 - counted, and told of as a number
    """A line that is no steer, by one of REASONS."""


def parse_line(line: bytes, rules: Rules) -> Steer:
    """The steer of a line.

    Raises:
        NoSteer: it is none; the reason is its text.
    """
    told = _object(line)
    user_id, steer_id = (_id(told.get(name), rules) for name in ("user_id", "steer_id"))
    asked_at = parse_time(told.get("asked_at"))
    if asked_at is None or asked_at >= datetime.combine(rules.run_date, time(), UTC) + timedelta(days=1):
        raise NoSteer("invalid_asked_at")
    try:
        plan = read_plan(json.dumps(told.get("plan")))
    except (PlanError, ContradictionError):
        raise NoSteer("invalid_plan") from None
    if not plan.lasts:
        raise NoSteer("does_not_last")
    return Steer(user_id, steer_id, asked_at, plan)


def _object(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        raise NoSteer("unparsable") from None
    if not isinstance(told, dict):
        raise NoSteer("unparsable")
    return told


def _id(value: object, rules: Rules) -> str:
    if not isinstance(value, str) or not value:
        raise NoSteer("missing_id")
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise NoSteer("unparsable") from None
    if length > rules.max_id_bytes:
        raise NoSteer("long_id")
    return value


def standing(before: Iterable[Steer], asked: Iterable[Steer], run_date: date) -> list[Steer]:
    """The plan of each listener on a night, in order of user_id; one that asks nothing is kept if it is of tonight.

    Args:
        before: that stood on the night before.
        asked: that landed since.
    """
    last: dict[str, Steer] = {}
    tonight = set()
    for steer in sorted(asked, key=lambda each: (each.asked_at, each.steer_id)):
        last[steer.user_id] = steer
        tonight.add(steer.user_id)
    kept: Mapping[str, Steer] = {steer.user_id: steer for steer in before if not steer.plan.empty} | last
    holding = (kept[user_id] for user_id in sorted(kept))
    return [steer for steer in holding if steer.holds_until is None or steer.holds_until >= run_date]
