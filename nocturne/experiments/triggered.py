"""Exact triggers: the effect on everyone, estimated from those whose lists could have differed.

A listener whose lists are alike in both arms cannot be touched, so whatever differs among the others by arm is chance
and need not be added to the error. Triggers are known of every listener of both arms, assignment has no part in them,
and the effect on all is the effect on the triggered times their share: unbiased, of the smaller error.

Source: the effect under full knowledge of triggers, arXiv 2411.03530, section 3; diluted by share for means, by sums
for ratios, as Deng and Hu (2015), "Diluted Treatment Effect Estimation for Trigger Analysis", sections 3 and 4.
"""

from typing import cast

import numpy as np
from tea_tasting.aggr import Aggregates

from nocturne.experiments.columns import Columns
from nocturne.experiments.estimates import UNKNOWN, Estimate, Value, mix


def dilute(
    control: Aggregates,
    treatment: Aggregates,
    triggered_control: Aggregates,
    triggered_treatment: Aggregates,
    columns: Columns,
    *,
    cuped: bool = True,
) -> Estimate:
    """The effect on all listeners, from the triggered ones; its error has that of their share in it.

    Args:
        control: of all listeners of control, triggered or not.
        treatment: likewise of the treatment.
        triggered_control: of the triggered listeners of control, summed over the same days.
        triggered_treatment: likewise of the treatment.
        columns: of the metric.
        cuped: take off what the days before explain.
    """
    touched = triggered_control.count() + triggered_treatment.count()
    if np.ndim(touched) == 0 and not touched:
        return UNKNOWN
    everyone = control + treatment
    share = touched / everyone.count()
    others = without(everyone, triggered_control + triggered_treatment)
    return mix(triggered_control, triggered_treatment, others, share, everyone.count(), columns, cuped=cuped)


def without(everyone: Aggregates, part: Aggregates) -> Aggregates:
    """The aggregates of those who are not of a part; 0 throughout if the part is everyone."""
    count = everyone.count() - part.count()
    means = {
        name: _or_zero(count, (everyone.count() * everyone.mean(name) - part.count() * part.mean(name)) / _least(count))
        for name in part.mean_
    }

    def spread(left: str, right: str, whole: Value, partial: Value) -> Value:
        between = (part.mean(left) - means[left]) * (part.mean(right) - means[right])
        squares = whole * (everyone.count() - 1) - partial * (part.count() - 1)
        squares = squares - between * part.count() * count / everyone.count()
        return _or_zero(count, squares / _least(count - 1))

    variances = {name: np.maximum(spread(name, name, everyone.var(name), part.var(name)), 0.0) for name in part.var_}
    covariances = {
        (left, right): spread(left, right, everyone.cov(left, right), part.cov(left, right))
        for left, right in part.cov_
    }
    return Aggregates(count, means, variances, covariances)


def _least(count: Value) -> Value:
    return np.maximum(count, 1)


def _or_zero(count: Value, value: Value) -> Value:
    return cast("Value", np.where(np.asarray(count) > 0, value, 0.0)[()])
