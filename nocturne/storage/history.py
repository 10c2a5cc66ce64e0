"""Past nights that a night may be built on or compared with: those on which no gate closed."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from statistics import median

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night, Warehouse
from nocturne.flow import GATED_TABLES, stage
from nocturne.storage import tables

RECENT_NIGHTS = 7
"""Nights whose median says what is usual: a week, so that every weekday is in it once."""


def closed_dates(warehouse: Warehouse, table_names: Iterable[str]) -> set[date]:
    """Nights on which a critical expectation of one of these tables failed."""
    failed = (
        (pc.field("severity") == "critical")
        & (pc.field("outcome") == "failed")
        & pc.field("table").isin(list(table_names))
    )
    return set(tables.rows(warehouse, "validations", failed, ["run_date"])["run_date"].to_pylist())


def usual(night: Night, column: str) -> float | None:
    """Median of a count of `ingests` over the recent nights that were sound and not empty; None without any."""
    earlier = pc.field("run_date") < night.run_date
    columns = list(dict.fromkeys(("run_date", "listens", column)))
    past = tables.rows(night.warehouse, "ingests", earlier & (pc.field("listens") > 0), columns)
    closed = closed_dates(night.warehouse, stage("ingest_events").writes)
    sound = [row[column] for row in past.sort_by("run_date").to_pylist() if row["run_date"] not in closed]
    return float(median(sound[-RECENT_NIGHTS:])) if sound else None


def previous_night(night: Night, table: str) -> Night | None:
    """The last night before this one that has sound rows of the table."""
    closed = closed_dates(night.warehouse, GATED_TABLES)
    earlier = [day for day in tables.dates(night.warehouse, table) if day < night.run_date and day not in closed]
    return night.on(earlier[-1]) if earlier else None


def accumulated_rows(
    night: Night, table: str, columns: Sequence[str], where: pc.Expression | None = None, *, before: bool = False
) -> pa.Table:
    """Rows of a table that accumulates, oldest night first: tonight's, and those of sound nights before.

    Args:
        columns: run_date first, and after it what rows of a night are put in order of.
        where: which of them.
        before: without tonight's.
    """
    closed = closed_dates(night.warehouse, [table])
    days = [day for day in tables.partitions(night, table)[1] if day < night.run_date and day not in closed]
    days += [] if before else [night.run_date]
    of_nights = pc.field("run_date").isin(days) if days else pc.scalar(False)
    rows = tables.rows(night.warehouse, table, of_nights if where is None else of_nights & where, columns)
    return rows.sort_by([(name, "ascending") for name in columns[:2]])


def interaction_sources(night: Night) -> tuple[date | None, list[date]]:
    """The night whose rows of `interactions` are built upon, if any, and the nights of `listens` to add to them."""
    closed = _not_built_upon(night)
    earlier = [
        day for day in tables.dates(night.warehouse, "interactions") if day < night.run_date and day not in closed
    ]
    since = earlier[-1] if earlier else None
    added = [
        day
        for day in tables.dates(night.warehouse, "listens")
        if day <= night.run_date and (since is None or day > since) and (day not in closed or day == night.run_date)
    ]
    return since, added


def retained_listens(night: Night, since: date | None) -> list[date]:
    """Nights up to the one built upon, whose listens retention keeps through the day after this night.

    They are the same when the night is made again, if retention ran in between.
    """
    if since is None:
        return []
    first, closed = first_retained_listens(night), _not_built_upon(night)
    return [day for day in tables.dates(night.warehouse, "listens") if first <= day <= since and day not in closed]


def first_retained_listens(night: Night) -> date:
    """The first night whose listens retention keeps through the day after a night."""
    nights = night.settings.retention.nights.get("listens")
    return date.min if nights is None else night.run_date + timedelta(days=1 - nights)


def _not_built_upon(night: Night) -> set[date]:
    return closed_dates(night.warehouse, (*stage("ingest_events").writes, *stage("build_interactions").writes))


def is_stale(night: Night) -> bool:
    """True if an earlier night was made again since."""
    states = tables.rows(night.warehouse, "nights", pc.field("run_date") == night.run_date, ["state"])["state"]
    return "stale" in states.to_pylist()
