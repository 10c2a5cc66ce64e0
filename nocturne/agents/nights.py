"""The state of the nights as a tool tells it: what each came to, what is served, and why a gate closed."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import pyarrow.compute as pc
from pydantic import Field

from nocturne.agents.answers import Answer, Part, Text, Words, receipt
from nocturne.agents.service import Service
from nocturne.core.errors import UsageError
from nocturne.core.night import Night
from nocturne.core.stage import Progress
from nocturne.pipeline.status import NightStatus, Serving, read_status
from nocturne.serving import publications
from nocturne.serving.night_record import GATE_CLOSED, NightRecord
from nocturne.storage import tables
from nocturne.validation.failing_rows import can_be_found, failing_rows
from nocturne.validation.recorded import closing, meaning, verdicts

NIGHTS_BEFORE = 3
"""Nights before whose value of a metric stands beside the one that failed."""
MOST_FAILED = 10
MOST_WARNINGS = 20
EVERY_NIGHT = 1_000_000


class NightState(Part):
    """A night as it stands."""

    run_date: date
    weekday: Words
    state: Words
    explanation: Text | None = None


class ServedNow(Part):
    """A serving cache."""

    cache: Text
    run_date: date | None = Field(
        default=None, description="Night whose lists listeners get; none if nothing is served"
    )
    generation: Words | None = None
    explanation: Text | None = Field(default=None, description="Why it is held, or why nothing can be said")


class ValueBefore(Part):
    """A value of the same metric on an earlier night."""

    run_date: date
    observed: float | None = None


class FailedExpectation(Part):
    """An expectation that failed, and closed the gate."""

    table: Words
    expectation: Words = Field(description="Name of the metric that was held against its limit")
    observed: float | None = None
    limit: Words
    meaning: Words = Field(description="What it means, and what to look at")
    before: list[ValueBefore] = Field(default_factory=list, description="Values of the nights before, newest first")
    has_rows: bool = Field(description="False of a metric about the whole table: no single row fails it")
    rows: list[dict[str, Text]] = Field(default_factory=list, description="First rows that fail, JSON by column")


class Gate(Part):
    """The gate of a night."""

    run_date: date
    open: bool
    reasons: list[Text] = Field(default_factory=list, description="Why nothing of the night may be served")
    failed: list[FailedExpectation] = Field(default_factory=list)
    warnings: list[Words] = Field(default_factory=list, description="Expectations that failed and close nothing")


class Nights(Answer):
    """Nights, newest first, what is served, and one gate."""

    nights: list[NightState]
    serving: list[ServedNow]
    gate: Gate | None = Field(
        default=None,
        description="Of the night that was asked for, or the newest that is closed; none of a night that did not end",
    )


def nights(service: Service, run_date: date | None, last: int, most_rows: int, progress: Progress) -> Nights:
    """The last nights, what is served, and the gate of one: the one asked for, or the newest that is closed.

    Args:
        last: nights that are told.
        most_rows: rows of each failed expectation.

    Raises:
        UsageError: there is no warehouse, or no such night.
    """
    warehouse = service.tables()
    status = read_status(warehouse, last=EVERY_NIGHT)
    current = {record.run_date: record for record in publications.all_records(warehouse)}  # the row that counts is last
    shown = [*status.nights[:last], *(night for night in status.nights[last:] if night.run_date == run_date)]
    closed = [night.run_date for night in shown if night.run_date in current and _is_closed(current[night.run_date])]
    if run_date and run_date not in {night.run_date for night in status.nights}:
        raise _not_on_record(run_date, status.nights)
    asked = run_date or max(closed, default=None)
    gate = _gate(Night(warehouse, asked), current[asked], most_rows, progress) if asked in current and asked else None
    return Nights(
        receipt=receipt(warehouse, asked),
        next_step=_next_step(gate, status.to_do()),
        nights=[_night(night) for night in shown],
        serving=[_serving(each) for each in status.serving],
        gate=gate,
    )


def _not_on_record(run_date: date, present: Sequence[NightStatus]) -> UsageError:
    return UsageError(
        "the night is not on record",
        found=str(run_date),
        expected=f"{present[-1].run_date} to {present[0].run_date}" if present else "any night: none was made yet",
        fix="call nights without run_date",
    )


def _gate(night: Night, record: NightRecord, most_rows: int, progress: Progress) -> Gate:
    rows, is_closed = verdicts(night.warehouse, night.run_date), _is_closed(record)
    failed = closing(rows)
    reasons = record.reason.split("; ") if is_closed and record.reason else []
    return Gate(
        run_date=night.run_date,
        open=not is_closed,
        reasons=reasons[:MOST_FAILED],
        failed=[_failed(night, row, most_rows, progress) for row in failed[:MOST_FAILED]],
        warnings=[
            f"{row['table']}.{row['expectation']}" for row in rows if row["outcome"] == "failed" and row not in failed
        ][:MOST_WARNINGS],
    )


def _failed(night: Night, row: dict[str, Any], most_rows: int, progress: Progress) -> FailedExpectation:
    table, metric = row["table"], row["expectation"]
    return FailedExpectation(
        table=table,
        expectation=metric,
        observed=row["observed"],
        limit=row["limit"],
        meaning=meaning(row) or "the suite of today has no such expectation",
        before=_before(night, table, metric),
        has_rows=can_be_found(table, metric),
        rows=[
            {name: as_json(value) for name, value in each.items() if value is not None}
            for each in failing_rows(night, table, metric, most_rows, progress)
        ],
    )


def _before(night: Night, table: str, metric: str) -> list[ValueBefore]:
    same = (pc.field("table") == table) & (pc.field("expectation") == metric) & (pc.field("severity") == "critical")
    earlier = same & (pc.field("run_date") < night.run_date)
    rows = tables.rows(night.warehouse, "validations", earlier, ["run_date", "observed"]).to_pylist()
    newest_first = sorted(rows, key=lambda row: row["run_date"], reverse=True)
    return [ValueBefore(**row) for row in newest_first[:NIGHTS_BEFORE]]


def as_json(value: Any) -> str:
    """A value of a table: text as it is, everything else as JSON; a long list by its first members."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and len(value) > 5:
        return f"{json.dumps(list(value[:5]), default=str, ensure_ascii=False)} and {len(value) - 5} more"
    return json.dumps(value, default=str, ensure_ascii=False)


def _night(night: NightStatus) -> NightState:
    return NightState(
        run_date=night.run_date,
        weekday=f"{night.run_date:%A}",
        state=night.state,
        explanation=night.explanation or None,
    )


def _serving(serving: Serving) -> ServedNow:
    return ServedNow(
        cache=serving.cache,
        run_date=serving.run_date,
        generation=serving.generation,
        explanation=serving.explanation or None,
    )


def _is_closed(record: NightRecord) -> bool:
    return record.state == GATE_CLOSED


def _next_step(gate: Gate | None, to_do: Sequence[str]) -> str:
    if gate and not gate.open:
        return (
            f"listeners keep what is served; mend the data or the limit and run night {gate.run_date} again "
            f"(`nocturne night --run-date {gate.run_date}`); compare it with the night before for what else changed"
        )
    return f"to do: {to_do[0]}" if to_do else "nothing is to be done; compare two nights for what changed"
