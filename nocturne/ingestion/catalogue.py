"""The landed catalogue -> items. Unlike events it must be right as a whole: every list of the night depends on it.

A value that is passed over lifts a restriction: without markets an item may be listed everywhere, without dates for
good. So every value of every row is right, or the night fails.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.errors import InputError
from nocturne.ingestion.landed_rows import is_blank
from nocturne.ingestion.landing_files import CATALOGUE_FIELDS
from nocturne.storage.contracts import contract

CONTENT_TYPES = ("track", "podcast_episode", "audiobook", "other")

UNNAMED_TYPE = "other"
"""Content type of items that the catalogue never named."""

_EXAMPLES = 3
_BOOLEANS = dict.fromkeys(("true", "t", "yes", "y", "1"), True) | dict.fromkeys(("false", "f", "no", "n", "0"), False)
_DAY_AND_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?", re.ASCII)
_DECIMAL = re.compile(r"\+?\d{1,18}(\.\d{0,18})?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_LAST_YEAR = 9999
_WHOLE_NUMBER = re.compile(r"\+?\d{1,18}", re.ASCII)


def parse_items(landed: pa.Table, where: str, longest_id: int) -> pa.Table:
    """The columns of `items` without run_date.

    Args:
        landed: from `landing.read_catalogue`.
        where: the folder, for messages.
        longest_id: bytes of UTF-8.

    Raises:
        InputError: a value cannot be right, or two rows share an item_id; it names a few of the rows.
    """
    rows = landed.to_pydict()
    items: dict[str, list[Any]] = {name: [] for name in CATALOGUE_FIELDS}
    times = Counter(rows["item_id"])
    problems = []
    for number, item_id in enumerate(rows["item_id"]):
        try:
            _check_row(rows["parsed"][number], item_id, longest_id, times[item_id])
            for name, parse in _PARSERS.items():
                items[name].append(parse(name, rows[name][number]))
            _check_dates(items["available_from"][-1], items["available_until"][-1])
        except ValueError as error:
            row = f"item {item_id!r}" if item_id else f"row {(rows['raw'][number] or '')[:200]!r}"
            problems.append(f"{row} in {rows['file'][number]}: {error}")
    if problems:
        _refuse(problems, where)
    kinds = [field for field in contract("items").arrow_schema if field.name in items]
    return pa.table({field.name: pa.array(items[field.name], field.type) for field in kinds})


def keep_absent_items(catalogue: pa.Table, previous: pa.Table, run_date: date) -> pa.Table:
    """The rows of `items` of a night: what landed, and, as absent, what only an earlier catalogue named.

    An item that is left out would lose its rules with its row, and could be listed everywhere.

    Args:
        catalogue: from `parse_items`.
        previous: rows of `items` of the last sound night, absent ones among them.
    """
    missing = previous.filter(pc.invert(pc.is_in(previous["item_id"], value_set=catalogue["item_id"].combine_chunks())))
    of_night = (
        _of_night(catalogue, run_date, False),
        _of_night(missing.select(catalogue.column_names), run_date, True),
    )
    return pa.concat_tables(of_night)


def _of_night(rows: pa.Table, run_date: date, absent: bool) -> pa.Table:
    schema = contract("items").arrow_schema
    for name, value in (("run_date", run_date), ("absent", absent)):
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), rows.num_rows))
    return rows.select(schema.names).cast(schema)


def _refuse(problems: list[str], where: str) -> None:
    more = len(problems) - _EXAMPLES
    raise InputError(
        "the catalogue cannot be used",
        where=where,
        found="; ".join(sorted(problems)[:_EXAMPLES]) + (f"; {more} more" if more > 0 else ""),
        expected=f"one row per item, with a content_type of {', '.join(CONTENT_TYPES)}, and no value that is wrong",
        fix="ask the producer to land it again; docs/landing.md says how",
    )


def _check_row(parsed: bool, item_id: str | None, longest: int, times: int) -> None:
    if not parsed:
        raise ValueError("unparsable")
    if item_id is None or is_blank(item_id):
        raise ValueError("missing item_id")
    if len(item_id.encode()) > longest:
        raise ValueError(f"item_id is longer than {longest} bytes")
    if times > 1:
        raise ValueError(f"{times} times")


def _check_dates(first: date | None, last: date | None) -> None:
    if first and last and first > last:
        raise ValueError(f"available_from {first} is after available_until {last}")


def _text(_: str, text: str | None) -> str | None:
    return text or None


def _content_type(_: str, text: str | None) -> str:
    if text not in CONTENT_TYPES:
        raise ValueError("unknown content_type")
    return text


def _whole_number(name: str, text: str | None) -> int | None:
    text = (text or "").strip()
    if text and not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError(f"{name} is no whole number from 0 on: {text[:50]!r}")
    return int(text) if text else None


def _year(name: str, text: str | None) -> int | None:
    year = _whole_number(name, text)
    if year is not None and year > _LAST_YEAR:
        raise ValueError(f"{name} is no year: {year}")
    return year


def _share(name: str, text: str | None) -> float | None:
    text = (text or "").strip()
    if not text:
        return None
    if not _DECIMAL.fullmatch(text) or not 0 <= float(text) <= 1:
        raise ValueError(f"{name} is no number from 0 to 1: {text[:50]!r}")
    return float(text)


def _boolean(name: str, text: str | None) -> bool | None:
    text = (text or "").strip()
    if text and text.lower() not in _BOOLEANS:
        raise ValueError(f"{name} is neither true nor false: {text[:50]!r}")
    return _BOOLEANS[text.lower()] if text else None


def _date(name: str, text: str | None) -> date | None:
    text = (text or "").strip()
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text if _DAY_AND_TIME.fullmatch(text) else "")
        return (time.astimezone(UTC) if time.tzinfo else time).date()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} is no date: {text[:50]!r}") from error


def _list(name: str, text: str | None) -> list[str] | None:
    try:
        values = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        values = text
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) and not is_blank(value) for value in values):
        raise ValueError(f"{name} is no list of texts, none of them null or blank: {str(text)[:100]}")
    return values


_PARSERS: dict[str, Callable[[str, str | None], Any]] = {
    "item_id": _text,
    "content_type": _content_type,
    "title": _text,
    "creator": _text,
    "tags": _list,
    "description": _text,
    "duration_ms": _whole_number,
    "explicit": _boolean,
    "language": _text,
    "year": _year,
    "energy": _share,
    "markets": _list,
    "available_from": _date,
    "available_until": _date,
}
