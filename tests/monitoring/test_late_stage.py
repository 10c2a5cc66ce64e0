"""A stage at its deadline: done by what it cost, or told as late, once, with what listeners get meanwhile."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.storage import attempts
from tests.fixtures import two_listeners
from tests.fixtures.webhooks import Webhook, webhook
from tests.monitoring.test_prometheus_textfile import published


@pytest.fixture
def hook():
    with webhook() as listening:
        yield listening


def ask(warehouse: str, run_date: Any, hook: Webhook, folder: Path, *more: str) -> Result:
    place = ["--warehouse", warehouse, "--run-date", str(run_date), "--set", hook.setting(folder)]
    return CliRunner().invoke(app, ["monitor", "deadline", *place, *more])


def test_a_stage_that_is_done_is_no_matter_for_the_webhook(night, hook: Webhook, tmp_path: Path) -> None:
    tonight = night()
    cost = {"seconds": 1.5, "rows_read": 3, "rows_written": 4, "bytes_written": 5, "stage": "refresh_cache"}
    two_listeners.write(tonight, "costs", [cost | {"run_date": tonight.run_date}])
    asked = ask(tonight.warehouse.path, tonight.run_date, hook, tmp_path, "--stage", "refresh_cache")
    assert (asked.exit_code, asked.stdout, hook.got) == (0, "", [])
    assert f"night {tonight.run_date}: refresh_cache is done" in asked.stderr


def test_one_that_is_not_is_told_with_where_the_night_is_and_what_is_served(
    night, hook: Webhook, tmp_path: Path
) -> None:
    tonight = night()
    yesterday = tonight.on(tonight.run_date.replace(day=1))
    two_listeners.write(yesterday, "nights", [published(yesterday.run_date)])
    attempts.record(tonight, "train_als", attempts.FAILED, "no row of u00000003 can be read")
    due = ("--stage", "refresh_cache", "--due", "2025-03-03 07:00")
    asked = ask(tonight.warehouse.path, tonight.run_date, hook, tmp_path, *due, "--json")
    (document,) = hook.got
    assert json.loads(asked.stdout) == document | {"late": True, "webhook_told": True}
    assert (document["state"], document["served"]) == ("failed", str(yesterday.run_date))
    assert document["text"] == (
        f"Night {tonight.run_date} is late: refresh_cache is not done, due 2025-03-03 07:00; the night is failed; "
        f"listeners get night {yesterday.run_date} meanwhile. Next: {document['next_step']}"
    )
    assert "u00000003" not in json.dumps(document)


def test_without_a_warehouse_the_night_has_not_begun(hook: Webhook, tmp_path: Path) -> None:
    asked = ask(str(tmp_path / "absent"), "2025-03-02", hook, tmp_path, "--stage", "ingest_events")
    assert asked.exit_code == 0
    assert "the night is not begun; nothing is served yet" in asked.stdout
    assert [document["state"] for document in hook.got] == ["not begun"]


def test_a_stage_that_the_flow_does_not_have_is_refused(hook: Webhook, tmp_path: Path) -> None:
    asked = ask(str(tmp_path), "2025-03-02", hook, tmp_path, "--stage", "refresh")
    assert asked.exit_code == 2
    assert "no such stage" in asked.stderr
    assert hook.got == []
