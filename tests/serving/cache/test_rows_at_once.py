"""Rows of many listeners in one round trip: as the snapshot itself reads them, from real servers."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from nocturne.core.errors import NocturneError, ServiceError, UsageError
from nocturne.core.settings import load_settings
from nocturne.serving.cache import Snapshot, open_cache
from nocturne.serving.cache.redis import rows_at_once
from nocturne.serving.cache.redis.rows_at_once import RowsAtOnce
from nocturne.serving.cache.rows import ServedRow
from tests.fixtures.cache_servers import RedisServer, start_redis, start_redis_with_tls
from tests.fixtures.served_world import GENERATION, LISTENERS, serve_world

SETTINGS = load_settings().cache


@pytest.fixture
def snapshot(redis_server: RedisServer) -> Iterator[Snapshot]:
    redis_server.empty()
    with open_cache(redis_server.url) as cache:
        serve_world(cache)
        with cache.snapshot() as taken:
            yield taken


def ask(url: str, snapshot: Snapshot, users: Sequence[str]) -> list[ServedRow | BaseException | None]:
    """Rows of the users, asked for at once."""

    async def all_of_them() -> list[ServedRow | BaseException | None]:
        reader = RowsAtOnce(url, SETTINGS)
        try:
            return await asyncio.gather(*(reader.row(snapshot, user) for user in users), return_exceptions=True)
        finally:
            await reader.close()

    return asyncio.run(all_of_them())


def equal(one: object, other: object) -> bool:
    return isinstance(one, ServedRow) and isinstance(other, ServedRow) and all(map(np.array_equal, one, other))


@pytest.mark.parametrize("most_at_once", [1, 2, 64])
def test_rows_are_those_of_the_snapshot_whoever_else_asks(
    snapshot: Snapshot, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, most_at_once: int
):
    monkeypatch.setattr(rows_at_once, "MOST_AT_ONCE", most_at_once)
    users = [*LISTENERS, "nobody", *LISTENERS, "\ud800 no text"]
    rows = ask(redis_server.url, snapshot, users)
    for user, row in zip(users, rows, strict=True):
        assert equal(row, snapshot.row(user)) if user in LISTENERS else row is None


def test_one_round_trip_reads_the_rows_of_all_who_ask_at_once(snapshot: Snapshot, redis_server: RedisServer):
    before = redis_server.client.info("commandstats")["cmdstat_hget"]["calls"]
    ask(redis_server.url, snapshot, list(LISTENERS))
    after = redis_server.client.info("commandstats")["cmdstat_hget"]["calls"]
    assert after - before == len(LISTENERS) + 1  # and the load


def test_a_listener_who_lacks_in_a_load_that_is_gone_is_an_error(snapshot: Snapshot, redis_server: RedisServer):
    redis_server.client.hset(f"nocturne:{GENERATION.name}:about", "load", "another")
    ann, nobody = ask(redis_server.url, snapshot, ["ann", "nobody"])
    assert isinstance(ann, ServedRow)
    assert isinstance(nobody, ServiceError)
    assert "dropped while it was read" in str(nobody)


def test_a_server_that_is_away_is_told_to_all_who_wait_and_is_read_when_it_is_back(tmp_path: Path):
    server = start_redis(tmp_path)
    with open_cache(server.url) as cache:
        serve_world(cache)
        with cache.snapshot() as snapshot:

            async def away_and_back() -> list[ServedRow | BaseException | None]:
                reader = RowsAtOnce(server.url, SETTINGS)
                assert await reader.row(snapshot, "ann")
                server.stop()
                gone = await asyncio.gather(*(reader.row(snapshot, user) for user in "ab"), return_exceptions=True)
                server.start()
                serve_world(cache)
                with cache.snapshot() as again:
                    back = await reader.row(again, "ann")
                await reader.close()
                return [*gone, back]

            try:
                *gone, back = asyncio.run(away_and_back())
            finally:
                server.stop()
    assert [type(error) for error in gone] == [ServiceError, ServiceError]
    assert isinstance(back, ServedRow)


def test_nobody_is_kept_by_one_who_waits_no_more(snapshot: Snapshot, redis_server: RedisServer):
    async def hurry() -> ServedRow | None:
        reader = RowsAtOnce(redis_server.url, SETTINGS)
        impatient = asyncio.ensure_future(reader.row(snapshot, "ann"))
        await asyncio.sleep(0)
        impatient.cancel()
        row = await reader.row(snapshot, "bob")
        await reader.close()
        return row

    assert equal(asyncio.run(hurry()), snapshot.row("bob"))


def test_a_wrong_password_is_told_without_it(snapshot: Snapshot, redis_server: RedisServer):
    (error,) = ask(f"redis://:wrong-guess@127.0.0.1:{redis_server.port}/0", snapshot, ["ann"])
    assert isinstance(error, UsageError)
    assert "wrong-guess" not in str(error)


@pytest.mark.slow
def test_a_server_with_tls_is_trusted_by_the_authority_in_the_settings_alone(tmp_path: Path):
    server = start_redis_with_tls(tmp_path)
    try:
        trusting = SETTINGS.model_copy(update={"ca_file": str(tmp_path / "ca.pem")})
        with open_cache(server.url, trusting) as cache:
            serve_world(cache)
            with cache.snapshot() as snapshot:
                assert asyncio.run(read_one(RowsAtOnce(server.url, trusting), snapshot))
                with pytest.raises(NocturneError, match="certificate verify failed"):
                    asyncio.run(read_one(RowsAtOnce(server.url, SETTINGS), snapshot))
    finally:
        server.stop()


async def read_one(reader: RowsAtOnce, snapshot: Snapshot) -> ServedRow | None:
    try:
        return await reader.row(snapshot, "ann")
    finally:
        await reader.close()
