"""Verdict on a night, as it is told outside: its gate, its alerts, what is served, the next step. Holds no listener."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from nocturne.core.night import Night
from nocturne.monitoring.judge import CRITICAL
from nocturne.monitoring.watch_night import told
from nocturne.monitoring.webhook import with_id
from nocturne.serving import publications
from nocturne.validation.validate_table import critical_failures

OPEN, CLOSED = "open", "closed"
MOST_ALERTS = 50
"""Alerts of one message, the roots and what closes the gate first."""

_COLUMNS = (
    *("alert", "cause", "severity", "group", "since", "silenced", "accepted", "table", "metric", "segment_kind"),
    *("segment", "observed", "expected", "effect", "effect_size", "threshold", "evidence", "meaning", "next_step"),
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Served:
    """Generation that one cache serves.

    Attributes:
        held: why it is held; "" if it is not.
    """

    run_date: date
    generation: str
    held: str


@dataclass(frozen=True)
class NightVerdict:
    """A night as it stands once its gate is known.

    Attributes:
        gate: open or closed.
        reasons: a sentence for every critical expectation that failed.
        alerts: rows of `alerts`, those that close the gate first, then roots.
        served: a cache each, as `nights` has it on record.
    """

    warehouse: str
    run_date: date
    gate: str
    reasons: tuple[str, ...]
    alerts: tuple[Row, ...]
    served: tuple[Served, ...]

    @classmethod
    def of(cls, night: Night, *, closed: bool, watched: bool = True) -> "NightVerdict":
        """The verdict on a night, read from its tables.

        Args:
            closed: whether its gate is; what failed in tables that an earlier attempt left says nothing.
            watched: whether `watch_night` has looked at it; alerts of an earlier attempt are none of its own.
        """
        reasons = critical_failures(night) if closed else []
        alerts = list(told(night.warehouse, night.run_date).values()) if watched else []
        pointers = publications.recorded_pointers(publications.all_records(night.warehouse))
        return cls(
            night.warehouse.path,
            night.run_date,
            CLOSED if closed else OPEN,
            tuple(reasons),
            tuple(sorted(alerts, key=_rank)),
            tuple(
                Served(pointer.served.run_date, pointer.served.name, pointer.frozen_reason or "")
                for _, pointer in sorted(pointers.items())
            ),
        )

    @property
    def standing(self) -> dict[str, int]:
        """Alerts by severity that nobody has accepted."""
        severities = [row["severity"] for row in self.alerts if not row["accepted"]]
        return {severity: severities.count(severity) for severity in ("critical", "warning")}

    @property
    def next_step(self) -> str:
        """The first thing to do; "" if nothing is."""
        first = next((row for row in self.alerts if not row["accepted"]), None)
        by_alerts = all(reason.startswith("alerts: ") for reason in self.reasons)
        if first and by_alerts and (self.gate == OPEN or _closes(first)):
            return str(first["next_step"])
        if self.gate == CLOSED:
            shown = f"`nocturne validations --warehouse {self.warehouse} --run-date {self.run_date}`"
            return f"{shown} says what failed: mend it and run the night again"
        return ""

    @property
    def sentence(self) -> str:
        """All of it in a line, as a chat shows it."""
        counts = ", ".join(f"{count} {severity}" for severity, count in self.standing.items() if count)
        nights = sorted({str(each.run_date) for each in self.served})
        parts = [
            f"Night {self.run_date}: gate {self.gate}",
            f"{counts} ({', '.join(_causes(self.alerts))})" if counts else "",
            "; ".join(self.reasons[:3]),
            f"served: night {', '.join(nights)}" if nights else "nothing is served yet",
            f"next: {self.next_step}" if self.next_step else "",
        ]
        return ". ".join(part.rstrip(".") for part in parts if part)

    def document(self) -> Row:
        """As JSON: the same content has the same id."""
        content = {
            "kind": "nocturne.verdict",
            "warehouse": self.warehouse,
            "run_date": self.run_date.isoformat(),
            "gate": self.gate,
            "reasons": list(self.reasons),
            "standing": self.standing,
            "alerts": [{name: _plain(row[name]) for name in _COLUMNS} for row in self.alerts[:MOST_ALERTS]],
            "alerts_left_out": max(0, len(self.alerts) - MOST_ALERTS),
            "served": [asdict(each) | {"run_date": each.run_date.isoformat()} for each in self.served],
            "next_step": self.next_step,
            "text": self.sentence,
        }
        return with_id(content)


def _closes(row: Row) -> bool:
    return row["severity"] == CRITICAL and not row["accepted"]


def _rank(row: Row) -> tuple[Any, ...]:
    return not _closes(row), row["group"] != row["alert"], row["silenced"], row["cause"], row["segment"]


def _causes(alerts: Sequence[Row], most: int = 3) -> list[str]:
    causes = list(dict.fromkeys(row["cause"] for row in alerts if not row["accepted"]))
    return causes[:most] + (["…"] if len(causes) > most else [])


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
