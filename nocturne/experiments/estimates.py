"""Effects and their errors at one look, from counts, means, variances and covariances of two arms.

Means, proportions (means of 0 and 1) and ratios of sums alike; errors by the delta method; CUPED takes off what the
days before explain. Every value may also be an array with one entry for each of many experiments.

Source: Deng, Knoblich and Lu (2018), "Applying the Delta Method in Metric Analytics"; Deng, Xu, Kohavi and Walker
(2013), CUPED; Fieller (1954) for what is relative to control.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from tea_tasting.aggr import Aggregates

from nocturne.core.arrays import Floats
from nocturne.experiments.columns import Columns

Value = float | Floats
"""A number, or one for each of many experiments."""

Weights = Mapping[str, Value]
"""A linear combination of columns."""


@dataclass(frozen=True)
class Estimate:
    """A treatment's effect on a metric.

    Attributes:
        control: the metric in control.
        effect: treatment - control, in units of the metric.
        variance: of the effect.
        control_variance: of control.
        covariance: of effect and control.
        reduction: share of the effect's variance that the days before took off.
        correlation: of the effect and that at the look before; nan if nothing tells.
    """

    control: Value
    effect: Value
    variance: Value
    control_variance: Value
    covariance: Value
    reduction: Value = 0.0
    correlation: Value = np.nan

    @property
    def treatment(self) -> Value:
        """The metric in the treatment."""
        return self.control + self.effect

    @property
    def relative(self) -> Value:
        """The effect as a share of control; nan where control is 0."""
        return _divide(self.effect, self.control)

    @property
    def relative_variance(self) -> Value:
        """Variance of the relative effect, by the delta method."""
        return _divide(self._variance_against(self.relative), np.square(self.control))

    @property
    def information(self) -> Value:
        """One over the variance of the relative effect; 0 where nothing is known."""
        amount = _divide(1.0, self.relative_variance)
        return np.where(np.isfinite(amount), amount, 0.0)[()]

    def z(self, null: Value = 0.0) -> Value:
        """Standardised distance of the relative effect from another; nan where its error is not known."""
        return _divide(self.effect - null * self.control, np.sqrt(self._variance_against(null)))

    def interval(self, below: float, above: float) -> tuple[float, float]:
        """Relative effects that z(effect) puts within `below` under and `above` over the estimate; infinite if need be.

        With the bounds of a sequential test it is its repeated confidence interval (Jennison and Turnbull, chapter 9).
        """
        return self._limit(below, -1), self._limit(above, 1)

    def _variance_against(self, null: Value) -> Value:
        return self.variance - 2 * null * self.covariance + null * null * self.control_variance

    def _limit(self, bound: float, side: int) -> float:
        if not np.isfinite(bound):
            return float(side * np.inf)
        square = bound * bound
        curve = self.control * self.control - square * self.control_variance
        slope = self.effect * self.control - square * self.covariance
        level = self.effect * self.effect - square * self.variance
        if not curve > 0:
            return float(side * np.inf)
        root = np.sqrt(np.maximum(slope * slope - curve * level, 0.0))
        return float((slope + side * np.copysign(root, bound)) / curve)


FEWEST = 2
"""Listeners of an arm that have a variance."""

UNKNOWN = Estimate(np.nan, np.nan, np.nan, np.nan, np.nan)


def paired(listeners: Aggregates, control: str, treatment: str) -> Estimate:
    """The effect between two columns of the same listeners, as of the teams of drafted lists."""
    count = max(listeners.count(), 1)
    of_control, of_treatment = listeners.var(control), listeners.var(treatment)
    together = listeners.cov(control, treatment)
    return Estimate(
        control=listeners.mean(control),
        effect=listeners.mean(treatment) - listeners.mean(control),
        variance=(of_control + of_treatment - 2 * together) / count,
        control_variance=of_control / count,
        covariance=(together - of_control) / count,
    )


def estimate(control: Aggregates, treatment: Aggregates, columns: Columns, *, cuped: bool = True) -> Estimate:
    """The effect among all listeners of two arms.

    Args:
        control: count, means, variances and covariances of the columns.
        treatment: likewise.
        columns: of the metric; columns from before, if both arms have them, reduce the variance.
        cuped: use them.
    """
    return mix(control, treatment, None, 1.0, 1.0, columns, cuped=cuped)


def mix(
    control: Aggregates,
    treatment: Aggregates,
    others: Aggregates | None,
    share: Value,
    listeners: Value,
    columns: Columns,
    *,
    cuped: bool = True,
) -> Estimate:
    """The effect among a population of which a share is touched by the treatment, and the others are not.

    Args:
        control: of the touched listeners of control.
        treatment: of the touched listeners of the treatment.
        others: of the untouched listeners of both arms together; None if there are none.
        share: of the touched.
        listeners: number that the share was counted among.
        columns: of the metric.
        cuped: take off what the days before explain, as far as there are columns of them.
    """
    arms = control, treatment
    if any(np.ndim(arm.count()) == 0 and arm.count() < FEWEST for arm in arms):
        return UNKNOWN
    counted = share * (1 - share) / listeners
    before = columns.before if cuped and _have(arms, columns.before) else None
    sides = _sides(arms, others, share, columns, before)
    found = _difference(arms, others, counted, sides)
    if before is not None:
        plain = _difference(arms, others, counted, _sides(arms, others, share, columns, None))
        found = replace(found, reduction=1 - _divide(found.variance, plain.variance))
    if _have(arms, columns.last):
        earlier = _sides(arms, None, 1.0, columns.last, before)
        found = replace(found, correlation=_correlation(arms, sides, earlier))
    return found


Arms = tuple[Aggregates, Aggregates]
"""Control and treatment."""


def _have(arms: Arms, columns: Columns) -> bool:
    return all(name in arm.mean_ for arm in arms for name in columns.names)


@dataclass(frozen=True)
class _Side:
    """A metric of one arm's whole population, and its derivatives.

    Attributes:
        ratio: the metric.
        touched: its derivatives by the means of the touched listeners' columns.
        untouched: likewise of the others'.
        by_share: its derivative by the share of the touched.
    """

    ratio: Value
    touched: Weights
    untouched: Weights
    by_share: Value

    def less(self, slope: Value, prior: "_Side", usual: Value) -> "_Side":
        """The rest when whatever goes with a covariate is taken off, the covariate's usual value given."""
        weights = dict(self.touched) | {name: -slope * weight for name, weight in prior.touched.items()}
        return replace(self, ratio=self.ratio - slope * (prior.ratio - usual), touched=weights)


def _linearise(touched: Aggregates, others: Aggregates | None, share: Value, columns: Columns) -> _Side:
    def level(name: str | None) -> Value:
        rest = 0.0 if others is None else (1 - share) * _mean(others, name)
        return share * _mean(touched, name) + rest

    denominator = level(columns.denominator)
    ratio = _divide(level(columns.numerator), denominator)
    weights = {columns.numerator: _divide(1.0, denominator)}
    if columns.denominator is not None:
        weights[columns.denominator] = -_divide(ratio, denominator)
    apart = 0.0 if others is None else sum(
        weight * (_mean(touched, name) - _mean(others, name)) for name, weight in weights.items()
    )  # fmt: skip
    return _Side(ratio, _times(weights, share), _times(weights, 1 - share), apart)


def _sides(
    arms: Arms, others: Aggregates | None, share: Value, columns: Columns, before: Columns | None
) -> tuple[_Side, _Side]:
    """Both arms' sides, without what goes with the columns before, if any; the slope is that of both arms together."""
    control, treatment = (_linearise(arm, others, share, columns) for arm in arms)
    if before is None:
        return control, treatment
    pooled = arms[0] + arms[1]
    prior, other_prior, usual = (_linearise(each, None, 1.0, before) for each in (*arms, pooled))
    metric = _linearise(pooled, others, share, columns).touched
    slope = _divide(_covariance(pooled, metric, usual.touched), _covariance(pooled, usual.touched, usual.touched))
    slope = np.where(np.isfinite(slope), slope, 0.0)[()]
    return control.less(slope, prior, usual.ratio), treatment.less(slope, other_prior, usual.ratio)


def _difference(arms: Arms, others: Aggregates | None, counted: Value, sides: tuple[_Side, _Side]) -> Estimate:
    """The estimate that follows from both sides: three independent samples, and the share with variance `counted`."""
    low, high = sides
    noise, other_noise = (
        _covariance(arm, side.touched, side.touched) / arm.count() for arm, side in zip(arms, sides, strict=True)
    )
    apart = high.by_share - low.by_share
    variance, control_variance, covariance = noise + other_noise, noise, -noise
    if others is not None:
        moved = {name: high.untouched[name] - weight for name, weight in low.untouched.items()}
        size = np.maximum(others.count(), 1)
        variance = variance + _covariance(others, moved, moved) / size + counted * np.square(apart)
        control_variance = (
            noise + _covariance(others, low.untouched, low.untouched) / size + counted * np.square(low.by_share)
        )
        covariance = covariance + _covariance(others, moved, low.untouched) / size + counted * apart * low.by_share
    return Estimate(low.ratio, high.ratio - low.ratio, variance, control_variance, covariance)


def _correlation(arms: Arms, sides: tuple[_Side, _Side], earlier: tuple[_Side, _Side]) -> Value:
    """Of an effect now and at the look before, by what the same listeners did."""

    def together(one: tuple[_Side, _Side], other: tuple[_Side, _Side]) -> Value:
        parts: list[Value] = [
            _covariance(arm, left.touched, right.touched) / arm.count()
            for arm, left, right in zip(arms, one, other, strict=True)
        ]
        return sum(parts)

    return _divide(together(sides, earlier), np.sqrt(together(sides, sides) * together(earlier, earlier)))


def _covariance(aggregates: Aggregates, left: Weights, right: Weights) -> Value:
    """Of two linear combinations of columns, among single listeners."""
    parts: list[Value] = [
        one * other * (aggregates.var(name) if name == beside else aggregates.cov(name, beside))
        for name, one in left.items()
        for beside, other in right.items()
    ]
    return sum(parts)


def _mean(aggregates: Aggregates, name: str | None) -> Value:
    return np.asarray(aggregates.mean(name), dtype=np.float64)[()]


def _times(weights: Weights, factor: Value) -> dict[str, Value]:
    return {name: factor * weight for name, weight in weights.items()}


def _divide(numerator: Value, denominator: Value) -> Value:
    """A quotient; nan, without a warning, where there is none."""
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    shape = np.broadcast_shapes(top.shape, bottom.shape)
    return cast("Value", np.divide(top, bottom, out=np.full(shape, np.nan), where=bottom != 0)[()])
