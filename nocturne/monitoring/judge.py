"""Alerts: deviations with a severity, a likely root along the flow, and what was told already. Pure."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cache
from typing import Any

from nocturne.core.monitoring_section import MonitoringSettings
from nocturne.flow import NIGHTLY, TABLES
from nocturne.monitoring.deviations import Deviation
from nocturne.monitoring.watches import WATCHES

CRITICAL, WARNING = "critical", "warning"


@dataclass(frozen=True)
class Alert:
    """A row of `alerts`."""

    run_date: date
    alert: str
    cause: str
    severity: str
    group: str
    since: date
    silenced: bool
    accepted: bool
    table: str
    metric: str
    segment_kind: str
    segment: str
    observed: float
    expected: float
    effect: float
    effect_size: str
    threshold: float
    evidence: str
    meaning: str
    next_step: str

    def to_row(self) -> dict[str, Any]:
        """Values by column."""
        return asdict(self)

    @property
    def stands(self) -> bool:
        """True if it closes the gate."""
        return self.severity == CRITICAL and not self.accepted


def name_of(cause: str, segment_kind: str, segment: str) -> str:
    """Name of an alert, the same on every night: 8 hex digits."""
    return hashlib.sha256(f"{cause}\n{segment_kind}\n{segment}".encode()).hexdigest()[:8]


def severity(deviation: Deviation, settings: MonitoringSettings) -> str:
    """`critical` of what is beyond the limit of a watch that blocks, on nights enough to say so; else `warning`."""
    block = deviation.watch.block
    closes = (
        block is not None
        and deviation.strength >= block
        and deviation.spreads >= settings.block_spreads
        and deviation.known >= settings.min_nights_to_block
    )
    return CRITICAL if closes else WARNING


def judge(
    deviations: Iterable[Deviation],
    run_date: date,
    settings: MonitoringSettings,
    last_night: Mapping[str, Mapping[str, Any]],
) -> list[Alert]:
    """The alerts of a night, roots before what follows from them.

    Args:
        last_night: rows of `alerts` of the night that was watched before, by their names.
    """
    alone = [_alert(deviation, run_date, settings) for deviation in deviations]
    alerts = [_with_history(alert, last_night.get(alert.alert)) for alert in grouped(alone)]
    return sorted(alerts, key=lambda alert: (alert.group != alert.alert, _place(alert)))


def grouped(alerts: Sequence[Alert]) -> list[Alert]:
    """The alerts, each with its likely root: the first of the flow that can have caused it and is no less severe."""
    roots: list[Alert] = []
    result = []
    for alert in sorted(alerts, key=_place):
        root = next((each for each in roots if _may_cause(each, alert)), None)
        result.append(replace(alert, group=root.alert, silenced=True) if root else alert)
        if root is None:
            roots.append(alert)
    return result


def _may_cause(root: Alert, alert: Alert) -> bool:
    """True if one alert lies before another in the flow, is of the same segment or of all, and is no less severe."""
    same = (root.segment_kind, root.segment) == (alert.segment_kind, alert.segment)
    whole = not root.segment or not alert.segment
    weaker = root.severity == WARNING and alert.severity == CRITICAL
    return (same or whole) and not weaker and (root.table == alert.table or root.table in upstream(alert.table))


@cache
def upstream(table: str) -> frozenset[str]:
    """The tables that a table is made from, however far up the flow."""
    made_from: dict[str, frozenset[str]] = {}
    for stage in NIGHTLY:
        read = frozenset(name for name in stage.reads if name in made_from)
        above = read.union(*(made_from[name] for name in read))
        for name in stage.writes:
            made_from[name] = made_from.get(name, frozenset()) | above | (frozenset(stage.writes) - {name})
    return made_from.get(table, frozenset()) - {table}


_PLACES = {watch.cause: place for place, watch in enumerate(WATCHES)}


def _place(alert: Alert) -> tuple[Any, ...]:
    """Where an alert lies in the flow; of a cause the whole first, then what is furthest from what was expected."""
    table = TABLES.index(alert.table) if alert.table in TABLES else len(TABLES)
    order = _PLACES.get(alert.cause, len(_PLACES))
    return table, alert.severity != CRITICAL, order, bool(alert.segment), -alert.effect, alert.segment


def _with_history(alert: Alert, before: Mapping[str, Any] | None) -> Alert:
    """The alert, silenced if it was told the night before and is no worse now."""
    if before is None:
        return alert
    worse = alert.severity == CRITICAL and before["severity"] == WARNING
    return replace(alert, since=before["since"], silenced=alert.silenced or not worse)


def _alert(deviation: Deviation, run_date: date, settings: MonitoringSettings) -> Alert:
    watch, level = deviation.watch, severity(deviation, settings)
    name = name_of(watch.cause, deviation.segment_kind, deviation.segment)
    limit = watch.block if level == CRITICAL and watch.block is not None else watch.warn
    return Alert(
        run_date=run_date,
        alert=name,
        cause=watch.cause,
        severity=level,
        group=name,
        since=run_date,
        silenced=False,
        accepted=accepts(settings.accepted, name, run_date),
        table=watch.table,
        metric=watch.metric,
        segment_kind=deviation.segment_kind,
        segment=deviation.segment,
        observed=deviation.observed,
        expected=deviation.expected,
        effect=deviation.effect,
        effect_size=watch.effect_size,
        threshold=deviation.threshold(limit),
        evidence=evidence(deviation),
        meaning=watch.meaning,
        next_step=watch.next_step,
    )


def accepts(accepted: Collection[str], alert: str, run_date: date) -> bool:
    """True if people have accepted an alert for a night."""
    return f"{alert}@{run_date}" in accepted


def evidence(deviation: Deviation) -> str:
    """A sentence with the numbers, and the query that shows them night by night."""
    watch, moved = deviation.watch, deviation.moved
    kind, segment = deviation.segment_kind, deviation.segment
    of = f" of {kind} {segment or moved or '(none)'}" if kind != "all" else ""
    rests_on = f" of {deviation.events:,.0f}" if deviation.events is not None and watch.noise != "count" else ""
    wide = "; limits are twice as far, as the night has few like it" if deviation.wide else ""
    where = f"\"table\" = '{watch.table}' AND metric = '{watch.metric}' AND segment_kind = '{kind}'"
    where += f" AND segment = '{_quoted(segment)}'" if segment or not watch.over_segments else ""
    told = (
        f"{watch.metric}{of} on {deviation.day} is {deviation.observed:.4g}{rests_on}, "
        f"expected {deviation.expected:.4g} by {deviation.nights} nights; "
        f"{_spreads(deviation.spreads)} the usual spread{wide}."
    )
    query = f"SELECT run_date, segment, value, count FROM night_metrics WHERE {where} ORDER BY ALL"  # noqa: S608 - to read
    return f"{told} {query}"


def _spreads(spreads: float) -> str:
    return "over 1,000 times" if spreads > 1_000 else f"{spreads:.1f} times"


def _quoted(text: str) -> str:
    return text.replace("'", "''")
