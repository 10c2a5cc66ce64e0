"""Exit statuses of jobs and commands, in Airflow's terms; and no process left behind."""

import gc
import os
import threading
import time
import warnings
from pathlib import Path

import pytest

RETRIED, FINAL = (1, 5, 137), (2, 3, 4)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Stand-ins for `nocturne` and `spark-submit` that note their arguments and exit as told."""

    def install(status: int = 0, does: str = "") -> None:
        for name in ("nocturne", "spark-submit"):
            script = f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/{name}.arguments\n{does}\nexit {status}\n'
            (tmp_path / name).write_text(script, encoding="utf-8")
            (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[1]"}')
    gc.freeze()  # only what the test leaves is looked through
    yield install
    with warnings.catch_warnings(action="ignore"):
        gc.collect()  # the provider leaves its pipe to the collector
    gc.unfreeze()


def job():
    from tasks import SubmitJob

    arguments = ["--run-date=2026-01-31", "--conf=", "--validate"]
    return SubmitJob(task_id="rank_users", name="rank_users", application="rank_users.py", application_args=arguments)


def command():
    from tasks import RunCommand

    return RunCommand(task_id="validate_listens", arguments=["validations", "--table", "listens"])


def poll():
    from tasks import PollCommand

    return PollCommand(task_id="take_lease", arguments=["lease", "take"])


def test_a_job_that_exits_with_0_is_done_and_was_given_its_arguments(programs, tmp_path):
    programs()
    job().execute({})
    submitted = (tmp_path / "spark-submit.arguments").read_text(encoding="utf-8").split()
    assert submitted == ["--master", "local[1]", "--name", "rank_users", "rank_users.py", *job().application_args]


def test_a_command_that_exits_with_0_is_done_and_was_given_its_arguments(programs, tmp_path):
    programs()
    command().execute({})
    assert (tmp_path / "nocturne.arguments").read_text(encoding="utf-8").split() == [
        "validations",
        "--table",
        "listens",
    ]


@pytest.mark.parametrize("task", [job, command])
@pytest.mark.parametrize("status", FINAL)
def test_wrong_settings_a_closed_gate_and_bad_input_are_not_retried(programs, task, status):
    from airflow.sdk.exceptions import AirflowFailException

    programs(status)
    with pytest.raises(AirflowFailException, match=f"exited with {status} .* Not retried"):
        task().execute({})


@pytest.mark.parametrize("task", [job, command])
@pytest.mark.parametrize("status", RETRIED)
def test_a_crash_and_a_failed_service_are_retried(programs, task, status):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    programs(status)
    with pytest.raises(AirflowException, match=f"exited with {status} ") as raised:
        task().execute({})
    assert not isinstance(raised.value, AirflowFailException)


def test_a_spark_submit_that_cannot_be_started_is_retried(programs, tmp_path, monkeypatch):
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="spark-submit") as raised:
        job().execute({})
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize(("status", "granted"), [(0, True), (75, False)])
def test_a_lease_that_another_night_holds_is_asked_for_again(programs, status, granted):
    programs(status)
    assert poll().poke({}) == granted


def test_a_lease_that_can_never_be_taken_is_not_asked_for_again(programs):
    from airflow.sdk.exceptions import AirflowFailException

    programs(2)
    with pytest.raises(AirflowFailException):
        poll().poke({})


@pytest.fixture
def landing(tmp_path):
    """The wait for a landing day in this folder, an hour long."""
    from tasks import AwaitMark

    mark = str(tmp_path / "_SUCCESS")
    return AwaitMark(task_id="landing_complete", mark=mark, run_date="2026-01-31", timeout=3600)


def test_a_landing_day_is_complete_when_its_mark_is_there(landing, tmp_path):
    assert not landing.poke({})
    (tmp_path / "_SUCCESS").touch()
    assert landing.poke({})


def test_each_look_for_a_mark_says_which_day_and_which_mark_it_waits_for(landing, tmp_path, capsys):
    landing.poke({})
    (tmp_path / "_SUCCESS").touch()
    landing.poke({})
    missing, there = capsys.readouterr().out.splitlines()
    assert f"Landing day 2026-01-31 is not complete yet, its mark is missing: {tmp_path}/_SUCCESS" in missing
    assert f"Landing day 2026-01-31 is complete, its mark is there: {tmp_path}/_SUCCESS" in there


def test_a_wait_that_gives_up_is_not_retried_and_says_which_mark_did_not_come(landing, tmp_path):
    from airflow.sdk.exceptions import AirflowSensorTimeout

    landing.timeout = -1
    with pytest.raises(AirflowSensorTimeout, match=f"for {tmp_path}/_SUCCESS, mark of landing day 2026-01-31: ask"):
        landing.execute({})


def test_a_wait_for_the_lease_that_gives_up_says_what_was_never_granted(programs):
    from airflow.sdk.exceptions import AirflowSensorTimeout

    programs(75)
    task = poll()
    task.timeout = -1
    with pytest.raises(AirflowSensorTimeout, match="for `nocturne lease take`, which was never granted"):
        task.execute({})


def gone(pid: int) -> bool:
    """True once the process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_job_that_is_killed_leaves_no_process_behind(programs, tmp_path):
    from airflow.sdk.exceptions import AirflowException

    programs(does=f"sleep 300 & echo $! > {tmp_path}/driver.pid\nwait")
    task = job()
    errors = []

    def execute() -> None:
        try:
            task.execute({})
        except AirflowException as error:
            errors.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    pid = tmp_path / "driver.pid"
    deadline = time.monotonic() + 30
    while not (pid.exists() and pid.read_text(encoding="utf-8").strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    task.on_kill()
    thread.join(30)
    assert len(errors) == 1
    assert gone(int(pid.read_text(encoding="utf-8")))
