"""The nightly DAG, whatever is added to the flow: policy, structure, run dates."""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest

from nocturne.flow import AFTER_PUBLICATION, GATED_TABLES, NIGHTLY, TABLES, VALIDATED_TABLES, validated_after
from nocturne.storage import lease_state

DAGS = Path(__file__).parents[2] / "dags"
pytestmark = [  # Airflow's own, while it reads .airflowignore and its standard provider
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .airflow.utils.operator_helpers"),
]
RUN_DATE = "{{ run_date(params, data_interval_start | default(none)) }}"
VARIABLES = {
    "nocturne_landing": "/data/landing",
    "nocturne_warehouse": "/data/warehouse",
    "nocturne_cache": "lmdb:/data/cache",
}


@pytest.fixture(scope="module")
def dagbag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(DAGS)


@pytest.fixture(scope="module")
def dag(dagbag):
    return dagbag.dags["nightly_lists"]


@pytest.fixture(scope="module")
def scheduled(dag):
    """The DAG as the scheduler sees it."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.deserialize_dag(json.loads(json.dumps(DagSerialization.serialize_dag(dag))))


def upstream(dag, task_id: str) -> set[str]:
    return {task.task_id for task in dag.get_task(task_id).get_flat_relatives(upstream=True)}


def rendered_arguments(dag, task_id: str, **context) -> list[str]:
    """The arguments of a task as a run of that context gets them."""
    variables = SimpleNamespace(**VARIABLES, get=lambda name, default: default)
    full = {"params": {"run_date": None}, "run_id": "run-1", "var": {"value": variables}, **context}
    task = dag.get_task(task_id)
    fields = ("arguments", "application_args", "op_args", "run_date")
    told = next(getattr(task, name) for name in fields if hasattr(task, name))
    return list(task.render_template([told] if isinstance(told, str) else told, full, dag.get_template_env()))


def run_dates(dag, **context) -> set[str]:
    """The night that such a run works on, according to each task that is told one."""
    told = set()
    for task in dag.tasks:
        arguments = [text.removeprefix("--run-date=") for text in rendered_arguments(dag, task.task_id, **context)]
        dates = [text for text in arguments if re.fullmatch(r"\d{4}-\d\d-\d\d", text)]
        assert len(dates) == (0 if task.task_id == "release_lease" else 1)
        told |= set(dates)
    return told


@pytest.mark.parametrize("url", ["redis://ann:hunter2@cache:6379/0", "rediss://:hunter2@cache/0", "redis://a:b@c@d/0"])
def test_a_password_in_the_url_of_the_cache_is_refused_before_anything_shows_it(dag, url, monkeypatch):
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setitem(VARIABLES, "nocturne_cache", url)
    with pytest.raises(AirflowFailException, match=r"cache\.password_file") as refused:
        rendered_arguments(dag, "refresh_cache", data_interval_start=datetime(2026, 1, 31, tzinfo=UTC))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["redis://ann@cache:6379/0", "redis://cache:6379/0", "lmdb:/data/a@b:c"])
def test_any_other_url_of_the_cache_is_taken(dag, url, monkeypatch):
    monkeypatch.setitem(VARIABLES, "nocturne_cache", url)
    arguments = rendered_arguments(dag, "refresh_cache", data_interval_start=datetime(2026, 1, 31, tzinfo=UTC))
    assert f"--cache={url}" in arguments


# --- policy -----------------------------------------------------------------------------------------------------------


def test_the_dags_import_without_errors_and_nothing_else_is_taken_for_a_dag(dagbag):
    assert dagbag.import_errors == {}
    assert sorted(dagbag.dags) == ["nightly_lists", "nightly_retention", "weekly_retraining", "weekly_tuning"]


def test_the_dags_import_the_flow_and_nothing_else_of_the_library(dagbag):
    imported = {
        name.split(".")[1]
        for path in DAGS.glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("from nocturne", "import nocturne"))
        for name in [line.split()[1] + "."]
    }
    assert imported == {"flow"}


def test_someone_on_call_finds_an_owner_tags_and_a_page(dag):
    assert dag.tags == {"nocturne", "recommendations"}
    assert {task.owner for task in dag.tasks} == {"recommendations"}
    for told in ("validate_<table>", "_SUCCESS", "backfill create", "run_date", "Meanwhile"):
        assert told in dag.doc_md


def test_every_task_ends_by_itself_and_the_run_within_a_day(dag):
    assert all(task.execution_timeout for task in dag.tasks)
    assert dag.dagrun_timeout == timedelta(days=1)
    waits = [dag.get_task(name) for name in ("landing_complete", "take_lease")]
    assert all(timedelta(0) < timedelta(seconds=wait.timeout) < dag.dagrun_timeout for wait in waits)


def test_waiting_takes_no_slot(dag):
    assert {dag.get_task(name).mode for name in ("landing_complete", "take_lease")} == {"reschedule"}


def test_every_task_is_retried_with_growing_pauses_that_the_lease_outlasts(dag):
    for task in dag.tasks:
        assert task.retries == 3
        assert task.retry_exponential_backoff == 2.0
        assert task.max_retry_delay.total_seconds() < lease_state.RUN_LASTS_SECONDS / 2
    assert dag.get_task("take_lease").poke_interval < lease_state.WAITER_LASTS_SECONDS / 2


def test_every_failure_says_what_is_served(dag):
    assert all(
        [callback.__name__ for callback in task.on_failure_callback] == ["say_what_is_served"] for task in dag.tasks
    )


def test_yesterdays_failure_does_not_block_today(dag):
    assert not any(task.depends_on_past for task in dag.tasks)
    assert not dag.catchup


def test_a_night_that_waits_for_its_landing_does_not_block_one_by_hand(dag):
    assert dag.max_active_runs > 1


# --- structure --------------------------------------------------------------------------------------------------------


def test_the_jobs_are_the_stages_in_order_each_its_own_file(dag):
    from tasks import SubmitJob

    jobs = [task for task in dag.topological_sort() if isinstance(task, SubmitJob)]
    assert [job.task_id for job in jobs] == [stage.name for stage in NIGHTLY]
    assert [Path(job.application).name for job in jobs] == [f"{stage.name}.py" for stage in NIGHTLY]


def test_every_table_is_validated_after_its_job_and_before_anything_downstream(dag):
    for number, stage in enumerate(NIGHTLY):
        validated = {f"validate_{table}" for table in validated_after(stage)}
        assert all(dag.get_task(name).upstream_task_ids == {stage.name} for name in validated)
        for later in NIGHTLY[number + 1 :]:
            assert validated <= upstream(dag, later.name)


def test_nothing_is_refreshed_or_announced_around_a_validation(dag):
    gates = {f"validate_{table}" for table in GATED_TABLES}
    assert gates <= upstream(dag, "refresh_cache")
    assert {*(f"validate_{table}" for table in VALIDATED_TABLES), "refresh_cache"} <= upstream(dag, "announce")
    assert {task.trigger_rule for task in dag.tasks if not task.is_teardown} == {"all_success"}


def test_what_no_list_waits_for_comes_after_the_refresh(dag):
    for stage in AFTER_PUBLICATION:
        assert "refresh_cache" in upstream(dag, stage.name)
        assert not {stage.name, *(f"validate_{table}" for table in stage.writes)} & upstream(dag, "refresh_cache")


def test_no_task_of_any_dag_moves_the_pointer_but_refresh_cache(dagbag):
    """Told by what tasks run: the job that refreshes, and no command that rolls back or lets go."""
    jobs, commands = [], []
    for dag in dagbag.dags.values():
        for task in dag.tasks:
            jobs += [Path(task.application).stem] if hasattr(task, "application") else []
            commands += [task.arguments[0]] if hasattr(task, "arguments") else []
    assert sorted(jobs) == sorted(stage.name for stage in NIGHTLY)
    assert not {"rollback", "release", "night"} & set(commands)


def test_a_night_waits_for_its_landing_then_for_the_lease_and_gives_it_back_whatever_happens(dag):
    assert upstream(dag, "take_lease") == {"landing_complete"}
    assert dag.get_task(NIGHTLY[0].name).upstream_task_ids == {"take_lease"}
    release = dag.get_task("release_lease")
    assert release.is_teardown
    assert release.upstream_task_ids == {"announce", "take_lease"}
    assert dag.get_task("take_lease").is_setup
    assert not release.on_failure_fail_dagrun


def test_the_page_of_a_night_is_written_however_it_ended_and_decides_nothing(dag):
    write = dag.get_task("write_report")
    assert write.upstream_task_ids == {"announce"}
    assert write.downstream_task_ids == set()
    assert write.is_teardown  # which is no leaf, whose state the run would have
    assert write.trigger_rule == "all_done_setup_success"
    assert not write.on_failure_fail_dagrun
    arguments = ["report", "--warehouse", "/data/warehouse", "--run-date", "2026-01-31", "--conf="]
    assert rendered_arguments(dag, "write_report", params={"run_date": "2026-01-31"}) == arguments


def test_the_tables_are_announced_by_the_last_task_and_by_no_other(dag):
    outlets = {task.task_id: {asset.name for asset in task.outlets} for task in dag.tasks if task.outlets}
    assert outlets == {"announce": {f"nocturne.{table}" for table in TABLES}}


def test_an_announcement_names_the_published_night(dag):
    events = {asset: SimpleNamespace(extra=None) for asset in dag.get_task("announce").outlets}
    dag.get_task("announce").python_callable("2026-01-31", outlet_events=events)
    assert {event.extra["run_date"] for event in events.values()} == {"2026-01-31"}


def test_a_job_is_told_everything_and_an_unset_variable_is_left_to_its_default(dag):
    assert rendered_arguments(dag, "rank_users", params={"run_date": "2026-01-31"}) == [
        "--run-date=2026-01-31",
        "--landing=/data/landing",
        "--warehouse=/data/warehouse",
        "--cache=lmdb:/data/cache",
        "--conf=",
        "--lease-holder=run-1",
        "--validate",
    ]


def test_the_validation_task_asks_for_its_own_table(dag):
    assert rendered_arguments(dag, "validate_models", params={"run_date": "2026-01-31"}) == [
        *("validations", "--warehouse", "/data/warehouse", "--run-date", "2026-01-31", "--table", "models")
    ]


# --- run dates --------------------------------------------------------------------------------------------------------


def test_a_scheduled_run_starts_at_midnight_for_the_day_that_ended(dag, scheduled):
    from airflow.timetables.base import DataInterval, TimeRestriction

    yesterday = DataInterval(pendulum.datetime(2026, 1, 30), pendulum.datetime(2026, 1, 31))
    restriction = TimeRestriction(None, None, catchup=True)
    info = scheduled.timetable.next_dagrun_info(last_automated_data_interval=yesterday, restriction=restriction)
    assert info.run_after == pendulum.datetime(2026, 2, 1)
    assert run_dates(dag, data_interval_start=info.data_interval.start) == {"2026-01-31"}


def test_a_manual_run_works_on_the_night_its_param_names(dag):
    start = pendulum.datetime(2026, 3, 1)
    assert run_dates(dag, params={"run_date": "2026-01-31"}, data_interval_start=start) == {"2026-01-31"}
    assert run_dates(dag, params={"run_date": "2026-01-31"}) == {"2026-01-31"}


def test_a_manual_run_without_the_param_works_on_the_last_whole_day(dag, scheduled):
    interval = scheduled.timetable.infer_manual_data_interval(run_after=pendulum.datetime(2026, 2, 1, 15, 30))
    assert run_dates(dag, data_interval_start=interval.start) == {"2026-01-31"}


def test_a_manual_run_without_param_and_logical_date_fails_at_once_and_says_what_is_missing(dag):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="trigger it with the param run_date"):
        rendered_arguments(dag, "landing_complete")


@pytest.mark.parametrize("wrong", ["2026-13-01", "yesterday", "2026-02-30", 5])
def test_a_param_that_is_no_date_is_refused_when_the_run_is_triggered(scheduled, wrong):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises((ValueError, ParamValidationError)):
        scheduled.params.deep_merge({"run_date": wrong}).validate()


def test_a_backfill_gets_one_run_for_each_day_named_both_ends_included(dag, scheduled):
    infos = scheduled.iter_dagrun_infos_between(datetime(2011, 1, 1, tzinfo=UTC), datetime(2011, 1, 3, tzinfo=UTC))
    nights = [run_dates(dag, data_interval_start=info.data_interval.start) for info in infos]
    assert nights == [{"2011-01-01"}, {"2011-01-02"}, {"2011-01-03"}]


def test_the_run_waits_for_the_mark_of_its_own_day(dag):
    assert dag.get_task("landing_complete").mark.endswith("/events/date=" + RUN_DATE + "/_SUCCESS")
    assert rendered_arguments(dag, "landing_complete", params={"run_date": "2026-01-31"}) == ["2026-01-31"]


# --- the callback -----------------------------------------------------------------------------------------------------


@pytest.fixture
def last_lines(dag, tmp_path, monkeypatch, caplog):
    """The lines at the end of the log of a task that failed, where `nocturne` is a program that does as told."""

    def fail(does: str, *, task_id: str = "rank_users", night: str | None = "2026-01-31", **context) -> list[str]:
        (tmp_path / "nocturne").write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (tmp_path / "nocturne").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        callback = dag.get_task(task_id).on_failure_callback[0]
        module = sys.modules[callback.__module__]
        monkeypatch.setattr(module.Variable, "get", context.pop("variables", VARIABLES.get))
        with caplog.at_level(logging.INFO, logger=module.log.name):
            callback({"ti": SimpleNamespace(task_id=task_id), "params": {"run_date": night}, **context})
        return caplog.messages

    return fail


def test_the_log_of_a_failed_task_ends_outside_any_group_with_what_nocturne_status_says_of_the_night(last_lines):
    failed = ValueError("rank_users exited with 4 (bad input)\nmore")
    *before, last = last_lines('echo "Night\n $@"', exception=failed)
    assert before == ["::endgroup::"] * 2
    places = "--warehouse /data/warehouse --cache lmdb:/data/cache"
    assert last == (
        f"rank_users failed: rank_users exited with 4 (bad input). Night status {places} --run-date 2026-01-31"
    )


def test_a_task_without_a_night_ends_its_log_likewise(last_lines):
    missing = ValueError("this run has no logical date: trigger it with the param run_date")
    assert last_lines("exit 1", task_id="landing_complete", night=None, exception=missing)[-1] == (
        "landing_complete failed: this run has no logical date: trigger it with the param run_date. "
        "No night was begun: listeners keep the lists that are served."
    )


def lacking(name: str, default: str = "") -> str:
    raise KeyError(name)


@pytest.mark.parametrize(
    ("does", "context", "said"),
    [
        ("echo lost >&2; exit 5", {}, "nocturne status exited with 5 lost"),
        ("kill -9 $$", {}, "nocturne status exited with -9"),
        ("", {"variables": lacking}, "'nocturne_conf'"),
    ],
)
def test_whatever_keeps_status_from_speaking_is_said_and_never_raised(last_lines, does, context, said):
    assert last_lines(does, **context)[-1] == (
        "rank_users failed: it was ended from outside. Night 2026-01-31: the Docs of this DAG say what to do; "
        f"what listeners get meanwhile is unknown: {said}."
    )


def test_airflow_has_no_group_but_the_two_around_a_task_that_the_callback_ends():
    from airflow.sdk.execution_time import task_runner

    source = Path(task_runner.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'"::group::(.*?)"', source)) == {"Pre Execute", "Post Execute"}
