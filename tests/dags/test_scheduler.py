"""Airflow's own scheduler runs a whole night: nothing is imitated here."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psutil
import pytest
from pyspark.sql import SparkSession

from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.flow import TABLES
from nocturne.pipeline.runner import run_nights
from nocturne.storage import lease, lease_state
from tests.tools.compare_warehouses import compare_warehouses

ROOT = Path(__file__).parents[2]
NOCTURNE = ROOT / ".venv" / "bin" / "nocturne"
DAG = "dags/nightly_lists"
LISTENER = "u00000003"
T = TypeVar("T")


@dataclass(frozen=True)
class Airflow:
    """A standalone Airflow on a warehouse of its own."""

    port: int
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *component: str) -> None:
        """All of it, or a component alone."""
        self.processes.append(subprocess.Popen([ROOT / "ops" / "airflow.sh", *component], env=self.environment()))

    def scheduler(self) -> psutil.Process | None:
        """The scheduler's own process, above those of its tasks."""
        for process in self.processes:
            for child in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    if "airflow scheduler" in " ".join(child.cmdline()):
                        return child
        return None

    def environment(self) -> dict[str, str]:
        places = {name: str(self.folder / name.lower()) for name in ("LANDING", "WAREHOUSE")}
        home = {"AIRFLOW_HOME": str(self.folder / "airflow"), "PORT": str(self.port)}
        return {
            **os.environ,
            **places,
            **home,
            "CACHE": f"lmdb:{self.folder}/cache",
            "CONF": f"{self.folder}/conf.toml",
        }

    def ask(self, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v2/{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read() or "null")

    def command(self, *arguments: str) -> None:
        subprocess.run([ROOT / "ops" / "airflow.sh", *arguments], env=self.environment(), check=True, timeout=120)

    def log(self) -> str:
        """The end of the log of every task that failed."""
        failed = []
        for path in sorted((self.folder / "airflow" / "logs").rglob("attempt=*.log")):
            text = path.read_text(encoding="utf-8")
            if '"level":"error"' in text:
                failed.append(f"{path.parent.name}\n" + "\n".join(re.findall(r'"event":"(.*?)","', text)[-30:]))
        return "\n\n".join(failed)


def until(answer: Callable[[], T | None], seconds: float, waiting_for: str) -> T:
    """The first answer that is not None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := answer()) is not None:
            return found
        time.sleep(1)
    pytest.fail(f"waited {seconds} s for {waiting_for}")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        airflow = Airflow(free.getsockname()[1], tmp_path_factory.mktemp("night"))
    sizes = ["--listeners", "200", "--items", "150", "--nights", "2", "--seed", "1", "--start", "2026-01-01"]
    subprocess.run([NOCTURNE, "simulate", "--landing", airflow.folder / "landing", *sizes], check=True, timeout=120)
    (airflow.folder / "conf.toml").write_text("[als]\nfactors = 8\niterations = 3\n", encoding="utf-8")
    airflow.start()
    try:
        until(lambda: loaded(airflow), 240, "Airflow to answer with the DAG")
        yield airflow
    finally:
        for process in airflow.processes:
            for member in [*psutil.Process(process.pid).children(recursive=True), process]:
                member.kill()
            process.wait()


def loaded(airflow: Airflow) -> dict[str, Any] | None:
    try:
        return airflow.ask(DAG)
    except (urllib.error.URLError, ConnectionError):
        return None


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

    assert until(ended, 900, "the night to end") == "success", airflow.log()
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

    # The tables are those of the same night in one process.
    again = Warehouse(str(airflow.folder / "again"), load_settings(str(airflow.folder / "conf.toml")))
    landing, cache = str(airflow.folder / "landing"), f"lmdb:{airflow.folder}/again-cache"
    run_nights([Night(again, date(2026, 1, 1), landing, cache)])
    assert compare_warehouses(warehouse, again.path) == []
