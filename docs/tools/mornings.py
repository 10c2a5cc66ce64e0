"""Pictures and printed lines of docs/mornings.md: a closed gate, a drift, and a night that is late.

    .venv/bin/python -m docs.tools.mornings FOLDER

FOLDER gets a service of its own: fourteen simulated days, of which twelve are run before anything goes wrong. Airflow
is started for the late night, on a free port. About a quarter of an hour.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from docs.tools.screenshots import IMAGES, ROOT, browser

NOCTURNE = str(ROOT / ".venv" / "bin" / "nocturne")
SECONDS_FOR_MS, ONE_CONTEXT, LATE = "2025-01-13", "2025-01-14", "2025-01-15"
DAYS = 15
DEADLINE_SECONDS = 90


def say(places: list[str], *arguments: str) -> int:
    """Run a command on the service and print it as a person would see it; returns its status."""
    print("$ nocturne " + " ".join(arguments), flush=True)
    done = subprocess.run([NOCTURNE, *arguments, *places], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, f"[{done.returncode}]", flush=True)
    return done.returncode


def change_day(landing: Path, day: str, column: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> Path:
    """Change one field of all events that landed in Parquet on a day; returns a copy of the day as it was."""
    folder = landing / "events" / f"date={day}"
    kept = landing.parent / f"as-it-was-{day}"
    shutil.copytree(folder, kept)
    for path in folder.glob("*.parquet"):
        events = pq.read_table(path)
        field = events.schema.get_field_index(column)
        changed = change(events[column]).cast(events.schema.field(field).type)
        pq.write_table(events.set_column(field, column, changed), path)
    return kept


def in_seconds(ms_played: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whole seconds where milliseconds are meant, as a client's release sends them."""
    return pc.divide(ms_played, 1000)


def from_the_library(context: pa.ChunkedArray) -> pa.ChunkedArray:
    """One context for all, as a client's release sends it."""
    return pa.chunked_array([pa.repeat("library", len(context))])


def picture_page(path: Path, expected: str, name: str, height: int = 1100) -> None:
    """A page of the service as a person sees its head."""
    with browser(1280, height) as page:
        page.show(path.as_uri(), expected)
        page.picture(IMAGES / name)


def closed_gate(landing: Path, warehouse: Path, places: list[str]) -> None:
    """A night whose plays last a thousandth of what they do, and the same night mended."""
    kept = change_day(landing, SECONDS_FOR_MS, "ms_played", in_seconds)
    night = ["night", "--run-date", SECONDS_FOR_MS, "--landing", str(landing)]
    assert say(places, *night) == 3
    of_warehouse = places[:2]
    say(of_warehouse, "status", "--run-date", SECONDS_FOR_MS)
    say(of_warehouse, "monitor", "alerts", "--run-date", SECONDS_FOR_MS)
    say(of_warehouse, "report", "--run-date", SECONDS_FOR_MS)
    picture_page(warehouse / "_data_docs" / f"{SECONDS_FOR_MS}-report.html", "Alerts", "morning-closed-gate.png")
    folder = landing / "events" / f"date={SECONDS_FOR_MS}"
    shutil.rmtree(folder)
    kept.rename(folder)
    assert say(places, *night) == 0
    say(of_warehouse, "status", "--run-date", SECONDS_FOR_MS)


def drift(landing: Path, warehouse: Path, places: list[str]) -> None:
    """A night whose listens all come from one context: told, and published."""
    change_day(landing, ONE_CONTEXT, "context", from_the_library)
    assert say(places, "night", "--run-date", ONE_CONTEXT, "--landing", str(landing)) == 0
    of_warehouse = places[:2]
    say(of_warehouse, "monitor", "alerts", "--run-date", ONE_CONTEXT)
    say(of_warehouse, "report", "--run-date", ONE_CONTEXT)
    picture_page(warehouse / "_data_docs" / f"{ONE_CONTEXT}-report.html", "Alerts", "morning-drift.png")


@contextmanager
def airflow(folder: Path) -> Iterator[str]:
    """Airflow on the service, all DAGs unpaused; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    places = {"LANDING": "landing", "WAREHOUSE": "warehouse", "AIRFLOW_HOME": "airflow", "CONF": "late.toml"}
    environment = {name: str(folder / place) for name, place in places.items()}
    environment = {**os.environ, **environment, "CACHE": f"lmdb:{folder}/cache", "PORT": port}
    process = subprocess.Popen([ROOT / "ops" / "airflow.sh"], env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{port}/api/v2"
    try:
        until(lambda: dag_is_loaded(url), "Airflow to answer")
        for dag in ("nightly_lists", "weekly_retraining", "weekly_tuning"):
            ask(f"{url}/dags/{dag}", "PATCH", {"is_paused": False})
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def dag_is_loaded(url: str) -> bool:
    """True when Airflow answers with the last of the DAGs."""
    try:
        ask(f"{url}/dags/weekly_tuning")
    except OSError:
        return False
    return True


def ask(url: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
    """Answer of Airflow's API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - an address of this machine
        return json.load(answer)


def until(holds: Callable[[], bool], waited_for: str) -> None:
    """Wait, for an hour at most."""
    deadline = time.monotonic() + 3600
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited for {waited_for}")
        time.sleep(2)


def start(url: str, dag: str, run_date: str, **params: Any) -> str:
    """Trigger a DAG by hand; returns the address of its run."""
    body = {"logical_date": None, "conf": {"run_date": run_date, **params}}
    run = ask(f"{url}/dags/{dag}/dagRuns", "POST", body)["dag_run_id"]
    return f"{url}/dags/{dag}/dagRuns/{quote(run)}"


def state(address: str) -> str:
    """State of a run, or of an instance of a task."""
    return str(ask(address)["state"])


def picture_run(address: str, expected: str, name: str) -> None:
    """A run in Airflow's UI."""
    with browser(1600, 1000) as page:
        page.show(address.replace("/api/v2/", "/").replace("/dagRuns/", "/runs/"), expected)
        page.picture(IMAGES / name)


def finish(address: str) -> None:
    """Wait for the end of a run and print it with the state of every task."""
    until(lambda: state(address) in {"success", "failed"}, address)
    tasks = ask(f"{address}/taskInstances?limit=100")["task_instances"]
    print(address, state(address), {task["task_id"]: task["state"] for task in tasks}, flush=True)


def late_night(folder: Path, url: str) -> None:
    """A night whose landing day is not complete when its deadline comes."""
    mark = folder / "landing" / "events" / f"date={LATE}" / "_SUCCESS"
    rows = mark.read_text(encoding="utf-8")
    mark.unlink()
    run = start(url, "nightly_lists", LATE)
    until(lambda: state(f"{run}/taskInstances/landing_complete") == "up_for_reschedule", "the wait for the landing")
    time.sleep(DEADLINE_SECONDS)
    picture_run(run, "landing_complete", "morning-late.png")
    mark.write_text(rows, encoding="utf-8")
    finish(run)
    picture_run(run, "refresh_cache", "airflow-run.png")


def weekly(url: str) -> None:
    """Both weekly DAGs, as the scheduler runs them."""
    for dag, params in (("weekly_retraining", {}), ("weekly_tuning", {"trials": 2})):
        run = start(url, dag, LATE, **params)
        finish(run)
        picture_run(run, dag, f"{dag.replace('_', '-')}.png")


def main(folder: str) -> None:
    """Make the service, and go through the three mornings."""
    root = Path(folder).resolve()
    landing, warehouse = root / "landing", root / "warehouse"
    places = ["--warehouse", str(warehouse), "--cache", f"lmdb:{root}/cache"]
    sizes = ["--listeners", "1000", "--items", "500", "--nights", str(DAYS), "--seed", "1", "--start", "2025-01-01"]
    if not warehouse.exists():
        subprocess.run([NOCTURNE, "simulate", "--landing", str(landing), *sizes], check=True)
        nights = ["--from", "2025-01-01", "--to", "2025-01-12", "--landing", str(landing)]
        subprocess.run([NOCTURNE, "night", *nights, *places], check=True)
    closed_gate(landing, warehouse, places)
    drift(landing, warehouse, places)
    with airflow(root) as url:
        late_night(root, url)
        weekly(url)


if __name__ == "__main__":
    main(*sys.argv[1:])
