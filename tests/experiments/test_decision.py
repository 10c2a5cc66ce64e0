"""The rule, role by role, and its sentences."""

import pytest

from nocturne.experiments.decision import Standing, decide, risks_of
from nocturne.experiments.quality import Check
from tests.experiments.worlds import experiment

FAR = float("inf")


def standing(metric="minutes", role="success", tolerance=0.02, *, proved=False, harmed=False, futile=False):
    return Standing(metric, role, 0.03, 0.01, 0.05, tolerance, proved, harmed, futile)


def check(step="exposure", *, failed=True):
    return Check(step, "before:minutes" if step == "before" else "", 0.8, 0.79, -12.0, 3.8, 1e-8, 0.002, failed)


def decision(*standings, day=3, checks=()):
    return decide(experiment(), "deep", day, standings, checks)


def guardrail(**tests):
    return standing("plays", "guardrail", 0.01, **tests)


def test_it_ships_what_improves_and_is_safe():
    found = decision(standing(proved=True), guardrail(proved=True))
    assert (found.text, found.verdict, found.is_final) == ("ship", "ship", True)
    assert found.reasons == (
        "minutes improved: +3.00% (between +1.00% and +5.00%), which chance does not explain.",
        "plays is within its margin of 1.00%: +3.00% (between +1.00% and +5.00%).",
    )


def test_one_success_metric_is_enough_and_every_guardrail_is_needed():
    assert decision(standing(proved=True), standing("hours")).text == "ship"
    assert decision(standing(proved=True), guardrail(proved=True), guardrail()).text == "continue until 2025-03-05"
    assert decision(standing(), guardrail(proved=True)).text == "continue until 2025-03-05"


@pytest.mark.parametrize("role", ["success", "guardrail", "deterioration"])
def test_harm_to_any_metric_stops_what_would_ship(role):
    found = decision(standing(proved=True), standing("skips", role, proved=True, harmed=True))
    assert found.text == "stop: harm"
    assert found.reasons == ("skips got worse: +3.00% (between +1.00% and +5.00%), which chance does not explain.",)


def test_a_broken_experiment_says_nothing_whatever_its_metrics_say():
    found = decision(standing(proved=True), standing(harmed=True), checks=[check("list", failed=False), check()])
    assert found.text == "invalid: an arm's exposures are missing"
    [reason] = found.reasons
    assert reason == (
        "Lists were there, but 80.00% of control's listeners and 79.00% of the treatment's were shown one: by chance "
        "that happens in less than 0.01% of sound experiments, and 0.20% is allowed. Look at the client and at how "
        "exposures are logged."
    )


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (("exposure", "list"), "invalid: an arm's listeners went without their lists"),
        (("trigger",), "invalid: an arm's listeners went without their lists"),
        (("exposure", "assignment"), "invalid: the arms were not alike from the start"),
        (("before",), "invalid: the arms were not alike from the start"),
    ],
)
def test_the_first_step_that_fails_is_to_blame(steps, text):
    found = decision(standing(), checks=[check(step) for step in steps])
    assert found.text == text
    assert len(found.reasons) == len(steps)


def test_it_stops_when_all_success_is_out_of_reach_or_one_guardrail_is():
    assert decision(standing(futile=True), standing("hours")).verdict == "continue"
    both = decision(standing(futile=True), standing("hours", futile=True))
    assert both.text == "stop: no effect worth having"
    assert len(both.reasons) == 2
    assert decision(standing(proved=True), guardrail(futile=True)).text == "stop: no effect worth having"


def test_the_last_look_decides():
    assert decision(standing(), day=14).text == "stop: no effect worth having"
    [reason] = decision(standing(proved=True), guardrail(), day=14).reasons
    assert reason == (
        "This was the last look. plays is at +3.00% (between +1.00% and +5.00%): a loss above its margin of 1.00% is "
        "not ruled out."
    )


def test_an_effect_that_is_not_known_is_said_so():
    unknown = Standing("minutes", "success", float("nan"), -FAR, FAR, 0.02, proved=False, harmed=False, futile=False)
    assert decision(unknown).reasons == (
        "minutes is at an effect that is not known yet, which chance may still explain.",
    )


def test_alpha_is_divided_among_success_metrics_and_beta_among_what_has_to_be_proved():
    metrics = {
        "minutes": {"role": "success", "measure": "minutes", "minimum_effect": 0.02},
        "days": {"role": "success", "measure": "active_days", "minimum_effect": 0.02},
        "plays": {"role": "guardrail", "measure": "plays", "margin": 0.02},
        "active": {"role": "guardrail", "measure": "active", "margin": 0.02},
    }
    risks = risks_of(experiment(metrics=metrics))
    assert (risks.success, risks.guardrail, risks.harm) == pytest.approx((0.025, 0.05, 0.0125))
    assert risks.beta == pytest.approx((0.2 - 0.01) / 3)
    assert [risks.gain(role) for role in ("success", "guardrail", "deterioration")] == [0.025, 0.05, None]


def test_deterioration_and_checks_come_off_beta_first_but_leave_half():
    assert risks_of(experiment()).beta == pytest.approx((0.2 - 0.01 - 0.05 / 3) / 2)
    assert risks_of(experiment(power=0.99)).beta == pytest.approx(0.01 / 2 / 2)
