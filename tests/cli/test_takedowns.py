"""`nocturne takedown` and `nocturne takedowns`: what they do, print and refuse."""

import json

import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.flow import ExitStatus
from nocturne.serving.cache import open_cache
from tests.fixtures.served_world import serve_world


@pytest.fixture
def place(tmp_path):
    """Options that name a cache and a landing zone."""
    url = f"lmdb:{tmp_path / 'cache'}"
    with open_cache(url) as store:
        serve_world(store)
    (tmp_path / "landing").mkdir()
    return ["--cache", url, "--landing", str(tmp_path / "landing")]


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def listed(place):
    return json.loads(run("list", "ann", *place[:2], "--json").stdout)["items"]


def test_items_are_taken_down_listed_and_lifted(place):
    done = run("takedown", "bay", "fir", *place, "--why", "court order")
    assert done.exit_code == 0
    assert "bay is taken down; nights from 2026-03-03 on obey it" in done.stderr
    assert [item["item_id"] for item in listed(place)] == ["cob"]
    table = run("takedowns", *place[:2])
    assert "everywhere" in table.stdout
    assert "court order" in table.stdout
    told = json.loads(run("takedowns", *place[:2], "--json").stdout)
    assert (told["version"], [row["item_id"] for row in told["takedowns"]]) == (1, ["bay", "fir"])
    assert "taken down before" in run("takedown", "bay", *place, "--why", "once more").stderr

    lifted = run("takedown", "--lift", "bay", *place, "--why", "settled", "--json")
    assert [row["lifts"] for row in json.loads(lifted.stdout)["takedowns"]] == [True]
    assert [item["item_id"] for item in listed(place)] == ["bay", "cob"]


def test_in_one_market(place):
    done = run("takedown", "bay", *place, "--market", "NO", "--why", "licence ended")
    assert "bay is taken down in NO" in done.stderr
    assert [item["item_id"] for item in listed(place)] == ["bay", "fir", "cob"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "--why", "x"], "what is served does not know an item"),
        (["bay", "--lift", "--why", "x"], "an item is not taken down"),
        (["bay", "--why", " "], "a takedown needs a reason"),
    ],
)
def test_what_cannot_be_meant_is_status_2(place, arguments, message):
    failed = run("takedown", *arguments, *place)
    assert failed.exit_code == ExitStatus.USAGE
    assert message in failed.stderr
    assert "nothing is taken down" in run("takedowns", *place[:2]).stderr


def test_an_item_that_is_yet_to_come(place):
    assert run("takedown", "nobody", "--unseen", *place, "--why", "x").exit_code == 0


def test_a_cache_that_serves_nothing_and_one_that_is_not_there(place, tmp_path):
    with open_cache(f"lmdb:{tmp_path / 'empty'}"):
        pass
    for url in (f"lmdb:{tmp_path / 'empty'}", f"lmdb:{tmp_path / 'nowhere'}"):
        assert run("takedown", "bay", "--cache", url, *place[2:], "--why", "x").exit_code == ExitStatus.USAGE
