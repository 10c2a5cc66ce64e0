"""Textfile of the newest night in Prometheus' format, for node_exporter's collector: one file, replaced whole.

Labels are names of the flow and of watches alone, so that the number of series does not grow with the data.
"""

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.compute as pc
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from nocturne.core.night import Night
from nocturne.flow import COSTS
from nocturne.monitoring.night_verdict import CLOSED, NightVerdict
from nocturne.monitoring.watches import WATCHES
from nocturne.serving import publications
from nocturne.serving.night_record import PUBLISHED, NightRecord
from nocturne.storage import tables

PREFIX = "nocturne_night"
WATCHED = frozenset((watch.table, watch.metric) for watch in WATCHES if "all" in watch.kinds)
"""Table and metric of what is watched over the whole table."""


def write(night: Night, verdict: NightVerdict) -> bool:
    """Write the night's metrics to the file of the settings; false if there is none, or a later night is on record.

    Raises:
        OSError: the file cannot be written.
    """
    file = night.settings.monitoring.prometheus_textfile
    records = publications.all_records(night.warehouse, pc.field("run_date") >= night.run_date)
    if not file or any(record.run_date > night.run_date for record in records):
        return False
    record = next((each for each in reversed(records) if each.run_date == night.run_date), None)
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(file, registry_of(night, verdict, record))
    return True


def registry_of(night: Night, verdict: NightVerdict, record: NightRecord | None) -> CollectorRegistry:
    """Gauges of a night.

    Args:
        record: its row of `nights`; None before it has one.
    """
    registry = CollectorRegistry()
    state = record.state if record else ""
    _gauge(
        registry, "run_date_seconds", "Beginning of the night's day, UTC, seconds since 1970", _since(night.run_date)
    )
    _gauge(registry, "published", "1 if the night is published, else 0", state == PUBLISHED)
    _gauge(registry, "gate_closed", "1 if a critical expectation of the night failed, else 0", verdict.gate == CLOSED)
    if record:
        _gauge(registry, "listeners", "Listeners with a list of the night", record.manifest.listeners)
    if verdict.served:
        oldest = min(each.run_date for each in verdict.served)
        _gauge(registry, "served_run_date_seconds", "The same of the oldest night that a cache serves", _since(oldest))
    standing = Gauge(
        f"{PREFIX}_alerts_standing", "Alerts that nobody has accepted, by severity", ["severity"], registry=registry
    )
    for severity, count in verdict.standing.items():
        standing.labels(severity).set(count)
    alerts = Gauge(f"{PREFIX}_alerts", "The same by table and watch", ["severity", "table", "watch"], registry=registry)
    for row in verdict.alerts:
        if not row["accepted"]:
            alerts.labels(row["severity"], row["table"], row["cause"]).inc()
    _add_metrics(registry, night)
    _add_costs(registry, night)
    return registry


def _add_metrics(registry: CollectorRegistry, night: Night) -> None:
    gauge = Gauge(
        f"{PREFIX}_metric",
        "Watched metric of a whole table; docs/monitoring-metrics.md",
        ["table", "metric"],
        registry=registry,
    )
    of_night = (pc.field("run_date") == night.run_date) & (pc.field("segment_kind") == "all")
    for row in tables.rows(night.warehouse, "night_metrics", of_night).to_pylist():
        if (row["table"], row["metric"]) in WATCHED:
            gauge.labels(row["table"], row["metric"]).set(row["value"])


def _add_costs(registry: CollectorRegistry, night: Night) -> None:
    told = {
        "seconds": "Seconds that a stage took",
        "rows_read": "Rows that a stage had before it",
        "rows_written": "Rows of the night in the tables of a stage",
        "bytes_written": "Bytes of the data files of these rows",
    }
    rows = tables.rows(night.warehouse, COSTS, pc.field("run_date") == night.run_date).to_pylist()
    for column, meaning in told.items():
        gauge = Gauge(f"{PREFIX}_stage_{column}", meaning, ["stage"], registry=registry)
        for row in rows:
            gauge.labels(row["stage"]).set(row[column])


def _gauge(registry: CollectorRegistry, name: str, meaning: str, value: float) -> None:
    Gauge(f"{PREFIX}_{name}", meaning, registry=registry).set(value)


def _since(day: date) -> float:
    return datetime.combine(day, datetime.min.time(), UTC).timestamp()
