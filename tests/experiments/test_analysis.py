"""The analysis of whole experiments, from simulated listeners to decisions."""

import dataclasses

import numpy as np
import pytest

from nocturne.core.errors import UsageError
from nocturne.experiments.analysis import Arm, Look, Triggered, analyse
from nocturne.experiments.decision import risks_of
from tests.experiments.worlds import aggregates_of, experiment

LISTENERS = 4_000


def looks(nights=6, *, lift=0.0, loss=0.0, share=1.0, lost_exposures=0.0, seed=1):
    """Looks of two arms: a share of the listeners is touched; their minutes rise by lift, their plays fall by loss."""
    rng = np.random.default_rng(seed)
    arms = {}
    for arm in ("control", "deep"):
        taste, touched = rng.gamma(4, 1, LISTENERS), rng.random(LISTENERS) < share
        moved = touched * (arm == "deep")
        plays = rng.poisson(taste * (1 - loss * moved), (nights, LISTENERS)).cumsum(axis=0)
        minutes = plays * 3.0 * (1 + lift * moved)
        past = rng.poisson(taste * 14)
        seen = (plays > 0) & (rng.random(LISTENERS) >= lost_exposures * (arm == "deep"))
        columns = [
            {"minutes": minutes[day], "plays": plays[day], "active": plays[day] > 0, "before:minutes": 3 * past,
             "before:plays": past}
            for day in range(nights)
        ]  # fmt: skip
        arms[arm] = columns, touched, seen
    return [
        Look(
            day + 1,
            {name: arm_of(columns[day], seen[day]) for name, (columns, _, seen) in arms.items()},
            {"deep": Triggered(*(part_of(columns[day], touched) for columns, touched, _ in arms.values()))}
            if share < 1
            else {},
        )
        for day in range(nights)
    ]


def arm_of(columns, seen):
    return Arm(
        LISTENERS, LISTENERS, int(seen.sum()), aggregates_of(columns), {"market:SE": part_of(columns, slice(0, 1000))}
    )


def part_of(columns, where):
    return aggregates_of({name: np.asarray(values)[where] for name, values in columns.items()})


def test_a_true_effect_ships_before_the_end():
    tried = experiment(nights=6)
    analysis = analyse(tried, looks(lift=0.08))
    decision = next(each for each in analysis.decisions if each.is_final)
    assert decision.text == "ship"
    assert decision.day < 6
    assert analysis.current["deep"].text == "ship"


def test_harm_to_a_guardrail_stops():
    assert analyse(experiment(nights=6), looks(lift=0.2, loss=0.08)).current["deep"].text == "stop: harm"


def test_nothing_to_find_is_found_to_be_nothing():
    metrics = {"minutes": {"role": "success", "measure": "minutes", "minimum_effect": 0.1}}
    analysis = analyse(experiment(nights=6, metrics=metrics), looks())
    assert next(each for each in analysis.decisions if each.is_final).text == "stop: no effect worth having"


def test_lost_exposures_make_it_invalid_whatever_the_effect():
    found = analyse(experiment(nights=6), looks(lift=0.08, lost_exposures=0.05)).current["deep"]
    assert found.text == "invalid: an arm's exposures are missing"


def test_a_look_says_the_same_whatever_comes_later():
    tried, course = experiment(nights=6), looks(lift=0.02)
    early, late = analyse(tried, course[:3]), analyse(tried, course)
    rows = {(row.day, row.metric): row for row in late.results}
    for row in early.results:
        if row.segment:
            continue
        other = rows[row.day, row.metric]
        for name in ("z", "bound", "futility", "harm_bound", "low", "high", "p_value"):
            assert getattr(row, name) == pytest.approx(getattr(other, name), rel=1e-6), name
    assert early.decisions == late.decisions[:3]


def test_intervals_exclude_what_the_tests_reject():
    for lift, loss in ((0.08, 0.0), (0.0, 0.08), (0.0, 0.0)):
        for row in analyse(experiment(nights=6), looks(lift=lift, loss=loss)).results:
            if row.segment or not np.isfinite(row.harm_bound):
                continue
            assert (row.high < 0) == (row.harm_z >= row.harm_bound), row
            if row.role == "success":
                assert (row.low > 0) == (row.z >= row.bound), row
            if row.role == "guardrail":
                assert (row.low > -0.02) == (row.z >= row.bound), row


def test_all_alpha_is_spent_at_the_last_look():
    last = [row for row in analyse(experiment(nights=6), looks()).results if row.day == 6 and not row.segment]
    assert [row.alpha for row in last] == pytest.approx([0.05, 0.05, 0.05 / 3])


def test_the_adjusted_estimate_stands_at_the_last_look_only():
    rows = [row for row in analyse(experiment(nights=6), looks(lift=0.08)).results if not row.segment]
    assert [np.isfinite(row.adjusted) for row in rows] == [row.day == 6 for row in rows]
    [minutes] = [row for row in rows if row.day == 6 and row.metric == "minutes"]
    assert minutes.adjusted_low < 0.08 < minutes.adjusted_high


def test_triggers_sharpen_the_estimate_of_the_same_effect():
    course = looks(lift=0.2, share=0.2)
    everyone = [dataclasses.replace(look, triggered={}) for look in course]
    tried = experiment(nights=6)
    sharp, dull = (
        next(row for row in analyse(tried, each).results if (row.day, row.metric) == (6, "minutes"))
        for each in (course, everyone)
    )
    assert sharp.share == pytest.approx(0.2, abs=0.02)
    assert sharp.control_listeners + sharp.treatment_listeners == round(sharp.share * 2 * LISTENERS)
    assert sharp.standard_error < 0.6 * dull.standard_error
    assert sharp.relative == pytest.approx(0.04, abs=3 * sharp.standard_error / sharp.control)
    assert sharp.control == pytest.approx(dull.control, rel=0.02)


def test_less_may_be_better():
    metrics = {
        "minutes": {"role": "success", "measure": "minutes", "minimum_effect": 0.02, "direction": "decrease"},
        "plays": {"role": "guardrail", "measure": "plays", "margin": 0.02, "direction": "decrease"},
    }
    tried = experiment(nights=6, metrics=metrics)
    assert analyse(tried, looks(loss=0.08)).current["deep"].text == "ship"
    risen = analyse(tried, looks(lift=0.2))
    assert risen.current["deep"].text == "stop: harm"
    [row] = [row for row in risen.results if (row.day, row.metric, row.segment) == (6, "minutes", "")]
    assert 0 < row.low < row.relative < row.high
    assert row.adjusted == pytest.approx(row.relative, abs=0.03)


def test_segments_are_exploratory_rows_of_the_last_look():
    rows = [row for row in analyse(experiment(nights=6), looks(lift=0.08)).results if row.segment]
    assert [(row.day, row.segment, row.metric) for row in rows] == [
        (6, "market:SE", metric) for metric in ("minutes", "plays", "active")
    ]
    assert not any(row.proved or row.harmed for row in rows)
    assert rows[0].control_listeners == 1000


def test_a_look_at_which_nobody_did_anything_decides_nothing():
    silent = aggregates_of({name: np.zeros(10) for name in ("minutes", "plays", "active")})
    first = Look(1, {arm: Arm(10, 10, 0, silent) for arm in ("control", "deep")})
    analysis = analyse(experiment(nights=6), [first])
    assert analysis.current["deep"].text == "continue until 2025-03-03"
    assert {row.bound for row in analysis.results} == {np.inf}
    assert analyse(experiment(nights=6), [first, *looks(lift=0.08)[1:]]).current["deep"].text == "ship"


def test_every_treatment_has_its_own_decision():
    arms = {name: {"weight": 1} for name in ("control", "deep", "deeper")}
    course = [dataclasses.replace(look, arms=look.arms | {"deeper": look.arms["control"]}) for look in looks(lift=0.08)]
    found = analyse(experiment(nights=6, arms=arms), course)
    assert list(found.current) == ["deep", "deeper"]
    assert found.current["deep"].text == "ship"
    assert found.current["deeper"].text != "ship"


def test_each_success_metric_has_its_part_of_alpha_at_every_look():
    metrics = {name: {"role": "success", "measure": name, "minimum_effect": 0.02} for name in ("minutes", "plays")}
    tried = experiment(nights=6, metrics=metrics)
    assert risks_of(tried).success == 0.025
    assert [row.alpha for row in analyse(tried, looks()).results if row.day == 6 and not row.segment] == pytest.approx(
        [0.025] * 2
    )


@pytest.mark.parametrize("days", [[], [2, 1], [1, 1], [7]])
def test_looks_that_are_no_days_of_the_experiment_are_told(days):
    course = looks(1)
    with pytest.raises(UsageError, match="cannot be analysed"):
        analyse(experiment(nights=6), [dataclasses.replace(course[0], day=day) for day in days])


def test_a_look_without_an_arm_is_told():
    [look] = looks(1)
    with pytest.raises(UsageError, match="without the arms deep"):
        analyse(experiment(nights=6), [Look(1, {"control": look.arms["control"]})])
