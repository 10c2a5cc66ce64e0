"""Plans over HTTP: what is answered, and what is said where a plan or words cannot be followed."""

import json
from dataclasses import replace

import pytest

from nocturne.serving import now_playing, standing, steered
from nocturne.serving.cache import open_cache
from nocturne.serving.http import problems
from nocturne.serving.http.app import build_app
from nocturne.serving.http.cache_access import MappedCache
from nocturne.serving.reader import Reader
from tests.fixtures.fake_service import ask, end, fake_app, service_settings
from tests.fixtures.served_world import serve_world

JAZZ = {"more": [{"about": "tag", "value": "jazz"}], "never": [{"tags": ["christmas"]}]}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with open_cache(f"lmdb:{tmp_path_factory.mktemp('steered') / 'cache'}") as cache:
        serve_world(cache)
        yield build_app(MappedCache(Reader(cache)), now_playing, steered, standing, service_settings())


def steer(app, **body):
    return ask(app, "POST", "/v1/steer", json={"user_id": "ann"} | body)


def item_ids(response):
    return [item["item_id"] for item in response.json()["items"]]


def test_a_plan_is_answered_with_a_list_the_plan_in_words_and_a_receipt(app):
    response = steer(app, plan=JAZZ, limit=2)
    assert response.status_code == 200
    body = response.json()
    assert body["plan"] == {"never": [{"tags": ["christmas"]}], "more": [{"about": "tag", "value": "jazz"}]}
    assert body["in_words"] == "Never items tagged christmas. More jazz."
    assert len(body["digest"]) == 64
    gum, cob = body["items"]
    assert (gum["rank"], gum["item_id"], gum["why"]) == (1, "gum", "more jazz")
    assert gum["wishes"] == [{"wish": "more jazz", "adds": 0.5}]
    assert gum["because"] == [{"item_id": "ash", "title": "Ash", "share": pytest.approx(1.0)}]
    assert cob["item_id"] == "cob"
    assert body["receipt"] == {
        "might_be_listed": 7,
        "obey": 6,
        "rules": [{"kind": "never", "rule": "items tagged christmas", "removed": 1, "unknown": 2, "nobody": []}],
        "unknown": "allowed",
        "intent": None,
        "understood": [],
        "taken": [],
        "slots": [],
        "not_understood": [],
        "short": "",
        "not_taste": None,
    }


def test_without_a_plan_the_answer_is_the_nights_list(app):
    plain = ask(app, "GET", "/v1/listeners/ann/list?limit=5").json()["items"]
    assert item_ids(steer(app, limit=5)) == [item["item_id"] for item in plain]
    assert item_ids(steer(app, plan={}, limit=5)) == [item["item_id"] for item in plain]


def test_an_unknown_listener_is_steered_too(app):
    response = steer(app, user_id="nobody", plan={"only": [{"content_types": ["track"]}]}, playing="ash")
    assert item_ids(response) == ["bay", "fir", "cob"]
    assert response.json()["source"] == "related"


def test_words_that_nothing_understands_are_told_and_change_nothing(app):
    body = steer(app, text="qzxv wkjh", plan=JAZZ).json()
    assert body["receipt"]["not_understood"] == ["qzxv wkjh"]
    assert (body["receipt"]["intent"], body["receipt"]["understood"]) == ("not_understood", [])
    assert body["in_words"] == "Never items tagged christmas. More jazz."


@pytest.mark.parametrize(
    "text", ["80s 90s 70s 60s 50s 40s music", " and ".join(map(str, range(1950, 2020, 2))), "no jazz except fir " * 20]
)
def test_words_that_ask_for_more_than_a_plan_holds_are_answered(app, text):
    assert steer(app, text=text).status_code in {200, 409}


def test_words_are_told_with_what_they_were_taken_for_and_what_was_left_over(app):
    receipt = steer(app, text="no chrismas, two songs").json()["receipt"]
    assert (receipt["intent"], receipt["not_understood"]) == ("steer", [])
    assert receipt["understood"] == [
        {"text": "chrismas", "start": 3, "end": 11, "means": "tag Christmas"},
        {"text": "two songs", "start": 13, "end": 22, "means": "2 items"},
        {"text": "songs", "start": 17, "end": 22, "means": "tracks"},
    ]
    assert receipt["taken"] == ["“chrismas” was read as Christmas"]
    assert [rule["rule"] for rule in receipt["rules"]] == ["tracks", "items tagged Christmas"]


def test_names_in_words_that_ask_for_no_list_are_told_and_change_nothing(app):
    body = steer(app, text="add Bay to my playlist Summer Nights").json()
    receipt = body["receipt"]
    assert (receipt["intent"], receipt["understood"], body["in_words"]) == ("add_to_playlist", [], "The night's list.")
    assert [(slot["type"], slot["text"]) for slot in receipt["slots"]][-1] == ("playlist", "Summer Nights")


@pytest.mark.parametrize(
    ("plan", "errors"),
    [
        (
            {"only": [{"content_types": ["track"]}], "never": [{"explicit": True}, {"content_types": ["track"]}]},
            [{"where": "body.plan.only.0", "message": "contradicts plan.never.1"}],
        ),
        (
            {"only": [{"languages": ["sv"]}], "never": [{"years": [{"last": 1999}]}]},
            [{"where": "body", "message": "the catalogue has no field for languages and years"}],
        ),
    ],
)
def test_a_plan_that_cannot_be_obeyed_is_told_apart_and_quotes_nothing(app, plan, errors):
    response = steer(app, plan=plan)
    assert response.status_code == problems.IMPOSSIBLE_PLAN.status
    assert response.json()["type"] == problems.IMPOSSIBLE_PLAN.type
    assert response.json()["errors"] == errors


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"plan": {"only": [{}]}}, "body.plan.only.0"),
        ({"plan": {"never": [{"tags": "rap"}]}}, "body.plan.never.0.tags"),
        ({"plan": {"size": {"items": 101}}}, "body.plan.size.items"),
        ({"plan": {"version": 2}}, "body.plan.version"),
        ({"plan": {"colour": "red"}}, "body.plan.colour"),
        ({"text": ""}, "body.text"),
        ({"text": "x" * 501}, "body.text"),
        ({"limit": 0}, "body.limit"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_place(app, body, where):
    response = steer(app, **body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["where"] == where


def test_a_plan_that_holds_longer_than_the_session_lands_and_no_other(tmp_path):
    app = fake_app(landing=tmp_path)
    for plan in ({}, {"holds": "session", "never": [{"explicit": True}]}):
        assert steer(app, plan=plan).status_code == 200
    lasting = {"never": [{"explicit": True}], "holds": "2999-12-31"}
    assert steer(app, plan=lasting).status_code == 200
    preview = ask(app, "POST", "/v1/steer", json={"user_id": "ann", "plan": lasting}, headers={"Nocturne-Preview": "1"})
    assert preview.status_code == 200
    end(app)
    (part,) = tmp_path.glob("steers/date=*/*/part-*.jsonl")
    (line,) = part.read_text().splitlines()
    kept = json.loads(line)
    assert (kept["user_id"], kept["plan"]) == ("ann", lasting)
    assert kept["asked_at"][:10] == part.parts[-3].removeprefix("date=")
    assert json.loads((part.parent / "_SUCCESS").read_text()) == {"rows": 1}
    assert kept["steer_id"] == exposures(tmp_path)[-1]["exposure_id"]


def exposures(landing):
    """Every exposure that landed, in order."""
    (part,) = landing.glob("exposures/date=*/*/part-*.jsonl")
    return [json.loads(line) for line in part.read_text().splitlines()]


def test_a_list_by_a_plan_is_an_exposure_with_what_was_drawn(tmp_path):
    with open_cache(f"lmdb:{tmp_path / 'cache'}") as cache:
        serve_world(cache)
        landing = tmp_path / "landing"
        landing.mkdir()
        reader = Reader(cache)
        app = build_app(MappedCache(reader), now_playing, steered, standing, service_settings(), str(landing))
        shown = [steer(app, plan=JAZZ, limit=2, market="SE", playing="ash"), steer(app, user_id="bob", limit=2)]
        assert steer(app, plan={"never": "rap"}).status_code == 422
        ask(app, "POST", "/v1/steer", json={"user_id": "ann"}, headers={"Nocturne-Preview": "1"})
        end(app)
    by_plan, nightly = exposures(landing)
    assert [[item["item_id"] for item in each["items"]] for each in (by_plan, nightly)] == list(map(item_ids, shown))
    assert {name: by_plan[name] for name in ("user_id", "surface", "source", "arm", "playing", "market")} == {
        "user_id": "ann",
        "surface": "steer",
        "source": "als",
        "arm": "control",
        "playing": "ash",
        "market": "SE",
    }
    assert [item["propensity"] for item in by_plan["items"]] == [1.0, 1.0]
    assert (nightly["surface"], [item["propensity"] for item in nightly["items"]]) == ("steer", [1.0, 0.25])
    assert by_plan["exposure_id"] != nightly["exposure_id"]


def test_listens_that_can_no_longer_be_taken_out_are_told(tmp_path):
    with open_cache(f"lmdb:{tmp_path / 'cache'}") as cache:
        serve_world(cache)
        reader = Reader(cache)
        items = reader.served().items
        items.info = replace(items.info, on_record_since="2025-03-01", set_aside={"bob": ("[]", "2025-03-02", 3, True)})
        app = build_app(MappedCache(reader), now_playing, steered, standing, service_settings())
        plan = {"not_taste": [{"tags": ["sleep"]}], "holds": "always"}
        told = steer(app, plan=plan).json()["receipt"]["not_taste"]
        undone = steer(app, user_id="bob", plan={"holds": "always"}).json()["receipt"]["not_taste"]
    assert (told["on_record_since"], told["kept_out"], told["since"], told["older"]) == ("2025-03-01", 0, None, False)
    assert told["in_words"][0].startswith("Listens of nights before 2025-03-01 are no longer on record")
    assert (undone["kept_out"], undone["since"], undone["older"]) == (3, "2025-03-02", True)


def test_heard_items_that_carry_a_score_are_told_in_lists_and_next_items_if_asked_for(app):
    listed = ask(app, "GET", "/v1/listeners/ann/list?because=true&limit=1").json()["items"][0]
    assert [each["item_id"] for each in listed["because"]] == ["ash"]
    body = {"user_id": "ann", "playing": "dew", "because": True, "limit": 1}
    assert [each["title"] for each in ask(app, "POST", "/v1/now-playing", json=body).json()["items"][0]["because"]] == [
        "Ash"
    ]
    assert "because" not in ask(app, "GET", "/v1/listeners/ann/list?limit=1").json()["items"][0]


def test_a_plan_that_holds_is_obeyed_by_lists_next_items_and_requests_and_is_not_kept_again(tmp_path):
    with open_cache(f"lmdb:{tmp_path / 'cache'}") as cache:
        serve_world(cache)
        reader = Reader(cache)
        items, standing_plan = reader.served().items, '{"never":[{"item_ids":["bay"]}],"holds":"always"}'
        items.info = replace(items.info, plans=[standing_plan], planned={"ann": 0})
        landing = tmp_path / "landing"
        landing.mkdir()
        app = build_app(MappedCache(reader), now_playing, steered, standing, service_settings(), str(landing))
        assert item_ids(ask(app, "GET", "/v1/listeners/ann/list?limit=3")) == ["fir", "cob", "gum"]
        body = {"user_id": "ann", "playing": "ash", "limit": 2}
        assert item_ids(ask(app, "POST", "/v1/now-playing", json=body)) == ["fir", "gum"]
        explained = ask(app, "GET", "/v1/listeners/ann/list?limit=1&because=true").json()["items"]
        assert [each["item_id"] for each in explained[0]["because"]] == ["ash"]
        never_ash = '{"never":[{"item_ids":["ash"]}],"holds":"always"}'
        items.info = replace(items.info, plans=[standing_plan, never_ash], planned={"ann": 1})
        explained = ask(app, "GET", "/v1/listeners/ann/list?limit=1&because=true").json()["items"]
        assert explained[0]["because"] == []
        items.info = replace(items.info, planned={"ann": 0})
        response = steer(app, plan={"only": [{"content_types": ["track"]}]})
        assert item_ids(response) == ["fir", "gum", "cob"]
        assert response.json()["in_words"] == "Only tracks. Never items named bay."
        refused = steer(app, plan={"only": [{"item_ids": ["bay"]}]})
        assert refused.status_code == problems.IMPOSSIBLE_PLAN.status
        end(app)
    assert not list(landing.glob("steers/**/*.jsonl"))
