"""The DAG of retention: one command under a lease that is given back, once a day, for the day of the run."""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app

DAGS = Path(__file__).parents[2] / "dags"
pytestmark = [  # Airflow's own, while it reads .airflowignore and its standard provider
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .airflow.utils.operator_helpers"),
]
MORNING = pendulum.datetime(2026, 2, 1, 9)


@pytest.fixture(scope="module")
def dag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(DAGS).dags["nightly_retention"]


def arguments(dag, task_id: str, **context) -> list[str]:
    """The arguments of a task as a run of that context gets them."""
    variables = {"nocturne_warehouse": "/data/warehouse", "nocturne_cache": "lmdb:/data/cache"}
    full = {
        "params": {"run_date": None},
        "run_id": "run-1",
        "data_interval_end": MORNING,
        "var": {"value": SimpleNamespace(**variables, get=variables.get)},
        **context,
    }
    task = dag.get_task(task_id)
    return list(task.render_template(task.arguments, full, dag.get_template_env()))


def test_it_runs_every_morning(dag):
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    restriction = TimeRestriction(pendulum.datetime(2026, 1, 20), None, catchup=True)
    scheduled = DagSerialization.deserialize_dag(json.loads(json.dumps(DagSerialization.serialize_dag(dag))))
    first = scheduled.timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    second = scheduled.timetable.next_dagrun_info(
        last_automated_data_interval=first.data_interval, restriction=restriction
    )
    starts = [info.run_after.in_timezone("UTC") for info in (first, second)]
    assert [start.format("HH:mm") for start in starts] == ["09:00", "09:00"]
    assert starts[1] - starts[0] == timedelta(days=1)


def test_it_works_under_a_lease_that_is_given_back_whatever_happens(dag):
    assert [task.task_id for task in dag.topological_sort()] == ["take_lease", "retain", "release_lease"]
    assert dag.get_task("take_lease").is_setup
    assert dag.get_task("take_lease").mode == "reschedule"
    release = dag.get_task("release_lease")
    assert release.is_teardown
    assert not release.on_failure_fail_dagrun
    assert all("nightly_retention run-1" in arguments(dag, task.task_id) for task in dag.tasks)


def test_nights_are_counted_back_from_the_day_of_the_run_or_the_one_that_is_named(dag):
    from airflow.sdk.exceptions import AirflowFailException

    told = arguments(dag, "retain")
    assert told[:7] == [
        "retain",
        "--warehouse",
        "/data/warehouse",
        "--run-date",
        "2026-02-01",
        "--cache",
        "lmdb:/data/cache",
    ]
    assert arguments(dag, "take_lease")[-2:] == ["--run-date", "2026-02-01"]
    assert arguments(dag, "retain", params={"run_date": "2026-03-10"})[4] == "2026-03-10"
    with pytest.raises(AirflowFailException, match="trigger it with the param run_date"):
        arguments(dag, "retain", data_interval_end=None)


def test_every_option_of_the_task_is_one_of_the_command(dag):
    known = CliRunner().invoke(app, ["retain", "--help"], env={"COLUMNS": "200"}).stdout
    options = {text.partition("=")[0] for text in arguments(dag, "retain") if text.startswith("--")}
    assert {option for option in options if option not in known} == set()
