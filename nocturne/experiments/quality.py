"""Quality of an experiment: are the arms' listeners still in the ratio that they were assigned in, and alike before?

Each check compares two arms by a z statistic that is judged at every look with bounds of its own, so that the rate of
false alarms over all looks and checks is the stated one. A check is conditional on the step before it, which is how the
culprit is named: assignment, pipeline (a list, or a trigger) or client (an exposure).

Source: Fabijan et al. (2019), "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", for the steps;
bounds from `sequential`. A share F that grows over looks has information n·F/(1 - F): it is a Brownian bridge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm
from tea_tasting.aggr import Aggregates

from nocturne.experiments.columns import BEFORE, Columns
from nocturne.experiments.estimates import estimate
from nocturne.experiments.sequential import Spending, efficacy_bounds, p_values

Step = Literal["assignment", "list", "trigger", "exposure", "before"]
Culprit = Literal["assignment", "pipeline", "client"]

CULPRITS: dict[Step, Culprit] = {
    "assignment": "assignment",
    "list": "pipeline",
    "trigger": "pipeline",
    "exposure": "client",
    "before": "assignment",
}
"""Part of the system that each check speaks about; the first in this order that fails is to blame."""

ALPHA = 0.01
"""Rate at which a sound experiment is called invalid, over all looks and checks of one treatment."""

SPENDING: Spending = "pocock"


@dataclass(frozen=True)
class Counts:
    """Listeners of one arm who came so far, each counted once.

    Attributes:
        assigned: to the arm, by the assignment's rule.
        listed: of those, with the list of their arm on the night before the look.
        triggered: of those assigned, whose lists differed by arm on some night; None if every one counts.
        exposed: of those listed, to whom a list was shown.
    """

    assigned: int
    listed: int
    triggered: int | None
    exposed: int


@dataclass(frozen=True)
class Side:
    """One arm at one look: its counts, and the aggregates of its listeners for columns from before the start."""

    counts: Counts
    listeners: Aggregates


@dataclass(frozen=True)
class Check:
    """One check at one look.

    Attributes:
        step: that it speaks about.
        column: from before the start, of step `before`; empty otherwise.
        control, treatment: what is compared: listeners at `assignment`, the share without a list at `list`, the share
            triggered or exposed, or the means.
        z: standardised difference, treatment - control.
        bound: that |z| has to stay below, at this look.
        p_value: sequential, two-sided, of this check alone.
        alpha: of this check, over all looks.
        failed: at this look or before.
    """

    step: Step
    column: str
    control: float
    treatment: float
    z: float
    bound: float
    p_value: float
    alpha: float
    failed: bool


def check_quality(
    control: Sequence[Side],
    treatment: Sequence[Side],
    ratio: float,
    time: Sequence[float],
    columns: Sequence[str],
    alpha: float = ALPHA,
) -> list[list[Check]]:
    """Every check at every look, looks outside.

    Args:
        control: of each look so far, counts and aggregates since the start.
        treatment: likewise.
        ratio: weight of the treatment over that of control.
        time: of each look, in (0, 1].
        columns: names of columns from before the start; those that an arm lacks are left out.
        alpha: rate of false alarms; evenly divided among the five steps, that of `before` among its columns.
    """
    share = ratio / (1 + ratio)
    prior = [
        name
        for name in columns
        if name.startswith(BEFORE) and all(name in side.listeners.mean_ for side in (*control, *treatment))
    ]
    courses: list[tuple[Step, str, list[_Point]]] = [
        (
            step,
            "",
            [_point_of(step, one.counts, other.counts, share) for one, other in zip(control, treatment, strict=True)],
        )
        for step in CULPRITS
        if step != "before"
    ]
    courses += [
        ("before", name, [_before(one, other, name) for one, other in zip(control, treatment, strict=True)])
        for name in prior
    ]
    rows = []
    for step, name, points in courses:
        level = alpha / len(CULPRITS) / (len(prior) if step == "before" else 1)
        rows.append(_judge(step, name, points, time, level))
    return [list(look) for look in zip(*rows, strict=True)]


def culprit_of(checks: Sequence[Check]) -> Culprit | None:
    """The part of the system that the first failed check speaks about; None if none failed."""
    failed = {check.step for check in checks if check.failed}
    return next((culprit for step, culprit in CULPRITS.items() if step in failed), None)


@dataclass(frozen=True)
class _Point:
    control: float
    treatment: float
    z: float
    information: float


def _judge(step: Step, column: str, points: Sequence[_Point], time: Sequence[float], alpha: float) -> list[Check]:
    z = np.array([point.z for point in points])
    information = [point.information for point in points]
    bounds = efficacy_bounds(information, alpha / 2, SPENDING, time)
    p = np.minimum(2 * p_values(np.abs(z), information, SPENDING, time), 1.0)
    failed = np.logical_or.accumulate(np.abs(z) >= bounds)
    return [
        Check(
            step, column, point.control, point.treatment, point.z, float(bounds[look]), float(p[look]), alpha,
            bool(failed[look]),
        )
        for look, point in enumerate(points)
    ]  # fmt: skip


def _point_of(step: Step, control: Counts, treatment: Counts, share: float) -> _Point:
    if step == "assignment":
        return _assignment(control.assigned, treatment.assigned, share)
    if step == "list":
        lost = control.assigned - control.listed, treatment.assigned - treatment.listed
        return _shares(lost[0], control.assigned, lost[1], treatment.assigned)
    if step == "trigger":
        if control.triggered is None or treatment.triggered is None:
            return _Point(np.nan, np.nan, 0.0, 0.0)
        return _shares(control.triggered, control.assigned, treatment.triggered, treatment.assigned)
    return _shares(control.exposed, control.listed, treatment.exposed, treatment.listed)


def _assignment(control: int, treatment: int, share: float) -> _Point:
    count = control + treatment
    z = (treatment - count * share) / np.sqrt(max(count, 1) * share * (1 - share))
    return _Point(control, treatment, float(z), float(count))


def _shares(control: int, of_control: int, treatment: int, of_treatment: int) -> _Point:
    """Two shares; information that of a share which grows over looks."""
    if not of_control or not of_treatment:
        return _Point(np.nan, np.nan, 0.0, 0.0)
    one, other = control / of_control, treatment / of_treatment
    pooled = (control + treatment) / (of_control + of_treatment)
    size = 1 / (1 / of_control + 1 / of_treatment)
    if not 0 < pooled < 1:
        return _Point(one, other, 0.0, 0.0)
    z = (other - one) / np.sqrt(pooled * (1 - pooled) / size)
    return _Point(one, other, float(z), size * pooled / (1 - pooled))


def _before(control: Side, treatment: Side, column: str) -> _Point:
    found = estimate(control.listeners, treatment.listeners, Columns(column), cuped=False)
    z, variance = float(found.z()), float(found.variance)
    if not np.isfinite(z):
        return _Point(float(found.control), float(found.treatment), 0.0, 0.0)
    return _Point(float(found.control), float(found.treatment), z, 1 / variance)


def fixed_p_value(control: int, treatment: int, ratio: float) -> float:
    """Two-sided p-value of a sample ratio, as if it were looked at once."""
    return float(2 * norm.sf(abs(_assignment(control, treatment, ratio / (1 + ratio)).z)))
