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
        z: of superiority for a success metric, of non-inferiority for a guardrail; nan for a deterioration metric.
        harm_z: of inferiority.
        bounds: of both.
    """

    information: Floats
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


def bounds_of(
    metric: Metric, risks: Risks, spending: Spending, information: Sequence[float], time: Sequence[float]
) -> Bounds:
    """The bounds of a metric at looks with this information on its relative effect."""
    harm = sequential.efficacy_bounds(information, risks.harm, spending, time)
    alpha = risks.gain(metric.role)
    if alpha is None:
        return Bounds(np.full(len(harm), np.inf), np.full(len(harm), -np.inf), harm)
    gain = sequential.efficacy_bounds(information, alpha, spending, time)
    futility = sequential.futility_bounds(information, gain, tolerance_of(metric), risks.beta, spending, time)
    return Bounds(gain, futility, harm)


def follow(
    experiment: Experiment, metric: Metric, risks: Risks, estimates: Sequence[Estimate], time: Sequence[float]
) -> Course:
    """The course of a metric from its estimates at each look."""
    information = [float(each.information) for each in estimates]
    z, harm_z = (
        np.array(side, dtype=np.float64) for side in zip(*(z_of(metric, each) for each in estimates), strict=True)
    )
    bounds = bounds_of(metric, risks, experiment.spending, information, time)
    return Course(np.array(information), z, harm_z, bounds)
