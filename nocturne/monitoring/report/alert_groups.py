"""Alerts of a night as a page tells them: grouped by their likely root, the worst group first. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nocturne.monitoring.report.names import number, shorten

CRITICAL = "critical"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class AlertGroup:
    """A root with the alerts that it explains.

    Attributes:
        root: told with evidence and next step.
        others: that follow from it.
        severity: the worst of all that nobody has accepted, else warning.
    """

    root: dict[str, Any]
    others: tuple[dict[str, Any], ...]
    severity: str

    @property
    def folded(self) -> bool:
        """True of what was told on an earlier night and closes no gate."""
        return bool(self.root["silenced"]) and self.severity != CRITICAL


def alert_groups(rows: Iterable[Row]) -> list[AlertGroup]:
    """The groups: those with an alert that closes the gate first, then those with something new tonight."""
    by_group: dict[str, list[Row]] = {}
    for row in rows:
        by_group.setdefault(row["group"], []).append(row)
    groups = [_group(name, members) for name, members in by_group.items()]
    return sorted(
        groups,
        key=lambda each: (each.severity != CRITICAL, each.folded, each.root["cause"], each.root["alert"]),
    )


def counted(groups: Iterable[AlertGroup]) -> dict[str, int]:
    """Groups by severity, without those that stood before and were told then."""
    told = [each.severity for each in groups if not each.folded]
    return {severity: told.count(severity) for severity in (CRITICAL, "warning")}


def _group(name: str, members: list[Row]) -> AlertGroup:
    ordered = sorted(members, key=lambda row: (row["alert"] != name, _mild(row), row["cause"], row["alert"]))
    root, *others = (_told(row) for row in ordered)
    worst = CRITICAL if any(not _mild(row) for row in members) else "warning"
    return AlertGroup(root, tuple(others), worst)


def _mild(row: Row) -> bool:
    return row["severity"] != CRITICAL or bool(row["accepted"])


def _told(row: Row) -> dict[str, Any]:
    segment = f"{row['segment_kind']} {row['segment']}" if row["segment"] else ""
    return {
        "alert": row["alert"],
        "cause": row["cause"],
        "severity": row["severity"],
        "accepted": row["accepted"],
        "silenced": row["silenced"],
        "since": row["since"],
        "table": row["table"],
        "metric": row["metric"],
        "segment": shorten(segment),
        "observed": number(row["observed"]),
        "expected": number(row["expected"]),
        "effect": f"{row['effect_size'].replace('_', ' ')} {number(row['effect'])}",
        "threshold": number(row["threshold"]),
        "evidence": row["evidence"],
        "meaning": row["meaning"],
        "next_step": row["next_step"],
    }
