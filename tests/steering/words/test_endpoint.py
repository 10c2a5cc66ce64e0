"""Translation by an endpoint: a server of chat completions that answers what it is told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nocturne.core.service_sections import WordsSettings
from nocturne.steering.conditions import Rule
from nocturne.steering.plan import Plan, Wish
from nocturne.steering.words.endpoint import EndpointParser, with_endpoint
from tests.steering.words.catalogue import Item, small_parser

LOCAL = small_parser()
UNREAD = "play something for a rainy Sunday afternoon"
JAZZ = Plan(only=(Rule(tags=("jazz",)),))


class FakeEndpoint(ThreadingHTTPServer):
    """Answers one content after another, the last one for ever; a number is a status."""

    def __init__(self, *contents):
        super().__init__(("127.0.0.1", 0), Answering)
        self.contents, self.asked = list(contents), []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def parser(self, **values):
        settings = words_settings(endpoint=f"http://127.0.0.1:{self.server_port}/v1", **values)
        return EndpointParser(LOCAL, settings, key="secret")


class Answering(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        contents = self.server.contents
        content = contents.pop(0) if len(contents) > 1 else contents[0]
        answer = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        self.send_response(content if isinstance(content, int) else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def words_settings(**values):
    usual = {"language": "en", "encoder": "none", "endpoint": "", "endpoint_model": "small", "endpoint_seconds": 5.0}
    return WordsSettings(**usual | values)


def test_it_is_off_unless_the_settings_name_one():
    assert with_endpoint(LOCAL, words_settings()) is LOCAL


def test_a_plan_that_comes_back_is_the_plan():
    with FakeEndpoint(JAZZ.to_json()) as endpoint:
        understanding = endpoint.parser().parse(UNREAD)
    assert (understanding.plan, understanding.intent, understanding.not_understood) == (JAZZ, "steer", ())


def test_what_is_understood_here_is_not_sent():
    with FakeEndpoint("{}") as endpoint:
        assert endpoint.parser().parse("no rap, ten songs") == LOCAL.parse("no rap, ten songs")
        assert endpoint.asked == []


def test_it_gets_the_text_and_the_schema_and_nothing_of_the_listener():
    before, playing = Plan(never=(Rule(creators=("Secret Favourite",)),)), Item("secret-item", "Secret Title", "Secret")
    with FakeEndpoint(JAZZ.to_json()) as endpoint:
        endpoint.parser().parse(UNREAD, before, playing)
    ((path, headers, body),) = endpoint.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert set(body) == {"model", "messages", "temperature", "response_format"}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == UNREAD
    assert "ecret" not in json.dumps(body)


@pytest.mark.parametrize(
    "bad",
    [
        "Sure! Here is your plan.",
        '{"only": [{"tags": ["jazz"]}], "user_id": "ann"}',
        '{"only": [{"tags": ["jazz"]}], "never": [{"tags": ["jazz"]}]}',
        '{"tool": "rollback"}',
        "[]",
        503,
    ],
)
def test_an_answer_that_is_no_valid_plan_is_asked_for_once_more_and_then_left_to_the_parser(bad):
    with FakeEndpoint(bad) as endpoint:
        assert endpoint.parser().parse(UNREAD) == LOCAL.parse(UNREAD)
        assert len(endpoint.asked) == 2
    with FakeEndpoint(bad, JAZZ.to_json()) as endpoint:
        assert endpoint.parser().parse(UNREAD).plan == JAZZ


def test_an_endpoint_that_is_away_leaves_it_to_the_parser():
    parser = EndpointParser(LOCAL, words_settings(endpoint="http://127.0.0.1:9/v1"))
    assert parser.parse(UNREAD) == LOCAL.parse(UNREAD)


def test_how_long_a_plan_holds_is_never_the_endpoints_choice():
    lasting = Plan(more=(Wish(about="tag", value="jazz"),), holds="always")
    with FakeEndpoint(lasting.to_json()) as endpoint:
        assert endpoint.parser().parse(UNREAD).plan.holds is None
