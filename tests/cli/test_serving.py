"""Commands on a serving cache that is not there, is empty, or is held: each says what is so, and what comes next."""

import json
import shlex
from datetime import date

import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.serving.cache import open_cache
from nocturne.serving.rollout import refresh
from tests.fixtures.published_nights import ready, serve_two_nights

pytestmark = pytest.mark.slow

NIGHT = date(2025, 1, 3)
READERS = [("list", "u1"), ("served",), ("rollback", "--why", "podcasts only"), ("release",)]
every_reader = pytest.mark.parametrize("command", READERS, ids=[command[0] for command in READERS])


def nocturne(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def service(night):
    """Two published nights in a cache, the later one served."""
    return serve_two_nights(night(NIGHT, "tables.buckets=1"), "song book")


def publish(service, run_date):
    made = ready(service, run_date, u1="book song")
    with open_cache(service.cache) as store:
        return refresh(made.night, made.record, made.info, made.parts, store)


@every_reader
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_cache_that_is_not_there_is_status_2_and_none_is_made(command, form, tmp_path):
    answer = nocturne(*command, "--cache", f"lmdb:{tmp_path}/absent", *form)
    assert (answer.exit_code, answer.stdout) == (2, "")
    for said in ("there is no cache here", f"lmdb:{tmp_path}/absent", "what to do: check the path"):
        assert said in answer.stderr
    assert list(tmp_path.iterdir()) == []


@every_reader
def test_a_cache_that_serves_nothing_yet_is_called_empty_and_stays_as_it_is(command, tmp_path):
    answer = nocturne(*command, "--cache", f"lmdb:{tmp_path}")
    assert answer.exit_code == (0 if command == ("served",) else 2)
    assert answer.stdout == ""
    assert "the cache is empty" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_cache_is_an_empty_list_as_json(tmp_path):
    answer = nocturne("served", "--cache", f"lmdb:{tmp_path}", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)) == (0, [])


def test_retention_refuses_a_cache_that_is_not_there_rather_than_forget_what_it_keeps(night, tmp_path):
    line = ("--warehouse", night().warehouse.path, "--run-date", NIGHT, "--cache", f"lmdb:{tmp_path}/absent")
    answer = nocturne("retain", *line, "--dry-run")
    assert answer.exit_code == 2
    assert "there is no cache here" in answer.stderr


def test_a_rollback_and_its_release_say_what_is_served_until_when_and_how_to_serve_the_newest_night(service):
    answer = nocturne("rollback", "--cache", service.cache, "--why", "all of [als]")
    assert "held: all of [als]" in answer.stdout
    assert "listeners get the lists of night 2025-01-02, whatever is published, until\n" in answer.stderr
    assert f"nocturne release --cache {service.cache}\n" in answer.stderr.replace(" \\\n   ", "")
    answer = nocturne("release", "--cache", service.cache)
    assert "of night 2025-01-02 until the next night is published, which is served\n" in answer.stderr
    remark, command = answer.stderr.split("now:\n")
    assert remark.endswith("to serve night 2025-01-03, the newest there is, ")
    words = shlex.split(command.replace("\\\n", ""))
    assert words[1].endswith("jobs/refresh_cache.py")
    assert words[2:4] == ["--run-date", "2025-01-03"]
    assert words[-4:] == ["--warehouse", service.warehouse.folder, "--cache", service.cache]
    assert publish(service, NIGHT).moved


def test_a_release_where_the_newest_night_is_served_says_nothing_of_others(service):
    answer = nocturne("release", "--cache", service.cache)
    assert "of night 2025-01-03 until the next night is published" in answer.stderr
    assert "the newest there is" not in answer.stderr


def test_moves_of_the_pointer_as_json_are_one_document_each(service):
    rolled_back = nocturne("rollback", "--cache", service.cache, "--why", "podcasts only", "--json")
    released = nocturne("release", "--cache", service.cache, "--json")
    for answer in (rolled_back, released):
        assert [row["run_date"] for row in json.loads(answer.stdout)] == ["2025-01-02"]
