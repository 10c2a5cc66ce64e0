"""Off-policy estimates: right on average, honest about their doubt, and plain where a log does not tell."""

from dataclasses import replace
from math import inf, isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.errors import InputError
from nocturne.experiments.off_policy import Shown, estimates, frequencies, predict_rewards, sums_of

REWARDS = np.array([[0.1, 0.3, 0.5], [0.05, 0.1, 0.4]])
"""Probability of a play by place and item."""

LOGGING = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
TARGET = np.array([[0.2, 0.3, 0.5], [0.3, 0.2, 0.5]])
TRUE_VALUES = (TARGET * REWARDS).sum(axis=1)
"""Of places: .02 + .09 + .25 = .36 and .015 + .02 + .2 = .235."""


def shown(rewards, propensities, targets, **others):
    arrays = [np.array(values, np.float64) for values in (rewards, propensities, targets)]
    return Shown(np.zeros(len(rewards), np.int64), *arrays, **others)


def one_estimate(log):
    """The estimate of a log of one place."""
    of_all, of_place = estimates(sums_of(log, 1))
    assert (of_all.place, of_place.place) == (None, 1)
    assert of_place.snips.estimate == pytest.approx(of_all.snips.estimate, nan_ok=True)
    assert of_place.effective == pytest.approx(of_all.effective)
    return of_all


def drawn(rows, rng, target=TARGET):
    """Items that the logging policy drew, half of them at each place, and what they were rewarded with."""
    places = np.arange(rows) % 2
    items = (rng.random(rows)[:, None] > LOGGING.cumsum(axis=1)[places]).sum(axis=1)
    rewards = (rng.random(rows) < REWARDS[places, items]).astype(np.float64)
    return items, Shown(places, rewards, LOGGING[places, items], target[places, items])


def test_estimates_of_four_rows_are_those_by_hand():
    # weights 1.5 .5 .5 .5, of sum 3; weighted rewards 1.5 .5 0 0
    found = one_estimate(shown([1, 1, 0, 0], [0.5] * 4, [0.75, 0.25, 0.25, 0.25]))
    assert found.rows == 4
    assert found.logged.estimate == 0.5
    assert found.ips.estimate == 0.5
    assert found.ips.standard_error == pytest.approx(sqrt(1.5 / 3 / 4))  # deviations 1 0 -.5 -.5
    assert found.snips.estimate == pytest.approx(2 / 3)
    # w (r - 2/3) = 1/2 1/6 -1/3 -1/3, their squares .5 in all
    assert found.snips.standard_error == pytest.approx(sqrt(0.5 / 3**2 * 4 / 3))
    assert found.snips.high == pytest.approx(2 / 3 + 1.959964 * found.snips.standard_error)
    assert found.gain.estimate == pytest.approx(1 / 6)
    assert found.mean_weight.estimate == 0.75
    assert found.effective == pytest.approx(9 / 3)
    assert found.effective_rewards == pytest.approx(4 / 2.5)


def test_a_target_that_is_the_logging_policy_has_the_logged_mean_and_no_gain():
    places = np.arange(400) % 2
    log = Shown(places, (np.arange(400) % 5 == 0).astype(np.float64), np.full(400, 0.25), np.full(400, 0.25))
    for found in estimates(sums_of(log, 2)):
        assert found.ips == found.snips == found.logged
        assert (found.gain.estimate, found.gain.standard_error) == (0, pytest.approx(0, abs=1e-9))
        assert found.effective == found.rows
        assert found.shortcomings == ()
        assert found.verdict.startswith("cannot be told from what was shown")


@pytest.mark.parametrize("name", ["ips", "snips", "robust"])
def test_intervals_hold_the_true_value_at_their_rate(name):
    held = np.zeros(2)
    for seed in range(400):
        items, log = drawn(1_000, np.random.default_rng(seed))
        predicted, expected = predict_rewards(log.places, items, log.rewards, TARGET)
        found = estimates(sums_of(replace(log, predicted=predicted, expected=expected), 2))[1:]
        values = [getattr(each, name) for each in found]
        held += [each.low <= true <= each.high for each, true in zip(values, TRUE_VALUES, strict=True)]
    assert all(0.91 < share < 0.985 for share in held / 400)  # binomial, 99.9 %: .910 to .983


WORSE = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]])


@pytest.mark.parametrize(("target", "verdict"), [(TARGET, "better"), (WORSE, "worse")])
def test_better_and_worse_are_told_apart(target, verdict):
    _, log = drawn(20_000, np.random.default_rng(1), target)
    found = estimates(sums_of(log, 2))
    assert [each.verdict.partition(",")[0] for each in found] == [f"{verdict} than what was shown"] * 3


def test_standard_errors_are_those_of_a_bootstrap_over_listeners():
    rng = np.random.default_rng(3)
    _, log = drawn(3_000, rng)
    listeners = rng.integers(0, 300, 3_000)
    heavy = replace(log, rewards=log.rewards * rng.gamma(1, 1, 300)[listeners], listeners=listeners)
    found = estimates(sums_of(heavy, 2))[0]
    weights = heavy.targets / heavy.propensities
    by_listener = np.stack(
        [np.bincount(listeners, values, 300) for values in (weights * heavy.rewards, weights, np.ones(3_000))]
    )
    sums = by_listener @ rng.multinomial(300, np.full(300, 1 / 300), 4_000).T
    assert found.ips.standard_error == pytest.approx((sums[0] / sums[2]).std(), rel=0.05)
    assert found.snips.standard_error == pytest.approx((sums[0] / sums[1]).std(), rel=0.05)


def test_what_a_listener_repeats_makes_nothing_surer():
    _, log = drawn(500, np.random.default_rng(4))
    twice = Shown(
        *(np.repeat(getattr(log, name), 2) for name in ("places", "rewards", "propensities", "targets")),
        listeners=np.repeat(np.arange(500), 2),
    )
    once, repeated = estimates(sums_of(log, 2))[0], estimates(sums_of(twice, 2))[0]
    assert repeated.snips.standard_error == pytest.approx(once.snips.standard_error)
    alone = estimates(sums_of(replace(twice, listeners=None), 2))[0]
    assert alone.snips.standard_error == pytest.approx(once.snips.standard_error / sqrt(2), rel=0.01)


def test_a_model_that_explains_the_rewards_leaves_no_doubt_and_a_wrong_one_no_error():
    items, log = drawn(40_000, np.random.default_rng(5))
    places = log.places
    sure = replace(log, rewards=REWARDS[places, items])
    values = (TARGET * REWARDS).sum(axis=1)
    explained = replace(sure, predicted=sure.rewards, expected=values[places])
    assert [each.robust.estimate for each in estimates(sums_of(explained, 2))[1:]] == pytest.approx(values)
    # of everything .9: expected .9 too, since a target's probabilities add up to 1
    wrong = replace(sure, predicted=np.full(40_000, 0.9), expected=np.full(40_000, 0.9))
    for found, value in zip(estimates(sums_of(wrong, 2))[1:], values, strict=True):
        assert abs(found.robust.estimate - value) < 4 * found.robust.standard_error
        assert found.robust.standard_error > 0


def test_without_a_model_the_robust_estimate_is_ips():
    _, log = drawn(100, np.random.default_rng(6))
    assert all(found.robust == found.ips for found in estimates(sums_of(log, 2)))


def test_models_are_those_of_the_other_half_drawn_towards_the_place():
    # the even rows: items 0 0 1, rewards 1 0 1; the odd ones: items 1 1 0, rewards 0 1 1
    places, items = np.zeros(6, np.int64), np.array([0, 1, 0, 1, 1, 0])
    rewards = np.array([1, 0, 0, 1, 1, 1.0])
    predicted, expected = predict_rewards(places, items, rewards, np.array([[0.25, 0.75]]), prior=1)
    odd = [(1 + 2 / 3) / 2, (1 + 2 / 3) / 3]  # items 0 and 1 by the odd rows, whose mean is 2/3
    even = [(1 + 2 / 3) / 3, (1 + 2 / 3) / 2]
    assert predicted == pytest.approx([odd[0], even[1], odd[0], even[1], odd[1], even[0]])
    values = [0.25 * of_half[0] + 0.75 * of_half[1] for of_half in (odd, even)]
    assert expected == pytest.approx(values * 3)


def test_what_the_log_could_not_show_is_told():
    log = shown([1, 0] * 100, [1.0, 0.5] * 100, [0.75, 0.5] * 100)
    found = one_estimate(log)
    assert found.uncovered == pytest.approx(0.125)
    assert "12.5% of the target's places hold what the log could not show" in found.verdict
    known = one_estimate(replace(log, propensities=np.full(200, 0.5), uncovered=np.full(200, 0.02)))
    assert known.shortcomings[0].startswith("2.0% of the target's places")


def test_propensities_that_are_not_true_are_told():
    _, log = drawn(5_000, np.random.default_rng(7))
    assert estimates(sums_of(log, 2))[0].shortcomings == ()
    untrue = estimates(sums_of(replace(log, propensities=log.propensities / 1.5), 2))[0]
    assert untrue.shortcomings[0].startswith("weights average 1.5")


def test_too_few_rows_of_the_target_are_told():
    # a row of weight 500 among 999 of half: 1,000^2 / (250,000 + 250)
    found = one_estimate(shown([1.0] * 1_000, [0.001] + [1.0] * 999, [0.5] + [0.5005] * 999, uncovered=np.zeros(1_000)))
    assert found.effective == pytest.approx(1_000**2 / 250_250, rel=1e-3)
    assert "1,000 rows are worth 4 of the target's own, fewer than 100" in found.shortcomings


def test_too_few_rewards_are_told():
    found = one_estimate(shown([1.0] * 9 + [0.0] * 991, [0.5] * 1_000, [0.5] * 1_000))
    assert found.shortcomings == ("rewards are worth 9.0 of one weight, fewer than 10",)
    assert found.verdict == "not enough support: rewards are worth 9.0 of one weight, fewer than 10"
    assert one_estimate(shown([1.0] * 10 + [0.0] * 990, [0.5] * 1_000, [0.5] * 1_000)).shortcomings == ()


def test_of_nothing_nothing_is_known():
    found = one_estimate(shown([], [], []))
    assert isnan(found.snips.estimate)
    assert (found.snips.low, found.snips.high) == (-inf, inf)
    assert found.verdict == "not enough support: nothing was shown"
    alone = one_estimate(shown([1.0], [0.5], [0.5]))
    assert (alone.ips.estimate, alone.ips.standard_error) == (1, inf)


@pytest.mark.parametrize(("propensity", "target"), [(0.0, 0.5), (1.1, 0.5), (np.nan, 0.5), (0.5, -0.1), (0.5, np.nan)])
def test_probabilities_out_of_range_are_refused(propensity, target):
    with pytest.raises(InputError, match=r"(?s)is out of range.*row 1 of the log, and 1 others"):
        sums_of(shown([0, 1, 0, 1], [0.5, propensity, 0.5, propensity], [0.5, target, 0.5, target]), 1)


def test_frequencies_are_shares_of_a_place():
    shares = frequencies(np.array([0, 0, 0, 2]), np.array([1, 1, 0, 0]), (3, 2))
    assert shares.tolist() == [[1 / 3, 2 / 3], [0, 0], [1, 0]]


@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_sums_of_parts_add_up_to_those_of_all(seed, cut):
    rng = np.random.default_rng(seed)
    _, log = drawn(40, rng)
    log = replace(log, listeners=np.sort(rng.integers(0, 12, 40)))
    first = log.listeners < np.append(log.listeners, 12)[cut]  # nobody is in both parts
    names = ("places", "rewards", "propensities", "targets", "listeners")
    parts = [sums_of(Shown(*(getattr(log, name)[mask] for name in names)), 2) for mask in (first, ~first)]
    together, whole = parts[0] + parts[1], sums_of(log, 2)
    for name in ("listeners", "totals", "products", "squares", "uncovered"):
        np.testing.assert_allclose(getattr(together, name), getattr(whole, name), rtol=1e-9)
