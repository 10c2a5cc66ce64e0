"""Airflow's own scheduler runs a whole night: nothing is imitated here."""

import json
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from pyspark.sql import SparkSession

from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.flow import NIGHTLY, TABLES
from nocturne.pipeline.runner import run_nights
from nocturne.storage import lease, lease_state
from tests.fixtures.standalone_airflow import DAG, Airflow, standalone_airflow, until
from tests.tools.compare_warehouses import compare_warehouses

ROOT = Path(__file__).parents[2]
NOCTURNE = ROOT / ".venv" / "bin" / "nocturne"
LISTENER = "u00000003"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("night")
    sizes = ["--listeners", "200", "--items", "150", "--nights", "2", "--seed", "1", "--start", "2026-01-01"]
    subprocess.run([NOCTURNE, "simulate", "--landing", folder / "landing", *sizes], check=True, timeout=120)
    outlets = f'[monitoring]\nopenlineage_folder = "{folder}/lineage"\nprometheus_textfile = "{folder}/night.prom"\n'
    with standalone_airflow(folder, f"[als]\nfactors = 8\niterations = 3\n{outlets}") as airflow:
        yield airflow


def backfill_runs(airflow: Airflow) -> dict[str, dict[str, Any]]:
    """The runs of the backfill, by the first day of their data interval."""
    runs = airflow.ask(f"{DAG}/dagRuns?run_type=backfill")["dag_runs"]
    return {run["data_interval_start"][:10]: run for run in runs}


def kill_the_scheduler_while(airflow: Airflow, task: str, run: str) -> None:
    """kill -9 of the scheduler, and of the job it runs, in the middle of a task; then it is started again."""

    def working() -> list[psutil.Process] | None:
        instance = airflow.ask(f"{DAG}/dagRuns/{run}/taskInstances/{task}")
        scheduler = airflow.scheduler()
        if instance["state"] != "running" or scheduler is None:
            return None
        family = [scheduler, *scheduler.children(recursive=True)]
        return family if "java" in {member.name() for member in family} else None

    for member in until(working, 600, f"a job of {task}"):
        member.kill()

    def health() -> str:
        return str(airflow.ask("monitor/health")["scheduler"]["status"])

    until(lambda: True if health() == "unhealthy" else None, 120, "Airflow to miss its scheduler")
    assert airflow.ask(f"{DAG}/dagRuns/{run}/taskInstances/{task}")["state"] == "running"
    airflow.start("scheduler")
    until(lambda: True if health() == "healthy" else None, 120, "the scheduler to be back")


def test_a_backfill_goes_in_order_and_its_night_is_published_and_served_and_equals_that_of_one_process(
    airflow: Airflow, spark: SparkSession
):
    warehouse = str(airflow.folder / "warehouse")
    airflow.ask(DAG, "PATCH", {"is_paused": False})
    nights = ("--from-date", "2026-01-01", "--to-date", "2026-01-02")
    airflow.command("backfill", "create", "--dag-id", "nightly_lists", *nights)

    # Both nights run at once; the lease lets the first one work, and the second one wait.
    def both_at_the_lease() -> lease_state.State | None:
        state = lease.show(warehouse)
        return state if state.grant and state.waiting else None

    state = until(both_at_the_lease, 240, "one night to hold the lease and the other to wait")
    runs = backfill_runs(airflow)
    assert {night: run["state"] for night, run in runs.items()} == {"2026-01-01": "running", "2026-01-02": "running"}
    assert state.grant is not None
    assert (state.grant.run_date, state.grant.holder) == ("2026-01-01", runs["2026-01-01"]["dag_run_id"])
    assert [(claim.run_date, claim.holder) for claim in state.waiting] == [
        ("2026-01-02", runs["2026-01-02"]["dag_run_id"])
    ]
    airflow.ask(f"{DAG}/dagRuns/{quote(runs['2026-01-02']['dag_run_id'])}", "PATCH", {"state": "failed"})

    # The first night goes through every task, although its scheduler is killed in the middle of one.
    kill_the_scheduler_while(airflow, "build_interactions", quote(runs["2026-01-01"]["dag_run_id"]))

    def ended() -> str | None:
        state = backfill_runs(airflow)["2026-01-01"]["state"]
        return state if state in ("success", "failed") else None

    assert until(ended, 1800, "the night to end") == "success", airflow.log()
    run = quote(runs["2026-01-01"]["dag_run_id"])
    tasks = airflow.ask(f"{DAG}/dagRuns/{run}/taskInstances?limit=100")["task_instances"]
    assert {task["task_id"]: task["state"] for task in tasks if task["state"] != "success"} == {}
    assert lease.show(warehouse).grant is None

    # Listeners get it.
    command = [NOCTURNE, "list", LISTENER, "--cache", f"lmdb:{airflow.folder}/cache", "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    served = json.loads(answer.stdout)
    assert served["run_date"] == "2026-01-01"
    assert len(served["items"]) == 50

    # Downstream teams are told, of this night alone.
    events = airflow.ask("assets/events?limit=100")["asset_events"]
    assert {event["name"] for event in events} == {f"nocturne.{table}" for table in TABLES}
    assert {event["extra"]["run_date"] for event in events} == {"2026-01-01"}

    # Every stage tells its lineage, also one that was killed and tried again; the textfile is that of the night.
    lines = (airflow.folder / "lineage" / "2026-01-01.ndjson").read_text(encoding="utf-8").splitlines()
    lineage = [json.loads(line) for line in lines]
    ended = [event["job"]["name"] for event in lineage if event["eventType"] == "COMPLETE"]
    assert [name for name in ended if name != "night.validate_table"] == [f"night.{stage.name}" for stage in NIGHTLY]
    begun = {event["run"]["runId"]: event["job"]["name"] for event in lineage if event["eventType"] == "START"}
    assert set(begun.values()) >= set(ended)  # what was killed may have died before it told anything
    assert len({event["run"]["facets"]["parent"]["run"]["runId"] for event in lineage}) == 1
    assert "nocturne_night_published 1.0\n" in (airflow.folder / "night.prom").read_text(encoding="utf-8")

    # The tables are those of the same night in one process.
    again = Warehouse(str(airflow.folder / "again"), load_settings(str(airflow.folder / "conf.toml")))
    landing, cache = str(airflow.folder / "landing"), f"lmdb:{airflow.folder}/again-cache"
    run_nights([Night(again, date(2026, 1, 1), landing, cache)])
    assert compare_warehouses(warehouse, again.path) == []
