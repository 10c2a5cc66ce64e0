"""Moments: whatever is split up and added again is what NumPy says of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.experiments.moments import Moments, aggregates_of

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def listeners(draw):
    """Rows of one to three columns, and the part of four that each of them is measured in."""
    width = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=2, max_size=12))
    parts = draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    return np.array(rows), np.array(parts)


@given(listeners())
def test_the_parts_of_any_split_add_up_to_the_covariance_of_all(drawn):
    values, parts = drawn
    total = Moments.of(values[parts == 0])
    for part in (1, 2, 3):
        total = total.plus(Moments.of(values[parts == part]))
    expected = np.atleast_2d(np.cov(values, rowvar=False))
    allowed = 1e-9 * max(1.0, np.square(values).max())
    assert total.count == len(values)
    assert total.means == pytest.approx(values.mean(axis=0), rel=1e-12, abs=1e-9 * max(1.0, np.abs(values).max()))
    assert total.products / (len(values) - 1) == pytest.approx(expected, rel=1e-9, abs=allowed)


def test_small_deviations_from_a_large_mean_are_not_lost():
    # 1e9 + (0, 1, 2, 3): a sum of squares less the square of the sum would have no digit left
    values = 1e9 + np.arange(4.0)[:, None]
    split = Moments.of(values[:1]).plus(Moments.of(values[1:]))
    assert split.products == pytest.approx(np.array([[5.0]]), abs=1e-6)


def test_a_row_of_looks_has_the_sample_moments_of_literal_listeners():
    # plays 1, 2, 6: mean 3, squares 4 + 1 + 9 over 2; minutes 0, 3, 3: mean 2, 4 + 1 + 1 over 2;
    # products (-2)(-2) + (-1)(1) + 3 * 1 over 2
    moments = Moments.of(np.array([[1.0, 0.0], [2.0, 3.0], [6.0, 3.0]]))
    row = moments.to_row(("plays", "minutes"), [("minutes", "plays")])
    assert row == {
        "listeners": 3,
        "means": [("plays", 3.0), ("minutes", 2.0)],
        "variances": [("plays", 7.0), ("minutes", 3.0)],
        "covariances": [("minutes|plays", 3.0)],
    }
    aggregates = aggregates_of(row)
    assert (aggregates.count(), aggregates.mean("plays"), aggregates.var("minutes")) == (3, 3.0, 3.0)
    assert aggregates.cov("plays", "minutes") == aggregates.cov("minutes", "plays") == 3.0


@pytest.mark.parametrize("values", [np.zeros((0, 2)), np.array([[4.0, 5.0]])], ids=["nobody", "one listener"])
def test_without_two_listeners_there_is_no_variance(values):
    row = Moments.of(values).to_row(("plays", "minutes"), [("minutes", "plays")])
    assert [value for _, value in (*row["variances"], *row["covariances"])] == [0.0] * 3
    assert row["listeners"] == len(values)


def test_nobody_added_to_nobody_is_nobody():
    nobody = Moments.of(np.zeros((0, 1)))
    assert nobody.plus(nobody).count == 0
    assert nobody.plus(Moments.of(np.array([[2.0]]))).means.tolist() == [2.0]
