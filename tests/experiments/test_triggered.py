"""Exact triggers: subtraction by hand, and unbiased effects whose error is the stated one."""

import numpy as np
import pytest

from nocturne.experiments.columns import Columns
from nocturne.experiments.estimates import UNKNOWN, estimate
from nocturne.experiments.triggered import dilute, without
from tests.experiments.worlds import aggregates_of

MINUTES, PER_PLAY = Columns("minutes"), Columns("minutes", "plays")


def test_the_others_are_everyone_without_a_part():
    rng = np.random.default_rng(1)
    columns = {"minutes": rng.gamma(2, 1, 50), "plays": rng.gamma(2, 1, 50)}
    part, rest = ({name: values[where] for name, values in columns.items()} for where in (slice(0, 20), slice(20, 50)))
    found, expected = without(aggregates_of(columns), aggregates_of(part)), aggregates_of(rest)
    assert found.count() == 30
    assert found.mean_ == pytest.approx(expected.mean_)
    assert found.var_ == pytest.approx(expected.var_)
    assert found.cov("minutes", "plays") == pytest.approx(expected.cov("minutes", "plays"))


def test_nobody_is_left_without_everyone():
    everyone = aggregates_of({"minutes": [1, 2, 3]})
    left = without(everyone, everyone)
    assert (left.count(), left.mean("minutes"), left.var("minutes")) == (0, 0.0, 0.0)


def test_the_effect_on_all_is_the_effect_on_the_triggered_times_their_share():
    # of four listeners an arm two are triggered: 1, 3 in control, 4, 6 in the treatment; the others differ by chance
    control, treatment = aggregates_of({"minutes": [1, 3, 9, 9]}), aggregates_of({"minutes": [4, 6, 1, 1]})
    touched = aggregates_of({"minutes": [1, 3]}), aggregates_of({"minutes": [4, 6]})
    found = dilute(control, treatment, *touched, MINUTES)
    assert found.effect == pytest.approx(0.5 * 3)
    # share² * (2/2 + 2/2), and effect² * share * (1 - share) / 8
    assert found.variance == pytest.approx(0.25 * 2 + 9 * 0.25 / 8)


@pytest.mark.parametrize("columns", [MINUTES, PER_PLAY], ids=["mean", "ratio"])
def test_where_everyone_is_triggered_it_is_the_effect_among_all(columns):
    rng = np.random.default_rng(2)
    arms = [aggregates_of({"minutes": rng.gamma(2, 1, 50), "plays": rng.gamma(2, 1, 50)}) for _ in range(2)]
    diluted, plain = dilute(*arms, *arms, columns), estimate(*arms, columns)
    assert (diluted.effect, diluted.variance, diluted.control_variance, diluted.covariance) == pytest.approx(
        (plain.effect, plain.variance, plain.control_variance, plain.covariance)
    )


def test_nothing_is_known_where_nobody_is_triggered():
    arm, nobody = aggregates_of({"minutes": [1, 2]}), aggregates_of({"minutes": []})
    assert dilute(arm, arm, nobody, nobody, MINUTES) is UNKNOWN


def arm(rng, lift, listeners=1500):
    """Aggregates of an arm's listeners, and of the fifth of them whom a treatment can touch, who play twice as much."""
    taste, touched = rng.gamma(2, 2, listeners), rng.random(listeners) < 0.2
    plays = rng.poisson(taste * (1 + touched)) * 1.0
    minutes = plays * (3 + lift * touched) + rng.normal(0, 1, listeners)
    columns = {"minutes": minutes, "plays": plays, "before:minutes": 3 * rng.poisson(taste), "before:plays": taste}
    return aggregates_of(columns), aggregates_of({name: values[touched] for name, values in columns.items()})


@pytest.mark.parametrize("cuped", [False, True], ids=["plain", "cuped"])
@pytest.mark.parametrize(
    # plays: 4 a listener, 8 a touched one, so 4.8 a listener of all; half a minute more for a fifth of them
    ("columns", "effect"), [(MINUTES, 0.2 * 8 * 0.5), (PER_PLAY, 0.2 * 8 * 0.5 / 4.8)], ids=["mean", "ratio"],
)  # fmt: skip
def test_the_diluted_effect_is_unbiased_its_error_is_right_and_its_interval_covers(columns, effect, cuped):
    rng = np.random.default_rng(3)
    worlds = [(arm(rng, 0.0), arm(rng, 0.5)) for _ in range(500)]
    found = [dilute(one[0], other[0], one[1], other[1], columns, cuped=cuped) for one, other in worlds]
    among_all = [estimate(one[0], other[0], columns, cuped=cuped) for one, other in worlds]
    effects, controls = (np.array([getattr(each, name) for each in found]) for name in ("effect", "control"))
    assert effects.mean() == pytest.approx(effect, abs=4 * effects.std() / np.sqrt(500))
    spread = np.cov(effects, controls)
    assert np.mean([each.variance for each in found]) == pytest.approx(spread[0, 0], rel=0.25)
    assert np.mean([each.control_variance for each in found]) == pytest.approx(spread[1, 1], rel=0.25)
    assert np.mean([each.variance for each in among_all]) > 1.5 * spread[0, 0]
    truth = effect / (14.4 if columns is MINUTES else 3)
    intervals = [each.interval(1.959964, 1.959964) for each in found]
    assert np.mean([low <= truth <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.03)
