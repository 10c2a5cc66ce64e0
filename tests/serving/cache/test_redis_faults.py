"""Redis restarting, losing its data, out of memory, slow, cut off or a replica: the old night stays, nothing leaks."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from nocturne.core.errors import ServiceError
from nocturne.flow import ExitStatus
from nocturne.serving.cache import Cache, Pointer, RowBatches, ServedList, open_cache
from nocturne.serving.cache.redis import connection, loader
from tests.fixtures.cache_servers import (
    ITEMS,
    MONDAY,
    PASSWORD,
    TUESDAY,
    RedisServer,
    Then,
    rows,
    serve,
    start_redis,
    users,
)

MONDAYS_LIST = ServedList(date(2026, 3, 2), "control", "als", "als-1", ("monday",), (1.5,))


@pytest.fixture
def cache_url(redis_server: RedisServer) -> str:
    redis_server.empty()
    return redis_server.url


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "PIECE_BYTES", 1_000)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = start_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.stop()


def test_a_stopped_server_is_a_service_error_with_its_place_and_without_its_password(own_server: RedisServer):
    with open_cache(own_server.url) as cache:
        assert cache.pointer() is None
        own_server.stop()
        with pytest.raises(ServiceError) as caught:
            cache.pointer()
    assert caught.value.status == ExitStatus.SERVICE_FAILED
    assert f"127.0.0.1:{own_server.port}/0" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_slow_server_is_a_service_error_and_then_serves_again(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "READ_SECONDS", 0.1)
    with open_cache(own_server.url) as cache:
        serve(cache, MONDAY, "monday", None)
    with open_cache(own_server.url, read_only=True) as reader:
        assert reader.get("ann") == MONDAYS_LIST
        sleeper = threading.Thread(target=lambda: own_server.client.execute_command("DEBUG", "SLEEP", "1"))
        sleeper.start()
        time.sleep(0.1)
        with pytest.raises(ServiceError, match="does not serve"):
            reader.get("ann")
        sleeper.join()
        assert reader.get("ann") == MONDAYS_LIST


@pytest.mark.usefixtures("small_pieces")
def test_connections_that_drop_are_opened_again_and_every_list_is_loaded(
    monday_served: Cache,
    redis_server: RedisServer,
):
    cut = lambda: redis_server.client.client_kill_filter(_type="normal", skipme=True)  # noqa: E731
    part = Then(users(0, 500), cut, users(500, 1_000))
    assert monday_served.load(TUESDAY.name, ITEMS, [part]) == 1_000
    assert monday_served.count(TUESDAY.name) == 1_000
    assert monday_served.get("ann") == MONDAYS_LIST


@pytest.mark.usefixtures("small_pieces")
def test_a_server_that_restarts_with_its_data_during_a_load_is_loaded_to_the_end(own_server: RedisServer):
    def restart() -> None:
        own_server.stop()
        own_server.start()

    with open_cache(own_server.url) as cache:
        serve(cache, MONDAY, "monday", None)
        assert cache.load(TUESDAY.name, ITEMS, [Then(users(0, 500), restart, users(500, 1_000))]) == 1_000
        assert cache.count(TUESDAY.name) == 1_000
        assert cache.get("ann") == MONDAYS_LIST


@pytest.mark.usefixtures("small_pieces")
def test_a_server_that_loses_its_data_during_a_load_fails_the_load_and_nothing_leaks(
    monday_served: Cache,
    redis_server: RedisServer,
):
    part = Then(users(0, 500), redis_server.client.flushall, users(500, 1_000))
    with pytest.raises(ServiceError, match="refuses"):
        monday_served.load(TUESDAY.name, ITEMS, [part])
    assert redis_server.client.keys() == []
    assert monday_served.get("ann") is None
    serve(monday_served, TUESDAY, "tuesday", None)
    assert monday_served.get("ann").item_ids == ("tuesday",)


def test_a_server_that_loses_its_data_after_the_last_list_fails_the_load(
    monday_served: Cache,
    redis_server: RedisServer,
):
    part = Then(users(0, 0), lambda: None, users(0, 10))

    def each(function: Callable[[RowBatches], int], parts: Sequence[RowBatches]) -> list[int]:
        stored = [function(one) for one in parts]
        redis_server.client.flushall()
        return stored

    with pytest.raises(ServiceError, match="lost what was being loaded"):
        monday_served.load(TUESDAY.name, ITEMS, [part], each)
    assert redis_server.client.keys() == []


@pytest.mark.usefixtures("small_pieces")
def test_a_loader_that_was_thought_dead_cannot_write_into_the_next_load(
    monday_served: Cache,
    cache_url: str,
):
    def next_load() -> None:
        with open_cache(cache_url) as other:
            other.load(TUESDAY.name, ITEMS, [[rows(ann="tuesday")]])

    with pytest.raises(ServiceError):
        monday_served.load(TUESDAY.name, ITEMS, [Then(users(0, 500), next_load, users(500, 1_000))])
    assert monday_served.generations() == [MONDAY.name]
    assert monday_served.get("ann") == MONDAYS_LIST


@pytest.mark.usefixtures("small_pieces")
def test_a_server_out_of_memory_keeps_the_old_lists_and_tells_no_user_id(
    monday_served: Cache,
    redis_server: RedisServer,
):
    keys = set(redis_server.client.keys())
    used = redis_server.client.info("memory")["used_memory"]
    redis_server.client.config_set("maxmemory", used + 3 * 2**20)
    batch = users(0, 1_000)
    items = pa.array([[{"item_id": "x", "score": 1.0}] * 2_000] * 1_000, batch.schema.field("items").type)
    with pytest.raises(ServiceError, match="out of memory") as caught:
        monday_served.load(TUESDAY.name, ITEMS, [[batch.set_column(5, "items", items)]])
    assert "user-" not in str(caught.value)
    assert monday_served.generations() == [MONDAY.name]
    assert set(redis_server.client.keys()) == keys
    assert monday_served.get("ann") == MONDAYS_LIST
    redis_server.client.config_set("maxmemory", 0)
    serve(monday_served, TUESDAY, "tuesday", Pointer(MONDAY))
    assert monday_served.get("ann").item_ids == ("tuesday",)


def test_a_server_without_memory_still_lets_generations_be_dropped(
    monday_served: Cache,
    redis_server: RedisServer,
):
    monday_served.load(TUESDAY.name, ITEMS, [[users(0, 1_000)]])
    redis_server.client.config_set("maxmemory", 1)
    assert monday_served.drop(TUESDAY.name)
    assert monday_served.generations() == [MONDAY.name]


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_may_evict_is_refused(cache: Cache, redis_server: RedisServer, policy: str):
    redis_server.client.config_set("maxmemory-policy", policy)
    with pytest.raises(ServiceError, match=f"maxmemory-policy {policy}"):
        cache.load(MONDAY.name, ITEMS, [[rows(ann="x")]])
    assert cache.generations() == []


@pytest.fixture
def replica(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    to = ["--replicaof", f"127.0.0.1 {redis_server.port}", "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"]
    redis_server.client.config_set("repl-diskless-sync-delay", 0)
    server = start_redis(tmp_path, *to)
    for _ in range(100):
        if server.client.info("replication")["master_link_status"] == "up":
            break
        time.sleep(0.05)
    yield server
    server.stop()


def test_a_replica_is_read_but_refused_for_writing_with_the_advice_to_name_the_primary(
    monday_served: Cache,
    redis_server: RedisServer,
    replica: RedisServer,
):
    monday_served.load(TUESDAY.name, ITEMS, [[rows(ann="tuesday")]])
    redis_server.client.wait(1, 2_000)
    with open_cache(replica.url) as cache:
        assert cache.get("ann") == MONDAYS_LIST
        for write in (
            lambda: cache.load(TUESDAY.name, ITEMS, [[rows(ann="x")]]),
            lambda: cache.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY)),
            lambda: cache.drop(TUESDAY.name),
        ):
            with pytest.raises(ServiceError, match="is a replica") as caught:
                write()
            assert "name the primary" in str(caught.value)


@pytest.mark.usefixtures("small_pieces")
def test_a_primary_that_becomes_a_replica_during_a_load_is_a_service_error(own_server: RedisServer):
    def demote() -> None:
        own_server.client.replicaof("127.0.0.1", "1")

    with open_cache(own_server.url) as cache:
        serve(cache, MONDAY, "monday", None)
        with pytest.raises(ServiceError, match="is a replica"):
            cache.load(TUESDAY.name, ITEMS, [Then(users(0, 500), demote, users(500, 1_000))])
        assert cache.get("ann") == MONDAYS_LIST
        own_server.client.replicaof("NO", "ONE")
        serve(cache, TUESDAY, "tuesday", Pointer(MONDAY))
        assert cache.get("ann").item_ids == ("tuesday",)
        assert cache.drop(MONDAY.name)
        assert cache.generations() == [TUESDAY.name]


def test_a_port_that_nobody_listens_on_is_a_service_error():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    with open_cache(url, read_only=True) as cache, pytest.raises(ServiceError, match="does not serve"):
        cache.pointer()
