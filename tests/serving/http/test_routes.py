"""Routes as a client sees them: what they answer, and the problem for everything that is wrong."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from nocturne.core.errors import InputError
from nocturne.ingestion.catalogue import CONTENT_TYPES
from nocturne.serving.http import problems
from nocturne.serving.http.queries import LONGEST_ID, ContentType
from tests.fixtures.fake_service import LISTENER, MARKUP, MONDAY, FakeReader, ask, away, end, fake_app

LIST = f"/v1/listeners/{quote(LISTENER, safe='')}/list"
AGE = (datetime.now(UTC).date() - datetime(2025, 3, 4, tzinfo=UTC).date()).days
TUESDAY_SHOWN = {"generation": "2025-03-04-bbbbbbbb", "run_date": "2025-03-04", "age_days": AGE}


@pytest.fixture(scope="module")
def app():
    return fake_app()


def item_ids(response):
    return [item["item_id"] for item in response.json()["items"]]


def now_playing(app, **body):
    return ask(app, "POST", "/v1/now-playing", json={"user_id": LISTENER} | body)


def require_problem(response, kind):
    assert response.status_code == kind.status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["type"], body["title"], body["status"]) == (kind.type, kind.title, kind.status)
    return body


def test_a_list_says_all_about_its_items_and_where_it_is_from(app):
    response = ask(app, "GET", LIST, params={"limit": 1})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    item = {
        "rank": 1,
        "item_id": "t1",
        "title": "Your Hidden Ocean",
        "creator": "The Little Willows",
        "content_type": "track",
        "duration_ms": 214_000,
        "explicit": False,
        "score": 1.5,
        "why": "for you",
        "propensity": 0.25,
    }
    head = {"source": "als", "arm": "control", "model_version": "als-1"}
    assert response.json() == TUESDAY_SHOWN | head | {"items": [item]}


@pytest.mark.parametrize("path", [f"/v1/listeners/{quote(LISTENER)}/list", LIST, f"/v1/listeners/{LISTENER}/list"])
def test_an_id_with_slashes_spaces_and_letters_of_any_alphabet_is_found_encoded_or_not(app, path):
    assert ask(app, "GET", path).status_code == 200


@pytest.mark.parametrize("odd", ["a/list", "a\nb", "a?b#c", "%", "\x00", "list"])
def test_any_id_reaches_its_route(app, odd):
    require_problem(ask(app, "GET", f"/v1/listeners/{quote(odd, safe='')}/list"), problems.UNKNOWN_LISTENER)
    require_problem(ask(app, "GET", f"/v1/items/{quote(odd, safe='')}/related"), problems.UNKNOWN_ITEM)


def test_filters_of_a_query_reach_the_list(app):
    assert item_ids(ask(app, "GET", LIST)) == ["t1", "a/b c/ö", "t3"]
    assert item_ids(ask(app, "GET", f"{LIST}?explicit=false&limit=1")) == ["t1"]
    assert item_ids(ask(app, "GET", f"{LIST}?content_types=podcast_episode&market=SE")) == ["a/b c/ö"]
    assert item_ids(ask(app, "GET", f"{LIST}?content_types=audiobook&content_types=track")) == ["t1", "t3"]


def test_what_comes_next_leaves_out_what_plays_and_was_just_played(app):
    assert item_ids(now_playing(app, playing="t1", recent=["t3"])) == ["a/b c/ö"]
    assert item_ids(now_playing(app, playing=None)) == ["t1", "a/b c/ö", "t3"]
    assert now_playing(app, playing="t1").json()["items"][0]["why"] == f"goes with {MARKUP}"


def test_an_unknown_listener_is_answered_with_a_fallback(app):
    assert now_playing(app, user_id="nobody").json()["source"] == "market_popular"


def test_related_items_are_asked_for_by_item(app):
    assert item_ids(ask(app, "GET", f"/v1/items/{quote('a/b c/ö')}/related?limit=1")) == ["t3"]


def test_the_history_of_nights_begins_with_the_one_that_is_served(app):
    shown = ask(app, "GET", "/v1/generations").json()
    assert shown["served"] == TUESDAY_SHOWN
    assert [each["generation"] for each in shown["earlier"]] == [MONDAY.name]


def test_a_process_that_can_serve_is_alive_and_ready(app):
    assert ask(app, "GET", "/livez").json() == {"status": "alive"}
    assert ask(app, "GET", "/readyz").json() == {"status": "ready"} | TUESDAY_SHOWN


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=0", "query.limit"),
        ("limit=101", "query.limit"),
        ("limit=+5", "query.limit"),
        ("limit=1&limit=2", "query.limit"),
        ("limit=", "query.limit"),
        ("limit=99999999999999999999", "query.limit"),
        ("content_types=song", "query.content_types.0"),
        ("content_types=", "query.content_types.0"),
        ("market=", "query.market"),
        (f"market={'x' * 65}", "query.market"),
        ("explicit=yes", "query.explicit"),
        ("explicit=1", "query.explicit"),
        ("page=2", "query.page"),
        ("user_id=x", "query.user_id"),
    ],
)
def test_a_query_that_is_not_valid_is_told_which_part_of_it_is_not(app, query, where):
    for path in (LIST, "/v1/items/t1/related"):
        problem = require_problem(ask(app, "GET", f"{path}?{query}"), problems.INVALID)
        assert [error["where"] for error in problem["errors"]] == [where]


@pytest.mark.parametrize("query", ["market=%FF", "&".join(f"a{number}=1" for number in range(40))])
def test_a_query_that_cannot_be_read_is_refused(app, query):
    require_problem(ask(app, "GET", f"{LIST}?{query}"), problems.MALFORMED)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"user_id": ""}, "body.user_id"),
        ({"user_id": None}, "body.user_id"),
        ({"user_id": 7}, "body.user_id"),
        ({"user_id": "x" * (LONGEST_ID + 1)}, "body.user_id"),
        ({"playing": ""}, "body.playing"),
        ({"recent": "t1"}, "body.recent"),
        ({"recent": ["t1", ""]}, "body.recent.1"),
        ({"recent": ["t1"] * 101}, "body.recent"),
        ({"limit": "5"}, "body.limit"),
        ({"limit": 5.5}, "body.limit"),
        ({"limit": 101}, "body.limit"),
        ({"content_types": ["track"] * 5}, "body.content_types"),
        ({"allow_heard": 1}, "body.allow_heard"),
        ({"market": ""}, "body.market"),
        ({"extra": 1}, "body.extra"),
    ],
)
def test_a_body_that_is_not_valid_is_told_which_part_of_it_is_not(app, body, where):
    problem = require_problem(now_playing(app, **body), problems.INVALID)
    assert [error["where"] for error in problem["errors"]] == [where]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", problems.MALFORMED),
        (b"{", problems.MALFORMED),
        (b"\xff", problems.MALFORMED),
        (b'{"user_id": "\\ud800"}', problems.MALFORMED),
        (b"null", problems.INVALID),
        (b"[]", problems.INVALID),
        (b'{"user_id": "a", "limit": NaN}', problems.INVALID),
    ],
)
def test_a_body_that_is_no_object_of_json_is_refused(app, content, kind):
    response = ask(app, "POST", "/v1/now-playing", content=content, headers={"content-type": "application/json"})
    require_problem(response, kind)


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", None])
def test_a_body_that_a_page_elsewhere_could_send_unasked_is_refused(app, media_type):
    headers = {} if media_type is None else {"content-type": media_type}
    content = b'{"user_id": "u"}'
    require_problem(ask(app, "POST", "/v1/now-playing", content=content, headers=headers), problems.NO_JSON)


def test_a_media_type_may_name_its_charset(app):
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert ask(app, "POST", "/v1/now-playing", content=b'{"user_id": "u"}', headers=headers).status_code == 200


def test_an_id_that_is_longer_than_any_is_refused(app):
    long = ask(app, "GET", f"/v1/listeners/{'x' * (LONGEST_ID + 1)}/list")
    assert require_problem(long, problems.INVALID)["errors"][0]["where"] == "path.user_id"


def test_limits_are_those_of_the_settings():
    app = fake_app(max_items=2, max_recent=1, max_body_bytes=1024, max_target_bytes=256)
    assert len(item_ids(ask(app, "GET", LIST))) == 2
    require_problem(ask(app, "GET", f"{LIST}?limit=3"), problems.INVALID)
    require_problem(now_playing(app, recent=["a", "b"]), problems.INVALID)
    require_problem(now_playing(app, user_id="x" * 1024), problems.BODY_TOO_LARGE)
    require_problem(ask(app, "GET", f"{LIST}?market={'x' * 256}"), problems.TARGET_TOO_LONG)


def test_a_body_that_grows_without_saying_so_is_refused_where_the_limit_is():
    sent = []

    async def chunks():
        for number in range(100):
            sent.append(number)
            yield b" " * 1024

    app = fake_app(max_body_bytes=2048)
    headers = {"content-type": "application/json"}
    require_problem(ask(app, "POST", "/v1/now-playing", content=chunks(), headers=headers), problems.BODY_TOO_LARGE)


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/listeners//list", "/v1/items//related", "/livez/", "/docs"])
def test_an_unknown_route_is_a_problem_like_others(app, path):
    require_problem(ask(app, "GET", path), problems.NO_SUCH_ROUTE)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/now-playing", "POST"), ("DELETE", LIST, "GET"), ("HEAD", "/livez", "GET"), ("OPTIONS", "/", "GET")],
)
def test_another_method_is_told_which_one_the_route_has(app, method, path, allowed):
    response = ask(app, method, path)
    assert response.status_code == problems.WRONG_METHOD.status
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("error", [away(), InputError("the pointer of the serving cache cannot be read")])
def test_while_the_cache_is_away_every_route_says_so_and_when_to_ask_again_and_then_serves(error):
    reader = FakeReader(error=error)
    app = fake_app(reader, retry_after_seconds=3)
    asked = [("GET", LIST), ("GET", "/v1/items/t1/related"), ("GET", "/v1/generations"), ("GET", "/readyz")]
    for method, path in asked:
        response = ask(app, method, path)
        problem = require_problem(response, problems.CACHE_AWAY)
        assert response.headers["retry-after"] == "3"
        assert problem["detail"] == str(error).splitlines()[0]
        assert "inner-host" not in response.text
    require_problem(now_playing(app), problems.CACHE_AWAY)
    assert ask(app, "GET", "/livez").status_code == 200
    assert "nocturne_ready 0.0" in ask(app, "GET", "/metrics").text
    reader.error = None
    assert [ask(app, method, path).status_code for method, path in asked] == [200] * 4


def test_an_error_that_nobody_foresaw_is_a_problem_and_its_place_is_logged_without_its_message(caplog):
    app = fake_app(FakeReader(error=KeyError("secret-listener")))
    require_problem(ask(app, "GET", LIST), problems.UNFORESEEN)
    assert "KeyError at" in caplog.text
    assert "fake_service.py" in caplog.text
    assert "secret-listener" not in caplog.text


def test_the_cache_is_let_go_at_the_end():
    reader = FakeReader()
    end(fake_app(reader))
    assert reader.closed


def test_content_types_are_those_of_the_catalogue():
    assert ContentType.__args__ == CONTENT_TYPES


def test_metrics_of_the_newest_night_are_shown_as_it_left_them(tmp_path):
    file = tmp_path / "nocturne.prom"
    app = fake_app(night_metrics=file)
    assert "nocturne_night_" not in ask(app, "GET", "/metrics").text
    for value in ("0.0", "1.0"):
        file.write_text(f"# HELP nocturne_night_published 1 if it is\nnocturne_night_published {value}\n")
        assert f"nocturne_night_published {value}" in ask(app, "GET", "/metrics").text
    assert "nocturne_ready 1.0" in ask(app, "GET", "/metrics").text


@pytest.mark.parametrize("content", ["secret 1\n", "# HELP nocturne_night_x \n" + "x" * 2**20])
def test_a_file_that_is_no_textfile_of_a_night_is_not_shown(tmp_path, content):
    (tmp_path / "nocturne.prom").write_text(content)
    answer = ask(fake_app(night_metrics=tmp_path / "nocturne.prom"), "GET", "/metrics")
    assert (answer.status_code, content[:20] in answer.text) == (200, False)
