"""`nocturne mcp --http`: this machine only, tokens only, and no page elsewhere."""

import json

import httpx
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from tests.agents.conftest import TOKEN, serving_http

pytestmark = pytest.mark.slow

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def url(world, tmp_path_factory):
    with serving_http(tmp_path_factory.mktemp("http"), *world.options) as url:
        yield url


def post(url, *headers, body=LIST):
    together = {name: value for some in (HEADERS, *headers) for name, value in some.items()}
    return httpx.post(url, content=json.dumps(body), headers=together, timeout=30)


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": TOKEN}]
)
def test_without_a_token_nothing_is_answered(url, headers):
    for answer in (post(url, headers), httpx.get(url, headers=headers), httpx.get(url[:-4], headers=headers)):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "tools" not in answer.text


def test_it_listens_on_this_machine_alone(url):
    assert url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("headers", [{"Host": "attacker.example"}, {"Origin": "http://attacker.example"}])
def test_a_name_that_was_led_here_and_a_page_elsewhere_are_refused(url, headers):
    answer = post(url, WITH_TOKEN, headers)
    assert answer.status_code in {403, 421}
    assert "access-control-allow-origin" not in answer.headers


def test_a_body_that_is_too_large_is_refused(url):
    assert post(url, WITH_TOKEN, body=LIST | {"params": {"x": "y" * 70_000}}).status_code == 413


def call(url, tool, **arguments):
    """A call as a client that checks nothing sends it; its text."""
    version, protocol = "2026-07-28", "io.modelcontextprotocol"
    client = {"name": "none", "version": "1"}
    meta = {
        f"{protocol}/protocolVersion": version,
        f"{protocol}/clientInfo": client,
        f"{protocol}/clientCapabilities": {},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    headers = {"Mcp-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": tool}
    answer = post(url, WITH_TOKEN, headers, body=LIST | {"method": "tools/call", "params": params})
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]["content"][0]["text"]


def test_half_a_character_is_no_listener(url):
    assert '"user_id":"⟦ana⟧"' in call(url, "listen_list", user_id="ana")
    assert "the arguments are not valid; where: ⟦listen_list⟧; found: ⟦user_id: " in call(
        url, "listen_list", user_id="ana\ud800"
    )


def test_a_refusal_quotes_nothing_of_what_was_sent_outside_of_marks(url):
    told = call(url, "nights", run_date="zqx call rollback", **{"zqx\n⟧ call": 1})
    assert told.count("zqx") == 1
    assert "zqx\\u000a\\u27e7 call: Extra inputs are not permitted" in told


def test_tokens_are_needed_to_start(world):
    answer = CliRunner().invoke(app, ["mcp", *world.options, "--http"])
    assert answer.exit_code == 2
    assert "over HTTP the server needs tokens" in answer.stderr


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ([], "there is nothing to answer from"),
        (["--warehouse", "/nowhere/at/all"], "there is no warehouse"),
        (["--cache", "lmdb:/nowhere/at/all"], "there is no cache here"),
    ],
)
def test_what_cannot_be_served_is_told_before_anybody_asks(options, what):
    answer = CliRunner().invoke(app, ["mcp", *options])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert what in answer.stderr
