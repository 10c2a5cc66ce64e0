"""A metric over the looks: its z statistics and the bounds that its role in the decision sets them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nocturne.core.arrays import Floats, Mask
from nocturne.core.experiment import Experiment, Metric
from nocturne.experiments import sequential
from nocturne.experiments.decision import Risks
from nocturne.experiments.estimates import Estimate
from nocturne.experiments.sequential import Spending


@dataclass(frozen=True)
class Bounds:
    """Bounds of one metric; each of shape (looks,).

    Attributes:
        gain: that z reaches where the metric has proved what its role asks; infinite for a deterioration metric.
        futility: below which that is out of reach.
        harm: that the z of inferiority reaches where the metric got worse.
    """

    gain: Floats
    futility: Floats
    harm: Floats


@dataclass(frozen=True)
class Course:
    """One metric's tests over the looks; each of shape (looks,).

    Attributes:
        information: one over the variance of the relative effect.
        progress: information by which the looks go together, as of `progress_of`.
        z: of superiority for a success metric, of non-inferiority for a guardrail; nan for a deterioration metric.
        harm_z: of inferiority.
        bounds: of both.
    """

    information: Floats
    progress: Floats
    z: Floats
    harm_z: Floats
    bounds: Bounds

    @property
    def proved(self) -> Mask:
        """True from the look on at which z reached its bound."""
        return np.logical_or.accumulate(self.z >= self.bounds.gain)

    @property
    def harmed(self) -> Mask:
        """True from the look on at which the z of inferiority reached its bound."""
        return np.logical_or.accumulate(self.harm_z >= self.bounds.harm)

    @property
    def futile(self) -> Mask:
        """True at looks at which z is not above its bound of futility, and was never above that of efficacy."""
        return (self.z <= self.bounds.futility) & ~self.proved


def tolerance_of(metric: Metric) -> float:
    """Relative effect at which futility is judged: the smallest one worth having, or the margin; 0 if there is none."""
    return {"success": metric.minimum_effect, "guardrail": metric.margin, "deterioration": 0.0}[metric.role]


def sign_of(metric: Metric) -> int:
    """1 where more is better, -1 where less is."""
    return 1 if metric.direction == "increase" else -1


def z_of(metric: Metric, estimate: Estimate) -> tuple[Floats, Floats]:
    """The z of what the metric's role asks (of superiority too where it asks nothing), and that of inferiority."""
    sign = sign_of(metric)
    null = -sign * metric.margin if metric.role == "guardrail" else 0.0
    return np.asarray(sign * estimate.z(null)), np.asarray(-sign * estimate.z())


LEAST_CORRELATION = 0.01


def progress_of(information: Sequence[float], correlations: Sequence[float], time: Sequence[float]) -> list[float]:
    """Amounts whose ratio from look to look is the squared correlation of their estimates; 0 where nothing is known.

    A correlation that is not known is taken to be as low as if days of a listener had nothing in common, or lower if
    information grew faster: bounds are then never too near.

    Args:
        information: at each look, of the relative effect.
        correlations: of each look's estimate with that of the look before.
        time: of each look.
    """
    amounts: list[float] = []
    last = None
    for place, (amount, correlation) in enumerate(zip(information, correlations, strict=True)):
        if not amount > 0:
            amounts.append(0.0)
            continue
        if last is None:
            amounts.append(amount)
        elif last == place - 1 and np.isfinite(correlation):
            amounts.append(amounts[last] / min(max(correlation, LEAST_CORRELATION), 1.0) ** 2)
        else:
            amounts.append(amounts[last] * max(amount / information[last], time[place] / time[last]))
        last = place
    return amounts


def bounds_of(
    metric: Metric, risks: Risks, spending: Spending, information: Sequence[float], progress: Sequence[float],
    time: Sequence[float],
) -> Bounds:  # fmt: skip
    """The bounds of a metric at looks with this information on its relative effect, and this progress."""
    harm = sequential.efficacy_bounds(progress, risks.harm, spending, time)
    alpha = risks.gain(metric.role)
    if alpha is None:
        return Bounds(np.full(len(harm), np.inf), np.full(len(harm), -np.inf), harm)
    gain = sequential.efficacy_bounds(progress, alpha, spending, time)
    means = tolerance_of(metric) * np.sqrt(information)
    futility = sequential.futility_bounds(progress, gain, means, risks.beta, spending, time)
    return Bounds(gain, futility, harm)


def follow(
    experiment: Experiment, metric: Metric, risks: Risks, estimates: Sequence[Estimate], time: Sequence[float]
) -> Course:
    """The course of a metric from its estimates at each look."""
    information = [float(each.information) for each in estimates]
    z, harm_z = (
        np.array(side, dtype=np.float64) for side in zip(*(z_of(metric, each) for each in estimates), strict=True)
    )
    progress = progress_of(information, [float(each.correlation) for each in estimates], time)
    bounds = bounds_of(metric, risks, experiment.spending, information, progress, time)
    return Course(np.array(information), np.array(progress), z, harm_z, bounds)
