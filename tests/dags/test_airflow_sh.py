"""`ops/airflow.sh`: it says how it is doing, what it shows can be pasted, and nothing of it outlives it.

Its Airflow is a stand-in that ends neither itself nor its children when it is asked to.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

OPS = Path(__file__).parents[2] / "ops"
STUBBORN = "trap '' TERM INT; setsid sleep 300 & echo $! >> $AIRFLOW_HOME/pids; echo $$ >> $AIRFLOW_HOME/pids"
ANSWERS = f"{sys.executable} -m http.server -d $AIRFLOW_HOME -b 127.0.0.1 $AIRFLOW__API__PORT"


class Script:
    """The script in a checkout of its own, whose `airflow` is a stand-in."""

    def __init__(self, root: Path) -> None:
        shutil.copytree(OPS, root / "ops")
        self.root, self.home = root, root / ".airflow"
        (root / ".venv" / "bin").mkdir(parents=True)
        self.program("python", f'exec {sys.executable} "$@"')
        (self.home / "api" / "v2" / "monitor").mkdir(parents=True)
        (self.home / "api" / "v2" / "monitor" / "health").touch()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.processes: list[subprocess.Popen[str]] = []

    def program(self, name: str, does: str) -> None:
        """A program of the environment."""
        path = self.root / ".venv" / "bin" / name
        path.write_text(f"#!/bin/bash\n{does}\n", encoding="utf-8")
        path.chmod(0o755)

    def start(self, airflow: str) -> subprocess.Popen[str]:
        """The script, in the foreground of a terminal of its own, with such an Airflow."""
        self.program("airflow", airflow)
        settings = {"HOME": str(self.root), "PATH": os.environ["PATH"], "PORT": str(self.port)}
        process = subprocess.Popen(
            [self.root / "ops" / "airflow.sh"],
            env=settings,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def started(self) -> list[int]:
        """The processes that its Airflow noted."""
        noted = self.home / "pids"
        return [int(line) for line in noted.read_text(encoding="utf-8").split()] if noted.exists() else []

    def ends(self, airflow: str) -> tuple[int, str]:
        """Status and message of a script that ends by itself."""
        process = self.start(airflow)
        _, said = process.communicate(timeout=60)
        return process.returncode, said


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    script = Script(tmp_path)
    yield script
    for process in script.processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    for pid in script.started():
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    said = ""
    assert process.stderr is not None
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def of_the_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)


def of_the_script(process: subprocess.Popen[str]) -> None:
    process.terminate()


@pytest.mark.slow
@pytest.mark.parametrize("interrupt", [of_the_group, of_the_script])
@pytest.mark.parametrize("answering", [True, False])
def test_an_interrupt_ends_every_process_even_those_that_ignore_it_and_have_lost_their_parents(
    script, interrupt, answering
):
    lost = "bash -c 'setsid sleep 300 & echo $! >> $AIRFLOW_HOME/pids'"
    process = script.start(f"{STUBBORN}; {lost}; {ANSWERS if answering else 'sleep 300'}")
    if answering:
        read_until(process, f"Airflow answers at http://127.0.0.1:{script.port}\n")
    wait_for(lambda: len(script.started()) == 3)
    interrupt(process)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Airflow stopped; nothing of it is left; run make airflow to go on."
    assert [pid for pid in script.started() if psutil.pid_exists(pid)] == []


@pytest.mark.slow
def test_an_airflow_that_ends_by_itself_is_said_with_the_end_of_its_log_and_leaves_nothing(script):
    status, said = script.ends("sleep 300 & echo $! > $AIRFLOW_HOME/pids; echo no such database; exit 3")
    assert status == 1
    assert said.endswith(
        f"Airflow ended by itself, and nothing of it is left. Its log, {script.home}/standalone.log, ends with:\n"
        "  no such database\n"
    )
    assert [pid for pid in script.started() if psutil.pid_exists(pid)] == []


@pytest.mark.slow
def test_an_airflow_that_loses_its_server_while_it_starts_is_ended_and_said(script):
    lose = "import subprocess, time; server = subprocess.Popen(['false']); time.sleep(300)"
    status, said = script.ends(f'echo no server; exec {sys.executable} -c "{lose}"')
    assert status == 1
    assert said.endswith("ends with:\n  no server\n")


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_before_anything_starts(script):
    with socket.create_server(("127.0.0.1", script.port)):
        status, said = script.ends("touch $AIRFLOW_HOME/pids")
    assert status == 1
    assert f"something else answers at port {script.port}. End it, or: PORT={script.port + 1} make airflow" in said
    assert not (script.home / "pids").exists()


@pytest.mark.slow
def test_what_is_shown_can_be_pasted_as_it_stands_into_another_terminal(script):
    for day in ("2026-01-02", "2026-01-03"):
        (script.root / "data" / "landing" / "events" / f"date={day}").mkdir(parents=True)
        (script.root / "data" / "landing" / "events" / f"date={day}" / "_SUCCESS").touch()
    _, said = script.ends("exit 1")
    shown = [line for line in said.splitlines() if line.startswith("    ")]
    script.program("airflow", 'echo "$AIRFLOW__API__PORT" "$@"')
    plain = {"HOME": str(script.root), "PATH": os.environ["PATH"]}
    pasted = subprocess.run(["bash", "-ec", "\n".join(shown)], env=plain, capture_output=True, text=True, check=True)
    assert pasted.stdout.splitlines() == [
        f"{script.port} dags unpause nightly_lists",
        f'{script.port} dags trigger nightly_lists --conf {{"run_date": "2026-01-03"}}',
        f"{script.port} dags unpause nightly_lists",
        f"{script.port} backfill create --dag-id nightly_lists --from-date 2026-01-02 --to-date 2026-01-03",
    ]


@pytest.mark.slow
def test_without_a_landing_day_nothing_is_shown_to_paste_but_how_to_get_one(script):
    _, said = script.ends("exit 1")
    assert f"No landing day is complete in {script.root}/data/landing; make night simulates three." in said
    assert "dags trigger" not in said
