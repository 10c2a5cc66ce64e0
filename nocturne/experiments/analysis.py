"""The analysis of an experiment: from every look so far to rows of results, checks of quality and decisions.

A look is made of counts, means, variances and covariances alone; `columns` says of which columns. Spent error follows
the days of the looks, so nothing but the definition of the experiment has to be fixed beforehand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from tea_tasting.aggr import Aggregates

from nocturne.core.errors import UsageError
from nocturne.core.experiment import CONTROL, INTERLEAVED, Experiment, Metric
from nocturne.experiments import sequential
from nocturne.experiments.columns import TEAM, columns_of, columns_of_metric
from nocturne.experiments.courses import Course, follow, sign_of, tolerance_of
from nocturne.experiments.decision import Decision, Risks, Role, Standing, decide, risks_of
from nocturne.experiments.estimates import Estimate, estimate, paired
from nocturne.experiments.quality import Check, Counts, Side, check_quality
from nocturne.experiments.triggered import dilute

EVERYONE = ""
"""Segment of all listeners."""

EXPLORATORY = 1.96
"""Bound of the intervals of segments: 95 %, of one look, and of no part in a decision."""


@dataclass(frozen=True)
class Arm:
    """One arm at one look, cumulated since the first day.

    Attributes:
        assigned: listeners.
        listed: of those, with the list of their arm on the night before the look.
        exposed: of those listed, to whom a list was shown.
        listeners: aggregates of all that are assigned.
        segments: aggregates of some of them, by a name such as `market:SE`.
    """

    assigned: int
    listed: int
    exposed: int
    listeners: Aggregates
    segments: Mapping[str, Aggregates] = field(default_factory=dict)


@dataclass(frozen=True)
class Triggered:
    """Listeners for whom a treatment's list differed from control's on some night so far, of either arm.

    Attributes:
        control: aggregates of those assigned to control, over the same days as those of all.
        treatment: of those assigned to the treatment.
    """

    control: Aggregates
    treatment: Aggregates


@dataclass(frozen=True)
class Look:
    """All that is known of an experiment after one of its days.

    Attributes:
        day: from 1.
        arms: by name, control among them.
        triggered: by treatment; a treatment that is not here is analysed with all listeners.
    """

    day: int
    arms: Mapping[str, Arm]
    triggered: Mapping[str, Triggered] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A metric of a treatment at a look.

    Attributes:
        day, treatment, metric, role: of which.
        segment: empty for all listeners; a segment is exploratory, and its interval that of one look.
        control_listeners, treatment_listeners: that are analysed, the triggered ones if triggers are known.
        share: of all listeners that is analysed.
        control: the metric in control, of all listeners.
        effect: treatment - control, of all listeners, in units of the metric.
        standard_error: of the effect.
        relative: effect as a share of control.
        low, high: repeated confidence interval of the relative effect. It excludes what the tests below reject.
        z: of superiority, of a guardrail of non-inferiority.
        bound: that z has to reach; infinite where a look tells nothing new, and for a deterioration metric.
        futility: bound below which it is out of reach; -inf if none.
        harm_z, harm_bound: of inferiority.
        alpha: spent so far, on z; of a deterioration metric on harm_z.
        p_value: sequential, one-sided, of the same.
        adjusted, adjusted_low, adjusted_high: relative effect corrected for stopping, median unbiased, and its 95 %
            interval, from the look that proved what was to be proved, or else the last; nan but at the last look.
        reduction: share of the variance that the days before took off.
        proved, harmed: z, harm_z reached their bound at this look or before.
        futile: z is not above its bound of futility, and nothing was proved.
    """

    day: int
    treatment: str
    metric: str
    role: Role
    segment: str
    control_listeners: int
    treatment_listeners: int
    share: float
    control: float
    effect: float
    standard_error: float
    relative: float
    low: float
    high: float
    z: float
    bound: float
    futility: float
    harm_z: float
    harm_bound: float
    alpha: float
    p_value: float
    adjusted: float
    adjusted_low: float
    adjusted_high: float
    reduction: float
    proved: bool
    harmed: bool
    futile: bool


@dataclass(frozen=True)
class CheckResult:
    """A check of a treatment against control, at a look."""

    day: int
    treatment: str
    check: Check


@dataclass(frozen=True)
class Analysis:
    """All looks of an experiment.

    Attributes:
        results: of every look, treatment and metric; of the last look, of every segment too.
        checks: of every look and treatment.
        decisions: of every look and treatment, in the order of the looks.
    """

    results: tuple[Result, ...]
    checks: tuple[CheckResult, ...]
    decisions: tuple[Decision, ...]

    @property
    def current(self) -> dict[str, Decision]:
        """The decision after the last look, by treatment."""
        return {decision.treatment: decision for decision in self.decisions}


def analyse(experiment: Experiment, looks: Sequence[Look]) -> Analysis:
    """All results, checks and decisions after the looks so far.

    Raises:
        UsageError: there is no look, or their days are no ascending days of the experiment, or an arm is missing.
    """
    _check_looks(experiment, looks)
    risks = risks_of(experiment)
    time = [look.day / experiment.nights for look in looks]
    results: list[Result] = []
    checks: list[CheckResult] = []
    decisions: list[Decision] = []
    for treatment in experiment.treatments:
        of_metrics = [_results(experiment, risks, treatment, name, looks, time) for name in experiment.metrics]
        quality = _quality(experiment, treatment, looks, time)
        for place, look in enumerate(looks):
            rows = [of_metric[place] for of_metric in of_metrics]
            standings = [_standing(row, experiment.metrics[row.metric]) for row in rows]
            results += rows
            checks += [CheckResult(look.day, treatment, check) for check in quality[place]]
            decisions.append(decide(experiment, treatment, look.day, standings, quality[place]))
        results += _segments(experiment, treatment, looks[-1])
    return Analysis(tuple(results), tuple(checks), tuple(decisions))


def estimate_looks(looks: Sequence[Look], treatment: str, metric: Metric) -> list[Estimate]:
    """The effect of a treatment on all listeners at each look, from the triggered ones where they are known.

    Who is triggered since the look before has no part in the earlier estimate: the correlation is that much lower.
    """
    found = [_estimate_look(look, treatment, metric) for look in looks]
    counts = [sum(_listeners(look, treatment)[:2]) if treatment in look.triggered else 1 for look in looks]
    overlaps = [1.0, *(min(before / max(now, 1), 1.0) for before, now in pairwise(counts))]
    return [
        replace(each, correlation=each.correlation * np.sqrt(overlap))
        for each, overlap in zip(found, overlaps, strict=True)
    ]


def _estimate_look(look: Look, treatment: str, metric: Metric) -> Estimate:
    if INTERLEAVED in look.arms:
        return paired(_drafted(look, treatment), TEAM + CONTROL, TEAM + treatment)
    control, other = look.arms[CONTROL].listeners, look.arms[treatment].listeners
    columns = columns_of_metric(metric)
    if triggered := look.triggered.get(treatment):
        return dilute(control, other, triggered.control, triggered.treatment, columns)
    return estimate(control, other, columns)


def _drafted(look: Look, treatment: str) -> Aggregates:
    """Aggregates of those whose drafted lists ever differed from control's: nobody else has a say."""
    touched = look.triggered.get(treatment)
    return touched.treatment if touched else look.arms[INTERLEAVED].listeners


def _results(
    experiment: Experiment, risks: Risks, treatment: str, name: str, looks: Sequence[Look], time: Sequence[float]
) -> list[Result]:
    """A metric's row of each look."""
    metric = experiment.metrics[name]
    estimates = estimate_looks(looks, treatment, metric)
    course = follow(experiment, metric, risks, estimates, time)
    alpha = risks.gain(metric.role)
    tested = course.harm_z if alpha is None else course.z
    spent = sequential.spent(time, alpha or risks.harm, experiment.spending)
    p_values = sequential.p_values(tested, course.progress, experiment.spending, time)
    last = len(looks) - 1
    rows = []
    for place, (look, found) in enumerate(zip(looks, estimates, strict=True)):
        adjusted = _adjusted(metric, course) if place == last else (np.nan, np.nan, np.nan)
        low, high = _interval(metric, found, course, place)
        rows.append(
            Result(
                look.day, treatment, name, metric.role, EVERYONE, *_listeners(look, treatment),
                float(found.control), float(found.effect), float(np.sqrt(found.variance)), float(found.relative),
                low, high, float(course.z[place]), float(course.bounds.gain[place]),
                float(course.bounds.futility[place]), float(course.harm_z[place]), float(course.bounds.harm[place]),
                float(spent[place]), float(p_values[place]), *adjusted, float(found.reduction),
                bool(course.proved[place]), bool(course.harmed[place]), bool(course.futile[place]),
            )
        )  # fmt: skip
    return rows


def _interval(metric: Metric, found: Estimate, course: Course, place: int) -> tuple[float, float]:
    """Relative effects that neither test rejects: the limit on the better side is that of inferiority."""
    harm = float(course.bounds.harm[place])
    gain = harm if metric.role == "deterioration" else float(course.bounds.gain[place])
    return found.interval(gain, harm) if sign_of(metric) > 0 else found.interval(harm, gain)


def _adjusted(metric: Metric, course: Course) -> tuple[float, float, float]:
    """Bias-adjusted relative effect and its interval, at the look that proved what was to be proved, or the last."""
    of_harm = metric.role == "deterioration"
    z, bounds = (course.harm_z, course.bounds.harm) if of_harm else (course.z, course.bounds.gain)
    kept = np.flatnonzero(sequential.telling(course.progress))
    if not len(kept):
        return np.nan, np.nan, np.nan
    crossed = np.flatnonzero(z[kept] >= bounds[kept])
    kept = kept[: crossed[0] + 1] if len(crossed) else kept
    means = np.sqrt(course.information[kept])
    found = sequential.adjust(course.progress[kept], bounds[kept], float(z[kept[-1]]), per_unit=means)
    margin = metric.margin if metric.role == "guardrail" else 0.0
    sign = -sign_of(metric) if of_harm else sign_of(metric)
    low, high = sorted((sign * (found.low - margin), sign * (found.high - margin)))
    return sign * (found.median - margin), low, high


def _standing(row: Result, metric: Metric) -> Standing:
    return Standing(
        row.metric, row.role, row.relative, row.low, row.high, tolerance_of(metric), row.proved, row.harmed, row.futile
    )


def _segments(experiment: Experiment, treatment: str, look: Look) -> list[Result]:
    """Exploratory rows of every segment that both arms have; none of drafted lists."""
    if INTERLEAVED in look.arms:
        return []
    control, other = look.arms[CONTROL], look.arms[treatment]
    rows = []
    for segment in sorted(set(control.segments) & set(other.segments)):
        one, beside = control.segments[segment], other.segments[segment]
        for name, metric in experiment.metrics.items():
            found = estimate(one, beside, columns_of_metric(metric))
            low, high = found.interval(EXPLORATORY, EXPLORATORY)
            rows.append(
                Result(
                    look.day, treatment, name, metric.role, segment, one.count(), beside.count(), 1.0,
                    float(found.control), float(found.effect), float(np.sqrt(found.variance)), float(found.relative),
                    low, high, float(found.z()), np.inf, -np.inf, -float(found.z()), np.inf, 0.0, np.nan, np.nan,
                    np.nan, np.nan, float(found.reduction), proved=False, harmed=False, futile=False,
                )
            )  # fmt: skip
    return rows


def _quality(experiment: Experiment, treatment: str, looks: Sequence[Look], time: Sequence[float]) -> list[list[Check]]:
    if experiment.kind == "interleaving":
        return [[] for _ in looks]
    sides = [[_side(look, arm, treatment) for look in looks] for arm in (CONTROL, treatment)]
    ratio = experiment.arms[treatment].weight / experiment.arms[CONTROL].weight
    return check_quality(sides[0], sides[1], ratio, time, columns_of(experiment))


def _side(look: Look, arm: str, treatment: str) -> Side:
    found = look.arms[arm]
    touched = look.triggered.get(treatment)
    triggered = None if touched is None else (touched.control if arm == CONTROL else touched.treatment).count()
    return Side(Counts(found.assigned, found.listed, triggered, found.exposed), found.listeners)


def _listeners(look: Look, treatment: str) -> tuple[int, int, float]:
    """Listeners that are analysed, of control and of the treatment, and their share of all."""
    if INTERLEAVED in look.arms:
        count = _drafted(look, treatment).count()
        return count, count, count / max(look.arms[INTERLEAVED].assigned, 1)
    everyone = look.arms[CONTROL].listeners.count(), look.arms[treatment].listeners.count()
    touched = look.triggered.get(treatment)
    counts = everyone if touched is None else (touched.control.count(), touched.treatment.count())
    return counts[0], counts[1], sum(counts) / max(sum(everyone), 1)


def _check_looks(experiment: Experiment, looks: Sequence[Look]) -> None:
    days = [look.day for look in looks]
    arms = sorted({arm for look in looks for arm in experiment.assigned_arms if arm not in look.arms})
    if arms or not days or days != sorted({day for day in days if 1 <= day <= experiment.nights}):
        raise UsageError(
            "the looks of the experiment cannot be analysed",
            where=experiment.name,
            found=f"looks after the days {days}" + (f", without the arms {', '.join(arms)}" if arms else ""),
            expected=f"ascending days from 1 to {experiment.nights}, each with every arm",
        )
