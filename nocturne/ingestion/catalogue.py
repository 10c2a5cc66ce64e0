"""The landed catalogue -> items. Unlike events it must be right as a whole: every list of the night depends on it.

A value that is left out lifts a restriction: without markets an item may be listed everywhere, without dates for good.
So every value of every row is right, or the night fails.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.ingestion.landing_files import CATALOGUE_FIELDS
from nocturne.storage.contracts import contract

CONTENT_TYPES = ("track", "podcast_episode", "audiobook", "other")

_EXAMPLES = 3
_BOOLEANS = {word: True for word in ("true", "t", "yes", "y", "1")} | {
    word: False for word in ("false", "f", "no", "n", "0")
}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DAY_AND_TIME = re.compile(_DAY.pattern + r"[T ]\d{2}:\d{2}.*", re.ASCII)
_WHOLE_NUMBER = re.compile(r"[+]?\d{1,18}", re.ASCII)
_INVISIBLE = re.compile(r"[\s\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\x00-\x1f\x7f-\x9f]*")


def parse_items(landed: pa.Table, night: Night) -> pa.Table:
    """The rows of `items`.

    Args:
        landed: from `landing.read_catalogue`.

    Raises:
        InputError: a value of a row cannot be right, or two rows share an item_id.
    """
    rows = landed.to_pydict()
    items: dict[str, list[Any]] = {name: [] for name in CATALOGUE_FIELDS}
    problems = []
    times = Counter(rows["item_id"])
    for number, item_id in enumerate(rows["item_id"]):
        fields = {name: rows[name][number] for name in CATALOGUE_FIELDS}
        problem = None if rows["parsed"][number] else "unparsable"
        problem = problem or _problem_of_id(item_id, night.settings.listens.max_id_bytes)
        try:
            values = {name: _PARSERS[name](fields[name]) for name in CATALOGUE_FIELDS}
        except ValueError as error:
            problem = problem or str(error)
        else:
            problem = problem or _problem_of_dates(values["available_from"], values["available_until"])
            for name, value in values.items():
                items[name].append(value)
        if not problem and times[item_id] > 1:
            problem = f"{times[item_id]} times"
        if problem:
            place = f"item {item_id!r}" if item_id else f"the row {rows['raw'][number]!r:.200}"
            problems.append(f"{place} in {rows['file'][number]}: {problem}")
    if problems:
        _refuse(problems, f"{night.landing}/items")
    items["run_date"] = [night.run_date] * len(times)
    return pa.Table.from_pydict(items, schema=contract("items").arrow_schema)


def _refuse(problems: list[str], where: str) -> None:
    more = len(problems) - _EXAMPLES
    raise InputError(
        "the catalogue cannot be used",
        where=where,
        found="; ".join(sorted(problems)[:_EXAMPLES]) + (f"; {more} more rows" if more > 0 else ""),
        expected=f"one row per item, with a content_type of {', '.join(CONTENT_TYPES)}, and no value that is wrong",
        fix="ask the producer to land it again; docs/landing.md says how",
    )
