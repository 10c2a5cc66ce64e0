"""Calibration: limits let sound nights pass, and no more than they must."""

import tomllib

import numpy as np

from nocturne.monitoring.calibration import calibrate
from nocturne.monitoring.deviations import deviations
from nocturne.monitoring.judge import CRITICAL, severity
from nocturne.monitoring.watches import watches
from tests.fixtures.metric_years import history, on, settings

LISTENS = ("listens", "listens", "all", "")


def test_a_calm_year_moves_no_limit():
    series = np.full(120, 10_000.0)
    done = calibrate(history({LISTENS: series}), map(on, range(120)), settings())
    assert (done.nights, done.closed, done.limits, done.warnings) == (115, {}, {}, {})


def test_a_sound_night_of_half_the_listens_moves_the_limit_beyond_two_and_closes_no_gate_then():
    series = np.full(120, 10_000.0)
    series[80] /= 2
    past = history({LISTENS: series})
    done = calibrate(past, map(on, range(120)), settings())
    assert done.closed == {on(80): ("listens.volume",)}
    assert done.limits == {"listens.volume": 2.2}
    limits = tomllib.loads(done.toml())["monitoring"]["limits"]
    chosen = settings(limits=limits)
    assert calibrate(past, map(on, range(120)), chosen).closed == {}
    far = deviations(past, watches(chosen.limits), on(80), chosen)
    assert [severity(each, chosen) == CRITICAL for each in far] == [False]


def test_of_a_whole_year_the_furthest_night_is_excused():
    series = np.full(400, 10_000.0)
    series[[200, 300]] = 100, 5_000
    done = calibrate(history({LISTENS: series}), map(on, range(400)), settings())
    assert list(done.closed) == [on(200), on(300)]
    assert done.excused == (on(200),)
    assert done.limits == {"listens.volume": 2.2}
