"""Baseline: expected by weekday, growth and the last week; robust against single nights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.monitoring.baseline import NIGHTS, baseline, median

WEEKDAYS = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 8.0, 9.0])


def before(nights: int, growth_a_week: float = 0.0) -> np.ndarray:
    """Weekdays on a line, of the nights before a night whose weekday is 0; the last one first."""
    back = np.arange(1, nights + 1)
    return (100 + WEEKDAYS[-back % 7] - growth_a_week * back / 7)[None, :]


def test_the_same_weekday_is_expected():
    usual = baseline(before(28))
    assert usual.expected == pytest.approx([100.0])
    assert usual.spread == pytest.approx([0.0])
    assert usual.seasonal.tolist() == [True]


def test_growth_is_carried_on():
    assert baseline(before(28, growth_a_week=7.0)).expected == pytest.approx([100.0])


def test_a_level_that_moved_once_is_not_taken_for_growth():
    moved = before(56)
    moved[0, :10] += 50  # ten nights ago
    assert [baseline(moved[:, :nights]).expected[0] for nights in (14, 21, 28, 56)] == pytest.approx([150.0] * 4)


def test_a_weekday_seen_once_has_no_level_of_its_own():
    usual = baseline(before(9))
    assert usual.seasonal.tolist() == [False]
    assert usual.nights.tolist() == [9]


def test_nothing_is_expected_without_nights():
    usual = baseline(np.full((1, 10), np.nan))
    assert np.isnan(usual.expected).all()
    assert usual.nights.tolist() == [0]


def test_one_night_of_nothing_changes_what_is_expected_by_little():
    nights = before(28)
    nights[0, 2] = 0.0
    assert baseline(nights).expected == pytest.approx([100.0])


def test_a_new_level_is_usual_after_four_nights():
    nights = before(35)
    nights[0, :3] += 50
    assert baseline(nights).expected == pytest.approx([100.0])
    nights[0, 3] += 50
    assert baseline(nights).expected == pytest.approx([150.0])


def test_nights_of_another_kind_say_nothing():
    nights = before(28)
    nights[0, ::2] = 1e6
    alike = np.arange(28) % 2 == 1
    assert baseline(nights, alike).nights.tolist() == [14]
    assert baseline(nights, alike).expected < 110


def test_the_median_leaves_out_what_is_not_there():
    rows = np.array([[np.nan, 3.0, 1.0], [np.nan, np.nan, np.nan], [4.0, 2.0, np.nan], [1.0, 5.0, 2.0]])
    assert median(rows) == pytest.approx(np.array([2.0, np.nan, 3.0, 2.0]), nan_ok=True)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=NIGHTS), st.floats(-1e6, 1e6))
def test_what_is_expected_moves_with_everything(values, moved):
    nights = np.array([values])
    here, there = baseline(nights), baseline(nights + moved)
    assert there.expected == pytest.approx(here.expected + moved, abs=1e-3)
    assert there.spread == pytest.approx(here.spread, abs=1e-3)
