"""Deviations: nights that are as usual say nothing, and one that is not does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.errors import UsageError
from nocturne.monitoring.deviations import deviations
from nocturne.monitoring.judge import CRITICAL, WARNING
from nocturne.monitoring.watches import WATCHES, watches
from tests.fixtures.metric_years import alerts_on, history, on, settings

LISTENS = ("listens", "listens", "all", "")
SE, DE = ("listens", "listens", "market", "SE"), ("listens", "listens", "market", "DE")
WEEK = np.array([1.0, 1.05, 1.1, 1.0, 1.3, 1.6, 1.5])


def level(nights: int, size: float = 10_000, growth: float = 0.0, noise: float = 0.0, seed: int = 1) -> np.ndarray:
    """Counts with a weekday's season, growth a night and noise."""
    days = np.arange(nights)
    drawn = np.random.default_rng(seed).normal(0, noise, nights)
    return np.round(size * WEEK[days % 7] * (1 + growth) ** days * np.exp(drawn))


@given(
    nights=st.integers(15, 120),
    growth=st.floats(-0.005, 0.01),
    noise=st.floats(0, 0.04),
    seed=st.integers(0, 1_000),
)
def test_a_series_with_weekdays_growth_and_noise_gives_no_alert(nights, growth, noise, seed):
    series = {SE: level(nights, growth=growth, noise=noise, seed=seed), LISTENS: level(nights, 30_000, growth, noise)}
    assert alerts_on(series, nights - 1) == []


@given(nights=st.integers(25, 120), noise=st.floats(0, 0.04), seed=st.integers(0, 1_000))
def test_a_halved_segment_gives_one_alert(nights, noise, seed):
    of_market = level(nights, noise=noise, seed=seed)
    of_market[-1] = round(of_market[-1] / 2)
    (alert,) = alerts_on({SE: of_market, DE: level(nights, noise=noise, seed=seed + 1)}, nights - 1)
    assert (alert.cause, alert.segment, alert.severity) == ("listens.volume", "SE", CRITICAL)
    assert alert.observed == of_market[-1]
    assert alert.effect > alert.threshold


def test_a_market_that_is_gone_is_none_of_it():
    of_market = level(30)
    of_market[-1] = np.nan
    (alert,) = alerts_on({SE: of_market, DE: level(30)}, 29)
    assert (alert.segment, alert.observed) == ("SE", 0.0)


def test_a_market_that_was_gone_for_a_week_is_missed_no_longer():
    of_market = level(40)
    of_market[-8:] = np.nan
    assert alerts_on({SE: of_market, DE: level(40)}, 39) == []


def test_four_nights_say_nothing_and_nine_close_no_gate():
    series = level(40)
    for nights, expected in ((4, []), (9, [WARNING]), (20, [CRITICAL])):
        short = series[: nights + 1].copy()
        short[-1] /= 10
        assert [alert.severity for alert in alerts_on({LISTENS: short}, nights)] == expected


def test_few_events_say_nothing():
    few = level(30, size=20)
    few[-1] = 1
    assert alerts_on({SE: few}, 29) == []
    assert len(alerts_on({SE: few}, 29, min_count=10)) == 1


def test_on_a_holiday_limits_are_twice_as_far_and_later_it_is_forgotten():
    series = level(40)
    series[35] /= 2
    assert [alert.severity for alert in alerts_on({LISTENS: series}, 35)] == [CRITICAL]
    assert [alert.severity for alert in alerts_on({LISTENS: series}, 35, holidays=[str(on(35))])] == [WARNING]
    assert alerts_on({LISTENS: series}, 39, holidays=[str(on(35))]) == []


def of_kind(kind: str, shares: dict[str, float], nights: int = 30) -> dict[tuple[str, str, str, str], np.ndarray]:
    return {("listens", "share", kind, name): np.full(nights, share) for name, share in shares.items()}


def test_markets_that_are_mixed_up_are_one_alert_that_names_what_moved_most():
    series = of_kind("market", {"SE": 0.6, "DE": 0.3, "FR": 0.1})
    series["listens", "share", "market", "SE"][-1] = 0.1
    series["listens", "share", "market", "FR"][-1] = 0.6
    (alert,) = alerts_on(series, 29, count=10_000)
    assert (alert.cause, alert.severity, alert.segment) == ("listens.markets", CRITICAL, "")
    assert {alert.observed, alert.expected} == {0.1, 0.6}
    assert "SE" in alert.evidence or "FR" in alert.evidence


def test_a_category_of_another_day_of_the_week_is_no_alert():
    weekend = np.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.5, 0.5])[np.arange(40) % 7]
    series = {("listens", "share", "market", "SE"): weekend, ("listens", "share", "market", "DE"): 1 - weekend}
    assert [alerts_on(series, offset, count=10_000) for offset in range(21, 40)] == [[]] * 19


def test_seconds_in_place_of_milliseconds_are_told_in_milliseconds():
    levels = {"0.05": 20e3, "0.25": 90e3, "0.5": 180e3, "0.75": 240e3, "0.95": 400e3}
    series = {("listens", "ms_played", "quantile", name): np.full(30, value) for name, value in levels.items()}
    for values in series.values():
        values[-1] /= 1_000
    (alert,) = alerts_on(series, 29, count=10_000)
    assert (alert.cause, alert.effect_size, alert.severity) == ("listens.length", "wasserstein", CRITICAL)
    # .15 x 20 + .225 x 90 + .25 x 180 + .225 x 240 + .15 x 400 = 182.25 seconds, less a thousandth
    assert alert.effect == pytest.approx(182.25e3 * 0.999)
    assert (alert.observed, alert.expected) == (180.0, 180e3)


def test_a_model_that_replaces_the_first_of_a_young_service_closes_no_gate_for_another_ten_nights():
    nights = np.arange(30)
    ages, entries = np.where(nights < 9, nights, nights - 9), np.where(nights < 9, 5_000.0, 40_000.0)
    series = {("models", "model_age_days", "all", ""): ages, ("models", "entries", "all", ""): entries}
    assert [alert.severity for alert in alerts_on(series, 10)] == [WARNING]
    pools = np.where((nights == 18) | (nights == 19), 500.0, 1_000.0)  # 9 and 10 nights after the replacement
    halved = {**series, ("pools", "pools", "all", ""): pools}
    assert [alert.severity for alert in alerts_on(halved, 18)] == [WARNING]
    assert [alert.severity for alert in alerts_on(halved, 19)] == [CRITICAL]
    ages[:] = nights  # the first model is still the live one: the rows are not what they were
    assert [alert.severity for alert in alerts_on(series, 10)] == [CRITICAL]


def test_churn_of_a_new_model_is_held_against_other_new_models():
    ages, churn = np.arange(60) % 7, np.where(np.arange(60) % 7 == 0, 0.6, 0.05)
    series = {("models", "model_age_days", "all", ""): ages, ("ranked_lists", "mean_churn", "all", ""): churn}
    assert [alerts_on(series, offset, count=1_000) for offset in (55, 56, 57)] == [[], [], []]
    series["ranked_lists", "mean_churn", "all", ""] = np.where(np.arange(60) == 57, 0.6, churn)
    assert [alert.cause for alert in alerts_on(series, 57, count=1_000)] == ["ranked_lists.churn"]


def test_arms_that_begin_and_end_by_their_dates_say_nothing_and_those_that_lose_listeners_do():
    nights = np.arange(60)
    runs = (nights >= 20) & (nights < 50)
    arms = {"control": np.where(runs, 0.5, 1.0), "one/treatment": np.where(runs, 0.5, np.nan)}
    series = {("ranked_lists", "share", "arm", name): values for name, values in arms.items()}
    dates = [on(20), on(50)]

    def told(offset):
        far = deviations(history(series, count=5_000), WATCHES, on(offset), settings(), dates)
        return [deviation.watch.cause for deviation in far]

    assert [told(offset) for offset in (19, 20, 21, 25, 30, 49, 50, 51, 55, 59)] == [[]] * 10
    series["ranked_lists", "share", "arm", "control"][45] = 1.0
    series["ranked_lists", "share", "arm", "one/treatment"][45] = np.nan
    assert told(45) == ["ranked_lists.arms"]


def test_only_the_direction_of_trouble_is_told():
    series = {("ranked_lists", "hit_rate", "all", ""): np.array([0.2] * 30 + [0.6])}
    assert alerts_on(series, 30, count=5_000) == []
    series = {("ranked_lists", "hit_rate", "all", ""): np.array([0.2] * 30 + [0.05])}
    assert [alert.cause for alert in alerts_on(series, 30, count=5_000)] == ["ranked_lists.hits"]


def test_a_limit_of_settings_holds_in_place_of_the_watchs():
    series = level(40)
    series[-1] /= 2
    chosen = settings(limits={"listens.volume": {"block": 3.0}})
    (deviation,) = deviations(history({LISTENS: series}), watches(chosen.limits), on(39), chosen)
    assert deviation.watch.block == 3.0


def test_a_limit_of_no_watch_is_an_error_that_names_the_watches():
    with pytest.raises(UsageError, match=r"listens\.volume"):
        watches({"listens.volumes": {"block": 3.0}})


def test_no_watch_waits_for_more_than_a_distribution_that_shrank_to_nothing():
    of_quantiles = [watch for watch in WATCHES if watch.effect_size == "wasserstein"]
    assert max(watch.block or watch.warn for watch in of_quantiles) < 1


def test_watches_have_names_and_limits_of_their_own():
    assert len({watch.cause for watch in WATCHES}) == len(WATCHES)
    assert [watch.cause for watch in WATCHES if watch.block is not None and watch.block <= watch.warn] == []
