"""Paired differences: their means by hand, their intervals as SciPy has them."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from nocturne.evaluation.significance import Difference, differences


def scores(**systems):
    return {system: {"recall@1": np.array(values, dtype=float)} for system, values in systems.items()}


def test_a_difference_that_every_listener_shares_is_certain():
    [difference] = differences(scores(ours=[1, 1, 0], theirs=[0.5, 0.5, -0.5]), "theirs", {})
    assert difference == Difference("ours", "theirs", "all", "recall@1", 3, 2 / 3, 1 / 6, 0.5, 0.5, 0.5)


def test_a_segment_counts_its_own_listeners_only_and_an_empty_one_is_left_out():
    segments = {"new": np.array([True, False, False]), "nobody": np.zeros(3, dtype=bool)}
    rows = differences(scores(ours=[1, 0, 0], theirs=[0, 0, 1]), "theirs", segments)
    assert [(each.segment, each.listeners, each.difference) for each in rows] == [("all", 3, 0.0), ("new", 1, 1.0)]


def test_the_interval_is_that_of_a_paired_percentile_bootstrap():
    rng = np.random.default_rng(5)
    theirs = rng.random(200)
    ours = theirs + rng.normal(0.05, 0.3, 200)
    [difference] = differences(scores(ours=ours, theirs=theirs), "theirs", {})
    expected = bootstrap((ours - theirs,), np.mean, n_resamples=5000, method="percentile", rng=rng).confidence_interval
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high), abs=0.005)
    assert difference.low < difference.difference < difference.high


def test_the_same_seed_gives_the_same_interval_whatever_else_is_compared():
    rng = np.random.default_rng(6)
    some = scores(a=rng.random(50), b=rng.random(50), c=rng.random(50))
    [alone] = differences({"a": some["a"], "c": some["c"]}, "c", {})
    beside_others = differences(some, "c", {})[0]
    assert (alone.low, alone.high) == pytest.approx((beside_others.low, beside_others.high), rel=1e-12)
