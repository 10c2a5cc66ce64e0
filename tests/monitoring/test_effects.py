"""Effect sizes: values by hand, and what holds for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nocturne.monitoring.effects import LARGEST_RATIO, difference, jensen_shannon, psi, ratio, wasserstein

LEVELS = ["0.05", "0.25", "0.5", "0.75", "0.95"]
PARTS = arrays(float, 4, elements=st.floats(0.01, 1))


def numbers(*values):
    return np.array(values, dtype=float)


def test_half_and_double_are_both_a_ratio_of_two():
    assert ratio(numbers(50, 200, 100), numbers(100, 100, 100)) == pytest.approx(numbers(2, 2, 1))


def test_what_is_gone_or_comes_from_nothing_has_the_largest_ratio_and_nothing_of_nothing_none():
    assert ratio(numbers(0, 5, 0), numbers(5, 0, 0)) == pytest.approx(numbers(LARGEST_RATIO, LARGEST_RATIO, 1))


def test_a_difference_is_in_the_unit_of_the_numbers():
    assert difference(numbers(0.25), numbers(0.75)) == pytest.approx(numbers(0.5))


def test_distributions_without_a_common_category_are_one_bit_apart():
    assert jensen_shannon(numbers(1, 0), numbers(0, 1)) == pytest.approx(1.0)


def test_psi_of_a_quarter_that_became_three_quarters_is_ln_three():
    # (3/4 - 1/4) ln(3) + (1/4 - 3/4) ln(1/3) = ln 3
    assert psi(numbers(3, 1), numbers(1, 3)) == pytest.approx(np.log(3))


def test_quantiles_that_all_moved_by_ten_are_ten_apart():
    expected = numbers(1, 2, 3, 4, 5)
    assert wasserstein(expected + 10, expected, LEVELS) == pytest.approx(10.0)


@given(PARTS, PARTS)
@pytest.mark.parametrize("effect", [psi, jensen_shannon])
def test_divergences_are_symmetric_never_negative_and_zero_of_the_same(effect, p, q):
    assert effect(p, q) == pytest.approx(float(effect(q, p)), abs=1e-9)
    assert effect(p, q) >= 0
    assert effect(p, 3 * p) == pytest.approx(0.0, abs=1e-9)


@given(PARTS, PARTS, st.floats(0, 1), st.floats(0, 1))
@pytest.mark.parametrize("effect", [psi, jensen_shannon])
def test_a_mixture_is_the_further_away_the_more_of_the_other_it_has(effect, p, q, one, other):
    p, q = p / p.sum(), q / q.sum()
    less, more = sorted((one, other))
    assert effect(p + less * (q - p), p) <= effect(p + more * (q - p), p) + 1e-9


@given(st.floats(1, 1e6), st.floats(1, 100), st.floats(1, 100))
def test_a_ratio_grows_with_the_factor_whichever_way(value, one, other):
    less, more = sorted((one, other))
    assert ratio(numbers(value * less), numbers(value)) <= ratio(numbers(value * more), numbers(value)) + 1e-9
    assert ratio(numbers(value / less), numbers(value)) <= ratio(numbers(value / more), numbers(value)) + 1e-9
