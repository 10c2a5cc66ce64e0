"""`nocturne steer`: a list by a plan from a cache, what became of the plan, and what is said where it cannot be."""

import json

import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.serving.cache import open_cache
from tests.fixtures.served_world import serve_world


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    url = f"lmdb:{tmp_path_factory.mktemp('steered') / 'cache'}"
    with open_cache(url) as store:
        serve_world(store)
    return url


@pytest.fixture
def plan(tmp_path):
    def write(**members):
        file = tmp_path / "plan.json"
        file.write_text(json.dumps(members))
        return str(file)

    return write


def steer(cache, *arguments):
    return CliRunner().invoke(app, ["steer", "ann", "--cache", cache, *arguments])


def test_a_plan_in_a_file_is_obeyed_and_said_in_words(cache, plan):
    file = plan(only=[{"content_types": ["track"]}], never=[{"tags": ["christmas"]}])
    answer = steer(cache, "--plan", file, "--json")
    assert answer.exit_code == 0
    told = json.loads(answer.stdout)
    assert [item["item_id"] for item in told["items"]] == ["fir", "gum", "cob"]
    assert told["in_words"] == "Only tracks. Never items tagged christmas."


def test_what_each_rule_removed_and_why_an_item_is_there_is_explained(cache, plan):
    file = plan(more=[{"about": "tag", "value": "jazz"}], never=[{"tags": ["christmas", "metal"]}])
    answer = steer(cache, "--plan", file, "--explain", "--limit", "1")
    assert answer.exit_code == 0
    assert "more jazz +0.50" in answer.stdout
    assert "Ash 100%" in answer.stdout
    assert "never items tagged christmas or metal" in answer.stdout
    assert "6 of 7 items obey the rules" in answer.stderr
    assert "Ash 100%" not in steer(cache, "--plan", file).stdout


def test_without_a_plan_the_list_is_the_nights(cache):
    answer = steer(cache, "--limit", "3", "--json")
    assert [item["item_id"] for item in json.loads(answer.stdout)["items"]] == ["bay", "fir", "cob"]


def test_words_are_explained_with_what_they_stand_for_and_what_they_were_taken_for(cache):
    answer = steer(cache, "--text", "no chrismas, two songs", "--explain")
    assert answer.exit_code == 0
    assert "“chrismas” was read as Christmas" in answer.stderr
    assert "tag Christmas" in answer.stdout
    assert "2 items" in answer.stdout
    assert "not understood: qzxv wkjh" in steer(cache, "--text", "qzxv wkjh").stderr
    assert "no list is asked for, but: rate" in steer(cache, "--text", "rate this book 4 stars").stderr


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"only": [{"years": [{"first": 1980}]}]}, "the catalogue has no field for years"),
        ({"only": [{"explicit": True}], "never": [{"explicit": True}]}, "the plan contradicts itself"),
        ({"never": "rap"}, "the plan is not valid"),
    ],
)
def test_a_plan_that_cannot_be_obeyed_is_status_2_and_says_why(cache, plan, members, said):
    answer = steer(cache, "--plan", plan(**members))
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert said in answer.stderr
    assert "what to do" in answer.stderr


def landed(landing, kind):
    (part,) = landing.glob(f"{kind}/date=*/*/part-*.jsonl")
    assert json.loads((part.parent / "_SUCCESS").read_text()) == {"rows": 1}
    return json.loads(part.read_text())


def test_with_a_landing_zone_the_list_is_an_exposure_and_a_plan_that_holds_a_steer(cache, plan, tmp_path):
    landing = tmp_path / "landing"
    landing.mkdir()
    file = plan(never=[{"tags": ["christmas"]}], holds="always")
    told = json.loads(steer(cache, "--plan", file, "--json", "--limit", "2", "--landing", str(landing)).stdout)
    shown, asked = landed(landing, "exposures"), landed(landing, "steers")
    assert [item["item_id"] for item in shown["items"]] == [item["item_id"] for item in told["items"]]
    assert (shown["surface"], shown["user_id"], asked["user_id"]) == ("steer", "ann", "ann")
    assert (asked["plan"], asked["steer_id"]) == (told["plan"], shown["exposure_id"])
    answer = steer(cache, "--landing", str(tmp_path / "absent"))
    assert (answer.exit_code, answer.stdout) == (5, "")
    assert "what was shown cannot be landed" in answer.stderr


def test_what_becomes_of_listens_that_are_not_taste_is_said(cache, plan):
    answer = steer(cache, "--plan", plan(not_taste=[{"tags": ["sleep"]}], holds="always"))
    assert "Listens of all nights are on record, so that all of them can be taken out." in answer.stderr + answer.stdout


def test_a_file_that_is_not_there_is_status_2(cache, tmp_path):
    answer = steer(cache, "--plan", str(tmp_path / "absent.json"))
    assert answer.exit_code == 2
    assert "the plan cannot be read" in answer.stderr
