"""Interleaving: credit goes to who picked the item, and listeners are counted once each."""

from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.experiments.interleaving import (
    Preference,
    Preferences,
    credit,
    credit_difference,
    net_preference,
    preferences,
)
from nocturne.kernel.team_draft import FIRST, NEITHER, SECOND


def test_a_play_is_credit_of_the_team_that_picked_the_item():
    listeners = np.array([0, 0, 2, 2, 2])
    teams = np.array([FIRST, SECOND, SECOND, NEITHER, SECOND], np.int8)
    minutes = np.array([3.0, 1.0, 2.0, 50.0, 4.0])
    assert credit(listeners, teams, minutes, 3).tolist() == [[3, 1], [0, 0], [0, 6]]


def test_nobody_played():
    assert credit(np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0), 2).tolist() == [[0, 0], [0, 0]]


def test_listeners_win_are_lost_or_tied():
    sums = preferences(np.array([[0, 2], [1, 2], [3, 3], [5, 0], [0, 0.0]]))
    assert sums == Preferences(listeners=5, wins=2, losses=1, control=9, treatment=7, squares=4 + 1 + 25)
    assert sums.ties == 2


def test_net_preference_counts_listeners_and_the_difference_their_credit():
    sums = preferences(np.array([[0, 2], [1, 2], [3, 3], [5, 0], [0, 0.0]]))
    # signs 1 1 0 -1 0: mean .2, sum of squared deviations 3 - 5 x .04 = 2.8
    net = net_preference(sums)
    assert net == Preference(pytest.approx(0.2), pytest.approx(sqrt(2.8 / 4 / 5)))
    # differences 2 1 0 -5 0: mean -.4, sum of squared deviations 30 - 5 x .16 = 29.2
    assert credit_difference(sums) == Preference(pytest.approx(-0.4), pytest.approx(sqrt(29.2 / 4 / 5)))
    assert net.z == pytest.approx(0.2 / sqrt(0.14))


def test_below_two_listeners_nothing_is_known():
    none = preferences(np.zeros((0, 2)))
    assert net_preference(none) == Preference(0.0, inf)
    one = net_preference(preferences(np.array([[0, 1.0]])))
    assert (one, one.z) == (Preference(1.0, inf), 0.0)


def test_without_any_difference_z_is_zero_and_without_any_doubt_infinite():
    assert net_preference(preferences(np.zeros((9, 2)))).z == 0
    assert net_preference(preferences(np.array([[1.0, 0.0]] * 3))).z == -inf


credits_of_listeners = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=30)


@given(credits_of_listeners, st.integers(0, 30))
def test_sums_of_parts_add_up_to_those_of_all(rows, cut):
    given_credit = np.array(rows, np.float64)
    parts = preferences(given_credit[:cut]) + preferences(given_credit[cut:])
    assert parts == preferences(given_credit)


@given(credits_of_listeners)
def test_estimates_are_means_and_their_standard_errors(rows):
    given_credit = np.array(rows, np.float64)
    differences = given_credit[:, 1] - given_credit[:, 0]
    sums = preferences(given_credit)
    for found, values in ((net_preference(sums), np.sign(differences)), (credit_difference(sums), differences)):
        assert found.estimate == pytest.approx(values.mean())
        assert found.standard_error == pytest.approx(values.std(ddof=1) / sqrt(len(values)), abs=1e-9)
