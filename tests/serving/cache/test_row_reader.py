"""Rows read by an event loop: as the snapshot itself reads them, from real servers, whatever happens to these."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from nocturne.core.errors import NocturneError, ServiceError, UsageError
from nocturne.core.settings import load_settings
from nocturne.serving.cache import Snapshot, open_cache
from nocturne.serving.cache.redis.row_reader import RowReader
from nocturne.serving.cache.rows import ServedRow
from tests.fixtures.cache_servers import RedisServer, start_redis, start_redis_with_tls
from tests.fixtures.served_world import GENERATION, LISTENERS, serve_world

SETTINGS = load_settings().cache
SOON = 2.0


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
        reader = RowReader(url, SETTINGS, SOON)
        try:
            return await asyncio.gather(*(reader.row(snapshot, user) for user in users), return_exceptions=True)
        finally:
            reader.close()

    return asyncio.run(all_of_them())


def equal(one: object, other: object) -> bool:
    return isinstance(one, ServedRow) and isinstance(other, ServedRow) and all(map(np.array_equal, one, other))


def test_rows_are_those_of_the_snapshot_whoever_else_asks(snapshot: Snapshot, redis_server: RedisServer):
    users = [*LISTENERS, "nobody", *LISTENERS, "\ud800 no text"]
    rows = ask(redis_server.url, snapshot, users)
    for user, row in zip(users, rows, strict=True):
        assert equal(row, snapshot.row(user)) if user in LISTENERS else row is None


def test_all_who_ask_share_one_connection(snapshot: Snapshot, redis_server: RedisServer):
    client = redis_server.client
    before = client.info("stats")["total_connections_received"]
    ask(redis_server.url, snapshot, list(LISTENERS) * 10)
    assert client.info("stats")["total_connections_received"] == before + 1


def test_a_server_that_does_not_answer_is_not_waited_for_and_is_read_when_it_does(
    snapshot: Snapshot, redis_server: RedisServer
):
    async def hung() -> ServedRow | None:
        reader = RowReader(redis_server.url, SETTINGS, patience_seconds=0.2)
        assert await reader.row(snapshot, "ann")
        redis_server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(ServiceError, match="does not serve"):
                await reader.row(snapshot, "ann")
        finally:
            redis_server.process.send_signal(signal.SIGCONT)
        try:
            return await reader.row(snapshot, "bob")
        finally:
            reader.close()

    assert equal(asyncio.run(hung()), snapshot.row("bob"))


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+OK\r\n+more than was asked\r\n"])
def test_what_is_no_redis_is_told(snapshot: Snapshot, said: bytes):
    class Foreign(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(said)

    async def foreign() -> None:
        server = await asyncio.get_running_loop().create_server(Foreign, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader = RowReader(f"redis://127.0.0.1:{port}/0", SETTINGS, patience_seconds=1)
        with pytest.raises(ServiceError):
            await reader.row(snapshot, "ann")
        reader.close()
        server.close()
        await server.wait_closed()

    asyncio.run(foreign())


def test_a_user_of_the_settings_and_another_database_are_read(redis_server: RedisServer, tmp_path: Path):
    redis_server.empty()
    (tmp_path / "password").write_text("hush\n")
    redis_server.client.acl_setuser(
        "reader", enabled=True, passwords=["+hush"], keys=["nocturne:*"], commands=["+@all"]
    )
    known = SETTINGS.model_copy(update={"user": "reader", "password_file": str(tmp_path / "password")})
    place = f"127.0.0.1:{redis_server.port}/3"
    with open_cache(redis_server.url.removesuffix("/0") + "/3") as cache:
        serve_world(cache)
        with cache.snapshot() as taken:
            assert asyncio.run(read_one(RowReader(f"redis://{place}", known, SOON), taken))


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
                reader = RowReader(server.url, SETTINGS, SOON)
                assert await reader.row(snapshot, "ann")
                server.stop()
                gone = await asyncio.gather(*(reader.row(snapshot, user) for user in "ab"), return_exceptions=True)
                server.start()
                serve_world(cache)
                with cache.snapshot() as again:
                    back = await reader.row(again, "ann")
                reader.close()
                return [*gone, back]

            try:
                *gone, back = asyncio.run(away_and_back())
            finally:
                server.stop()
    assert [type(error) for error in gone] == [ServiceError, ServiceError]
    assert isinstance(back, ServedRow)


def test_a_user_who_may_not_read_is_told(snapshot: Snapshot, redis_server: RedisServer):
    redis_server.client.acl_setuser("blind", enabled=True, passwords=["+hush"], commands=["+@connection", "+select"])
    (error,) = ask(f"redis://blind:hush@127.0.0.1:{redis_server.port}/0", snapshot, ["ann"])
    assert isinstance(error, UsageError)
    assert "may not do this" in str(error)


def test_nobody_is_kept_by_one_who_waits_no_more(snapshot: Snapshot, redis_server: RedisServer):
    async def hurry() -> ServedRow | None:
        reader = RowReader(redis_server.url, SETTINGS, SOON)
        impatient = asyncio.ensure_future(reader.row(snapshot, "ann"))
        await asyncio.sleep(0)
        impatient.cancel()
        row = await reader.row(snapshot, "bob")
        reader.close()
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
                assert asyncio.run(read_one(RowReader(server.url, trusting, SOON), snapshot))
                with pytest.raises(NocturneError, match="certificate verify failed"):
                    asyncio.run(read_one(RowReader(server.url, SETTINGS, SOON), snapshot))
    finally:
        server.stop()


async def read_one(reader: RowReader, snapshot: Snapshot) -> ServedRow | None:
    try:
        return await reader.row(snapshot, "ann")
    finally:
        reader.close()
