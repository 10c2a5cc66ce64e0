"""The cache in Redis: its layout, its loads and drops, its users; against real servers."""

import json
import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from nocturne.core.errors import ServiceError, UsageError
from nocturne.core.service_sections import CacheSettings
from nocturne.core.settings import load_settings
from nocturne.serving.cache import Cache, Pointer, RowBatches, ServedList, open_cache
from nocturne.serving.cache.pointer import to_json
from nocturne.serving.cache.redis import connection, generations, loader, store
from tests.fixtures.cache_servers import (
    ITEMS,
    MONDAY,
    PASSWORD,
    TUESDAY,
    RedisServer,
    info,
    rows,
    serve,
    start_redis,
    start_redis_with_tls,
    users,
)

MONDAYS_LIST = ServedList(date(2026, 3, 2), "control", "als", "als-1", ("monday",), (1.5,))
DEFAULT = load_settings().cache


def settings(**changes: object) -> CacheSettings:
    return DEFAULT.model_copy(update=changes)


@pytest.fixture
def cache_url(redis_server: RedisServer) -> str:
    redis_server.empty()
    return redis_server.url


@pytest.mark.slow
def test_parts_are_loaded_by_several_processes_that_get_no_connection(cache: Cache, redis_server: RedisServer):
    def in_processes(function: Callable[[RowBatches], int], parts: Sequence[RowBatches]) -> list[int]:
        pickle.dumps(function)
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            return pool.map(function, parts)

    parts = [[users(0, 700), users(700, 1_000)], [users(1_000, 2_000)]]
    assert cache.load(MONDAY.name, ITEMS, parts, in_processes) == 2_000
    assert cache.count(MONDAY.name) == 2_000
    cache.swap_pointer(None, Pointer(MONDAY))
    assert cache.get("user-001999").item_ids == ("x",)


def test_lists_lie_in_hashes_of_the_generation_and_no_key_ever_expires(
    monday_served: Cache,
    redis_server: RedisServer,
):
    monday_served.load(TUESDAY.name, ITEMS, [[users(0, 2_000)]])
    with monday_served.snapshot():
        client = redis_server.client
        keys = client.keys()
        load = json.loads(client.hget(f"nocturne:{TUESDAY.name}:about", "head"))["load"]
        buckets = [f"nocturne:{TUESDAY.name}:{load}:{bucket}".encode() for bucket in range(4)]
        assert set(buckets) <= set(keys)
        assert sum(client.hlen(bucket) for bucket in buckets) == 2_000
        assert {client.ttl(key) for key in keys} == {-1}


def test_nothing_is_left_of_a_dropped_generation(cache: Cache, redis_server: RedisServer):
    cache.load(MONDAY.name, info("x", lists=5_000), [[users(0, 5_000)]])
    assert cache.count(MONDAY.name) == 5_000
    assert cache.drop(MONDAY.name)
    assert redis_server.client.keys() == []


def test_a_generation_is_deleted_a_few_lists_at_a_time(
    cache: Cache,
    redis_server: RedisServer,
    cache_url: str,
    monkeypatch: pytest.MonkeyPatch,
):
    cache.load(MONDAY.name, info("x", lists=4_400), [[users(0, 4_400)]])
    left: list[tuple[float, int]] = []
    monkeypatch.setattr(store, "sleep", lambda seconds: left.append((seconds, cache.count(MONDAY.name))))
    with open_cache(cache_url, settings(lists_per_second=1_000)) as slow:
        slow.drop(MONDAY.name)
    assert [seconds for seconds, _ in left] == [0.88] * 5
    counts = [count for _, count in left]
    assert counts == sorted(counts, reverse=True)
    assert 2_000 < counts[1] < 3_300
    assert counts[-1] == 0
    assert redis_server.client.keys() == []


def test_a_removal_that_was_interrupted_is_taken_up_again(
    cache: Cache,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
):
    cache.load(MONDAY.name, info("x", lists=5_000), [[users(0, 5_000)]])
    with monkeypatch.context() as broken:
        broken.setattr(store, "BUCKETS_AT_ONCE", 1)
        unlink, calls = cache._redis.unlink, []

        def fails(*keys: str) -> int:
            calls.append(keys)
            if len(calls) == 3:
                raise ConnectionError("cut")
            return unlink(*keys)

        broken.setattr(cache._redis, "unlink", fails)
        with pytest.raises(ServiceError, match="cut"):
            cache.drop(MONDAY.name)
    assert cache.generations() == [MONDAY.name]
    assert 3_000 < cache.count(MONDAY.name) < 5_000
    assert cache.drop(MONDAY.name)
    assert redis_server.client.keys() == []


def test_all_tasks_together_load_at_most_so_many_lists_a_second(
    cache_url: str,
    monkeypatch: pytest.MonkeyPatch,
):
    pieces: list[float] = []
    monkeypatch.setattr(loader, "sleep", pieces.append)
    with open_cache(cache_url, settings(lists_per_second=100)) as cache:
        cache.load(MONDAY.name, ITEMS, [[users(0, 1_000)], [users(1_000, 2_000)]])
    # a quarter of a second each: the 80th begins 79 quarters after the first, less what the test itself took
    assert len(pieces) == 80
    assert pieces[0] == 0
    assert pieces[79] == pytest.approx(79 * 0.25, abs=5)
    assert all(later - earlier <= 0.2501 for earlier, later in pairwise(pieces))


@pytest.mark.parametrize("path", ["x", "1x", "0/1", "-1", "1.0"])
def test_a_url_that_names_no_database_is_a_usage_error_and_never_database_0(path: str):
    with pytest.raises(UsageError, match="URL is not understood"):
        open_cache(f"redis://localhost/{path}")


def test_a_database_that_the_server_does_not_have_is_told(redis_server: RedisServer):
    with (
        pytest.raises(UsageError, match="no such database"),
        open_cache(redis_server.url.removesuffix("0") + "99", read_only=True) as cache,
    ):
        cache.pointer()


@pytest.mark.parametrize("database", [0, 1])
def test_a_reader_made_as_the_message_says_reads_any_database_and_takes_snapshots(
    redis_server: RedisServer, database: int
):
    url = redis_server.url.removesuffix("0") + str(database)
    with open_cache(url) as cache:
        serve(cache, MONDAY, "monday", None)
    redis_server.client.execute_command("ACL", "SETUSER", "guest", "on", ">word", *connection.READER_RULES.split())
    as_reader = f"redis://guest:word@127.0.0.1:{redis_server.port}/{database}"
    with open_cache(as_reader, read_only=True) as cache:
        assert cache.get("ann") == MONDAYS_LIST
        with cache.snapshot() as snapshot:
            assert snapshot.get("ann") == MONDAYS_LIST
    with open_cache(as_reader) as cache, pytest.raises(UsageError, match="may not do this"):
        cache.load(TUESDAY.name, ITEMS, [])
    with open_cache(url) as cache:
        cache._redis.flushdb()


def test_a_snapshot_keeps_its_generation_from_being_dropped_until_it_lets_go(
    monday_served: Cache,
    cache_url: str,
    redis_server: RedisServer,
):
    with open_cache(cache_url, read_only=True) as reader, reader.snapshot() as snapshot:
        serve(monday_served, TUESDAY, "tuesday", Pointer(MONDAY))
        assert not monday_served.drop(MONDAY.name)
        assert monday_served.generations() == [MONDAY.name, TUESDAY.name]
        assert snapshot.get("ann") == MONDAYS_LIST
        with pytest.raises(ServiceError, match="still read"):
            monday_served.load(MONDAY.name, info("monday", "other"), [])
        assert snapshot.get("ann") == MONDAYS_LIST
    assert monday_served.drop(MONDAY.name)
    assert redis_server.client.keys(f"*{MONDAY.name}*") == []


def test_the_pointer_does_not_move_to_a_generation_that_a_late_loader_began_anew_since_it_was_counted(
    monday_served: Cache,
    cache_url: str,
):
    monday_served.load(TUESDAY.name, ITEMS, [[rows(ann="tuesday")]])
    assert monday_served.count(TUESDAY.name) == 1
    with open_cache(cache_url) as late:
        late.load(TUESDAY.name, ITEMS, [])
    with pytest.raises(ServiceError, match="not in the cache"):
        monday_served.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY))
    assert monday_served.pointer() == Pointer(MONDAY)


def test_a_reader_that_died_lapses(monday_served: Cache, redis_server: RedisServer):
    snapshot = monday_served.snapshot()
    held = snapshot.__enter__()
    serve(monday_served, TUESDAY, "tuesday", Pointer(MONDAY))
    assert not monday_served.drop(MONDAY.name)
    readers = generations.readers_key(MONDAY.name)
    ((reader, lapses_at),) = redis_server.client.zrange(readers, 0, -1, withscores=True)
    redis_server.client.zadd(readers, {reader: lapses_at - generations.LAPSE_SECONDS})
    assert monday_served.drop(MONDAY.name)
    with pytest.raises(ServiceError, match="dropped while it was read"):
        held.get("ann")
    snapshot.__exit__(None, None, None)
    assert monday_served.generations() == [TUESDAY.name]


def test_a_snapshot_that_is_read_is_renewed(
    monday_served: Cache, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(generations, "RENEW_SECONDS", 0.0)
    with monday_served.snapshot() as snapshot:
        readers = generations.readers_key(MONDAY.name)
        ((reader, first),) = redis_server.client.zrange(readers, 0, -1, withscores=True)
        assert snapshot.get("ann") == MONDAYS_LIST
        assert redis_server.client.zscore(readers, reader) > first
        assert not monday_served.drop(MONDAY.name)


def test_a_snapshot_outlives_a_server_that_takes_no_renewals_for_a_while(
    monday_served: Cache,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(generations, "RENEW_SECONDS", 0.0)
    with monday_served.snapshot() as snapshot:
        redis_server.client.config_set("maxmemory", 1)
        assert snapshot.get("ann") == MONDAYS_LIST
        redis_server.client.config_set("maxmemory", 0)


# Who may


def test_a_wrong_password_is_a_settings_error_that_does_not_tell_it(redis_server: RedisServer):
    with open_cache(redis_server.url.replace(PASSWORD, "wrong-guess")) as cache, pytest.raises(UsageError) as caught:
        cache.pointer()
    assert "refuses the user or password" in str(caught.value)
    assert "wrong-guess" not in str(caught.value)


def test_user_and_password_come_from_the_settings_unless_the_url_has_a_password(
    redis_server: RedisServer,
    tmp_path: Path,
):
    redis_server.client.acl_setuser(
        "nocturne", enabled=True, passwords=["+hush"], keys=["nocturne:*"], commands=["+@all"]
    )
    (tmp_path / "password").write_text("hush\n")
    known = settings(user="nocturne", password_file=str(tmp_path / "password"))
    with open_cache(f"redis://127.0.0.1:{redis_server.port}/0", known) as cache:
        serve(cache, MONDAY, "monday", cache.pointer())
        assert cache._redis.acl_whoami() == "nocturne"
        assert cache.get("ann") == MONDAYS_LIST
    with open_cache(redis_server.url, known) as cache:
        assert cache._redis.acl_whoami() == "default"


def test_a_user_that_may_only_read_is_a_settings_error_when_it_writes(redis_server: RedisServer):
    redis_server.client.acl_setuser(
        "reader", enabled=True, passwords=["+hush"], keys=["*"], commands=["+get", "+@read"]
    )
    with open_cache(f"redis://reader:hush@127.0.0.1:{redis_server.port}/0") as cache:
        assert cache.get("nobody") is None
        with pytest.raises(UsageError, match="may not do this") as caught:
            cache.swap_pointer(None, Pointer(MONDAY))
    assert "hush" not in str(caught.value)


def test_an_error_that_quotes_a_key_is_not_passed_on(tmp_path: Path):
    server = start_redis(tmp_path, "--rename-command", "HGET", "SECRET_HGET")
    with open_cache(server.url) as cache:
        server.client.set("nocturne:pointer", to_json(Pointer(MONDAY)))
        with pytest.raises(ServiceError, match="unknown command") as caught:
            cache.get("ann")
    assert "nocturne:" not in str(caught.value)
    assert caught.value.__suppress_context__
    server.stop()


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_password_file_that_cannot_be_read_is_a_settings_error_without_what_is_in_it(
    tmp_path: Path, content: bytes | None
):
    path = tmp_path / "password"
    if content:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"cache\.password_file") as caught:
        open_cache("redis://127.0.0.1:1/0", settings(password_file=str(path)))
    assert caught.value.__context__ is None


@pytest.mark.slow
def test_a_server_with_tls_is_trusted_by_the_authority_in_the_settings_alone(tmp_path: Path):
    server = start_redis_with_tls(tmp_path)
    try:
        trusting = settings(ca_file=str(tmp_path / "ca.pem"))
        with open_cache(server.url, trusting) as cache:
            cache.load(MONDAY.name, ITEMS, [[rows(ann="monday")]])
            cache.swap_pointer(None, Pointer(MONDAY))
            assert cache.get("ann") == MONDAYS_LIST
            assert cache.place == f"rediss://127.0.0.1:{server.port}/0"
        with open_cache(server.url) as stranger, pytest.raises(ServiceError, match="certificate verify failed"):
            stranger.pointer()
    finally:
        server.stop()


def test_an_authority_that_cannot_be_read_is_a_settings_error(tmp_path: Path):
    with pytest.raises(UsageError, match=r"cache\.ca_file"):
        open_cache("rediss://127.0.0.1:1/0", settings(ca_file=str(tmp_path / "none.pem")))


def test_a_loader_shows_no_password():
    assert PASSWORD not in repr(loader.BatchesLoader(f"redis://:{PASSWORD}@host/0", DEFAULT, MONDAY.name, "load"))
