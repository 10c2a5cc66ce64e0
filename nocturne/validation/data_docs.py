"""Data Docs: every night's tables with their expectations and outcomes, as pages for people.

One page a night, and an index. Only the night at hand and the index are written. The pages stand alone:
Great Expectations' own take their styles and scripts from nine other hosts and do not tell severities.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from nocturne.core.night import Night, Warehouse
from nocturne.core.pages import render_page
from nocturne.flow import VALIDATED_TABLES
from nocturne.storage import tables
from nocturne.validation import suites

FOLDER = "_data_docs"
_PACKAGE = "nocturne.validation"
_DETAILED_NIGHTS = 60
_REPORT = "-report.html"
_OUTCOMES_WORST_FIRST = ("failed", "skipped", "success")

Row = dict[str, Any]
"""A row of `validations`."""


def report_name(run_date: date) -> str:
    """Name of the page that `nocturne report` writes of a night, beside that of its expectations."""
    return f"{run_date}{_REPORT}"


def write_night_page(night: Night) -> None:
    """Write the night's page into WAREHOUSE/_data_docs. Only where the warehouse is a folder."""
    if "://" in night.warehouse.path:
        return
    tonight = tables.rows(night.warehouse, "validations", pc.field("run_date") == night.run_date).to_pylist()
    folder = Path(night.warehouse.path) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{night.run_date}.html", night_page(night.run_date, tonight, report_name(night.run_date)))


def write_index(warehouse: Warehouse, status: Row) -> None:
    """Write the index into WAREHOUSE/_data_docs, once there is a night to show."""
    folder = Path(warehouse.path) / FOLDER
    if "://" in warehouse.path or not folder.is_dir():
        return
    written = sorted((date.fromisoformat(path.stem) for path in folder.glob("????-??-??.html")), reverse=True)
    since = pc.field("run_date") >= written[:_DETAILED_NIGHTS][-1]
    columns = ["run_date", "table", "severity", "outcome"]
    recent = tables.rows(warehouse, "validations", since, columns).to_pylist()
    reports = {date.fromisoformat(path.name.removesuffix(_REPORT)) for path in folder.glob(f"????-??-??{_REPORT}")}
    _write(folder / "index.html", index_page(status, recent, written[_DETAILED_NIGHTS:], reports))


def night_page(run_date: date, rows: Iterable[Row], report: str = "") -> str:
    """A night's page: a section per validated table, its expectations with the worst outcomes first.

    Args:
        report: name of the page that `nocturne report` writes of the night.
    """
    rows_by_table = _group_by_table(rows)
    return render_page(
        _PACKAGE,
        "night.html.jinja",
        title=f"Night {run_date}",
        sections=[_section(table, rows_by_table[table]) for table in VALIDATED_TABLES if table in rows_by_table],
        not_validated=[table for table in VALIDATED_TABLES if table not in rows_by_table],
        report=report,
    )


def index_page(status: Row, rows: Iterable[Row], older: Iterable[date], reports: Collection[date] = ()) -> str:
    """The index: the state of the service; then nights newest first, with what failed in each table.

    Args:
        status: of the warehouse when the page was written: nights, serving, to_do.
        rows: run_date, table, severity and outcome of the nights that are shown in detail.
        older: nights that are linked only.
        reports: nights of which `nocturne report` wrote a page.
    """
    newest_first = sorted(rows, key=lambda row: row["run_date"], reverse=True)
    nights = [
        (run_date, {table: _count_failed(of_table) for table, of_table in _group_by_table(of_night).items()})
        for run_date, of_night in groupby(newest_first, key=lambda row: row["run_date"])
    ]
    return render_page(
        _PACKAGE,
        "index.html.jinja",
        title="Nocturne Data Docs",
        status=status,
        tables=VALIDATED_TABLES,
        nights=nights,
        older=older,
        reports={run_date: report_name(run_date) for run_date in sorted(reports)},
    )


def _write(path: Path, html: str) -> None:
    """Readers see the old page or the new one, never half of it."""
    part = path.with_suffix(".part")
    part.write_text(html, encoding="utf-8")
    with suppress(FileNotFoundError):  # a retry has put its own page there meanwhile
        part.replace(path)


def _group_by_table(rows: Iterable[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["table"], []).append(row)
    return grouped


def _section(table: str, rows: list[Row]) -> Row:
    meanings = suites.meanings(table)
    worst_first = sorted(
        rows, key=lambda row: (_OUTCOMES_WORST_FIRST.index(row["outcome"]), row["severity"], row["expectation"])
    )
    return {
        "table": table,
        "notes": suites.suite(table)["meta"]["notes"],
        "failed": _count_failed(rows),
        "seconds": sum(row["seconds"] for row in rows),
        "rows": [
            row
            | {
                "observed": _format_number(row["observed"]),
                "meaning": meanings.get((row["expectation"], row["severity"]), ""),
            }
            for row in worst_first
        ],
    }


def _count_failed(rows: Iterable[Row]) -> Counter[str]:
    """Failed expectations by severity."""
    return Counter(row["severity"] for row in rows if row["outcome"] == "failed")


def _format_number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if value % 1 else f"{value:,.0f}"
