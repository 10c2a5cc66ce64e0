"""Alerts: roots along the flow, repeats that are silent, what people accepted."""

from dataclasses import replace
from datetime import date

import pytest

from nocturne.monitoring.deviations import Deviation
from nocturne.monitoring.judge import CRITICAL, WARNING, Alert, grouped, judge, name_of, upstream
from tests.fixtures.metric_years import MONDAY, settings, watch

BEFORE = date(2025, 3, 1)


def deviation(cause: str, segment: str = "", strength: float = 5.0, kind: str = "all") -> Deviation:
    """A deviation far beyond its limit, or nearer."""
    kind = "market" if segment else kind
    return Deviation(watch(cause), MONDAY, kind, segment, 1.0, 2.0, strength, strength, 20.0, 30, 30, wide=False)


def judged(*deviations: Deviation, accepted: tuple[str, ...] = (), last_night: tuple[Alert, ...] = ()) -> list[Alert]:
    rows = {alert.alert: alert.to_row() for alert in last_night}
    return judge(deviations, MONDAY, settings(accepted=list(accepted)), rows)


def test_what_follows_from_fewer_listens_is_grouped_under_them_and_silent():
    churn, volume = judged(deviation("ranked_lists.churn"), deviation("listens.volume"))[::-1]
    assert (volume.group, volume.silenced) == (volume.alert, False)
    assert (churn.group, churn.silenced) == (volume.alert, True)


def test_one_market_is_not_the_root_of_another():
    alerts = judged(deviation("listens.volume", "SE"), deviation("ranked_lists.volume", "DE"))
    assert [alert.group == alert.alert for alert in alerts] == [True, True]


def test_a_market_may_be_the_root_of_the_whole_and_of_itself():
    root, *others = judged(
        deviation("listens.volume", "SE"), deviation("ranked_lists.volume", "SE"), deviation("ranked_lists.churn")
    )
    assert {alert.group for alert in others} == {root.alert}


def test_a_warning_is_not_the_root_of_a_critical_alert():
    alerts = judged(deviation("listens.late"), deviation("ranked_lists.churn"))
    assert {alert.severity for alert in alerts} == {CRITICAL, WARNING}
    assert not any(alert.silenced for alert in alerts)


def test_what_was_shown_is_no_root_of_what_is_computed():
    assert "listens" in upstream("ranked_lists")
    assert "exposures" not in upstream("ranked_lists")
    assert upstream("items").isdisjoint({"interactions", "ranked_lists"})


def test_an_alert_that_stands_is_silent_and_keeps_its_first_night():
    (first,) = judged(deviation("listens.volume"))
    before = replace(first, run_date=BEFORE, since=BEFORE)
    (again,) = judged(deviation("listens.volume"), last_night=(before,))
    assert (again.silenced, again.since) == (True, BEFORE)
    assert again.stands


def test_an_alert_that_got_worse_is_told_again():
    (first,) = judged(deviation("listens.volume", strength=1.4))
    assert first.severity == WARNING
    (worse,) = judged(deviation("listens.volume"), last_night=(replace(first, since=BEFORE),))
    assert (worse.silenced, worse.since, worse.severity) == (False, BEFORE, CRITICAL)


def test_an_accepted_alert_closes_no_gate_on_its_night_alone():
    name = name_of("listens.volume", "all", "")
    (accepted,) = judged(deviation("listens.volume"), accepted=(f"{name}@{MONDAY}",))
    (other,) = judged(deviation("listens.volume"), accepted=(f"{name}@{BEFORE}",))
    assert (accepted.severity, accepted.accepted, accepted.stands) == (CRITICAL, True, False)
    assert other.stands


def test_the_name_of_an_alert_is_of_its_cause_and_segment_alone():
    (one,) = judged(deviation("listens.volume", strength=5.0))
    (other,) = judged(deviation("listens.volume", strength=9.0))
    assert one.alert == other.alert == name_of("listens.volume", "all", "")
    assert one.alert != name_of("listens.volume", "market", "SE")


@pytest.mark.parametrize("reverse", [False, True])
def test_groups_do_not_depend_on_the_order_of_alerts(reverse):
    causes = ["listens.volume", "items.volume", "ranked_lists.churn", "pools.carried", "interactions.changed"]
    alerts = judged(*(deviation(cause) for cause in causes))
    order = sorted(alerts, key=lambda alert: alert.alert, reverse=reverse)
    assert {alert.alert: alert.group for alert in grouped(order)} == {alert.alert: alert.group for alert in alerts}
