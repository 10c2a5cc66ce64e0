"""Expectations that a night fails, as a page tells them: observed, limit, usual, meaning, and rows that fail."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from statistics import median
from typing import Any

import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.flow import GATED_TABLES
from nocturne.monitoring.report.names import Listeners, number, shorten
from nocturne.monitoring.report.trends import NIGHTS
from nocturne.storage import tables
from nocturne.validation.failing_rows import can_be_found, failing_rows
from nocturne.validation.recorded import meaning, verdicts
from nocturne.validation.suites import CRITICAL

MOST_ROWS = 5
LARGEST_TABLE = 2_000_000
"""Rows of a table that is looked through for those that fail: of a larger one the page would be late."""

UNTOLD = frozenset({"raw", "event_id"})
"""Columns that no page shows: what a producer wrote may name a listener."""

Row = dict[str, Any]


def failures(night: Night, names: Listeners) -> list[Row]:
    """Expectations of the night that failed, those that close the gate first, then in the order of the flow."""
    rows = [row for row in verdicts(night.warehouse, night.run_date) if row["outcome"] == "failed"]
    worst_first = sorted(rows, key=lambda row: not _closes(row))
    return [_failure(night, row, names) for row in worst_first]


def _closes(row: Row) -> bool:
    return row["severity"] == CRITICAL and row["table"] in GATED_TABLES


def _failure(night: Night, row: Row, names: Listeners) -> Row:
    table, metric = row["table"], row["expectation"]
    return {
        "table": table,
        "expectation": metric,
        "severity": row["severity"],
        "closes": _closes(row),
        "observed": number(row["observed"]),
        "limit": row["limit"],
        "usual": number(_usual(night, row)),
        "meaning": meaning(row) or "the suite of today has no such expectation",
        "rows": _rows(night, table, metric, names),
    }


def _usual(night: Night, row: Row) -> float | None:
    """Median of the values of the month before."""
    same = (pc.field("table") == row["table"]) & (pc.field("expectation") == row["expectation"])
    since = night.run_date - timedelta(days=NIGHTS)
    earlier = (pc.field("run_date") >= since) & (pc.field("run_date") < night.run_date)
    columns = ["run_date", "observed"]
    found = tables.rows(night.warehouse, "validations", same & earlier, columns).to_pylist()
    observed: dict[date, float] = {each["run_date"]: each["observed"] for each in found if each["observed"] is not None}
    return median(observed.values()) if observed else None


def _rows(night: Night, table: str, metric: str, names: Listeners) -> list[dict[str, str]]:
    source = "quarantine" if table == "ingests" else table
    if not can_be_found(table, metric) or tables.count(night, source) > LARGEST_TABLE:
        return []
    rows = failing_rows(night, table, metric, MOST_ROWS, _unreported)
    return [
        {name: _shown(name, value, names) for name, value in row.items() if name not in UNTOLD and value is not None}
        for row in rows
    ]


def _shown(name: str, value: Any, names: Listeners) -> str:
    if name == "user_id":
        return names.name(value) if value else ""
    if isinstance(value, str):
        return shorten(value)
    if isinstance(value, Sequence):
        ids = [each["item_id"] if isinstance(each, dict) else each for each in value[:MOST_ROWS]]
        return shorten(
            ", ".join(map(str, ids)) + (f" and {len(value) - MOST_ROWS} more" if len(value) > MOST_ROWS else "")
        )
    return shorten(json.dumps(value, default=str, ensure_ascii=False).strip('"'))


def _unreported(_done: int, _total: int, _what: str) -> None:
    """Nobody watches."""
