"""The route of takedowns: a token of its own, what it does at once, and what it refuses."""

import asyncio
import json
import time

import httpx
import pytest

from nocturne.core.errors import UsageError
from nocturne.core.settings import load_settings
from nocturne.serving.cache import open_cache
from nocturne.serving.http.app import Worker
from nocturne.serving.http.server import listen
from tests.fixtures.fake_service import ask, fake_app, service_settings
from tests.fixtures.served_world import serve_world

READER, EDITOR = "r" * 32, "e" * 32
PATH = "/v1/takedowns"
BODY = {"item_ids": ["bay"], "why": "court order"}


@pytest.fixture
def worker(cache_url, tmp_path):
    """A service over the small world, with tokens of readers and of an editor."""
    with open_cache(cache_url) as cache:
        serve_world(cache)
    for name, token in (("readers", READER), ("editors", EDITOR)):
        (tmp_path / name).write_text(token)
    (tmp_path / "landing").mkdir()
    settings = service_settings(
        token_file=str(tmp_path / "readers"), takedown_token_file=str(tmp_path / "editors"), check_seconds=0
    )
    return Worker(cache_url, load_settings().cache, settings, str(tmp_path / "landing"))


def with_service(worker, use):
    """Start the application, use a client of it, and end it."""

    async def run():
        guard = worker()
        client = httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://localhost")
        async with guard.app.router.lifespan_context(guard.app), client:
            return await use(client)

    return asyncio.run(run())


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_an_item_is_gone_from_every_route_within_a_second_and_comes_back(worker, tmp_path):
    asks = (
        ("GET", "/v1/listeners/ann/list?limit=3", None),
        ("POST", "/v1/now-playing", {"user_id": "ann", "playing": "ash", "limit": 6, "allow_heard": True}),
        ("POST", "/v1/steer", {"user_id": "ann", "plan": {"never": [{"tags": ["news"]}]}, "limit": 6}),
        ("GET", "/v1/items/ash/related", None),
    )

    async def use(client):
        async def shown():
            answers = [
                await client.request(method, path, json=body, headers=bearer(READER)) for method, path, body in asks
            ]
            return [[item["item_id"] for item in answer.json()["items"]] for answer in answers]

        async def send(**more):
            answer = await client.post(PATH, json=BODY | more, headers=bearer(EDITOR))
            returned = time.monotonic()
            return answer, returned

        before = await shown()
        done, returned = await send()
        assert done.status_code == 200, done.text
        gone = await shown()
        while any("bay" in items for items in gone) and time.monotonic() < returned + 1:
            gone = await shown()
        again, _ = await send()
        lifted, returned = await send(lift=True, why="settled")
        assert lifted.status_code == 200
        back = await shown()
        while back != before and time.monotonic() < returned + 1:
            back = await shown()
        return before, gone, back, done.json(), again.json()

    before, gone, back, done, again = with_service(worker, use)
    assert all("bay" in items for items in before)
    assert not any("bay" in items for items in gone)
    assert len(gone[0]) == 3
    assert back == before
    assert (done["version"], done["takedowns"][0]["item_id"]) == (1, "bay")
    assert again == {"version": 1, "takedowns": []}
    landed = [json.loads(file.read_text()) for file in (tmp_path / "landing" / "takedowns").glob("*.jsonl")]
    assert sorted((line["item_id"], line["lifts"]) for line in landed) == [("bay", False), ("bay", True)]


def test_only_a_token_of_its_own_is_good_for_it_and_for_nothing_else(worker):
    async def use(client):
        refused = [await client.post(PATH, json=BODY, headers=headers) for headers in ({}, bearer(READER))]
        refused.append(await client.get("/v1/listeners/ann/list", headers=bearer(EDITOR)))
        return [answer.status_code for answer in refused]

    assert with_service(worker, use) == [401, 401, 401]


@pytest.mark.parametrize(
    "body",
    [
        {},
        BODY | {"item_ids": []},
        BODY | {"item_ids": ["nobody"]},
        BODY | {"why": " "},
        BODY | {"market": "*"},
        BODY | {"lift": True},
        BODY | {"colour": "red"},
    ],
)
@pytest.mark.parametrize("cache_url", ["lmdb"], indirect=True)
def test_what_cannot_be_meant_is_refused_and_nothing_is_taken_down(worker, cache_url, body):
    async def use(client):
        return await client.post(PATH, json=body, headers=bearer(EDITOR))

    answer = with_service(worker, use)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "invalid-request")
    assert "nobody" not in answer.text
    with open_cache(cache_url, read_only=True) as cache:
        assert cache.overlay().version == 0


def test_a_service_without_such_tokens_takes_nothing_down():
    assert ask(fake_app(), "POST", PATH, json=BODY).json()["type"].endswith(":no-takedowns")


def test_a_service_with_such_tokens_needs_a_landing_zone(tmp_path):
    (tmp_path / "editors").write_text(EDITOR)
    settings = service_settings(takedown_token_file=str(tmp_path / "editors"))
    with pytest.raises(UsageError, match="takedowns need a landing zone"):
        listen(Worker(f"lmdb:{tmp_path}", load_settings().cache, settings), "127.0.0.1", 0)
