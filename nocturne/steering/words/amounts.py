"""Amounts: years, lengths, counts and times that a text asks for, each read from segments that belong together."""

import re
from datetime import date, timedelta
from typing import Any, NamedTuple

from nocturne.steering.plan import MOST_ITEMS
from nocturne.steering.words.readings import Readings

_SECONDS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}
_MOST_MINUTES = 10_000
_DAYS = {"days": 1, "weeks": 7, "months": 30}
_LOOK_AHEAD = 5
"""Segments between a number and what it counts, as in `ten calm songs by Parade Tower`."""

_OLDEST, _NEWEST = 0, 9999
_DASHES = "-\u2013"
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)")

Years = tuple[int | None, int | None]


class Amount(NamedTuple):
    """An amount that was read.

    Attributes:
        kind: years, duration, items, minutes, per_creator, or hold.
        value: first and last year; least and most seconds; a number; session, always or a date.
        end: number of the segment behind it.
    """

    kind: str
    value: Any
    end: int


def read_amount(said: Readings, place: int, today: date | None) -> Amount | None:
    """The amount that begins at a segment; None if none does.

    Args:
        today: the date that `until friday` counts from; None: such times are not understood.
    """
    return (
        _hold(said, place, today)
        or _per_creator(said, place)
        or _years(said, place)
        or _compared_length(said, place)
        or _time(said, place)
        or _count(said, place)
    )


def _years(said: Readings, place: int) -> Amount | None:
    period = said.values(place, "period")
    if period:
        return _range(said, place, "to") or Amount("years", period[0], place + 1)
    if said.has(place, "from") or "between" in said.values(place, "compare"):
        return _range(said, said.after(place), "and" if "between" in said.values(place, "compare") else "to")
    behind = said.after(place)
    period = said.values(behind, "period")
    if not period:
        return None
    first, last = period[0]
    ends: dict[str, Years] = {
        "after": (min(last + 1, _NEWEST), None),
        "since": (first, None),
        "before": (None, max(first - 1, _OLDEST)),
        "until": (None, last),
    }
    known = [ends[value] for value in said.values(place, "compare") if value in ends]
    return Amount("years", known[0], behind + 1) if known else None


def _range(said: Readings, place: int, joined_by: str) -> Amount | None:
    """Years from one to another one."""
    low = said.values(place, "period")
    between = place + 1
    joined = said.has(between, joined_by) or (said.has(between, "mark") and said.text(between, between + 1) in _DASHES)
    other = said.after(between) if said.has(between, joined_by) else between + 1
    high = said.values(other, "period") if joined else []
    if not low or not high or low[0][0] > high[0][1]:
        return None
    return Amount("years", (low[0][0], high[0][1]), other + 1)


def _number(said: Readings, place: int) -> tuple[float, int] | None:
    """A number, and the segment behind it."""
    numbers = said.values(place, "number")
    return (numbers[0], said.after(place)) if numbers else None


def _seconds(said: Readings, place: int) -> tuple[float, int] | None:
    """A length of time in seconds, and the segment behind it."""
    if said.has(place, "unit") and _unit(said, place, _SECONDS) and place > 0 and said.has(place - 1, "det"):
        return None
    read = _number(said, place)
    if read is None and said.has(place, "det") and said.text(place, place + 1).casefold() in {"a", "an"}:
        read = 1.0, place + 1
    if read is None:
        return None
    number, behind = read
    unit = _unit(said, behind, _SECONDS)
    if unit is None or number <= 0 or (number + 1) * _SECONDS[unit] / 60 > _MOST_MINUTES:
        return None
    half = said.after(behind + 1) if said.has(behind + 1, "and") else len(said)
    if said.values(half, "number")[:1] == [0.5]:
        return (number + 0.5) * _SECONDS[unit], half + 1
    return number * _SECONDS[unit], behind + 1


def _unit(said: Readings, place: int, units: dict[str, Any]) -> str | None:
    return next((value for value in (*said.values(place, "unit"), *said.values(place, "hold")) if value in units), None)


def _compared_length(said: Readings, place: int) -> Amount | None:
    """`shorter than four minutes`: of an item; `at most an hour`, `at most ten songs`: of the list."""
    compared = said.values(place, "compare")
    if not compared:
        return None
    read = _seconds(said, place + 1) or _seconds(said, said.after(place))
    counted = _counted(said, said.after(place))
    least, most = {"longer", "at_least"} & set(compared), {"shorter"} & set(compared)
    if read and (least or most or ("at_most" in compared and _after_items(said, place))):
        return Amount("duration", (read[0], None) if least else (None, read[0]), _behind_long(said, read[1]))
    if read and ("at_most" in compared or "until" in compared):
        return Amount("minutes", read[0] / 60, read[1])
    if counted and {"at_most", "at_least", "until", "shorter"} & set(compared):
        return Amount("items", *counted)
    return None


def _behind_long(said: Readings, place: int) -> int:
    """The place behind `long`, as in `five minutes long`."""
    return place + 1 if ("length", "up") in said.values(place, "leaning") else place


def _after_items(said: Readings, place: int) -> bool:
    before = place - 1
    while said.is_filler(before):
        before -= 1
    return said.has(before, "items") or "items" in said.values(before, "unit")


def _time(said: Readings, place: int) -> Amount | None:
    read = _seconds(said, place)
    return Amount("minutes", read[0] / 60, read[1]) if read else None


def _count(said: Readings, place: int) -> Amount | None:
    counted = _counted(said, place)
    return Amount("items", *counted) if counted else None


def _counted(said: Readings, place: int) -> tuple[int, int] | None:
    """`ten songs`, or `ten` with songs named soon behind it: how many, and the segment behind the number."""
    read = _number(said, place)
    if read is None or said.has(place, "det") or read[0] != int(read[0]) or not 1 <= read[0] <= MOST_ITEMS:
        return None
    number, behind = read
    for ahead in range(behind, min(len(said), behind + _LOOK_AHEAD)):
        if said.has(ahead, "items", "item") or "items" in said.values(ahead, "unit"):
            return int(number), ahead + 1 if ahead == behind else behind
        if said.has(ahead, "stop", "comma", "but", "number", "no"):
            break
    return None


def _per_creator(said: Readings, place: int) -> Amount | None:
    """`two per artist`, `at most one song by the same artist`."""
    first = said.after(place) if said.has(place, "compare", "only", "no") else place
    read = _number(said, first)
    if read is None or read[0] != int(read[0]) or not 1 <= read[0] <= MOST_ITEMS:
        return None
    behind = read[1]
    if said.has(behind, "item", "items", "unit") and "per_creator" not in said.values(behind, "unit"):
        behind = said.after(behind)
    found = "per_creator" in said.values(behind, "unit")
    return Amount("per_creator", int(read[0]), behind + 1) if found else None


def _hold(said: Readings, place: int, today: date | None) -> Amount | None:
    values = said.values(place, "hold")
    for value in ("session", "always"):
        if value in values:
            return Amount("hold", value, place + 1)
    if today is None:
        return None
    if "today" in values or "tomorrow" in values:
        return Amount("hold", today + timedelta("tomorrow" in values), place + 1)
    behind = said.after(place)
    if "until" in values:
        named = _date(said, behind, today)
        if named:
            return Amount("hold", named[0], named[1])
    number = _number(said, behind)
    if "for" in values and number:
        unit = _unit(said, number[1], _DAYS)
        if unit and 1 <= number[0] <= 366:
            return Amount("hold", today + timedelta(int(number[0]) * _DAYS[unit]), number[1] + 1)
    return None


def _date(said: Readings, place: int, today: date) -> tuple[date, int] | None:
    """The next date of a name (`friday`, `24 december`) or of ISO form, and the segment behind it."""
    if place >= len(said):
        return None
    if iso := _ISO.match(said.text(place, min(len(said), place + 5))):
        end = next(at for at in range(place + 1, len(said) + 1) if len(said.text(place, at)) >= len(iso[0]))
        return _day(int(iso[1]), int(iso[2]), int(iso[3]), end)
    text = said.text(place, place + 1).casefold()
    if "weekdays" in said.values(place, "hold"):
        ahead = (said.values(place, "order")[0] - today.weekday() - 1) % 7 + 1
        return today + timedelta(ahead), place + 1
    for month_at, day_at in ((place, said.after(place)), (said.after(place), place)):
        day = _number(said, day_at)
        if "month_names" in said.values(month_at, "hold") and day and text:
            month = said.values(month_at, "order")[0] + 1
            year = today.year + ((month, int(day[0])) < (today.month, today.day))
            return _day(year, month, int(day[0]), max(month_at, day_at) + 1)
    return None


def _day(year: int, month: int, day: int, end: int) -> tuple[date, int] | None:
    try:
        return date(year, month, day), end
    except ValueError:
        return None
