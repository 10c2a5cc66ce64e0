"""Stage `watch_night`: the alerts of a night, before anything of it is served."""

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.night import Night, Warehouse
from nocturne.core.stage import Progress, StageResult
from nocturne.flow import COSTS
from nocturne.monitoring.baseline import NIGHTS
from nocturne.monitoring.deviations import deviations
from nocturne.monitoring.judge import Alert, judge
from nocturne.monitoring.metric_history import MetricHistory, rows_of
from nocturne.monitoring.watches import AFTER, watches
from nocturne.serving.night_record import PUBLISHED, STALE
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.running_experiments import rearranged
from nocturne.validation.metrics.accounts import cost_metrics

_MARGIN = 7
"""Days beyond the nights looked back at, so that the night before has as many: it may be days ago."""


def watch_night(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Hold the night's metrics against those of earlier nights; without Spark."""
    earliest = night.run_date - timedelta(days=NIGHTS + _MARGIN)
    rows = metric_rows(night.warehouse, earliest, night.run_date)
    history = MetricHistory.of(rows, sound_nights(night.warehouse))
    alerts = alerts_of(night, history, last_watched(rows, night.run_date))
    listed = pa.Table.from_pylist([alert.to_row() for alert in alerts], schema=contract("alerts").arrow_schema)
    writing.replace_night(listed, "alerts", night)
    critical, new = sum(alert.stands for alert in alerts), sum(not alert.silenced for alert in alerts)
    return StageResult(rows.num_rows, remark=f"{len(alerts)} alerts, {new} new, {critical} critical" if alerts else "")


def alerts_of(night: Night, history: MetricHistory, last_night: date | None) -> list[Alert]:
    """The alerts of a night: of its own tables, and of last night's that are complete only after lists are served."""
    settings, changed = night.settings.monitoring, rearranged(night.warehouse)
    all_watches = watches(settings.limits)
    of_night = [watch for watch in all_watches if watch.table not in AFTER]
    far = deviations(history, of_night, night.run_date, settings, changed)
    if last_night:
        late = [watch for watch in all_watches if watch.table in AFTER]
        far += deviations(history, late, last_night, settings, changed)
    return judge(far, night.run_date, settings, told(night.warehouse, last_night))


def metric_rows(warehouse: Warehouse, first: date, last: date) -> pa.Table:
    """Metrics of some nights: those measured by validation, and what stages cost."""
    days = (pc.field("run_date") >= first) & (pc.field("run_date") <= last)
    measured = tables.rows(warehouse, "night_metrics", days)
    by_night: dict[date, list[dict[str, Any]]] = {}
    for row in tables.rows(warehouse, COSTS, days & (pc.field("run_date") < last)).to_pylist():
        by_night.setdefault(row["run_date"], []).append(row)
    costs = [
        rows_of(day, COSTS, ((m.name, m.segment_kind, m.segment, m.value, m.count) for m in cost_metrics(rows)))
        for day, rows in sorted(by_night.items())
    ]
    return pa.concat_tables([measured, *(rows.cast(measured.schema) for rows in costs)])


def sound_nights(warehouse: Warehouse) -> set[date]:
    """Nights that others may be held against: published, and not withdrawn."""
    rows = tables.rows(warehouse, "nights", pc.field("state").isin([PUBLISHED, STALE]), ["run_date"])
    return set(rows["run_date"].to_pylist())


def last_watched(rows: pa.Table, run_date: date) -> date | None:
    """The last night before this one that was measured, whatever came of it."""
    earlier = pc.filter(rows["run_date"], pc.less(rows["run_date"], pa.scalar(run_date)))
    return pc.max(earlier).as_py() if len(earlier) else None


def told(warehouse: Warehouse, run_date: date | None) -> dict[str, dict[str, Any]]:
    """Alerts of a night by their names; none of no night."""
    rows = tables.rows(warehouse, "alerts", pc.field("run_date") == run_date).to_pylist() if run_date else []
    return {row["alert"]: row for row in rows}
