"""The service lets in whom it should, tells nothing of anybody, and says neither in its logs nor in its answers."""

import hmac
import logging
from base64 import b64encode
from hashlib import sha256
from types import SimpleNamespace

import pytest

from nocturne.core.errors import UsageError
from nocturne.core.pseudonyms import pseudonym
from nocturne.serving.http import problems, tokens
from nocturne.serving.http.request_log import RequestLog
from tests.fixtures.fake_service import LISTENER, FakeReader, ask, away, fake_app

LIST = f"/v1/listeners/{LISTENER}/list"
KEY = b"0123456789abcdef"
FIRST, SECOND = "first-token-of-sixteen", "second-token-of-16=="


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"{FIRST}\n\n{SECOND}\n")
    return file


@pytest.fixture
def clock(monkeypatch):
    """The clock that tells when to look at the file: `clock[0] += 1`."""
    now = [1000.0]
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def status(app, token=None, path=LIST):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return ask(app, "GET", path, headers=headers).status_code


def test_every_token_of_the_file_is_let_in_and_no_other(token_file):
    app = fake_app(token_file=str(token_file))
    assert [status(app, token) for token in (FIRST, SECOND)] == [200, 200]
    assert [status(app, token) for token in (None, "", "x", FIRST[:-1], f"{FIRST}x", f"{FIRST}\n{SECOND}")] == [401] * 6


@pytest.mark.parametrize("header", [b"Basic abc", b"Bearer", FIRST.encode(), b"bearer" + FIRST.encode(), b"\xff"])
def test_another_scheme_is_no_token(token_file, header):
    response = ask(fake_app(token_file=str(token_file)), "GET", LIST, headers={b"authorization": header})
    assert response.status_code == problems.TOKEN_NEEDED.status
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_all_that_tells_of_listeners_needs_a_token_and_what_probes_ask_needs_none(token_file):
    app = fake_app(token_file=str(token_file))
    guarded = [LIST, "/v1/items/t1/related", "/v1/generations", "/v1/now-playing", "/metrics", "/nowhere"]
    assert [status(app, path=path) for path in guarded] == [401] * 6
    assert [status(app, path=path) for path in ("/", "/livez", "/readyz", "/openapi.json")] == [200] * 4


def test_tokens_are_rotated_without_a_restart(token_file, clock):
    app = fake_app(token_file=str(token_file))
    assert status(app, FIRST) == 200
    token_file.write_text("third-token-of-sixteen\n")
    assert status(app, FIRST) == 200  # the file is looked at once a second
    clock[0] += 1
    assert (status(app, FIRST), status(app, "third-token-of-sixteen")) == (401, 200)


@pytest.mark.parametrize("content", [None, "", "short\n"])
def test_a_file_that_cannot_be_used_any_more_lets_nobody_in_until_it_can(token_file, clock, caplog, content):
    app = fake_app(token_file=str(token_file))
    token_file.unlink()
    if content is not None:
        token_file.write_text(content)
    clock[0] += 1
    assert status(app, FIRST) == 401
    assert "nobody is let in" in caplog.text
    token_file.write_text(f"{FIRST}\n")
    clock[0] += 1
    assert status(app, FIRST) == 200


@pytest.mark.parametrize("content", [b"", b"too-short\n", b"sixteen letters and spaces\n", b"\xff" * 20])
def test_the_service_does_not_start_with_a_file_that_is_none_of_tokens(tmp_path, content):
    file = tmp_path / "tokens"
    file.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        fake_app(token_file=str(file))
    assert content.decode("latin-1").strip() not in str(raised.value) or not content


def test_a_file_of_tokens_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="the tokens cannot be read"):
        fake_app(token_file=str(tmp_path / "absent"))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]", "[::1]:8000"])
def test_without_tokens_this_machine_is_answered_by_every_name_of_its_own(host):
    assert ask(fake_app(), "GET", LIST, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example", "", "["]
)
def test_without_tokens_a_name_that_somebody_had_lead_here_is_refused(host):
    for path in (LIST, "/", "/metrics"):
        assert ask(fake_app(), "GET", path, headers={"Host": host}).status_code == problems.FOREIGN_HOST.status


def test_no_id_is_in_the_logs(caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    reader = FakeReader()
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    app = fake_app(reader, log_requests=True, log_key_file=str(key))
    body = {"user_id": "secret-listener", "playing": "secret-item", "recent": ["secret-item"]}
    for error in (None, away(), KeyError("secret-listener")):
        reader.error = error
        ask(app, "GET", "/v1/listeners/secret-listener/list?market=secret-market")
        ask(app, "GET", "/v1/items/secret-item/related?limit=secret")
        ask(app, "POST", "/v1/now-playing", json=body)
        ask(app, "POST", "/v1/now-playing", json=body | {"limit": "secret"})
        ask(app, "GET", "/secret-listener")
    ours = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith(("nocturne", "uvicorn"))
    )
    assert ours.count("/v1/listeners/{user_id}/list") == 3
    assert "secret" not in ours


def test_a_request_is_logged_with_the_hash_of_its_listener_under_a_key(caplog, tmp_path):
    caplog.set_level(logging.INFO)
    key = tmp_path / "key"
    key.write_text("0123456789abcdef\n")
    log = RequestLog(str(key))
    log.write("/v1/listeners/{user_id}/list", 200, 0.0012, LISTENER)
    assert caplog.messages == [f"/v1/listeners/{{user_id}}/list 200 1.2 ms listener={pseudonym(LISTENER, KEY)}"]
    assert pseudonym("u1", KEY) == hmac.new(KEY, b"u1", sha256).hexdigest()[:16]


def test_without_a_key_the_log_has_no_listener(caplog):
    caplog.set_level(logging.INFO)
    RequestLog("").write("/v1/now-playing", 200, 0.001, LISTENER)
    assert caplog.messages == ["/v1/now-playing 200 1.0 ms"]


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_key_that_cannot_be_used_is_told(tmp_path, content):
    if content:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(UsageError, match="the key of the request log"):
        fake_app(log_requests=True, log_key_file=str(tmp_path / "key"))


def test_requests_are_not_logged_unless_the_settings_say_so(caplog):
    caplog.set_level(logging.INFO)
    ask(fake_app(), "GET", LIST)
    assert [record for record in caplog.records if record.name.startswith("nocturne")] == []


def test_the_policy_of_the_page_lets_its_own_script_run_and_nothing_else():
    response = ask(fake_app(), "GET", "/")
    script = response.text.partition("<script>")[2].partition("</script>")[0]
    style = response.text.partition("<style>")[2].partition("</style>")[0]
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    for name, content in (("script-src", script), ("style-src", style)):
        assert policy[name] == f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert "://" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


def test_the_page_asks_for_a_token_where_one_is_needed(token_file):
    assert 'id="token"' not in ask(fake_app(), "GET", "/").text
    assert 'id="token"' in ask(fake_app(token_file=str(token_file)), "GET", "/").text


def test_a_page_elsewhere_is_not_told_that_it_may_read_answers():
    response = ask(fake_app(), "GET", LIST, headers={"Origin": "http://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]
