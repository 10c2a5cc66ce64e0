"""The page of a night: published or not and why, what is served, what changed, and what to do."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.core.pages import render_page
from nocturne.core.pseudonyms import read_key
from nocturne.flow import GATED_TABLES
from nocturne.monitoring.report import names, trends
from nocturne.monitoring.report.alert_groups import alert_groups, counted
from nocturne.monitoring.report.changes import Changes, changes, market_groups
from nocturne.monitoring.report.charts import HEIGHT, WIDTH
from nocturne.monitoring.report.compared_lists import ComparedLists
from nocturne.monitoring.report.failures import failures
from nocturne.serving import publications
from nocturne.serving.night_record import NightRecord
from nocturne.storage import tables
from nocturne.storage.history import previous_night
from nocturne.storage.model_transitions import ModelRecord, live_on

Row = dict[str, Any]

SOUND = ("served", "published")
"""States of a night that need nobody."""

RECENT_DECISIONS = 5
PACKAGE = "nocturne.monitoring.report"


def night_page(night: Night, status: Mapping[str, Any], experiments: Sequence[Mapping[str, Any]]) -> str:
    """One page of HTML that fetches nothing and runs nothing; the same bytes from the same tables.

    Args:
        status: of the warehouse: its nights with their states, what is served, what is to be done.
        experiments: overview of the experiments on the night.
    """
    night = night.at_one_time()
    listeners = names.Listeners(read_key(night.settings.service.log_key_file))
    records = publications.all_records(night.warehouse)
    groups = alert_groups(_rows(night, "alerts"))
    before = previous_night(night, "ranked_lists")
    compared = ComparedLists.of(before, night) if before and tables.count(night, "ranked_lists") else None
    changed = changes(compared, listeners) if compared else None
    costs = trends.cost_rows(night)
    return render_page(
        PACKAGE,
        "night.html.jinja",
        title=f"Night {night.run_date}, {night.run_date:%A}",
        run_date=night.run_date,
        before=before.run_date if before else None,
        state=(state := _state(night.run_date, status)),
        sound=state["state"] in SOUND,
        serving=[_served(cache, records) for cache in status["serving"]],
        failures=failures(night, listeners),
        alerts=groups,
        changes=changed,
        market_lines=trends.market_lines(night, records, _panels(compared)),
        lines=trends.metric_lines(night),
        costs=costs,
        seconds=sum(row["seconds"] for row in costs),
        experiments=experiments,
        model=_model(night),
        decisions=_decisions(tables.models(night.warehouse), night.run_date),
        tiles=_tiles(_record(records, night.run_date), changed, counted(groups)),
        not_validated=_not_validated(night),
        keyed=bool(night.settings.service.log_key_file),
        drawing=(WIDTH, HEIGHT),
        number=names.number,
        percent=names.percent,
    )


def _rows(night: Night, table: str) -> list[Row]:
    rows: list[Row] = tables.rows(night.warehouse, table, pc.field("run_date") == night.run_date).to_pylist()
    return rows


def _state(run_date: date, status: Mapping[str, Any]) -> Row:
    """The night as the status has it."""
    for night in status["nights"]:
        if night["run_date"] == run_date:
            return dict(night)
    to_do = "if its landing day is complete, run the night; if not, ask the producer"
    return {"run_date": run_date, "state": "not begun", "explanation": "no stage has run", "to_do": to_do}


def _served(cache: Mapping[str, Any], records: Sequence[NightRecord]) -> Row:
    """A cache, with what the lists that it serves come to."""
    record = publications.among(records, cache["generation"]) if cache["generation"] else None
    return {**cache, "coverage": trends.coverage_rows(record) if record else []}


def _record(records: Sequence[NightRecord], run_date: date) -> NightRecord | None:
    return next((record for record in reversed(records) if record.run_date == run_date), None)


def _panels(compared: ComparedLists | None) -> list[str]:
    """Markets that have a panel of their own."""
    if compared is None:
        return []
    return [market for market, group in market_groups(compared).items() if market == group]


def _tiles(record: NightRecord | None, changed: Changes | None, alerts: Mapping[str, int]) -> list[Row]:
    """The figures that are read first, each with the section that has more."""
    tiles = [_tile("alerts", str(sum(alerts.values())), f"{alerts['critical']} critical", "alerts")]
    if record:
        tiles.append(_tile("listeners", f"{record.manifest.listeners:,}", "with a list", "served"))
    if changed:
        told = f"{names.percent(changed.unmoved)} of lists as before"
        tiles.append(_tile("new in lists", names.percent(changed.new_places), told, "changes"))
        tiles.append(_tile("new listeners", f"{changed.new:,}", f"{changed.gone:,} gone", "changes"))
    return tiles


def _tile(label: str, value: str, note: str, section: str) -> Row:
    return {"label": label, "value": value, "note": note, "section": section}


def _model(night: Night) -> Row | None:
    """The model of the night."""
    live = live_on(tables.models(night.warehouse), night.run_date)
    if live is None:
        return None
    return {
        "version": live.version,
        "run_date": live.run_date,
        "age": (night.run_date - live.run_date).days,
        "origin": live.origin.replace("_", " "),
        "listeners": f"{live.listeners:,}",
        "items": f"{live.items:,}",
        "entries": f"{live.entries:,}",
        "loss": names.number(live.losses[-1] if live.losses else None),
    }


def _decisions(models: Sequence[ModelRecord], run_date: date) -> list[Row]:
    """The last decisions on models that held by the night, newest first."""
    moves = [(move.sequence, model.version, move) for model in models for move in model.transitions]
    return [
        {"version": version, "state": move.state, "since": move.since, "by": move.actor, "why": move.reason}
        for _, version, move in sorted(moves, key=lambda each: each[:2], reverse=True)
        if move.since <= run_date
    ][:RECENT_DECISIONS]


def _not_validated(night: Night) -> list[str]:
    validated = {row["table"] for row in _rows(night, "validations")}
    return [table for table in GATED_TABLES if table not in validated]
