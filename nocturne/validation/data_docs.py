"""Data Docs: what every night's tables were held against and how it went, as pages for people.

One page a night, and an index. Only the night at hand and the index are written. The pages stand alone:
Great Expectations' own take their styles and scripts from nine other hosts and do not tell severities.
"""

from contextlib import suppress
from datetime import date
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.core.pages import page
from nocturne.flow import GATED_TABLES
from nocturne.storage import tables
from nocturne.validation import suites

FOLDER = "_data_docs"
_DETAILED_NIGHTS = 60
_ORDER = {"failed": 0, "skipped": 1, "success": 2}

Row = dict[str, Any]


def write_data_docs(night: Night) -> None:
    """Write the night's page and the index into WAREHOUSE/_data_docs. Only where the warehouse is a folder."""
    if "://" in night.warehouse:
        return
    folder = Path(night.warehouse) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    tonight = tables.rows(night, "validations", pc.field("run_date") == night.run_date).to_pylist()
    _write(folder / f"{night.run_date}.html", _night_page(night.run_date, tonight))
    pages = sorted((date.fromisoformat(page.stem) for page in folder.glob("????-??-??.html")), reverse=True)
    since = pc.field("run_date") >= pages[:_DETAILED_NIGHTS][-1]
    columns = ["run_date", "table", "severity", "outcome"]
    recent = tables.rows(night, "validations", since, columns).to_pylist()
    _write(folder / "index.html", _index(recent, pages[_DETAILED_NIGHTS:]))


def _write(path: Path, page: str) -> None:
    """Readers see the old page or the new one, never half of it."""
    part = path.with_suffix(".part")
    part.write_text(page, encoding="utf-8")
    with suppress(FileNotFoundError):  # a retry has put its own page there meanwhile
        part.replace(path)


def _night_page(run_date: date, rows: list[Row]) -> str:
    by_table = {table: [row for row in rows if row["table"] == table] for table in GATED_TABLES}
    sections = [_section(table, of_table) for table, of_table in by_table.items() if of_table]
    missing = [table for table, of_table in by_table.items() if not of_table]
    note = f"<p>Not validated yet: {', '.join(missing)}.</p>" if missing else ""
    return page(f"Night {run_date}", f'<p><a href="index.html">All nights</a></p>{note}{"".join(sections)}')


def _section(table: str, rows: list[Row]) -> str:
    meanings = suites.meanings(table)
    rows = sorted(rows, key=lambda row: (_ORDER[row["outcome"]], row["severity"], row["expectation"]))
    lines = "".join(
        f"<tr><td>{_outcome(row)}</td><td>{escape(row['expectation'])}</td>"
        f'<td class="number">{_number(row["observed"])}</td><td class="number">{escape(row["limit"])}</td>'
        f"<td>{row['severity']}</td><td>{escape(meanings.get((row['expectation'], row['severity']), ''))}</td></tr>"
        for row in rows
    )
    seconds = sum(row["seconds"] for row in rows)
    return (
        f'<h2 id="{table}">{table}</h2><p>{escape(suites.suite(table)["meta"]["notes"])} '
        f"{_summary(rows)}, validated in {seconds:.1f} s.</p>"
        "<table><tr><th>Outcome</th><th>Metric</th><th>Observed</th><th>Limit</th><th>Severity</th>"
        f"<th>What it tells</th></tr>{lines}</table>"
    )


def _index(rows: list[Row], older: list[date]) -> str:
    rows = sorted(rows, key=lambda row: row["run_date"], reverse=True)
    lines = []
    for run_date, of_night in groupby(rows, key=lambda row: row["run_date"]):
        kept = list(of_night)
        cells = "".join(
            f'<td><a href="{run_date}.html#{table}">{_summary(of_table)}</a></td>' if of_table else "<td>-</td>"
            for table in GATED_TABLES
            for of_table in [[row for row in kept if row["table"] == table]]
        )
        lines.append(f'<tr><td><a href="{run_date}.html">{run_date}</a></td>{cells}</tr>')
    head = "".join(f"<th>{table}</th>" for table in GATED_TABLES)
    intro = "<p>A critical expectation that fails closes the gate: nothing of that night is served.</p>"
    links = "".join(f'<a href="{day}.html">{day}</a> ' for day in older)
    earlier = f"<h2>Earlier nights</h2><p>{links}</p>" if older else ""
    return page("Nocturne Data Docs", f"{intro}<table><tr><th>Night</th>{head}</tr>{''.join(lines)}</table>{earlier}")


def _summary(rows: list[Row]) -> str:
    failed = [row["severity"] for row in rows if row["outcome"] == "failed"]
    closed, warned = failed.count(suites.CRITICAL), failed.count("warning")
    parts = [
        f'<span class="critical">{closed} critical</span>' if closed else "",
        f'<span class="warning">{warned} warning{"s" * (warned > 1)}</span>' if warned else "",
    ]
    return ", ".join(filter(None, parts)) or '<span class="success">sound</span>'


def _outcome(row: Row) -> str:
    kind = row["severity"] if row["outcome"] == "failed" else row["outcome"]
    return f'<span class="{kind}">{row["outcome"]}</span>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if value % 1 else f"{value:,.0f}"
