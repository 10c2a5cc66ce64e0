"""The verdict on a night as it is told outside: what closes the gate comes first, and what to do is said."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

from nocturne.monitoring.judge import judge
from nocturne.monitoring.night_verdict import MOST_ALERTS, NightVerdict, Served
from tests.fixtures import metric_years
from tests.monitoring.test_judge import deviation

SERVED = Served(date(2025, 3, 1), "2025-03-01-8f14e45f", "")
CLOSED_BY_ALERTS = ("alerts: critical is 1, expected <= 0",)


def alert_rows(*deviations: Any, accepted: tuple[str, ...] = ()) -> tuple[dict[str, Any], ...]:
    settings = metric_years.settings(accepted=list(accepted))
    alerts = judge(deviations, metric_years.MONDAY, settings, {})
    return tuple(alert.to_row() for alert in alerts)


def verdict(
    gate: str, reasons: tuple[str, ...] = (), alerts: tuple[dict[str, Any], ...] = (), served: tuple[Served, ...] = ()
) -> NightVerdict:
    return NightVerdict("data/warehouse", metric_years.MONDAY, gate, reasons, alerts, served)


def test_a_gate_that_alerts_close_is_told_with_the_next_step_of_their_root():
    rows = alert_rows(deviation("listens.volume"))
    told = verdict("closed", CLOSED_BY_ALERTS, rows, (SERVED,))
    assert told.next_step == rows[0]["next_step"]
    assert told.standing == {"critical": 1, "warning": 0}
    assert told.sentence == (
        f"Night {metric_years.MONDAY}: gate closed. 1 critical (listens.volume). {CLOSED_BY_ALERTS[0]}. "
        f"served: night 2025-03-01. next: {rows[0]['next_step'].rstrip('.')}"
    )


def test_a_gate_that_expectations_close_is_told_with_the_command_that_says_more():
    told = verdict("closed", ("listens: rows is 0, expected >= 1",))
    assert told.next_step.startswith("`nocturne validations --warehouse data/warehouse --run-date ")
    assert "nothing is served yet" in told.sentence


def test_a_sound_night_without_alerts_asks_for_nothing():
    told = verdict("open", served=(SERVED,))
    assert (told.next_step, told.standing) == ("", {"critical": 0, "warning": 0})
    assert told.sentence == f"Night {metric_years.MONDAY}: gate open. served: night 2025-03-01"


def test_what_people_accepted_does_not_stand():
    rows = alert_rows(deviation("listens.volume"))
    accepted = f"{rows[0]['alert']}@{metric_years.MONDAY}"
    told = verdict("open", alerts=alert_rows(deviation("listens.volume"), accepted=(accepted,)))
    assert told.standing == {"critical": 0, "warning": 0}
    assert told.next_step == ""
    assert told.document()["alerts"][0]["accepted"] is True


def test_the_document_is_json_and_the_same_content_has_the_same_id():
    rows = alert_rows(deviation("listens.volume"), deviation("ranked_lists.churn"))
    told = verdict("closed", CLOSED_BY_ALERTS, rows, (SERVED,))
    document = json.loads(json.dumps(told.document()))
    assert document == verdict("closed", CLOSED_BY_ALERTS, rows, (SERVED,)).document()
    assert document["id"] != replace(told, gate="open").document()["id"]
    assert (document["run_date"], document["kind"]) == (str(metric_years.MONDAY), "nocturne.verdict")
    assert document["served"] == [{"run_date": "2025-03-01", "generation": "2025-03-01-8f14e45f", "held": ""}]
    assert document["alerts"][0].keys() >= {"alert", "cause", "evidence", "meaning", "next_step", "since", "segment"}


def test_a_message_holds_so_many_alerts_and_says_how_many_it_leaves_out():
    rows = alert_rows(*(deviation("listens.volume", f"M{number}") for number in range(MOST_ALERTS + 3)))
    document = verdict("closed", CLOSED_BY_ALERTS, rows).document()
    assert (len(document["alerts"]), document["alerts_left_out"]) == (MOST_ALERTS, 3)
    assert document["standing"]["critical"] == MOST_ALERTS + 3
