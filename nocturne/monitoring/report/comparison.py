"""The page of two nights beside each other: lists, metrics, expectations, costs, model and settings."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow.compute as pc

from nocturne.core.errors import UsageError
from nocturne.core.night import Night
from nocturne.core.pages import render_page
from nocturne.core.pseudonyms import read_key
from nocturne.monitoring.report import names
from nocturne.monitoring.report.changes import changes
from nocturne.monitoring.report.charts import HEIGHT, WIDTH
from nocturne.monitoring.report.compared_lists import ComparedLists
from nocturne.monitoring.report.page import PACKAGE
from nocturne.monitoring.report.trends import WHOLE
from nocturne.serving import publications
from nocturne.serving.night_record import NightRecord
from nocturne.storage import tables
from nocturne.validation.data_docs import report_name

MOST_METRICS = 40

Row = dict[str, Any]


def file_name(first: date, second: date) -> str:
    """Name of the page in the folder of pages."""
    return f"{first}-to-{second}.html"


def comparison_page(first: Night, second: Night) -> str:
    """One page of HTML that fetches nothing; the same bytes from the same tables.

    Raises:
        UsageError: one of the nights has no lists.
    """
    warehouse = first.warehouse.at_one_time()
    first, second = Night(warehouse, first.run_date), Night(warehouse, second.run_date)
    for night in (first, second):
        if not tables.count(night, "ranked_lists"):
            raise UsageError(
                "a night without lists cannot be compared",
                where=warehouse.path,
                found=str(night.run_date),
                expected="a night that `nocturne nights` has, which came as far as rank_users",
            )
    listeners = names.Listeners(read_key(first.settings.service.log_key_file))
    records = {record.run_date: record for record in publications.all_records(warehouse)}
    return render_page(
        PACKAGE,
        "comparison.html.jinja",
        title=f"Night {second.run_date} beside {first.run_date}",
        nights=(first.run_date, second.run_date),
        pages=tuple(report_name(night.run_date) for night in (first, second)),
        facts=_facts(records.get(first.run_date), records.get(second.run_date)),
        metrics=_metrics(first, second),
        changes=changes(ComparedLists.of(first, second), listeners),
        costs=_costs(first, second),
        keyed=bool(first.settings.service.log_key_file),
        drawing=(WIDTH, HEIGHT),
        percent=names.percent,
    )


def _facts(first: NightRecord | None, second: NightRecord | None) -> list[Row]:
    """Facts of both nights, and whether they are the same."""
    told = [_told(record) for record in (first, second)]
    return [
        {"name": name, "first": told[0][name], "second": told[1][name], "same": told[0][name] == told[1][name]}
        for name in told[0]
        if told[0][name] or told[1][name]
    ]


def _told(record: NightRecord | None) -> dict[str, str]:
    manifest = record.manifest if record else None
    return {
        "state": record.state.replace("_", " ") if record else "not on record",
        "why": (record.reason or "") if record else "",
        "generation": (manifest.generation or "") if manifest else "",
        "listeners": f"{manifest.listeners:,}" if manifest else "",
        "model": (manifest.model_version or "") if manifest else "",
        "code": manifest.code_version if manifest else "",
        "settings": manifest.settings_hash if manifest else "",
    }


def _metrics(first: Night, second: Night) -> list[Row]:
    """Metrics of both nights that differ, those that differ most first, by the ratio of the larger to the smaller."""
    values = [_measured(night) for night in (first, second)]
    rows = []
    for key in sorted(values[0].keys() & values[1].keys()):
        before, now = values[0][key], values[1][key]
        if before != now:
            rows.append((_apart(before, now), key, before, now))
    rows.sort(key=lambda row: (-row[0], row[1]))
    return [
        {
            "table": table,
            "metric": metric,
            "first": names.number(before),
            "second": names.number(now),
            "change": names.change(now, before),
        }
        for _, (table, metric), before, now in rows[:MOST_METRICS]
    ]


def _apart(before: float, now: float) -> float:
    """Difference as a share of the larger: 1 where one of them is 0, up to 2 of different signs."""
    return round(abs(now - before) / max(abs(now), abs(before)), 9)


def _measured(night: Night) -> Mapping[tuple[str, str], float]:
    whole = (pc.field("run_date") == night.run_date) & (pc.field("segment_kind") == WHOLE)
    rows = tables.rows(night.warehouse, "night_metrics", whole, ["table", "metric", "value"]).to_pylist()
    return {(row["table"], row["metric"]): row["value"] for row in rows}


def _costs(first: Night, second: Night) -> list[Row]:
    both = [_seconds(night) for night in (first, second)]
    return [
        {
            "stage": stage,
            "first": names.number(both[0].get(stage)),
            "second": names.number(seconds),
            "change": names.change(seconds, both[0].get(stage)),
        }
        for stage, seconds in both[1].items()
    ]


def _seconds(night: Night) -> dict[str, float]:
    of_night = pc.field("run_date") == night.run_date
    rows = tables.rows(night.warehouse, "costs", of_night, ["stage", "seconds"]).to_pylist()
    return {row["stage"]: row["seconds"] for row in sorted(rows, key=lambda row: -row["seconds"])}
