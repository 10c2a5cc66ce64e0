"""Off-policy estimates: the value that a target policy would have, from a log of what another one drew and showed.

Every shown item counts by its weight: the target's probability of it at its place divided by the logged one. That is
the value of a place, with the places above it as they were logged. Listeners are the unit, for whom all rows are summed
before squares are; all estimates are ratios of sums, with standard errors by the delta method. Sums of parts of a log
can be added up if a listener's rows are in one part.
"""

from dataclasses import dataclass
from enum import IntEnum
from math import inf, nan, sqrt

import numpy as np
from scipy.stats import norm

from nocturne.core.arrays import Counts, Floats
from nocturne.core.errors import InputError

LEAST_EFFECTIVE = 100
"""Rows drawn by the target itself that the log has to be worth."""

LEAST_REWARDS = 10
"""Rewards of one weight that those of the log have to be worth: with fewer, an interval is not to be trusted."""

MOST_UNCOVERED = 0.01
"""Share of the target's places that may hold what the log could not show."""

FAR_FROM_ONE = 4.0
"""Standard errors that the mean weight may lie from 1."""


@dataclass(frozen=True)
class Shown:
    """A log of shown items; every array has a row each.

    Attributes:
        places: from 0.
        rewards: such as 1 for a play, or minutes.
        propensities: probability with which the log drew the item at its place; above 0, at most 1.
        targets: probability with which the target draws it there.
        listeners: number of the listener, from 0; None: every row is another one.
        uncovered: the target's probability of items that could not be drawn there; None: known where the logged
            propensity is 1, and nothing else could be.
        predicted, expected: a model's reward of the shown item, and of what the target draws there; None: no model.
    """

    places: Counts
    rewards: Floats
    propensities: Floats
    targets: Floats
    listeners: Counts | None = None
    uncovered: Floats | None = None
    predicted: Floats | None = None
    expected: Floats | None = None


class Term(IntEnum):
    """Columns of the sums."""

    ROWS = 0
    WEIGHT = 1
    REWARD = 2
    WEIGHTED_REWARD = 3
    ROBUST_REWARD = 4


@dataclass(frozen=True)
class Sums:
    """Sums over listeners: of all places together, then of each place.

    Attributes:
        listeners: who have a row; shape (1 + places,).
        totals: of each term; shape (1 + places, terms).
        products: of a listener's sums of two terms; shape (1 + places, terms, terms).
        squares: of the weights of single rows; shape (1 + places,).
        uncovered: shape (1 + places,).
    """

    listeners: Counts
    totals: Floats
    products: Floats
    squares: Floats
    uncovered: Floats

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.listeners + other.listeners,
            self.totals + other.totals,
            self.products + other.products,
            self.squares + other.squares,
            self.uncovered + other.uncovered,
        )


@dataclass(frozen=True)
class Value:
    """An estimate with its standard error and interval; NaN, and without bounds, if nothing is known."""

    estimate: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class OffPolicy:
    """A target policy's value by a log.

    Attributes:
        place: from 1; None: all together.
        rows: of the log.
        logged: mean reward of what was shown.
        ips: inverse propensity score: weighted rewards divided by rows. Horvitz and Thompson (1952).
        snips: the same divided by the sum of weights. Swaminathan and Joachims (2015), "The self-normalized estimator
            for counterfactual learning", section 4.
        robust: the model's reward, and the weighted rest that it does not explain; without a model that is ips. Dudik,
            Langford and Li (2011), "Doubly robust policy evaluation and learning", section 2.
        gain: snips minus logged.
        mean_weight: 1 if the log can show all that the target shows, and propensities are true.
        effective: rows drawn by the target itself that the log is worth, by Kish (1965): the square of the sum of
            weights, divided by the sum of their squares.
        effective_rewards: likewise of weighted rewards.
        uncovered: share of the target's places that are known to hold what the log could not show.
    """

    place: int | None
    rows: int
    logged: Value
    ips: Value
    snips: Value
    robust: Value
    gain: Value
    mean_weight: Value
    effective: float
    effective_rewards: float
    uncovered: float

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """Reasons why the log says too little of the target; none if it does not."""
        if not self.rows:
            return ("nothing was shown",)
        mean, error = self.mean_weight.estimate, self.mean_weight.standard_error
        reasons = {
            f"{self.uncovered:.1%} of the target's places hold what the log could not show": (
                self.uncovered > MOST_UNCOVERED
            ),
            f"weights average {mean:.3f}, not 1: the log hardly shows what the target does, or its propensities err": (
                abs(mean - 1) > max(FAR_FROM_ONE * error, 1e-9)
            ),
            f"{self.rows:,} rows are worth {self.effective:,.0f} of the target's own, fewer than {LEAST_EFFECTIVE}": (
                self.effective < LEAST_EFFECTIVE
            ),
            f"rewards are worth {self.effective_rewards:.1f} of one weight, fewer than {LEAST_REWARDS}": (
                self.effective_rewards < LEAST_REWARDS
            ),
        }
        return tuple(reason for reason, holds in reasons.items() if holds)

    @property
    def verdict(self) -> str:
        """A sentence: why the log does not say, or on which side of what was shown the target lies."""
        if self.shortcomings:
            return f"not enough support: {'; '.join(self.shortcomings)}"
        between = f"{self.gain.low:+.3g} to {self.gain.high:+.3g}"
        if self.gain.low <= 0 <= self.gain.high:
            return f"cannot be told from what was shown: the difference may be {between}"
        return f"{'better' if self.gain.low > 0 else 'worse'} than what was shown, by {between}"


def sums_of(shown: Shown, places: int) -> Sums:
    """Sums of a log, or of a part of it, of so many places.

    Raises:
        InputError: a propensity or a target's probability is out of range.
    """
    _require_probabilities(shown)
    weights = shown.targets / shown.propensities
    none = np.zeros(len(weights))
    predicted, expected = (none if values is None else values for values in (shown.predicted, shown.expected))
    only = np.where(shown.propensities == 1, 1 - shown.targets, 0.0)
    terms = np.empty((len(weights), len(Term)))
    terms[:, Term.ROWS] = 1
    terms[:, Term.WEIGHT] = weights
    terms[:, Term.REWARD] = shown.rewards
    terms[:, Term.WEIGHTED_REWARD] = weights * shown.rewards
    terms[:, Term.ROBUST_REWARD] = expected + weights * (shown.rewards - predicted)
    listeners = np.arange(len(weights)) if shown.listeners is None else shown.listeners
    of_all = _summed(terms, listeners, np.zeros_like(shown.places), 1)
    of_each = _summed(terms, listeners, shown.places, places)

    def by_place(values: Floats) -> Floats:
        return np.concatenate([[values.sum()], np.bincount(shown.places, values, places)])

    counts, totals, products = (np.concatenate(pair) for pair in zip(of_all, of_each, strict=True))
    uncovered = only if shown.uncovered is None else shown.uncovered
    return Sums(counts, totals, products, by_place(weights**2), by_place(uncovered))


def estimates(sums: Sums, level: float = 0.95) -> list[OffPolicy]:
    """Estimates for all places together, then for each place.

    Args:
        level: of the intervals, two-sided.
    """
    return [_estimate(sums, row, float(norm.ppf((1 + level) / 2))) for row in range(len(sums.listeners))]


def frequencies(places: Counts, items: Counts, shape: tuple[int, int]) -> Floats:
    """Share of each item among those shown at each place, for a policy that has to be told from its log.

    Args:
        shape: places and items; the result's, zeros in the row of a place where nothing was shown.
    """
    counts = np.bincount(places * shape[1] + items, minlength=shape[0] * shape[1]).reshape(shape)
    shares: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def predict_rewards(
    places: Counts, items: Counts, rewards: Floats, policy: Floats, prior: float = 20.0
) -> tuple[Floats, Floats]:
    """Mean reward of item and place, as predicted and expected of `Shown`, each half of the rows by the other half.

    Means are drawn towards that of the place, by as much as so many rows of it would.

    Args:
        policy: the target's probability of each item; shape (places, items).
    """
    cells = places * policy.shape[1] + items
    predicted, expected = np.empty(len(rewards)), np.empty(len(rewards))
    for half in (0, 1):
        own = np.arange(len(rewards)) % 2 == half
        rows = np.maximum(np.bincount(places[~own], minlength=len(policy)), 1)
        of_place = np.bincount(places[~own], rewards[~own], len(policy)) / rows
        total = np.bincount(cells[~own], rewards[~own], policy.size).reshape(policy.shape)
        count = np.bincount(cells[~own], minlength=policy.size).reshape(policy.shape)
        means = (total + prior * of_place[:, None]) / (count + prior)
        predicted[own] = means.ravel()[cells[own]]
        expected[own] = (policy * means).sum(axis=1)[places[own]]
    return predicted, expected


def _require_probabilities(shown: Shown) -> None:
    for name, values, possible in (
        ("propensity", shown.propensities, shown.propensities > 0),
        ("target", shown.targets, shown.targets >= 0),
    ):
        wrong = np.flatnonzero(~(possible & (values <= 1)))
        if len(wrong):
            raise InputError(
                "a logged propensity, or a target's probability, is out of range",
                where=f"row {wrong[0]} of the log, and {len(wrong) - 1:,} others",
                found=f"{name} {values[wrong[0]]:g}",
                expected="a propensity above 0, a target's probability of 0 or more, both at most 1",
                fix="log the probability with which each item was drawn, and leave out rows without one",
            )


def _summed(terms: Floats, listeners: Counts, places: Counts, count: int) -> tuple[Counts, Floats, Floats]:
    """Listeners, totals and products of each place."""
    keys, group = np.unique(listeners * count + places, return_inverse=True)
    place = keys % count
    of_group: Floats = np.stack([np.bincount(group, term, len(keys)) for term in terms.T], axis=1)
    totals: Floats = np.stack([np.bincount(place, term, count) for term in of_group.T], axis=1)
    products = np.empty((count, len(Term), len(Term)))
    for one in Term:
        for other in Term:
            products[:, one, other] = np.bincount(place, of_group[:, one] * of_group[:, other], count)
    return np.bincount(place, minlength=count).astype(np.int64), totals, products


def _estimate(sums: Sums, row: int, width: float) -> OffPolicy:
    totals, products, listeners = sums.totals[row], sums.products[row], int(sums.listeners[row])

    def ratio(numerator: Term, denominator: Term) -> tuple[float, Floats]:
        """A ratio of sums, and its slope in the sum of each term."""
        if not totals[denominator]:
            return nan, np.full(len(Term), nan)
        value, slope = totals[numerator] / totals[denominator], np.zeros(len(Term))
        slope[numerator] += 1
        slope[denominator] -= value
        return value, slope / totals[denominator]

    def valued(estimate: float, slope: Floats) -> Value:
        if listeners < 2 or np.isnan(estimate):
            return Value(estimate, inf, -inf, inf)
        error = sqrt(max(float(slope @ products @ slope), 0.0) * listeners / (listeners - 1))
        return Value(estimate, error, estimate - width * error, estimate + width * error)

    logged, snips = ratio(Term.REWARD, Term.ROWS), ratio(Term.WEIGHTED_REWARD, Term.WEIGHT)
    return OffPolicy(
        place=row or None,
        rows=int(totals[Term.ROWS]),
        logged=valued(*logged),
        ips=valued(*ratio(Term.WEIGHTED_REWARD, Term.ROWS)),
        snips=valued(*snips),
        robust=valued(*ratio(Term.ROBUST_REWARD, Term.ROWS)),
        gain=valued(snips[0] - logged[0], snips[1] - logged[1]),
        mean_weight=valued(*ratio(Term.WEIGHT, Term.ROWS)),
        effective=_effective(totals[Term.WEIGHT], sums.squares[row]),
        effective_rewards=_effective(
            totals[Term.WEIGHTED_REWARD], products[Term.WEIGHTED_REWARD, Term.WEIGHTED_REWARD]
        ),
        uncovered=float(sums.uncovered[row] / max(totals[Term.ROWS], 1)),
    )


def _effective(total: float, squares: float) -> float:
    return float(total**2 / squares) if squares else 0.0
