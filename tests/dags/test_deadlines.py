"""Deadlines of the nightly DAG: a stage each, of scheduled runs alone, told by `nocturne monitor deadline`."""

import json
import subprocess
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from nocturne.flow import NIGHTLY

pytestmark = [  # Airflow's own, while it reads .airflowignore and its standard provider
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .airflow.utils.operator_helpers"),
]
MIDNIGHT = datetime(2026, 2, 1, tzinfo=UTC)
CONTEXT = {
    "dag_run": {"data_interval_start": "2026-01-31T00:00:00Z"},
    "deadline": {"deadline_time": datetime(2026, 2, 1, 7, tzinfo=UTC)},
}


@pytest.fixture
def asked(monkeypatch):
    """Commands that the callback ran; each answers as `nocturne monitor deadline` does."""
    import deadlines

    commands = []
    answer = SimpleNamespace(returncode=0, stdout="Night 2026-01-31 is late\n", stderr="")

    def run(command, **_):
        commands.append(command)
        return answer

    variables = {"nocturne_warehouse": "/data/warehouse", "nocturne_conf": "/etc/nocturne.toml"}
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(deadlines.Variable, "get", lambda name, default=None: variables.get(name, default))
    return SimpleNamespace(commands=commands, answer=answer)


def test_every_stage_has_a_deadline_which_lists_are_served_by_at_seven():
    from deadlines import DEADLINES, HOURS

    assert [alert.reference.stage for alert in DEADLINES] == [stage.name for stage in NIGHTLY]
    assert {alert.reference.stage for alert in DEADLINES if alert.reference.hours is not None} == HOURS.keys()
    assert HOURS["refresh_cache"] == 7
    assert [alert.callback.kwargs["stage"] for alert in DEADLINES] == [stage.name for stage in NIGHTLY]
    assert {alert.callback.path for alert in DEADLINES} == {"deadlines.tell_if_late"}


def test_a_deadline_comes_back_from_the_database_as_it_went():
    from airflow.serialization.decoders import decode_deadline_alert
    from airflow.serialization.encoders import encode_deadline_alert
    from deadlines import DEADLINES

    for alert in DEADLINES:
        read = decode_deadline_alert(json.loads(json.dumps(encode_deadline_alert(alert))))
        inner = read.reference.inner_ref
        assert (inner.stage, inner.hours) == (alert.reference.stage, alert.reference.hours)
        assert (read.callback.path, read.callback.kwargs) == (alert.callback.path, alert.callback.kwargs)


@pytest.mark.parametrize(
    ("run_type", "day_ends", "hours", "expected"),
    [
        ("scheduled", MIDNIGHT, 7.0, datetime(2026, 2, 1, 7, tzinfo=UTC)),
        ("scheduled", MIDNIGHT, 0.0, MIDNIGHT),
        ("scheduled", MIDNIGHT, None, None),
        ("scheduled", None, 7.0, None),
        ("backfill", MIDNIGHT, 7.0, None),
        ("manual", MIDNIGHT, 7.0, None),
    ],
)
def test_scheduled_runs_alone_are_due_so_many_hours_after_their_day(run_type, day_ends, hours, expected):
    from stage_deadline import due

    assert due(run_type, day_ends, hours) == expected


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, 7.0),
        ('{"refresh_cache": 5.5}', 5.5),
        ('{"rank_users": 4}', 7.0),
        ('{"refresh_cache": null}', None),
        ("seven", 7.0),
        ('{"refresh_cache": "at dawn"}', 7.0),
        ("[7]", 7.0),
    ],
)
def test_a_variable_says_other_hours_and_a_mistake_in_it_lets_no_run_fail(variable, expected):
    from stage_deadline import StageDeadline

    assert StageDeadline("refresh_cache", 7.0).hours_by(variable) == expected


def test_the_environment_says_the_variable_without_a_database(monkeypatch):
    from stage_deadline import variable

    monkeypatch.setenv("AIRFLOW_VAR_NOCTURNE_DUE", '{"refresh_cache": 5}')
    assert variable(None) == '{"refresh_cache": 5}'


def test_when_a_deadline_is_missed_nocturne_is_asked_about_the_stage_and_the_night(asked, caplog):
    from deadlines import tell_if_late

    tell_if_late("refresh_cache", CONTEXT)
    (command,) = asked.commands
    assert command == [
        *("nocturne", "monitor", "deadline", "--stage", "refresh_cache", "--run-date", "2026-01-31"),
        *("--warehouse", "/data/warehouse", "--due", "2026-02-01 07:00:00+00:00", "--conf", "/etc/nocturne.toml"),
    ]
    assert "Night 2026-01-31 is late" in caplog.text


def test_a_command_that_fails_fails_the_callback_and_says_why(asked):
    from airflow.sdk.exceptions import AirflowException
    from deadlines import tell_if_late

    asked.answer.returncode, asked.answer.stderr = 2, "there is no such file"
    with pytest.raises(AirflowException, match="exited with 2: there is no such file"):
        tell_if_late("refresh_cache", CONTEXT)
