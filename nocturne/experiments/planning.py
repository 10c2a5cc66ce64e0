"""Plans: effects that an experiment can find, and when, from what listeners did before it.

A listener's day is modelled as a lasting part, which days share, and a daily part, which they do not; the mean of k
days then has the relative variance lasting + daily / k. CUPED takes off what the days before say about the lasting
part.

Source: power of the sequential tests by `sequential`; shares of beta by `decision`. The effect on all is that on the
triggered times their share, so the information is that of all over share * variance ratio.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from tea_tasting.aggr import Aggregates

from nocturne.core.arrays import Floats
from nocturne.core.errors import InputError
from nocturne.core.experiment import CONTROL, Experiment, Metric
from nocturne.experiments import sequential
from nocturne.experiments.columns import Columns
from nocturne.experiments.courses import bounds_of, sign_of, tolerance_of
from nocturne.experiments.decision import Risks, risks_of


@dataclass(frozen=True)
class Baseline:
    """A metric before the experiment.

    Attributes:
        mean: per listener and day, or the ratio.
        lasting: variance between listeners that all days share, over mean².
        daily: variance within a listener from day to day, over mean².
        days_before: of the covariate; 0 for no CUPED.
    """

    mean: float
    lasting: float
    daily: float
    days_before: int = 0

    def variance_after(self, days: Floats) -> Floats:
        """Relative variance of a listener's mean of so many days, CUPED taken off; shape as that of days."""
        explained = 0.0
        if self.days_before and self.lasting:
            explained = self.lasting**2 / (self.lasting + self.daily / self.days_before)
        return np.asarray(self.lasting - explained + self.daily / days)


def baseline_of(day: Aggregates, before: Aggregates, days: int, columns: Columns, *, cuped: bool = True) -> Baseline:
    """The baseline that a day and a longer window of the same listeners tell.

    Args:
        day: sums of one day.
        before: sums of so many days, two at least.
        days: of them.
        columns: of the metric, by the same names in both.
        cuped: the experiment will have these days as a covariate.

    Raises:
        InputError: nobody did anything on those days.
    """
    one, many = _relative_variance(day, columns), _relative_variance(before, columns)
    if not (np.isfinite(one) and np.isfinite(many)):
        raise InputError(
            "the days before the experiment have nothing to plan with",
            where=columns.numerator,
            found=f"listeners: {before.count()}, of a sum that is 0 or not known",
            expected="days on which the metric was not 0",
            fix="plan with other days, or another metric",
        )
    daily = min(max((one - many) / (1 - 1 / days), 0.0), one)
    mean = before.mean(columns.numerator) / (days if columns.denominator is None else before.mean(columns.denominator))
    return Baseline(float(mean), one - daily, daily, days if cuped else 0)


@dataclass(frozen=True)
class MetricPlan:
    """The power of one metric of a treatment.

    Attributes:
        treatment, metric, role: of which.
        tolerance: minimum effect or margin, as a share of control.
        alpha, beta: of its test, over all looks.
        power: that it is proved, by the last look, if the effect is the minimum effect or nothing is lost.
        listeners: of both arms together, before triggers, with which it has power 1 - beta.
        detectable: relative effect that has power 1 - beta.
    """

    treatment: str
    metric: str
    role: str
    tolerance: float
    alpha: float
    beta: float
    power: float
    listeners: int
    detectable: float


@dataclass(frozen=True)
class Plan:
    """The power of an experiment on one treatment, and its expected duration.

    Attributes:
        treatment: arm.
        metrics: plan of each success metric and guardrail.
        power: probability of `ship` if every success metric has its minimum effect and nothing else changes, were the
            metrics independent; false alarms taken off.
        power_at_least: the same, however they depend on one another.
        expected_day: of the decision, then.
        expected_day_without_effect: of the decision if nothing changes at all.
    """

    treatment: str
    metrics: tuple[MetricPlan, ...]
    power: float
    power_at_least: float
    expected_day: float
    expected_day_without_effect: float


def plan(
    experiment: Experiment,
    treatment: str,
    baselines: Mapping[str, Baseline],
    listeners: Mapping[str, Sequence[float] | float],
    triggered: Sequence[float] | float = 1.0,
    variance_ratio: float = 1.0,
) -> Plan:
    """The plan of one treatment.

    Args:
        experiment: its definition.
        treatment: one of its arms.
        baselines: of every success metric and guardrail, by name.
        listeners: of each arm by its name, by each look or one number for all of them.
        triggered: share of them whose lists differ, by each look or for all.
        variance_ratio: variance among the triggered over that among all.
    """
    risks = risks_of(experiment)
    days = np.array(experiment.looks, dtype=np.float64)
    thinned = np.ones(len(days)) / (np.asarray(triggered, np.float64) * variance_ratio)
    sizes = np.asarray(listeners[CONTROL], np.float64), np.asarray(listeners[treatment], np.float64)
    tests = {
        name: _Test(experiment, metric, risks, thinned * _size(metric, *sizes) / baselines[name].variance_after(days))
        for name, metric in experiment.metrics.items()
        if metric.role != "deterioration"
    }
    both = float(np.max(listeners[treatment]) + np.max(listeners[CONTROL]))
    rows = tuple(test.plan(treatment, name, both) for name, test in tests.items())
    successes = [test for test in tests.values() if test.metric.role == "success"]
    guardrails = [test for test in tests.values() if test.metric.role == "guardrail"]
    spoilt = risks.spoilt
    together = 1 - np.prod([1 - test.power for test in successes])
    least = max(test.power for test in successes)
    return Plan(
        treatment,
        rows,
        power=float(together * np.prod([test.power for test in guardrails]) * (1 - spoilt)),
        power_at_least=float(max(least - sum(1 - test.power for test in guardrails) - spoilt, 0.0)),
        expected_day=_expected_day(days, successes, guardrails, effect=True),
        expected_day_without_effect=_expected_day(days, successes, guardrails, effect=False),
    )


class _Test:
    """One metric's test at every planned look."""

    def __init__(self, experiment: Experiment, metric: Metric, risks: Risks, information: Floats) -> None:
        self.experiment, self.metric, self.risks, self.information = experiment, metric, risks, information
        self.time = np.array(experiment.looks) / experiment.nights
        self.effect = tolerance_of(metric)
        self.power = self._power(1.0)

    def crossing(self, drift: float, growth: float = 1.0) -> tuple[Floats, Floats]:
        """Probability of being proved, and of being found futile, at each look."""
        amounts = self.information * growth
        found = amounts.tolist()
        bounds = bounds_of(self.metric, self.risks, self.experiment.spending, found, found, self.time.tolist())
        return sequential.crossing(amounts, bounds.gain, bounds.futility, drift)

    def _power(self, growth: float) -> float:
        return float(self.crossing(self.effect, growth)[0].sum())

    def plan(self, treatment: str, name: str, listeners: float) -> MetricPlan:
        """The row of this test, with so many listeners of both arms."""
        growth = self._growth()
        alpha = self.risks.gain(self.metric.role)
        assert alpha
        return MetricPlan(
            treatment, name, self.metric.role, self.effect, alpha, self.risks.beta, self.power,
            int(np.ceil(listeners * growth)), float(self.effect * np.sqrt(growth)),
        )  # fmt: skip

    def _growth(self) -> float:
        """Factor on the information with which the power is 1 - beta."""
        low, high = np.log(1e-6), np.log(1e9)

        def lacking(log_growth: float) -> float:
            return 1 - self.risks.beta - self._power(float(np.exp(log_growth)))

        middle = -np.log(self.information[-1] * self.effect**2 / 8)
        low, high = max(low, middle - 3), min(high, middle + 3)
        return float(np.exp(brentq(lacking, low, high, xtol=1e-4)))


def _expected_day(days: Floats, successes: Sequence[_Test], guardrails: Sequence[_Test], *, effect: bool) -> float:
    """Mean day of the decision, were the metrics independent: as long as nothing is shipped and nothing is futile."""

    def courses(tests: Sequence[_Test], drift: float) -> tuple[Floats, Floats]:
        found = [test.crossing(drift * test.effect) for test in tests]
        above, below = (np.array([each[side].cumsum() for each in found]) for side in (0, 1))
        return above.reshape(len(tests), len(days)), below.reshape(len(tests), len(days))

    improved, hopeless = courses(successes, 1.0 if effect else 0.0)
    safe, unsafe = courses(guardrails, 1.0)
    shipped = (1 - np.prod(1 - improved, axis=0)) * np.prod(safe, axis=0)
    running = (1 - np.prod(hopeless, axis=0)) * np.prod(1 - unsafe, axis=0) - shipped
    return float(days[0] + np.sum(running[:-1] * np.diff(days)))


def _size(metric: Metric, control: Floats, treatment: Floats) -> Floats:
    """Harmonic size of two arms: an effect multiplies the deviations of the treatment, a null those of control."""
    effect = sign_of(metric) * metric.minimum_effect if metric.role == "success" else 0.0
    null = -sign_of(metric) * metric.margin if metric.role == "guardrail" else 0.0
    return np.asarray(1 / ((1 + effect) ** 2 / treatment + (1 + null) ** 2 / control))


def _relative_variance(aggregates: Aggregates, columns: Columns) -> float:
    mean = aggregates.mean(columns.numerator)
    if not mean or (columns.denominator is not None and not aggregates.mean(columns.denominator)):
        return float("nan")
    ratio = mean / aggregates.mean(columns.denominator)
    return float(aggregates.ratio_var(columns.numerator, columns.denominator) / ratio**2)
