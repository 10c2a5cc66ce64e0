"""Airflow's own scheduler misses a deadline of a night whose landing day does not come: it is told once."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.standalone_airflow import DAG, Airflow, standalone_airflow, until
from tests.fixtures.webhooks import webhook

pytestmark = pytest.mark.slow

QUIET_SECONDS = 20
"""Many rounds of the scheduler, any of which would tell of a deadline again that was still to be told of."""


def runs(airflow: Airflow, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = airflow.ask(f"{DAG}/dagRuns?run_type={kind}")["dag_runs"]
    return found


def test_a_stage_that_is_not_done_when_it_is_due_is_told_to_the_webhook_once(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    last, before = today - timedelta(days=1), today - timedelta(days=2)
    with webhook() as hook:
        section, _, setting = hook.setting(tmp_path).partition(".")
        name, _, file = setting.partition("=")
        with standalone_airflow(tmp_path, f'[{section}]\n{name} = "{file}"\n') as airflow:
            # At midnight lists were due, and nothing else.
            hours = '{"ingest_events": null, "rank_users": null, "refresh_cache": 0, "analyse_experiment": null}'
            airflow.ask("variables", "POST", {"key": "nocturne_due", "value": hours})
            # A night that follows one that was backfilled is scheduled at once. Neither day ever lands.
            airflow.command(
                *("backfill", "create", "--dag-id", "nightly_lists"),
                *("--from-date", str(before), "--to-date", str(before)),
            )
            airflow.ask(DAG, "PATCH", {"is_paused": False})
            until(lambda: runs(airflow, "scheduled") or None, 120, "the night to be scheduled")
            until(lambda: hook.got or None, 180, "the webhook to be told")
            time.sleep(QUIET_SECONDS)
            (scheduled,), (backfilled,) = (runs(airflow, kind) for kind in ("scheduled", "backfill"))
    (told,) = hook.got
    assert (told["kind"], told["run_date"], told["stage"]) == ("nocturne.late", str(last), "refresh_cache")
    assert told["due"].startswith(f"{today} 00:00:00")
    assert (told["state"], told["served"]) == ("not begun", None)
    assert told["text"].startswith(f"Night {last} is late: refresh_cache is not done")
    assert scheduled["data_interval_start"][:10] == str(last)
    assert {scheduled["state"], backfilled["state"]} == {"running"}  # a deadline ends no run
