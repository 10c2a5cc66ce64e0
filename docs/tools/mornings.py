"""Pictures and printed lines of docs/mornings.md: a closed gate, a drift, a late night, and the weekly DAGs.

    .venv/bin/python -m docs.tools.mornings FOLDER

FOLDER gets a service of its own of fifteen simulated days, of which twelve are run before anything goes wrong. The last
day is yesterday, because a schedule knows no other. Airflow is started on a free port, and ended. About an hour.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from docs.tools.screenshots import IMAGES, ROOT, browser, picture_data_docs, picture_run
from tests.fixtures.standalone_airflow import Airflow, standalone_airflow, until
from tests.fixtures.webhooks import Webhook, webhook

DAYS, PATIENCE_SECONDS, GRACE = 15, 3600, timedelta(minutes=3)


@dataclass(frozen=True)
class Service:
    """A simulated service in a folder, and the webhook that it tells."""

    folder: Path
    hook: Webhook

    def run(self, *arguments: str, expected: int = 0) -> None:
        """Run a command of Nocturne, and print it as a person would see it, and then what the webhook was told."""
        print("$ nocturne " + " ".join(arguments), flush=True)
        places = {"--warehouse": f"{self.folder}/warehouse", "--conf": f"{self.folder}/conf.toml"}
        if arguments[0] == "night":
            places |= {"--landing": f"{self.folder}/landing"}
        if arguments[0] in {"night", "status"}:
            places |= {"--cache": f"lmdb:{self.folder}/cache"}
        command = [ROOT / ".venv" / "bin" / "nocturne", *arguments]
        command += [word for option in places.items() for word in option]
        status = subprocess.run(command, stderr=subprocess.STDOUT, check=False).returncode
        if status != expected:
            sys.exit(f"status {status}, expected {expected}")
        self.print_told()

    def print_told(self) -> None:
        """Print what the webhook was told since it was last asked."""
        while self.hook.got:
            print("webhook:", json.dumps(self.hook.got.pop(0), indent=1), flush=True)

    def landing_day(self, day: date) -> Path:
        """The folder of the events that landed on a day."""
        return self.folder / "landing" / "events" / f"date={day}"

    def picture_report(self, night: date, name: str) -> None:
        """The head of the page of a night."""
        with browser(1280, 1000) as page:
            page.show(f"file://{self.folder}/warehouse/_data_docs/{night}-report.html", "Alerts")
            page.picture(IMAGES / name)


def make(service: Service, first: date, sound: int) -> None:
    """Simulate all days, and run the first nights."""
    simulated = ["--listeners", "1000", "--items", "500", "--nights", str(DAYS), "--seed", "1", "--start", str(first)]
    landing = str(service.folder / "landing")
    subprocess.run([ROOT / ".venv" / "bin" / "nocturne", "simulate", "--landing", landing, *simulated], check=True)
    service.run("night", "--from", str(first), "--to", str(first + timedelta(days=sound - 1)))


def change_day(folder: Path, column: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> None:
    """Change one field of all events that landed in Parquet on a day."""
    for path in folder.glob("*.parquet"):
        events = pq.read_table(path)
        field = events.schema.get_field_index(column)
        changed = change(events[column]).cast(events.schema.field(field).type)
        pq.write_table(events.set_column(field, column, changed), path)


def closed_gate(service: Service, night: date) -> None:
    """A night whose plays are in seconds, where milliseconds are meant, and the same night mended."""
    landed = service.landing_day(night)
    kept = shutil.copytree(landed, service.folder / "as-it-was")
    change_day(landed, "ms_played", lambda ms_played: pc.divide(ms_played, 1000))
    run_date = ("--run-date", str(night))
    service.run("night", *run_date, expected=3)
    service.run("status", *run_date)
    service.run("monitor", "alerts", *run_date, expected=3)
    service.run("report", *run_date)
    service.picture_report(night, "morning-closed-gate.png")
    shutil.rmtree(landed)
    kept.rename(landed)
    service.run("night", *run_date)
    service.run("status", *run_date)


def drift(service: Service, night: date) -> None:
    """A night whose listens all come from one context: told, and published."""
    change_day(service.landing_day(night), "context", lambda context: pa.chunked_array([["library"] * len(context)]))
    run_date = ("--run-date", str(night))
    service.run("night", *run_date)
    service.run("monitor", "alerts", *run_date)
    service.run("report", *run_date)
    service.picture_report(night, "morning-drift.png")


def scheduled_run(airflow: Airflow, name: str) -> str:
    """The run that the scheduler makes of a DAG by its schedule, for the tick that passed last.

    That tick is due where a run of the one before it is on record: it is put there, and nothing of it is run.
    """
    dag = f"dags/{name}"
    upcoming = airflow.ask(dag)
    starts, ends = (datetime.fromisoformat(upcoming[f"next_dagrun_data_interval_{side}"]) for side in ("start", "end"))
    before = (starts - 2 * (ends - starts)).isoformat()
    airflow.command("backfill", "create", "--dag-id", name, "--from-date", before, "--to-date", before)
    (record,) = airflow.ask(f"{dag}/dagRuns?run_type=backfill")["dag_runs"]
    airflow.ask(f"{dag}/dagRuns/{quote(record['dag_run_id'])}", "PATCH", {"state": "success"})
    airflow.ask(dag, "PATCH", {"is_paused": False})

    def scheduled() -> list[dict[str, Any]] | None:
        return airflow.ask(f"{dag}/dagRuns?run_type=scheduled")["dag_runs"] or None

    (run,) = until(scheduled, PATIENCE_SECONDS, f"a run of {name}")
    return f"{dag}/dagRuns/{quote(run['dag_run_id'])}"


def finish(airflow: Airflow, run: str) -> None:
    """Wait for the end of a run, and print it with every task."""

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = airflow.ask(run)
        return found if found["state"] in {"success", "failed"} else None

    found = until(ended, PATIENCE_SECONDS, run)
    print(run, {name: found[name] for name in ("run_type", "data_interval_end", "start_date", "end_date", "state")})
    for task in airflow.ask(f"{run}/taskInstances?limit=100&order_by=start_date")["task_instances"]:
        print(task["task_id"], task["state"], task["try_number"], task["duration"], flush=True)


def late_night(service: Service, airflow: Airflow, night: date) -> None:
    """A night whose landing day is complete only after its deadline."""
    mark = service.landing_day(night) / "_SUCCESS"
    rows = mark.read_text(encoding="utf-8")
    mark.unlink()
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hours = dict.fromkeys(("rank_users", "refresh_cache", "analyse_experiment"))
    due = {"ingest_events": round((now + GRACE - midnight) / timedelta(hours=1), 2), **hours}
    airflow.ask("variables", "POST", {"key": "nocturne_due", "value": json.dumps(due)})
    print("nocturne_due", due)
    run = scheduled_run(airflow, "nightly_lists")
    until(lambda: service.hook.got or None, PATIENCE_SECONDS, "the webhook to be told")
    service.print_told()
    service.run("status", "--run-date", str(night))
    picture_run(airflow.url, run, "landing_complete", "morning-late.png")
    mark.write_text(rows, encoding="utf-8")
    finish(airflow, run)
    service.print_told()
    service.run("status", "--run-date", str(night))
    picture_run(airflow.url, run, "refresh_cache", "airflow-run.png")


def weekly(airflow: Airflow) -> None:
    """Both weekly DAGs."""
    for name in ("weekly_retraining", "weekly_tuning"):
        run = scheduled_run(airflow, name)
        finish(airflow, run)
        picture_run(airflow.url, run, "Success", f"{name.replace('_', '-')}.png")


def main(path: str) -> None:
    """Make the service, and go through the three mornings."""
    folder = Path(path).resolve()
    folder.mkdir(parents=True)
    late = datetime.now(UTC).date() - timedelta(days=1)
    with webhook() as hook:
        service = Service(folder, hook)
        section, _, setting = hook.setting(folder).partition(".")
        name, _, file = setting.partition("=")
        conf = f'[{section}]\n{name} = "{file}"\n'
        (folder / "conf.toml").write_text(conf, encoding="utf-8")
        make(service, late - timedelta(days=DAYS - 1), sound=DAYS - 3)
        closed_gate(service, late - timedelta(days=2))
        drift(service, late - timedelta(days=1))
        with standalone_airflow(folder, conf) as airflow:
            late_night(service, airflow, late)
            weekly(airflow)
    picture_data_docs(folder / "warehouse")


if __name__ == "__main__":
    main(*sys.argv[1:])
