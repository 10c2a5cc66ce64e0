"""Checks of quality: found and named where something is lost, silent where nothing is."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from nocturne.experiments.quality import Counts, Side, check_quality, culprit_of, fixed_p_value
from tests.experiments.worlds import aggregates_of

ALIKE = aggregates_of({"before:minutes": [1.0, 2.0, 3.0, 4.0]})
SOUND = [(500_000, 500_000, 100_000, exposed) for exposed in (200_000, 300_000, 360_000, 400_000)]
TIME = [0.25, 0.5, 0.75, 1.0]


def checks(control, treatment, listeners=(ALIKE, ALIKE)):
    sides = [
        [Side(Counts(*counts), of) for counts in course]
        for course, of in zip((control, treatment), listeners, strict=True)
    ]
    return check_quality(*sides, 1.0, TIME[: len(control)], ["before:minutes", "before:plays"])


def shrunk(place, share):
    """The counts of an arm of which a share is lost, at one step."""
    return [
        tuple(int(value * (1 - share)) if at == place else value for at, value in enumerate(each)) for each in SOUND
    ]


def test_a_sound_experiment_fails_no_check():
    last = checks(SOUND, SOUND)[-1]
    assert [(check.step, check.column) for check in last] == [
        ("assignment", ""), ("list", ""), ("trigger", ""), ("exposure", ""), ("before", "before:minutes"),
    ]  # fmt: skip
    assert culprit_of(last) is None
    assert {check.z for check in last} == {0.0}


def test_lost_assignments_lists_and_exposures_are_named():
    assert culprit_of(checks(SOUND, [(495_000, 495_000, 99_000, int(e * 0.99)) for *_, e in SOUND])[-1]) == "assignment"
    lost_lists = [(500_000, 495_000, 100_000, int(e * 0.99)) for *_, e in SOUND]
    assert culprit_of(checks(SOUND, lost_lists)[-1]) == "pipeline"
    assert culprit_of(checks(SOUND, shrunk(2, 0.05))[-1]) == "pipeline"
    assert culprit_of(checks(SOUND, shrunk(3, 0.01))[-1]) == "client"


def test_a_failure_stays_one():
    recovered = [shrunk(3, 0.1)[0], *SOUND[1:]]
    assert [culprit_of(look) for look in checks(SOUND, recovered)] == ["client"] * 4


def test_arms_that_differed_before_were_assigned_badly():
    listeners = [aggregates_of({"before:minutes": np.arange(1000) + shift}) for shift in (0, 100)]
    last = checks(SOUND, SOUND, listeners)[-1]
    assert [check.column for check in last if check.failed] == ["before:minutes"]
    assert culprit_of(last) == "assignment"


def test_an_uneven_ratio_is_judged_by_the_weights():
    side = Side(Counts(90_000, 90_000, None, 0), ALIKE), Side(Counts(10_000, 10_000, None, 0), ALIKE)
    assert culprit_of(check_quality([side[0]], [side[1]], 1 / 9, [1.0], [])[0]) is None
    assert culprit_of(check_quality([side[0]], [side[1]], 1 / 8, [1.0], [])[0]) == "assignment"


def test_the_p_value_of_a_ratio_looked_at_once_is_that_of_the_binomial_test():
    assert fixed_p_value(44_700, 45_489, 1.0) == pytest.approx(binomtest(45_489, 90_189, 0.5).pvalue, rel=0.01)
    assert fixed_p_value(100, 100, 1.0) == pytest.approx(2 * norm.sf(0))


def test_the_rate_of_false_alarms_over_all_looks_is_at_most_the_stated_one_and_not_far_below():
    rng = np.random.default_rng(1)
    share = np.array([0.1, 0.25, 0.5, 0.7])
    alarms = 0
    for _ in range(300):
        arms = []
        for _arm in range(2):
            first = rng.choice(5, size=20_000, p=np.diff([0, *share, 1]))
            exposed = np.bincount(first, minlength=5).cumsum()[:4]
            arms.append([Side(Counts(20_000, 20_000, None, int(count)), ALIKE) for count in exposed])
        # a fifth of alpha goes to exposures: .1 of .5
        alarms += culprit_of(check_quality(*arms, 1.0, TIME, [], alpha=0.5)[-1]) == "client"
    assert binomtest(alarms, 300, 0.1).pvalue > 0.001
