"""Group-sequential tests: against published tables, an independent implementation, simulation and their own promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from nocturne.core.errors import UsageError
from nocturne.experiments.sequential import (
    adjust,
    classical_constant,
    crossing,
    drift_for_power,
    efficacy_bounds,
    futility_bounds,
    p_values,
    power,
    sample_size_inflation,
    spent,
    telling,
)
from tests.experiments.reference_bounds import REFERENCE

LOOKS = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 20]
POCOCK = {
    0.01: [2.772, 2.873, 2.939, 2.986, 3.023, 3.053, 3.078, 3.099, 3.117, 3.133, 3.147, 3.182, 3.225],
    0.05: [2.178, 2.289, 2.361, 2.413, 2.453, 2.485, 2.512, 2.535, 2.555, 2.572, 2.588, 2.626, 2.672],
    0.10: [1.875, 1.992, 2.067, 2.122, 2.164, 2.197, 2.225, 2.249, 2.270, 2.288, 2.304, 2.344, 2.392],
}
"""Constants of Jennison and Turnbull (2000), table 2.1.

Those up to 10 looks were compared with a copy of the table; all of them with SciPy's multivariate normal distribution,
whose probability of staying between the bounds of each moves them by .0012 at most, .0005 of it their rounding.
"""

OBRIEN_FLEMING = {
    0.01: [2.580, 2.595, 2.609, 2.621, 2.631, 2.640, 2.648, 2.654, 2.660, 2.665, 2.670, 2.681, 2.695],
    0.05: [1.977, 2.004, 2.024, 2.040, 2.053, 2.063, 2.072, 2.080, 2.087, 2.092, 2.098, 2.110, 2.126],
    0.10: [1.678, 1.710, 1.733, 1.751, 1.765, 1.776, 1.786, 1.794, 1.801, 1.807, 1.813, 1.826, 1.842],
}
"""Constants of Jennison and Turnbull (2000), table 2.3; compared likewise, with a copy those at .05 up to 10 looks."""

SPENDINGS = ["obrien_fleming", "pocock"]
EVENLY = np.arange(1, 6) / 5


@pytest.mark.parametrize(("shape", "table"), [(0.5, POCOCK), (0.0, OBRIEN_FLEMING)], ids=["pocock", "obrien_fleming"])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_the_classical_constants_are_those_of_the_tables(shape, table, alpha):
    assert [classical_constant(looks, alpha, shape) for looks in LOOKS] == pytest.approx(table[alpha], abs=1e-3)


@pytest.mark.parametrize(("spending", "looks"), REFERENCE)
def test_bounds_are_those_of_an_independent_implementation(spending, looks):
    reference = np.array(REFERENCE[spending, looks])
    bounds = efficacy_bounds(np.arange(1, looks + 1) / looks, 0.05, spending)
    below = reference < 8
    assert below.sum() >= looks - 3
    assert bounds[below] == pytest.approx(reference[below], abs=1e-3)
    assert (bounds[~below] >= 8).all()


def test_one_look_is_the_test_that_everybody_knows():
    assert efficacy_bounds([1.0], 0.05, "pocock") == pytest.approx([1.6448536])
    assert power([1.0], 1.6448536 + 0.8416212, 0.05, "pocock") == pytest.approx(0.8, abs=1e-6)


def test_spending_follows_lan_and_demets():
    assert spent([0.25, 1.0], 0.05, "obrien_fleming") == pytest.approx([2 * norm.sf(1.959964 / 0.5), 0.05])
    assert spent([0.5, 1.0], 0.05, "pocock") == pytest.approx([0.05 * np.log(1.8591409), 0.05])


@st.composite
def courses(draw):
    """Times and information of some looks: uneven, and not proportional to each other."""
    steps = draw(st.lists(st.floats(0.05, 1.0), min_size=2, max_size=8))
    growth = draw(st.lists(st.floats(0.02, 1.0), min_size=len(steps), max_size=len(steps)))
    return np.cumsum(steps) / np.sum(steps), 10 * np.cumsum(growth)


@settings(max_examples=25, deadline=None)
@given(courses(), st.sampled_from(SPENDINGS), st.floats(0.005, 0.2))
def test_the_error_at_each_look_is_what_time_lets_be_spent(course, spending, alpha):
    time, information = course
    bounds = efficacy_bounds(information, alpha, spending, time)
    above, _ = crossing(information, bounds, None, 0.0)
    assert above.cumsum() == pytest.approx(spent(time, alpha, spending), abs=1e-8)


@settings(max_examples=25, deadline=None)
@given(courses(), st.sampled_from(SPENDINGS))
def test_a_later_look_changes_no_earlier_bound(course, spending):
    time, information = course
    whole = efficacy_bounds(information, 0.05, spending, time)
    assert efficacy_bounds(information[:-1], 0.05, spending, time[:-1]) == pytest.approx(whole[:-1], abs=1e-7)


@pytest.mark.parametrize("spending", SPENDINGS)
def test_the_rate_and_the_power_are_those_of_simulated_courses(spending):
    rng = np.random.default_rng(3)
    information = np.array([3.0, 4.0, 9.0, 16.0])
    steps = rng.normal(size=(200_000, 4)) * np.sqrt(np.diff(information, prepend=0))
    bounds = efficacy_bounds(information, 0.05, spending, information / 16)
    for drift in (0.0, 0.6):
        z = (steps.cumsum(axis=1) + drift * information) / np.sqrt(information)
        rate = (z >= bounds).any(axis=1).mean()
        assert rate == pytest.approx(crossing(information, bounds, None, drift)[0].sum(), abs=0.005)


def test_a_look_that_adds_nothing_leaves_its_error_to_the_next():
    information, time = [1.0, 1.0, 2.0], [1 / 3, 2 / 3, 1.0]
    bounds = efficacy_bounds(information, 0.05, "pocock", time)
    assert list(telling(information)) == [True, False, True]
    assert bounds[1] == np.inf
    assert crossing(information, bounds, None, 0.0)[0].sum() == pytest.approx(0.05)
    assert efficacy_bounds([0.0, 1.0], 0.05, "pocock", [0.5, 1.0])[1] == pytest.approx(1.6448536)


def test_futility_spends_beta_and_does_not_bind():
    drift = drift_for_power(EVENLY, 0.05, 0.2, "obrien_fleming")
    upper = efficacy_bounds(EVENLY, 0.05, "obrien_fleming")
    lower = futility_bounds(EVENLY, upper, drift, 0.2, "obrien_fleming")
    above, below = crossing(EVENLY, upper, lower, drift)
    assert above.sum() == pytest.approx(0.8, abs=1e-5)
    assert below.cumsum()[:-1] == pytest.approx(spent(EVENLY, 0.2, "obrien_fleming")[:-1], abs=1e-6)
    assert lower[-1] == upper[-1]
    assert crossing(EVENLY, upper, None, 0.0)[0].sum() == pytest.approx(0.05)


def test_means_that_follow_no_information_may_be_given():
    upper = efficacy_bounds(EVENLY, 0.05, "pocock")
    means = 2.0 * np.sqrt(EVENLY)
    assert crossing(EVENLY, upper, None, means)[0] == pytest.approx(crossing(EVENLY, upper, None, 2.0)[0])
    given = futility_bounds(EVENLY, upper, means, 0.2, "pocock")
    assert given == pytest.approx(futility_bounds(EVENLY, upper, 2.0, 0.2, "pocock"))
    falling = np.array([2.0, 1.0])
    rng = np.random.default_rng(6)
    z = rng.normal(size=(200_000, 2)) @ np.array([[1.0, np.sqrt(0.5)], [0.0, np.sqrt(0.5)]]) + falling
    first = z[:, 0] >= 2.2
    expected = first.mean(), (~first & (z[:, 1] >= 2.0)).mean()
    assert crossing([1.0, 2.0], [2.2, 2.0], None, falling)[0] == pytest.approx(expected, abs=0.004)


def test_who_has_more_than_enough_information_decides_before_the_end():
    upper = efficacy_bounds(EVENLY, 0.05, "pocock")
    lower = futility_bounds(EVENLY, upper, 20.0, 0.2, "pocock")
    assert lower[-3:] == pytest.approx(upper[-3:])


@pytest.mark.parametrize("spending", SPENDINGS)
def test_the_inflated_sample_has_the_power_of_the_test_that_looks_once(spending):
    inflation = sample_size_inflation(EVENLY, 0.025, 0.2, spending, futility=False)
    drift = (1.959964 + 0.841621) * np.sqrt(inflation)
    z = np.random.default_rng(5).normal(size=(200_000, 5)).cumsum(axis=1) / np.sqrt(np.arange(1, 6)) + drift * np.sqrt(
        EVENLY
    )
    assert (z >= efficacy_bounds(EVENLY, 0.025, spending)).any(axis=1).mean() == pytest.approx(0.8, abs=0.003)
    assert 1 < inflation < sample_size_inflation(EVENLY, 0.025, 0.2, spending)


def test_the_p_value_is_the_alpha_that_would_just_have_crossed():
    bounds = efficacy_bounds(EVENLY, 0.02, "pocock")
    z = np.array([0.0, bounds[1], 0.0, 0.0, 0.0])
    assert p_values(z, EVENLY, "pocock")[1:] == pytest.approx(0.02, rel=5e-3)
    assert p_values([-5.0], [1.0], "pocock") == pytest.approx([1.0])


def test_the_p_value_of_one_look_is_the_usual_one():
    assert p_values([2.0], [7.0], "obrien_fleming", [1.0]) == pytest.approx([norm.sf(2.0)], rel=1e-3)


def test_the_estimate_of_one_look_needs_no_correction():
    found = adjust([4.0], [1.96], 2.0)
    assert (found.median, found.low, found.high) == pytest.approx((1.0, 1.0 - 0.979982, 1.0 + 0.979982), abs=1e-4)
    assert found.p_value == pytest.approx(norm.sf(2.0))


def test_the_adjusted_estimate_is_too_high_as_often_as_too_low_and_its_interval_covers():
    rng = np.random.default_rng(4)
    information, drift = np.array([1.0, 2.0, 3.0]), 1.4
    bounds = efficacy_bounds(information / 3, 0.05, "pocock")
    z = (rng.normal(size=(600, 3)).cumsum(axis=1) + drift * information) / np.sqrt(information)
    crossed = z >= bounds
    ends = np.where(crossed.any(axis=1), crossed.argmax(axis=1), 2)
    found = [adjust(information[: k + 1], bounds[: k + 1], float(row[k])) for row, k in zip(z, ends, strict=True)]
    naive = np.array([row[k] / np.sqrt(information[k]) for row, k in zip(z, ends, strict=True)])
    assert np.mean([each.median > drift for each in found]) == pytest.approx(0.5, abs=0.07)  # 3.4 standard errors
    assert np.mean(naive > drift) > 0.57
    assert np.mean([each.low <= drift <= each.high for each in found]) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("information", "time", "alpha"),
    [([1, 2], [0.5], 0.05), ([1, 2], [0.5, 0.5], 0.05), ([1, 2], [0.5, 1.5], 0.05), ([], [], 0.05), ([1], [1], 0.0)],
)
def test_looks_out_of_range_are_told(information, time, alpha):
    with pytest.raises(UsageError, match="out of range"):
        efficacy_bounds(information, alpha, "pocock", time)
