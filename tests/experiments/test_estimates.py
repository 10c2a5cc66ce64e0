"""Effects and their errors: by hand, beside tea-tasting, and against what chance does."""

import numpy as np
import pytest
import tea_tasting as tt
from hypothesis import assume, given
from hypothesis import strategies as st

from nocturne.experiments.columns import Columns
from nocturne.experiments.estimates import UNKNOWN, Estimate, estimate
from tests.experiments.worlds import aggregates_of

MINUTES, PER_PLAY = Columns("minutes"), Columns("minutes", "plays")


def world(rng, listeners, lift=1.0, habits=0.0):
    """Minutes and plays of listeners, and those of before, which go together; 3 minutes a play, or by habit."""
    taste, habit = rng.gamma(2, 2, listeners), 3 + habits * rng.uniform(-1, 1, listeners)
    plays, before = rng.poisson(taste), rng.poisson(taste)
    return {
        "minutes": habit * lift * plays + rng.normal(0, 1, listeners),
        "plays": plays,
        "before:minutes": habit * before + rng.normal(0, 1, listeners),
        "before:plays": before,
    }


def test_a_difference_of_means_by_hand():
    # means 2 and 4; variances 1 and 4
    control, treatment = aggregates_of({"minutes": [1, 2, 3]}), aggregates_of({"minutes": [2, 4, 6]})
    found = estimate(control, treatment, MINUTES)
    assert (found.control, found.effect, found.treatment, found.relative) == pytest.approx((2, 2, 4, 1))
    assert (found.variance, found.control_variance, found.covariance) == pytest.approx((5 / 3, 1 / 3, -1 / 3))
    assert found.relative_variance == pytest.approx((4 / 3 + 4 * 1 / 3) / 4)
    assert found.z() == pytest.approx(2 / np.sqrt(5 / 3))
    assert found.z(1.0) == pytest.approx(0.0)
    assert found.information == pytest.approx(1 / found.relative_variance)


def test_a_proportion_is_a_mean_of_zeros_and_ones():
    found = estimate(
        aggregates_of({"active": [0, 0, 0, 1]}), aggregates_of({"active": [1, 1, 0, 1]}), Columns("active")
    )
    assert (found.control, found.effect, found.variance) == pytest.approx((0.25, 0.5, 2 * 0.25 / 4))


@pytest.mark.parametrize(
    ("columns", "metric"),
    [
        (MINUTES, tt.Mean("minutes", use_t=False)),
        (PER_PLAY, tt.RatioOfMeans("minutes", "plays", use_t=False)),
        (MINUTES, tt.Mean("minutes", "before:minutes", use_t=False)),
        (PER_PLAY, tt.RatioOfMeans("minutes", "plays", "before:minutes", "before:plays", use_t=False)),
    ],
    ids=["mean", "ratio", "mean-cuped", "ratio-cuped"],
)
def test_effects_and_errors_are_those_of_tea_tasting(columns, metric):
    rng = np.random.default_rng(1)
    control, treatment = aggregates_of(world(rng, 500, habits=2)), aggregates_of(world(rng, 700, 1.1, habits=2))
    cuped = bool(getattr(metric, "numer_covariate", None))
    found, expected = estimate(control, treatment, columns, cuped=cuped), metric.analyze_aggregates(control, treatment)
    assert (found.control, found.effect, found.z()) == pytest.approx(
        (expected.control, expected.effect_size, expected.statistic)
    )
    # theirs is the interval of the log of the ratio of means, whose error is the same to first order
    error = np.log1p(expected.rel_effect_size_ci_upper) - np.log1p(expected.rel_effect_size)
    assert np.sqrt(found.relative_variance) == pytest.approx((1 + found.relative) * error / 1.959964)
    assert found.reduction > 0.1 if cuped else found.reduction == 0


@given(
    st.floats(1, 10), st.floats(-3, 3), st.floats(0.01, 0.2), st.floats(0.01, 0.2), st.floats(0.1, 3), st.floats(0.1, 3)
)
def test_the_interval_ends_where_z_reaches_its_bounds(control, effect, noise, other, below, above):
    found = Estimate(control, effect, noise + other, noise, -noise)
    low, high = found.interval(below, above)
    assert low < found.relative < high
    assume(np.isfinite(low) and np.isfinite(high))  # a control that may be zero has no limit
    assert (found.z(low), found.z(high)) == pytest.approx((below, -above), rel=1e-5, abs=1e-5)


def test_a_control_that_may_be_zero_has_no_relative_limit():
    assert Estimate(1.0, 1.0, 2.0, 1.0, -1.0).interval(2.0, 2.0) == (-np.inf, np.inf)
    assert Estimate(9.0, 1.0, 2.0, 1.0, -1.0).interval(np.inf, np.inf) == (-np.inf, np.inf)


def test_cuped_takes_off_what_the_days_before_explain_and_no_effect():
    rng = np.random.default_rng(2)
    effects, variances, reductions = [], [], []
    for _ in range(400):
        found = estimate(aggregates_of(world(rng, 400)), aggregates_of(world(rng, 400, 1.1)), MINUTES)
        effects.append(found.effect)
        variances.append(found.variance)
        reductions.append(found.reduction)
    # minutes are 3 * plays, plays have the mean 4: the effect is 1.2; taste is 8 of the variance 12 of plays
    assert np.mean(effects) == pytest.approx(1.2, abs=4 * np.std(effects) / 20)
    assert np.var(effects) == pytest.approx(np.mean(variances), rel=0.25)
    assert np.mean(reductions) == pytest.approx((8 / 12) ** 2, abs=0.03)


@pytest.mark.parametrize("columns", [MINUTES, PER_PLAY], ids=["mean", "ratio"])
def test_an_array_of_experiments_is_estimated_as_each_of_them(columns):
    rng = np.random.default_rng(3)
    pairs = [(aggregates_of(world(rng, 50)), aggregates_of(world(rng, 60))) for _ in range(3)]
    stacked = [
        tt.aggr.Aggregates(
            pairs[0][arm].count(),
            {name: np.array([pair[arm].mean(name) for pair in pairs]) for name in pairs[0][arm].mean_},
            {name: np.array([pair[arm].var(name) for pair in pairs]) for name in pairs[0][arm].var_},
            {names: np.array([pair[arm].cov(*names) for pair in pairs]) for names in pairs[0][arm].cov_},
        )
        for arm in (0, 1)
    ]
    together = estimate(*stacked, columns)
    assert list(together.z(0.01)) == pytest.approx([estimate(*pair, columns).z(0.01) for pair in pairs])


def test_nothing_is_known_of_nobody_and_of_an_arm_of_one():
    nobody, one = aggregates_of({"minutes": []}), aggregates_of({"minutes": [1]})
    assert estimate(nobody, one, MINUTES) is UNKNOWN
    assert UNKNOWN.information == 0.0
    assert np.isnan(UNKNOWN.z())


def test_a_ratio_over_nothing_is_unknown_without_a_warning():
    silent = aggregates_of({"minutes": [0, 0, 0], "plays": [0, 0, 0]})
    found = estimate(silent, silent, PER_PLAY)
    assert np.isnan(found.effect)
    assert found.information == 0.0


def test_looks_go_together_as_much_as_what_listeners_did():
    days = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    arm = aggregates_of({"minutes": days.sum(axis=0), "last:minutes": days[0]})
    expected = np.corrcoef(days.sum(axis=0), days[0])[0, 1]
    assert estimate(arm, arm, MINUTES).correlation == pytest.approx(expected)
    assert np.isnan(
        estimate(aggregates_of({"minutes": [1, 2]}), aggregates_of({"minutes": [1, 2]}), MINUTES).correlation
    )


@pytest.mark.parametrize("columns", [MINUTES, PER_PLAY], ids=["mean", "ratio"])
def test_the_correlation_of_two_looks_is_that_of_their_effects_over_many_experiments(columns):
    rng = np.random.default_rng(4)
    now, last, promised = [], [], []
    for _ in range(600):
        arms, earlier = [], []
        for _arm in range(2):
            taste, habit = rng.gamma(2, 2, 300), rng.uniform(1, 5, 300)
            plays = rng.poisson(taste, (3, 300))
            minutes = habit * plays + 2 * np.sqrt(plays) * rng.normal(size=(3, 300))
            before = {"before:minutes": habit * taste + rng.normal(size=300), "before:plays": taste}
            first = {"minutes": minutes[0], "plays": plays[0]}
            sums = {"minutes": minutes.sum(axis=0), "plays": plays.sum(axis=0)}
            arms.append(aggregates_of(sums | {f"last:{name}": of for name, of in first.items()} | before))
            earlier.append(aggregates_of(first | before))
        found = estimate(*arms, columns)
        now.append(found.relative)
        last.append(estimate(*earlier, columns).relative)
        promised.append(found.correlation)
    assert np.mean(promised) == pytest.approx(np.corrcoef(now, last)[0, 1], abs=0.09)  # 3 standard errors or more
    assert 0.4 < np.mean(promised) < 0.9
