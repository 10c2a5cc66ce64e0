"""Rows of exposures: a line taken apart into typed values, and the first check that it fails, if any. Pure.

A line is checked in the order of REASONS. Whatever is wrong with it, it stays one row with its text.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NoReturn

import pyarrow as pa

from nocturne.core.erasure import Tombstones
from nocturne.core.sections import ListenSettings
from nocturne.ingestion.cleaning import ERASED
from nocturne.ingestion.exposure_files import LONGEST_LINE
from nocturne.ingestion.landed_rows import is_blank
from nocturne.ingestion.times import parse_time
from nocturne.storage.contracts import contract

SURFACES = ("list", "now_playing", "steer")
_REQUIRED = ("generation", "arm", "source")
_OPTIONAL = ("model_version", "playing", "market")
_COLUMN = {"playing": "playing_item_id"}
REASONS = (
    "long_line",
    "unparsable",
    "missing_exposure_id",
    "missing_user_id",
    "long_id",
    "invalid_shown_at",
    "after_day",
    "too_late",
    "invalid_surface",
    *(f"invalid_{name}" for name in _REQUIRED),
    "invalid_run_date",
    *(f"invalid_{name}" for name in _OPTIONAL),
    "invalid_items",
    "invalid_differences",
)

COLUMNS = tuple(column.name for column in contract("exposures").columns if column.name != "run_date")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("writer", "file", "raw", "reason")),
        *(contract("exposures").arrow_schema.field(name).with_nullable(True) for name in COLUMNS),
    ]
)
"""A line: its writer, file and text; the reason that speaks against it, else the values of `exposures`."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_FIRST_NIGHT = date(1970, 1, 1)
_LAST_PLACE = 2**31 - 1
"""Of those that the column of differences can hold."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """The rules that a night holds exposures to: those of events.

    Attributes:
        max_id_bytes: longest id, bytes of UTF-8.
        earliest, day, end: the first time that is accepted, and the beginning and the end of the landing day.
        tombstones: of listeners whose exposures of before are not taken in.
    """

    max_id_bytes: int
    earliest: datetime
    day: datetime
    end: datetime
    tombstones: Tombstones = field(default_factory=Tombstones)

    @classmethod
    def of(cls, run_date: date, settings: ListenSettings, tombstones: Tombstones | None = None) -> "Rules":
        """The rules of a night."""
        day = datetime.combine(run_date, time(), UTC)
        earliest, end = day - timedelta(days=settings.late_days), day + timedelta(days=1)
        return cls(settings.max_id_bytes, earliest, day, end, tombstones or Tombstones())


def parse_lines(writer: str, file: str, lines: Sequence[bytes], rules: Rules) -> pa.RecordBatch:
    """Lines of a file as rows, `SCHEMA`, in their order."""
    rows = [{"writer": writer, "file": file, **parse_line(line, rules)} for line in lines]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def parse_line(line: bytes, rules: Rules) -> Values:
    """The values of a line: `raw`, and either `reason` or those of `exposures`; no text of an erased listener's."""
    values = _parse_line(line, rules)
    if rules.tombstones and _is_erased(values, rules.tombstones):
        return {"raw": "", "reason": ERASED}
    return values


def _is_erased(values: Values, tombstones: Tombstones) -> bool:
    if "reason" not in values:
        return tombstones.is_erased(values["user_id"], values["shown_at"])
    return bool(tombstones.name_one([values["raw"]])[0])


def _parse_line(line: bytes, rules: Rules) -> Values:
    if len(line) > LONGEST_LINE:
        return {"raw": line[:LONGEST_LINE].decode(errors="backslashreplace"), "reason": "long_line"}
    try:
        text = line.decode()
        row = _read_object(text)
    except (ValueError, RecursionError):
        return {"raw": line.decode(errors="backslashreplace"), "reason": "unparsable"}
    values = _values(row)
    reason = _first_failed(row, values, rules)
    if reason:
        return {"raw": text, "reason": reason}
    return {"raw": text, **values, "late": values["shown_at"] < rules.day}


def _read_object(text: str) -> Values:
    """The JSON object that a line is; ValueError or RecursionError where it is none, or something more."""
    row: Values = _decode(text)
    if not isinstance(row, dict):
        raise json.JSONDecodeError("no object", text, 0)
    if "\\u" in text:
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return row


def _object(pairs: list[tuple[str, Any]]) -> Values:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse).decode


def _values(row: Values) -> Values:
    """The columns of `exposures`, without `late`; None in place of what is not there or of another kind."""
    return {
        "exposure_id": _id(row.get("exposure_id")),
        "user_id": _id(row.get("user_id")),
        "shown_at": parse_time(row.get("shown_at")),
        "surface": row.get("surface") if row.get("surface") in SURFACES else None,
        "list_run_date": _parse_day(row.get("run_date")),
        **{name: _id(row.get(name)) for name in _REQUIRED},
        **{_COLUMN.get(name, name): _id(row.get(name)) for name in _OPTIONAL},
        "items": _items(row.get("items")),
        "differences": _differences(row.get("differences")),
    }


def _first_failed(row: Values, values: Values, rules: Rules) -> str | None:
    """The first reason that speaks against a row; None if it is sound."""
    shown_at, items = values["shown_at"], values["items"]
    ids = [values["exposure_id"], values["user_id"], values["playing_item_id"]]
    ids += [item["item_id"] for item in items or ()]
    checks = {
        "missing_exposure_id": values["exposure_id"] is None,
        "missing_user_id": values["user_id"] is None,
        "long_id": any(len(each.encode()) > rules.max_id_bytes for each in ids if each),
        "invalid_shown_at": shown_at is None,
        "after_day": shown_at is not None and shown_at >= rules.end,
        "too_late": shown_at is not None and shown_at < rules.earliest,
        "invalid_surface": values["surface"] is None,
        **{f"invalid_{name}": values[name] is None for name in _REQUIRED},
        "invalid_run_date": not _FIRST_NIGHT <= (values["list_run_date"] or date.max) < rules.end.date(),
        **{
            f"invalid_{name}": row.get(name) not in (None, "") and values[_COLUMN.get(name, name)] is None
            for name in _OPTIONAL
        },
        "invalid_items": items is None,
        "invalid_differences": row.get("differences") is not None and values["differences"] is None,
    }
    return next((reason for reason, failed in checks.items() if failed), None)


def _id(value: object) -> str | None:
    """A text of which something can be seen, as it stands."""
    return value if isinstance(value, str) and not is_blank(value) else None


def _parse_day(value: object) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) and _DAY.fullmatch(value) else None
    except ValueError:
        return None


def _items(value: object) -> list[Values] | None:
    """The items shown, in order, each with a probability above 0; None if any is not so."""
    if not isinstance(value, list):
        return None
    items = [_item(each) for each in value]
    return None if None in items else [item for item in items if item]


def _item(value: object) -> Values | None:
    item_id = _id(value.get("item_id")) if isinstance(value, dict) else None
    propensity = value.get("propensity") if isinstance(value, dict) else None
    if item_id is None or isinstance(propensity, bool) or not isinstance(propensity, int | float):
        return None
    return {"item_id": item_id, "propensity": float(propensity)} if 0 < propensity <= 1 else None


def _differences(value: object) -> dict[str, int | None] | None:
    """Places, from 1, or None, by treatment; None if any is not so."""
    if not isinstance(value, dict):
        return None
    is_sound = all(_id(name) and (place is None or _is_place(place)) for name, place in value.items())
    return value if is_sound else None


def _is_place(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LAST_PLACE
