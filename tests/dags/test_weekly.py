"""DAGs beside the nights: what all of them hold; a model that is made live; a search whose winner stays a candidate."""

import json
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.storage import lease_state

DAGS = Path(__file__).parents[2] / "dags"
pytestmark = [  # Airflow's own, while it reads .airflowignore and its standard provider
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .airflow.utils.operator_helpers"),
]
WEEKLY = ("weekly_retraining", "weekly_tuning")
SUNDAY = pendulum.datetime(2026, 2, 1, 12)


@pytest.fixture(scope="module")
def dags():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(DAGS).dags


@pytest.fixture(params=[*WEEKLY, "nightly_retention"])
def dag(dags, request):
    return dags[request.param]


def arguments(dag, task_id: str, **context) -> list[str]:
    """The arguments of a task as a run of that context gets them."""
    variables = {"nocturne_warehouse": "/data/warehouse"}
    values = SimpleNamespace(**variables, get=variables.get)
    full = {
        "params": {"run_date": None, "trials": 50},
        "run_id": "run-1",
        "ti": SimpleNamespace(xcom_pull=lambda task_ids: f"what {task_ids} printed"),
        "data_interval_end": SUNDAY,
        "var": {"value": values},
        **context,
    }
    task = dag.get_task(task_id)
    return list(task.render_template(task.arguments, full, dag.get_template_env()))


def test_someone_on_call_finds_an_owner_tags_and_a_page(dag):
    assert dag.tags == {"nocturne", "recommendations"}
    assert {task.owner for task in dag.tasks} == {"recommendations"}
    for told in ("| failed |", "By hand", "run_date", "Variables"):
        assert told in dag.doc_md


def test_every_task_ends_by_itself_is_retried_and_no_run_waits_for_the_one_before(dag):
    assert dag.dagrun_timeout == timedelta(days=1)
    assert not dag.catchup
    for task in dag.tasks:
        assert timedelta(0) < task.execution_timeout < dag.dagrun_timeout
        assert (task.retries, task.depends_on_past) == (3, False)
        assert task.max_retry_delay.total_seconds() < lease_state.RUN_LASTS_SECONDS / 2


def test_runs_are_once_a_week_between_nights(dags):
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    restriction = TimeRestriction(pendulum.datetime(2026, 1, 20), None, catchup=True)
    scheduled = {
        name: DagSerialization.deserialize_dag(json.loads(json.dumps(DagSerialization.serialize_dag(dags[name]))))
        for name in WEEKLY
    }
    due = {
        name: dag.timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
        for name, dag in scheduled.items()
    }
    starts = {name: info.run_after.in_timezone("UTC").format("dddd HH:mm") for name, info in due.items()}
    assert starts == {"weekly_retraining": "Sunday 12:00", "weekly_tuning": "Saturday 12:00"}


def test_a_model_is_trained_then_promoted_under_a_lease_that_is_given_back_whatever_happens(dags):
    dag = dags["weekly_retraining"]
    assert [task.task_id for task in dag.topological_sort()] == ["take_lease", "train", "promote", "release_lease"]
    assert dag.get_task("take_lease").is_setup
    assert dag.get_task("take_lease").mode == "reschedule"
    release = dag.get_task("release_lease")
    assert release.is_teardown
    assert not release.on_failure_fail_dagrun
    held = {name: arguments(dag, name) for name in ("take_lease", "train", "promote", "release_lease")}
    assert all("weekly_retraining run-1" in told for told in held.values())


def test_training_sees_the_night_before_last_and_the_model_serves_from_the_night_of_the_run(dags):
    dag = dags["weekly_retraining"]
    train, promote = arguments(dag, "train"), arguments(dag, "promote")
    assert train[:6] == ["models", "train", "--warehouse", "/data/warehouse", "--run-date", "2026-01-30"]
    assert "--live-recipe" in train
    assert promote[:3] == ["models", "promote", "what train printed"]
    assert promote[5:7] == ["--run-date", "2026-02-01"]


def test_a_night_that_is_named_counts_and_without_any_the_run_says_what_is_missing(dags):
    from airflow.sdk.exceptions import AirflowFailException

    dag = dags["weekly_retraining"]
    assert arguments(dag, "train", params={"run_date": "2026-03-10"})[5] == "2026-03-08"
    with pytest.raises(AirflowFailException, match="trigger it with the param run_date"):
        arguments(dag, "train", data_interval_end=None)


def test_the_search_has_the_week_whose_nights_were_listened_to_after_and_promotes_nothing(dags):
    dag = dags["weekly_tuning"]
    assert [task.task_id for task in dag.tasks] == ["tune"]
    told = arguments(dag, "tune")
    assert told[:7] == ["tune", "--warehouse", "/data/warehouse", "--from", "2026-01-24", "--to", "2026-01-30"]
    assert told[7:11] == ["--study", "weekly-2026-02-01", "--storage", "/data/warehouse/_studies/weekly.log"]
    assert told[11:] == ["--trials", "50", "--conf="]


@pytest.mark.parametrize("task_id", ["train", "promote"])
def test_every_option_of_a_task_is_one_of_its_command(dags, task_id: str):
    told = arguments(dags["weekly_retraining"], task_id)
    known = CliRunner().invoke(app, [*told[:2], "--help"], env={"COLUMNS": "200"}).stdout
    options = {text.partition("=")[0] for text in told if text.startswith("--")}
    assert {option for option in options if option not in known} == set()


def test_the_last_line_of_a_command_is_handed_to_the_next_task(tmp_path, monkeypatch):
    sys.path.insert(0, str(DAGS))
    from tasks import RunCommand

    (tmp_path / "nocturne").write_text("#!/bin/sh\necho trained >&2\necho als-1\n", encoding="utf-8")
    (tmp_path / "nocturne").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert RunCommand(task_id="train", arguments=["models", "train"]).execute({}) == "als-1"
