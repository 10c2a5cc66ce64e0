"""Plans: by hand for one look, and consistent with themselves for many."""

import numpy as np
import pytest
from scipy.stats import norm

from nocturne.core.errors import InputError
from nocturne.experiments.columns import Columns
from nocturne.experiments.decision import risks_of
from nocturne.experiments.planning import Baseline, baseline_of, plan
from tests.experiments.worlds import aggregates_of, experiment

BASELINES = {name: Baseline(2.0, lasting=0.5, daily=1.0) for name in ("minutes", "plays")}
SUCCESS = {"minutes": {"role": "success", "measure": "minutes", "minimum_effect": 0.02}}


def test_the_variance_of_a_mean_of_days_keeps_its_lasting_part():
    days = np.array([1.0, 4.0])
    assert Baseline(2.0, 0.5, 1.0).variance_after(days) == pytest.approx([1.5, 0.75])
    # two days before explain .5² / (.5 + 1/2) of it
    assert Baseline(2.0, 0.5, 1.0, days_before=2).variance_after(days) == pytest.approx([1.25, 0.5])


def test_a_day_and_a_longer_window_tell_both_parts():
    rng = np.random.default_rng(1)
    taste = rng.gamma(4, 1, 100_000)  # of relative variance 1/4
    plays = rng.poisson(taste, (10, 100_000))
    found = baseline_of(
        aggregates_of({"plays": plays[0]}), aggregates_of({"plays": plays.sum(axis=0)}), 10, Columns("plays")
    )
    assert (found.mean, found.lasting, found.daily) == pytest.approx((4.0, 0.25, 0.25), rel=0.05)
    assert found.days_before == 10


def test_a_ratio_is_planned_per_unit_of_its_denominator():
    rng = np.random.default_rng(2)
    plays = rng.poisson(5, (4, 20_000)) + 1
    minutes = plays * rng.gamma(9, 1 / 3, (4, 20_000))
    day, before = (
        aggregates_of({"minutes": m, "plays": p})
        for m, p in ((minutes[0], plays[0]), (minutes.sum(axis=0), plays.sum(axis=0)))
    )
    found = baseline_of(day, before, 4, Columns("minutes", "plays"), cuped=False)
    assert found.mean == pytest.approx(3.0, rel=0.02)
    assert found.lasting == pytest.approx(0, abs=0.01)  # days of a listener have nothing in common
    assert found.days_before == 0


def test_nothing_can_be_planned_with_silence():
    silence = aggregates_of({"plays": [0, 0, 0]})
    with pytest.raises(InputError, match="nothing to plan with"):
        baseline_of(silence, silence, 7, Columns("plays"))


def test_one_look_is_planned_as_everybody_knows():
    once = experiment(nights=4, looks=[4], metrics=SUCCESS)
    found = plan(once, "deep", BASELINES, {"control": 20_000, "deep": 20_000})
    beta = 0.2 - 0.01
    assert risks_of(once).beta == pytest.approx(beta)
    error = np.sqrt((1.02**2 + 1) * 0.75 / 20_000)
    [row] = found.metrics
    assert row.power == pytest.approx(norm.cdf(0.02 / error - norm.isf(0.05)), abs=1e-6)
    needed = 2 * (1.02**2 + 1) * 0.75 * (norm.isf(0.05) + norm.isf(beta)) ** 2 / 0.02**2
    assert row.listeners == pytest.approx(needed, rel=1e-3)
    assert row.detectable == pytest.approx(error * (norm.isf(0.05) + norm.isf(beta)), rel=1e-3)
    assert found.power == pytest.approx(row.power * 0.99)
    assert (found.expected_day, found.expected_day_without_effect) == (4.0, 4.0)


def test_with_the_listeners_that_it_asks_for_each_metric_has_its_power():
    tried = experiment()
    asked = max(row.listeners for row in plan(tried, "deep", BASELINES, {"control": 1_000, "deep": 1_000}).metrics)
    found = plan(tried, "deep", BASELINES, {"control": asked / 2, "deep": asked / 2})
    assert min(row.power for row in found.metrics) == pytest.approx(1 - risks_of(tried).beta, abs=1e-3)
    assert 0.8 <= found.power_at_least + 1e-3 <= found.power <= 0.86
    assert 5 < found.expected_day < 14
    assert found.expected_day_without_effect < found.expected_day


def test_a_fifth_that_is_triggered_needs_a_fifth_of_the_listeners():
    arguments = experiment(), "deep", BASELINES, {"control": 10_000, "deep": 10_000}
    everyone, triggered = plan(*arguments), plan(*arguments, triggered=0.2, variance_ratio=1.5)
    for one, other in zip(everyone.metrics, triggered.metrics, strict=True):
        assert other.listeners == pytest.approx(0.3 * one.listeners, rel=1e-3)


def test_listeners_who_come_later_are_counted_when_they_are_there():
    growing = list(np.linspace(2_000, 30_000, 14))
    late = plan(experiment(), "deep", BASELINES, {"control": growing, "deep": growing})
    early = plan(experiment(), "deep", BASELINES, {"control": 30_000, "deep": 30_000})
    assert late.expected_day > early.expected_day
