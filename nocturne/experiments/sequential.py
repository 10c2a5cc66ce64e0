"""Group-sequential tests: bounds for a z statistic that is looked at a known number of times.

Statistics of successive looks are jointly normal: Z_k has mean drift·√I_k and variance 1, and the correlation of Z_j
and Z_k is √(I_j/I_k), where the information I_k is one over the variance of the estimate at look k. It need not grow
evenly, nor be known beforehand: spent error depends on the *time* of a look (its share of the planned duration),
correlation on information. Where means and correlations do not follow one information, it is that of the correlations,
and the means are given.
Every test here is one-sided, towards large z.

Source: Jennison and Turnbull (2000), "Group Sequential Methods with Applications to Clinical Trials", chapters 2, 7, 8
and 19; Lan and DeMets (1983), and for time apart from information Lan and DeMets (1989).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, roots_legendre
from scipy.stats import norm

from nocturne.core.arrays import Floats, Mask
from nocturne.core.errors import UsageError

Spending = Literal["obrien_fleming", "pocock"]
Numbers = Sequence[float] | Floats

LEAST_GROWTH = 1e-3
"""Share by which information has to grow for a look to be one: less of it tells nothing new."""

REACH = 8.5
"""Standard deviations around its mean within which a statistic is integrated: what lies outside is below 1e-16."""

NODES_PER_DEVIATION = 1.6
"""With 1.3 bounds move by 3e-8, with 1 by 1e-4."""
LOWEST_P = 1e-8
_LADDER = norm.sf(np.linspace(norm.isf(LOWEST_P), norm.isf(0.9), 16))


def spent(time: Numbers, error: float, spending: Spending) -> Floats:
    """Error that may have been spent by each time, all of it at time 1; shape (looks,).

    Source: Lan and DeMets (1983), section 3; error is that of a one-sided test.
    """
    share = np.clip(np.asarray(time, dtype=np.float64), 0.0, 1.0)
    if spending == "pocock":
        return np.asarray(error * np.log1p((np.e - 1) * share))
    with np.errstate(divide="ignore"):
        return np.asarray(2 * norm.sf(norm.isf(error / 2) / np.sqrt(share)))


def telling(information: Numbers) -> Mask:
    """Looks at which the information has grown since the one before that had; shape (looks,)."""
    kept, last = [], 0.0
    for amount in information:
        kept.append(bool(np.isfinite(amount) and amount > 0 and amount >= last * (1 + LEAST_GROWTH)))
        last = float(amount) if kept[-1] else last
    return np.array(kept, dtype=np.bool_)


def efficacy_bounds(information: Numbers, alpha: float, spending: Spending, time: Numbers | None = None) -> Floats:
    """Bounds that z exceeds at some look with probability alpha, at most, if the drift is 0; shape (looks,).

    Args:
        information: at each look so far, in any unit, or as fractions; a look that adds none has an infinite bound and
            leaves its error to the next.
        alpha: one-sided.
        spending: shape of the spending function.
        time: of each look, in (0, 1]; the fractions of information, unless given.

    Raises:
        UsageError: a value is out of range.
    """
    amounts, times = _checked(information, time, alpha)
    return np.array(_efficacy_bounds(tuple(amounts), alpha, spending, tuple(times)))


def futility_bounds(
    information: Numbers,
    efficacy: Numbers,
    drift: float | Numbers,
    beta: float,
    spending: Spending,
    time: Numbers | None = None,
) -> Floats:
    """Bounds that z falls below with probability beta at most, over all looks before time 1, if there is this drift.

    They are not binding: who goes on below them keeps the rate of `efficacy`. A look at time 1 is the last, and there
    futility is whatever is not efficacy, as it is once both bounds have met. -inf where z is never low enough.
    Shape (looks,).

    Args:
        information: as of `efficacy_bounds`.
        efficacy: bounds of the same looks.
        drift: under which a stop is an error, in units of 1/√information; or the mean of z at each look.
        beta: to be spent.
        spending: shape of the spending function.
        time: as of `efficacy_bounds`.
    """
    amounts, times = _checked(information, time, beta)
    means = tuple(_means(amounts, drift).tolist())
    key = tuple(amounts), tuple(float(bound) for bound in efficacy), means, beta, spending, tuple(times)
    return np.array(_futility_bounds(*key))


def crossing(
    information: Numbers, upper: Numbers, lower: Numbers | None, drift: float | Numbers
) -> tuple[Floats, Floats]:
    """Probability that z leaves first above `upper`, and first below `lower`, at each look; two of shape (looks,).

    Looks without new information are passed over. `drift` is as of `futility_bounds`.
    """
    amounts = np.asarray(information, dtype=np.float64)
    tops = np.asarray(upper, dtype=np.float64)
    bottoms = np.full(len(tops), -np.inf) if lower is None else np.asarray(lower, dtype=np.float64)
    above, below = np.zeros(len(tops)), np.zeros(len(tops))
    kept = np.flatnonzero(telling(amounts))
    walk = _Walk(amounts[kept], _means(amounts, drift)[kept])
    for place in kept:
        above[place], below[place] = walk.above(tops[place]), walk.below(bottoms[place])
        walk.go_on(bottoms[place], tops[place])
    return above, below


def classical_constant(looks: int, alpha: float, shape: float) -> float:
    """Constant C of the two-sided bounds C·(k/looks)^(shape - 1/2) at evenly spaced looks k.

    `shape` 1/2 is Pocock's test, 0 that of O'Brien and Fleming.

    Source: Jennison and Turnbull (2000), tables 2.1, 2.3 and 2.9.
    """
    share = np.arange(1, looks + 1) / looks
    weights = share ** (shape - 0.5)

    def excess(constant: float) -> float:
        above, below = crossing(share, constant * weights, -constant * weights, 0.0)
        return float(above.sum() + below.sum()) - alpha

    return float(brentq(excess, norm.isf(alpha / 2) / 2, norm.isf(alpha / 2 / looks) + 1, xtol=1e-8))


def power(
    information: Numbers,
    drift: float,
    alpha: float,
    spending: Spending,
    *,
    beta: float | None = None,
    time: Numbers | None = None,
) -> float:
    """Probability of crossing the bound of efficacy at some look; with beta, of doing so before that of futility.

    Futility is judged against `drift` itself.
    """
    upper = efficacy_bounds(information, alpha, spending, time)
    lower = None if beta is None else futility_bounds(information, upper, drift, beta, spending, time)
    return float(crossing(information, upper, lower, drift)[0].sum())


def drift_for_power(
    fractions: Numbers, alpha: float, beta: float, spending: Spending, *, futility: bool = True
) -> float:
    """Drift at information 1 that is found with power 1 - beta.

    Its square over that of one look's test, (z_alpha + z_beta)², is the inflation of the sample size.

    Args:
        fractions: of the information, ascending to 1.
        alpha: one-sided.
        beta: one minus the power.
        spending: shape of both spending functions.
        futility: stops for futility are obeyed.
    """
    at_once = float(norm.isf(alpha) + norm.isf(beta))

    def lacking(drift: float) -> float:
        return 1 - beta - power(fractions, drift, alpha, spending, beta=beta if futility else None)

    return float(brentq(lacking, at_once * 0.9, at_once * 2.5, xtol=1e-6))


def sample_size_inflation(
    fractions: Numbers, alpha: float, beta: float, spending: Spending, *, futility: bool = True
) -> float:
    """Largest sample of the sequential test, over the sample of a test that looks once with the same power."""
    drift = drift_for_power(fractions, alpha, beta, spending, futility=futility)
    return float((drift / (norm.isf(alpha) + norm.isf(beta))) ** 2)


def p_values(z: Numbers, information: Numbers, spending: Spending, time: Numbers | None = None) -> Floats:
    """Sequential p-values: at each look, the smallest alpha with which z would have crossed by then; shape (looks,).

    Valid at every look, and never rising. Interpolated between alphas, within .5 % of the value; at least 1e-8, and 1
    above .9.

    Source: Jennison and Turnbull (2000), section 9.4 (repeated p-values).
    """
    amounts, times = _checked(information, time, LOWEST_P)
    values = np.asarray(z, dtype=np.float64)
    bounds = np.array([_efficacy_bounds(tuple(amounts), alpha, spending, tuple(times)) for alpha in _LADDER.tolist()])
    found = np.ones(len(values))
    for place in np.flatnonzero(np.isfinite(bounds[0]) & np.isfinite(values)):
        if values[place] >= bounds[-1, place]:
            alike = np.interp(values[place], bounds[::-1, place], norm.isf(_LADDER[::-1]))
            found[place] = norm.sf(alike)
    return np.asarray(np.minimum.accumulate(found))


@dataclass(frozen=True)
class Adjusted:
    """An estimate after a sequential test, corrected for having stopped when it did.

    Attributes:
        p_value: one-sided, of drift 0.
        median: estimate of the drift that is too high as often as too low.
        low, high: its interval.
    """

    p_value: float
    median: float
    low: float
    high: float


def adjust(
    information: Numbers, bounds: Numbers, z: float, level: float = 0.95, per_unit: Numbers | None = None
) -> Adjusted:
    """The bias-adjusted estimate of a test that ended at the last of these looks with z.

    Args:
        information: of every look up to the end.
        bounds: of efficacy at the same looks; the last is not needed, and may be anything.
        z: at the end.
        level: of the interval, two-sided.
        per_unit: mean of z at each look per unit of drift; √information, unless given.

    Source: stage-wise ordering, Jennison and Turnbull (2000), sections 8.4 and 8.5; Tsiatis, Rosner and Mehta (1984).
    """
    amounts = np.asarray(information, dtype=np.float64)
    tops = np.append(np.asarray(bounds, dtype=np.float64)[:-1], z)
    means = np.sqrt(amounts) if per_unit is None else np.asarray(per_unit, dtype=np.float64)
    scale = 1 / means[-1]

    def beyond(drift: float) -> float:
        return float(crossing(amounts, tops, None, drift * means)[0].sum())

    def drift_at(probability: float) -> float:
        low, high = (z - REACH) * scale, (z + REACH) * scale
        while beyond(low) > probability:
            low -= 4 * REACH * scale
        return float(brentq(lambda drift: beyond(drift) - probability, low, high, xtol=1e-5 * scale))

    tail = (1 - level) / 2
    return Adjusted(beyond(0.0), drift_at(0.5), drift_at(tail), drift_at(1 - tail))


class _Walk:
    """The density of z among courses that have not left yet, by Gauss-Legendre quadrature between the bounds."""

    def __init__(self, information: Floats, centres: Floats) -> None:
        self.information, self.centres = information, centres
        self.points, self.masses = np.zeros(1), np.ones(1)
        self.look = 0
        self._aim()

    def _aim(self) -> None:
        """Means and deviation of the next z, given each point of this one."""
        before = self.information[self.look - 1] if self.look else 0.0
        now = self.information[self.look]
        self.deviation = float(np.sqrt((now - before) / now))
        centre = self.centres[self.look - 1] if self.look else 0.0
        self.means = self.centres[self.look] + np.sqrt(before / now) * (self.points - centre)

    def above(self, bound: float) -> float:
        return float(self.masses @ ndtr((self.means - bound) / self.deviation))

    def below(self, bound: float) -> float:
        return float(self.masses @ ndtr((bound - self.means) / self.deviation))

    def bound_of(self, probability: float, side: int) -> float:
        """The bound with this probability beyond it: above it for side 1, below it for side -1; ±inf for none."""
        if probability <= np.finfo(np.float64).tiny or not self.masses.size:
            return side * np.inf
        with np.errstate(divide="ignore"):
            logs, sought = np.log(self.masses), np.log(probability)

        def excess(bound: float) -> float:
            parts = logs + log_ndtr(side * (self.means - bound) / self.deviation)
            largest = parts.max()
            return float(largest + np.log(np.exp(parts - largest).sum()) - sought)

        near, far = self.means.min() - REACH, self.means.max() + REACH
        near, far = (near, far) if side > 0 else (far, near)
        if excess(near) < 0:
            return float(near)
        while excess(far) > 0:
            far += side * REACH
        return float(brentq(excess, near, far, xtol=1e-9))

    def go_on(self, lower: float, upper: float) -> None:
        """Advance by a look, leaving off what lies beyond the bounds."""
        centre = self.centres[self.look]
        low, high = max(lower, centre - REACH), min(upper, centre + REACH)
        last = self.look + 1 == len(self.information)
        if last or high <= low:
            self.points, self.masses = np.empty(0), np.empty(0)
        else:
            growth = 1 - self.information[self.look] / self.information[self.look + 1]
            next_deviation = np.sqrt(growth / (1 - growth))
            nodes, weights = _nodes((high - low) / min(self.deviation, next_deviation))
            points = low + (high - low) * nodes
            scaled = (points[:, None] - self.means) / self.deviation
            density = np.exp(-0.5 * scaled * scaled) @ self.masses / (self.deviation * np.sqrt(2 * np.pi))
            self.points, self.masses = points, density * weights * (high - low)
        self.look += 1
        if not last:
            self._aim()


def _means(information: Numbers, drift: float | Numbers) -> Floats:
    """Means of z at each look."""
    given = np.asarray(drift, dtype=np.float64)
    return given if given.ndim else given * np.sqrt(np.asarray(information, dtype=np.float64))


def _nodes(deviations: float) -> tuple[Floats, Floats]:
    return _legendre(int(16 * np.ceil(NODES_PER_DEVIATION * deviations / 16)))


@lru_cache(maxsize=64)
def _legendre(count: int) -> tuple[Floats, Floats]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = roots_legendre(count)
    return (nodes + 1) / 2, weights / 2


def _checked(information: Numbers, time: Numbers | None, error: float) -> tuple[list[float], list[float]]:
    amounts = [float(amount) for amount in information]
    times = [float(moment) for moment in (information if time is None else time)]
    steps = np.diff([0.0, *times])
    if not 0 < error < 1 or len(times) != len(amounts) or not times or (steps <= 0).any() or times[-1] > 1 + 1e-9:
        raise UsageError(
            "the looks of a sequential test are out of range",
            found=f"{len(amounts)} amounts of information at times {times}, error {error}",
            expected="as many times, ascending above 0 and up to 1; an error between 0 and 1",
            fix="give the time of each look as its share of the planned days",
        )
    return amounts, times


def _each_look(
    information: tuple[float, ...], error: float, spending: Spending, time: tuple[float, ...], means: Floats,
    none: float, leave: Callable[["_Walk", float, int], tuple[float, float, float]],
) -> tuple[float, ...]:  # fmt: skip
    """A bound for every look that tells something, `none` for the others; what they would spend goes to the next."""
    bounds = np.full(len(information), none)
    kept = np.flatnonzero(telling(information))
    walk = _Walk(np.array(information)[kept], means[kept]) if len(kept) else None
    steps = np.diff(spent(np.array(time)[kept], error, spending), prepend=0.0)
    for place, step in zip(kept.tolist(), steps.tolist(), strict=True):
        assert walk
        bounds[place], lower, upper = leave(walk, step, place)
        walk.go_on(lower, upper)
    return tuple(bounds.tolist())


@lru_cache(maxsize=4096)
def _efficacy_bounds(
    information: tuple[float, ...], alpha: float, spending: Spending, time: tuple[float, ...]
) -> tuple[float, ...]:
    def leave(walk: _Walk, step: float, _place: int) -> tuple[float, float, float]:
        bound = walk.bound_of(step, 1)
        return bound, -np.inf, bound

    return _each_look(information, alpha, spending, time, np.zeros(len(time)), np.inf, leave)


@lru_cache(maxsize=4096)
def _futility_bounds(
    information: tuple[float, ...], efficacy: tuple[float, ...], means: tuple[float, ...], beta: float,
    spending: Spending, time: tuple[float, ...],
) -> tuple[float, ...]:  # fmt: skip
    def leave(walk: _Walk, step: float, place: int) -> tuple[float, float, float]:
        decided = time[place] >= 1 - 1e-9 or not walk.masses.size
        bound = efficacy[place] if decided else min(walk.bound_of(step, -1), efficacy[place])
        return bound, bound, efficacy[place]

    return _each_look(information, beta, spending, time, np.array(means), -np.inf, leave)
