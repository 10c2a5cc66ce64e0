"""The client of the service: typed answers, None for who is unknown, and tries again while the cache is away."""

import asyncio
from datetime import date

import httpx
import pytest

from nocturne.core.errors import InputError, ServiceError, UsageError
from nocturne.serving.client import ServiceClient, ShownItem
from tests.fixtures.fake_service import LISTENER, MARKUP, FakeReader, away, fake_app

TOKEN = "a-token-of-sixteen-letters"


class InProcess(httpx.BaseTransport):
    """Sends requests to an application of this process, and calls `after` when one is answered."""

    def __init__(self, app, after=lambda: None):
        self._transport = httpx.ASGITransport(app)
        self._after = after

    def handle_request(self, request):
        response = asyncio.run(self._answer(request))
        self._after()
        return response

    async def _answer(self, request):
        asynchronous = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.read() or None
        )
        response = await self._transport.handle_async_request(asynchronous)
        return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())


def client(app=None, transport=None, **options):
    return ServiceClient("http://localhost", transport=transport or InProcess(app or fake_app()), **options)


def answering(status, body, **headers):
    return httpx.MockTransport(lambda _request: httpx.Response(status, text=body, headers=headers))


def ids(answer):
    return [item.item_id for item in answer.items]


def test_a_list_is_typed():
    with client() as service:
        answer = service.nightly_list(LISTENER)
    assert (answer.generation, answer.run_date) == ("2025-03-04-bbbbbbbb", date(2025, 3, 4))
    assert (answer.source, answer.arm, answer.model_version) == ("als", "control", "als-1")
    assert answer.items[1] == ShownItem(
        2, "a/b c/ö", MARKUP, None, "podcast_episode", None, explicit=True, score=0.5, why="for you", propensity=0.25
    )


def test_a_list_by_a_plan_comes_with_the_plan_and_its_receipt():
    with client() as service:
        answer = service.steer(LISTENER, text="qzxv", plan={"never": [{"tags": ["rap"]}]}, playing="t1", limit=1)
    assert ids(answer) == ["a/b c/ö"]
    assert (answer.plan, answer.in_words) == ({"never": [{"tags": ["rap"]}]}, "Never items tagged rap.")
    assert answer.receipt["not_understood"] == ["qzxv"]
    with client() as service, pytest.raises(UsageError, match=r"409 No list can obey the plan: body\.plan\.only\.0"):
        service.steer(LISTENER, plan={"only": [{"explicit": True}], "never": [{"explicit": True}]})


def test_every_filter_reaches_the_service():
    with client() as service:
        assert ids(service.nightly_list(LISTENER, content_types=["track"], limit=1, market="SE")) == ["t1"]
        assert ids(service.related("a/b c/ö", explicit=False)) == ["t3", "t1"]
        assert ids(service.now_playing(LISTENER, "t1", ["t3"])) == ["a/b c/ö"]
        assert ids(service.now_playing("new", allow_heard=True, content_types=["track"], limit=1)) == ["t1"]


def test_who_is_unknown_has_no_answer():
    with client() as service:
        assert service.nightly_list("nobody") is None
        assert service.related("no item") is None


def test_a_request_that_is_refused_says_why():
    with client() as service, pytest.raises(UsageError, match=r"422 The request is not valid: query.limit: Input"):
        service.nightly_list(LISTENER, limit=0)


def test_a_token_is_sent(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    app = fake_app(token_file=str(tokens))
    assert client(app, token=TOKEN).nightly_list(LISTENER)
    with pytest.raises(UsageError, match="401 A valid bearer token is needed"):
        client(app).nightly_list(LISTENER)


def test_while_the_cache_is_away_it_is_asked_again_as_late_as_the_service_says():
    reader = FakeReader(error=away())
    asked = []

    def after():
        asked.append(1)
        if len(asked) == 2:
            reader.error = None

    with client(transport=InProcess(fake_app(reader), after)) as service:
        assert service.nightly_list(LISTENER)
    assert len(asked) == 3


def test_a_cache_that_stays_away_is_told_in_the_end():
    with client(fake_app(FakeReader(error=away())), retry_seconds=0) as service:
        assert not service.ready()
        with pytest.raises(ServiceError, match="503 The serving cache does not serve now: the Redis server"):
            service.nightly_list(LISTENER)


def test_a_service_that_is_not_there_is_told():
    def refuse(request):
        raise httpx.ConnectError("refused", request=request)

    service = client(transport=httpx.MockTransport(refuse), retry_seconds=0)
    assert not service.ready()
    with pytest.raises(ServiceError, match="refused"):
        service.related("t1")


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"items": [{}]}', '{"items": 3, "run_date": "x"}'])
def test_whatever_else_answers_is_told_apart(body):
    with pytest.raises(InputError, match="otherwise than documented"):
        client(transport=answering(200, body)).nightly_list(LISTENER)


def test_members_of_a_later_release_are_passed_over():
    body = client().nightly_list(LISTENER)
    text = (
        '{"generation": "g", "run_date": "2025-03-04", "age_days": 1, "source": "als", "arm": "a",'
        ' "model_version": "m", "new": 1, "items": []}'
    )
    assert client(transport=answering(200, text)).nightly_list(LISTENER).run_date == body.run_date


@pytest.mark.parametrize(("status", "error"), [(404, UsageError), (502, ServiceError), (500, ServiceError)])
def test_errors_of_a_proxy_are_told(status, error):
    with pytest.raises(error, match=str(status)):
        client(transport=answering(status, "<html>")).nightly_list(LISTENER)
