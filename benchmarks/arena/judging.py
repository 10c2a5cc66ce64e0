"""Judgement of measured nights by the project's own watches, each held against the clean nights before it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.course import Measured
from benchmarks.arena.gate import PROOFS
from benchmarks.arena.year import HOLIDAYS, rearranged
from nocturne.core.monitoring_section import MonitoringSettings
from nocturne.core.settings import load_settings
from nocturne.monitoring.baseline import NIGHTS
from nocturne.monitoring.deviations import deviations
from nocturne.monitoring.judge import CRITICAL, Alert, judge
from nocturne.monitoring.metric_history import MetricHistory
from nocturne.monitoring.watches import AFTER, watches


@dataclass(frozen=True)
class Verdict:
    """The verdict of gate and watches on a night.

    Attributes:
        alerts: of the watches; of a fork without those that the clean night has as well.
        nights: until the first alert: 1 where only what is complete the night after tells; None where nothing does.
    """

    night: Measured
    alerts: tuple[Alert, ...]
    nights: int | None

    @property
    def by_proof(self) -> bool:
        """True if a proof of the standing gate fails, which makes tables again from what they were made of."""
        return any(name.partition(".")[2] in PROOFS for name in self.night.closed_by)

    @property
    def by_limit(self) -> bool:
        """True if another critical expectation of the standing gate fails."""
        return any(name.partition(".")[2] not in PROOFS for name in self.night.closed_by)

    @property
    def by_watch(self) -> bool:
        """True if a watch closes the gate."""
        return any(alert.severity == CRITICAL for alert in self.alerts)

    @property
    def blocked(self) -> bool:
        """True if nothing of the night is served."""
        return self.by_proof or self.by_limit or self.by_watch

    @property
    def alerted(self) -> bool:
        """True if anybody is told."""
        return self.blocked or bool(self.alerts)


def monitoring_settings() -> MonitoringSettings:
    """The project's defaults, with the holidays of the arena's year."""
    return load_settings().monitoring.model_copy(update={"holidays": tuple(sorted(HOLIDAYS))})


def judge_all(nights: Sequence[Measured], progress: Callable[[int, int, str], None] = lambda *_: None) -> list[Verdict]:
    """The verdict on every measured night, in their order."""
    settings = monitoring_settings()
    clean = {night.number: night for night in nights if night.fork is None}
    changed = rearranged(min(clean), max(clean))
    whole = _history(clean.values())
    seen: dict[int, set[tuple[str, str, str]]] = {}
    verdicts = []
    for done, night in enumerate(nights):
        progress(done, len(nights), "judged")
        if night.fork is None:
            alerts = _alerts(whole, night, settings, changed, None)
            seen[night.number] = {_key(alert) for alert in alerts}
        else:
            tables = differing(night.metrics, clean[night.number].metrics)
            alerts = _alerts(_instead(whole, night, tables), night, settings, changed, tables)
            alerts = [alert for alert in alerts if _key(alert) not in seen[night.number]]
        verdicts.append(Verdict(night, tuple(alerts), _nights_until(night, alerts)))
    return verdicts


def _key(alert: Alert) -> tuple[str, str, str]:
    """An alert with its severity: one that closes the gate is more than one that warns."""
    return alert.alert, alert.severity, alert.cause


def _nights_until(night: Measured, alerts: Iterable[Alert]) -> int | None:
    if night.closed_by or any(alert.table not in AFTER for alert in alerts):
        return 0
    return 1 if any(True for _ in alerts) else None


def _history(nights: Iterable[Measured]) -> MetricHistory:
    rows = pa.concat_tables(night.metrics for night in nights).combine_chunks()
    days: set[date] = set(rows["run_date"].unique().to_pylist())
    return MetricHistory.of(rows, days)


def differing(metrics: pa.Table, clean: pa.Table) -> set[str]:
    """Tables whose metrics are not those of the night without the fault: no others can tell of it."""
    names: set[str] = {*metrics["table"].unique().to_pylist(), *clean["table"].unique().to_pylist()}
    own = ((each.filter(pc.equal(each["table"], name)) for each in (metrics, clean)) for name in names)
    return {name for name, (one, other) in zip(names, own, strict=True) if not one.equals(other)}


def _instead(history: MetricHistory, night: Measured, tables: Collection[str]) -> MetricHistory:
    """Metrics of some tables on the nights up to one, with a fork in that one's place."""
    fork = _history([night])
    last = (fork.first - history.first).days
    first = max(0, last - NIGHTS)
    segments, values, counts = {}, {}, {}
    for measure in sorted(history.segments.keys() | fork.segments.keys()):
        if measure[0] not in {*tables, "models"}:  # the age of the model says which nights are alike
            continue
        before, tonight = (each.segments.get(measure, []) for each in (history, fork))
        names = [*before, *(name for name in tonight if name not in before)]
        rows = [names.index(name) for name in tonight]
        segments[measure] = names
        for joined, old, new in ((values, history.values, fork.values), (counts, history.counts, fork.counts)):
            joined[measure] = np.full((len(names), last - first + 1), np.nan)
            if before:
                joined[measure][: len(before), :-1] = old[measure][:, first:last]
            if tonight:
                joined[measure][rows, -1] = new[measure][:, 0]
    sound = np.append(history.sound[first:last], True)
    return MetricHistory(history.first + timedelta(days=first), sound, segments, values, counts)


def _alerts(
    history: MetricHistory,
    night: Measured,
    settings: MonitoringSettings,
    changed: Collection[date],
    tables: Collection[str] | None,
) -> list[Alert]:
    """Alerts of some of the night's tables, those that are complete the night after among them; None: of all."""
    day = night.metrics["run_date"][0].as_py()
    some = [watch for watch in watches(settings.limits) if tables is None or watch.table in tables]
    far = deviations(history, some, day, settings, changed)
    return judge(far, day, settings, NOTHING_TOLD)


NOTHING_TOLD: Mapping[str, Mapping[str, object]] = {}
"""Alerts of the night before: the history of alerts does not matter here."""


def share(flags: Sequence[bool]) -> float:
    """Share of what is true; 1 of nothing."""
    return float(np.mean(flags)) if flags else 1.0
