"""What tonight is compared with: past nights, of which only the sound ones count."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from statistics import median

import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.flow import GATED_TABLES, stage
from nocturne.storage import tables

RECENT_NIGHTS = 7
"""Nights whose median says what is usual: a week, so that every weekday is in it once."""


def closed_dates(night: Night, table_names: Iterable[str]) -> set[date]:
    """Nights on which a critical expectation of one of these tables failed."""
    failed = (
        (pc.field("severity") == "critical")
        & (pc.field("outcome") == "failed")
        & pc.field("table").isin(list(table_names))
    )
    return set(tables.rows(night, "validations", failed, ["run_date"])["run_date"].to_pylist())


def usual(night: Night, column: str) -> float | None:
    """Median of a count of `ingests` over the recent nights that were sound and not empty; None without any."""
    before = pc.field("run_date") < night.run_date
    columns = list(dict.fromkeys(("run_date", "listens", column)))
    past = tables.rows(night, "ingests", before & (pc.field("listens") > 0), columns)
    closed = closed_dates(night, stage("ingest_events").writes)
    sound = [row[column] for row in past.sort_by("run_date").to_pylist() if row["run_date"] not in closed]
    return float(median(sound[-RECENT_NIGHTS:])) if sound else None


def previous_night(night: Night, table: str) -> Night | None:
    """The last night before this one that has sound rows of the table."""
    closed = closed_dates(night, GATED_TABLES)
    earlier = [day for day in tables.dates(night, table) if day < night.run_date and day not in closed]
    return replace(night, run_date=earlier[-1]) if earlier else None
