"""Pictures and printed lines of docs/mornings.md: a closed gate, a drift, a late night, and the weekly DAGs.

    .venv/bin/python -m docs.tools.mornings FOLDER

FOLDER gets a service of its own of fifteen simulated days, of which twelve are run before anything goes wrong. The last
day is yesterday, because a schedule knows no other. Airflow is started on a free port, and ended.
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

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from docs.tools.screenshots import IMAGES, ROOT, browser, picture_data_docs, picture_run
from tests.fixtures.standalone_airflow import Airflow, standalone_airflow, until
from tests.fixtures.webhooks import Webhook, webhook

NOCTURNE = str(ROOT / ".venv" / "bin" / "nocturne")
DAYS, PATIENCE_SECONDS, GRACE = 15, 4 * 3600, timedelta(minutes=3)


@dataclass(frozen=True)
class Service:
    """A simulated service in a folder, and the webhook that it tells."""

    folder: Path
    hook: Webhook

    def run(self, *arguments: str, expected: int = 0) -> None:
        """Run a command of Nocturne, and print it as a person would see it, and then what the webhook was told."""
        print("$ nocturne " + " ".join(arguments), flush=True)
        places = {"--warehouse": f"{self.folder}/warehouse"}
        if arguments[0] != "models":
            places["--conf"] = f"{self.folder}/conf.toml"
        if arguments[0] == "night":
            places |= {"--landing": f"{self.folder}/landing"}
        if arguments[0] in {"night", "status"}:
            places |= {"--cache": f"lmdb:{self.folder}/cache"}
        command = [NOCTURNE, *arguments, *(word for option in places.items() for word in option)]
        status = subprocess.run(command, stderr=subprocess.STDOUT, check=False).returncode
        if status != expected:
            sys.exit(f"status {status}, expected {expected}")
        self.print_told()

    def print_told(self) -> None:
        """Print what the webhook was told since it was last asked."""
        while self.hook.got:
            print("webhook:", json.dumps(self.hook.got.pop(0), indent=1), flush=True)

    def print_evidence(self, night: date, cause: str) -> None:
        """Print what the query of an alert's evidence gives of the last nights."""
        night_of, cause_of = pl.col("run_date"), pl.col("cause")
        alerts = pl.scan_delta(f"{self.folder}/warehouse/alerts").filter(night_of == night, cause_of == cause)
        (query,) = alerts.select(pl.col("evidence").str.extract("(SELECT.*)")).collect().head(1)["evidence"]
        metrics = pl.SQLContext(night_metrics=pl.scan_delta(f"{self.folder}/warehouse/night_metrics"))
        print(query, metrics.execute(query).collect().tail(12), sep="\n", flush=True)

    def landing_day(self, day: date) -> Path:
        """The folder of the events that landed on a day."""
        return self.folder / "landing" / "events" / f"date={day}"

    def picture_report(self, night: date, name: str) -> None:
        """The head of the page of a night."""
        with browser(1280, 1000) as page:
            page.show(f"file://{self.folder}/warehouse/_data_docs/{night}-report.html", "Alerts")
            here = json.dumps(f"{self.folder}/")
            page.value(f"document.body.innerHTML = document.body.innerHTML.replaceAll({here}, 'data/')")
            page.picture(IMAGES / name)


def make(service: Service, first: date, sound: int) -> None:
    """Simulate all days, and run the first nights."""
    simulated = ["--listeners", "1000", "--items", "500", "--nights", str(DAYS), "--seed", "1", "--start", str(first)]
    landing = str(service.folder / "landing")
    subprocess.run([NOCTURNE, "simulate", "--landing", landing, *simulated], check=True)
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
    service.print_evidence(night, "listens.lengths")
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
    service.print_evidence(night, "listens.contexts")
    service.run("report", *run_date)
    service.picture_report(night, "morning-drift.png")


def only_run(airflow: Airflow, name: str, kind: str) -> str | None:
    """The path of the run of that kind that a DAG has had, if it has had one."""
    runs = airflow.ask(f"dags/{name}/dagRuns?run_type={kind}")["dag_runs"]
    return f"dags/{name}/dagRuns/{quote(runs[0]['dag_run_id'])}" if runs else None


def scheduled_run(airflow: Airflow, name: str) -> str:
    """The run that the scheduler makes of a DAG by its schedule, for the tick that passed last.

    That tick is due where a run of the one before it is on record: one is put there, of which only what tears down is
    run.
    """
    upcoming = airflow.ask(f"dags/{name}")
    starts, ends = (datetime.fromisoformat(upcoming[f"next_dagrun_data_interval_{side}"]) for side in ("start", "end"))
    before = (starts - 2 * (ends - starts)).isoformat()
    airflow.command("backfill", "create", "--dag-id", name, "--from-date", before, "--to-date", before)
    airflow.ask(only_run(airflow, name, "backfill") or "", "PATCH", {"state": "success"})
    airflow.ask(f"dags/{name}", "PATCH", {"is_paused": False})
    return until(lambda: only_run(airflow, name, "scheduled"), PATIENCE_SECONDS, f"a run of {name}")


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
    service.run("monitor", "alerts", "--run-date", str(night))
    picture_run(airflow.url, run, "refresh_cache", "airflow-run.png", height=900)


def weekly(service: Service, airflow: Airflow) -> None:
    """Both weekly DAGs."""
    for name in ("weekly_retraining", "weekly_tuning"):
        run = scheduled_run(airflow, name)
        finish(airflow, run)
        picture_run(airflow.url, run, "Success", f"{name.replace('_', '-')}.png")
    service.run("models", "list")


def main(path: str) -> None:
    """Make the service, and go through the three mornings."""
    folder = Path(path).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    late = datetime.now(UTC).date() - timedelta(days=1)
    with webhook() as hook:
        service = Service(folder, hook)
        (folder / "webhook-url").write_text(hook.url, encoding="utf-8")
        conf = f'[monitoring]\nwebhook_url_file = "{folder}/webhook-url"\n'
        (folder / "conf.toml").write_text(conf, encoding="utf-8")
        if not (folder / "warehouse").exists():
            make(service, late - timedelta(days=DAYS - 1), sound=DAYS - 3)
        closed_gate(service, late - timedelta(days=2))
        drift(service, late - timedelta(days=1))
        with standalone_airflow(folder, conf, PATIENCE_SECONDS) as airflow:
            late_night(service, airflow, late)
            weekly(service, airflow)
    picture_data_docs(folder / "warehouse")


if __name__ == "__main__":
    main(*sys.argv[1:])
