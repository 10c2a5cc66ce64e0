"""Scores of verdicts: what of that which hurts is caught, and what sound nights cost."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.arena.judging import Verdict, share

Row = dict[str, Any]


def row_of(verdict: Verdict) -> Row:
    """A fork, for people and for programs."""
    night, fork = verdict.night, verdict.night.fork
    assert fork is not None
    assert night.truth is not None
    truth = night.truth
    return {
        "group": fork.kind.group,
        "kind": fork.kind.name,
        "magnitude": fork.magnitude,
        "held_out": fork.kind.held_out,
        "night": fork.number,
        "lost": round(truth.lost, 4),
        "losing": round(truth.losing, 4),
        "gaining": round(truth.gaining, 4),
        "broken": truth.broken,
        "hurts": truth.hurts,
        "hurts_anyone": truth.hurts_anyone,
        "by_proof": verdict.by_proof,
        "by_limit": verdict.by_limit,
        "by_watch": verdict.by_watch,
        "blocked": verdict.blocked,
        "alerted": verdict.alerted,
        "warned": bool(verdict.alerts),
        "nights": verdict.nights,
        "causes": causes(verdict),
    }


def causes(verdict: Verdict) -> list[str]:
    """Causes that tell: the gate's expectations, then watches, those that close the gate and are furthest first."""
    alerts = sorted(verdict.alerts, key=lambda alert: (alert.severity, -alert.effect / alert.threshold))
    return [*verdict.night.closed_by, *dict.fromkeys(alert.cause for alert in alerts)][:4]


def summaries(verdicts: Sequence[Verdict]) -> list[Row]:
    """Recall and precision over all kinds, over those that are held out, and over the others."""
    forks = [row_of(verdict) for verdict in verdicts if verdict.night.fork is not None]
    rows = []
    for name, some in (
        ("all", forks),
        ("tuned for", [row for row in forks if not row["held_out"]]),
        ("held out", [row for row in forks if row["held_out"]]),
    ):
        rows.append(_summary(name, some))
    return rows


def _summary(name: str, forks: Sequence[Row]) -> Row:
    hurting = [row for row in forks if row["hurts"]]
    anyone = [row for row in forks if row["hurts_anyone"]]
    blocked = [row for row in forks if row["blocked"]]
    by_watch = [row for row in hurting if row["by_watch"]]
    times = [row["nights"] for row in hurting if row["nights"] is not None]
    return {
        "kinds": name,
        "forks": len(forks),
        "hurting": len(hurting),
        "blocked": share([row["blocked"] for row in hurting]),
        "alerted": share([row["alerted"] for row in hurting]),
        "blocked_without_proofs": share([row["by_watch"] or row["by_limit"] for row in hurting]),
        "alerted_without_proofs": share([row["warned"] or row["by_limit"] for row in hurting]),
        "blocked_by_watches": len(by_watch) / max(1, len(hurting)),
        "precision": share([row["hurts"] for row in blocked]),
        "nights_to_the_alert": sum(times) / max(1, len(times)),
        "hurting_anyone": len(anyone),
        "blocked_of_these": share([row["blocked"] for row in anyone]),
        "alerted_of_these": share([row["alerted"] for row in anyone]),
    }


def clean_summary(verdicts: Iterable[Verdict]) -> Row:
    """False alarms of the nights without a fault."""
    clean = [verdict for verdict in verdicts if verdict.night.fork is None]
    blocks = [verdict for verdict in clean if verdict.blocked]
    warned = [verdict for verdict in clean if verdict.alerts and not verdict.blocked]
    return {
        "clean_nights": len(clean),
        "false_blocks": len(blocks),
        "nights_with_warnings": len(warned),
        "warnings": sum(len(verdict.alerts) for verdict in clean),
        "blocked_by": [
            f"{verdict.night.metrics['run_date'][0].as_py()} {', '.join(causes(verdict))}" for verdict in blocks
        ],
        "warned_by": _most([alert.cause for verdict in clean for alert in verdict.alerts]),
    }


def _most(causes_: Sequence[str]) -> dict[str, int]:
    counts = {cause: causes_.count(cause) for cause in set(causes_)}
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:12])
