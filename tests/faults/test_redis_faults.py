"""A Redis that restarts, is full, slow, cut off or a replica: the old night is served, and a rerun is all it takes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.tools import cache_reader
from tests.faults.tools.faulty_redis import FaultyNetwork, RedisServer
from tests.faults.tools.killable_process import ChildProcess, ForkServer
from tests.faults.tools.sample_service import Service, cache_contents, read_pointer

OnRedis = Callable[[str], Service]


def refresh(fork_server: ForkServer, service: Service, offset: int = 1) -> ChildProcess:
    return fork_server.start("job", "refresh_cache", *service.options(offset))


def start_and_stop_before(fork_server: ForkServer, service: Service, point: str) -> ChildProcess:
    plan = {"folder": str(service.folder), "at_point": point, "stops": True}
    job = fork_server.start("job", "refresh_cache", *service.options(1), plan=plan)
    assert job.wait_until_stopped() == point
    return job


def expected_keys(service: Service, nights: int) -> list[str]:
    """Keys of a Redis that serves the last of so many nights and keeps the others, and nothing else."""
    names = sorted(cache_reader.validated_lists(service.night(0)))[:nights]
    keys = [f"nocturne:{name}:{part}" for name in names for part in ("*:0", "*:items", "about")]
    return sorted([*keys, "nocturne:generations", "nocturne:pointer"])


def served_date(service: Service) -> str | None:
    pointer = read_pointer(service.cache)
    return str(pointer.served.run_date) if pointer else None


def assert_old_night_is_served(service: Service) -> None:
    assert served_date(service) == "2025-03-01"
    assert cache_reader.check_cache(service.cache, cache_reader.validated_lists(service.night(0))) == []


def assert_rerun_succeeds(fork_server: ForkServer, service: Service, nights: int = 2) -> None:
    """It needs no hand, and nothing is left of the failed run."""
    job = refresh(fork_server, service)
    assert job.wait() == 0, job.output
    assert served_date(service) == "2025-03-02"
    assert cache_reader.check_cache(service.cache, cache_reader.validated_lists(service.night(0))) == []
    keys = expected_keys(service, 2)
    newest = [key for key in keys if "2025-03-01" not in key]
    assert cache_contents(service.cache) == (keys if nights == 2 else newest)


@pytest.mark.parametrize("point", ["redis pipeline #1", "redis EVAL COMPARE_AND_SET #1"])
def test_a_server_that_restarts_empty_serves_nothing_wrong_and_a_rerun_fills_it(
    fork_server: ForkServer, redis_server: RedisServer, on_redis: OnRedis, listeners: set[str], point: str
) -> None:
    service = on_redis(redis_server.url)
    with cache_reader.Reader(service.cache, listeners) as reader:
        job = start_and_stop_before(fork_server, service, point)
        redis_server.kill()
        redis_server.start()
        job.resume()
        assert job.wait() == 5, job.output
        assert served_date(service) is None
        assert_rerun_succeeds(fork_server, service, nights=1)
    assert reader.check(cache_reader.validated_lists(service.night(0)).values()) == []


@pytest.mark.parametrize("point", ["redis EVAL BEGIN #1", "redis pipeline #1", "redis EVAL COMPARE_AND_SET #1"])
def test_a_server_that_restarts_with_its_data_is_not_even_noticed_by_the_refresh(
    fork_server: ForkServer, tmp_path: Path, on_redis: OnRedis, listeners: set[str], point: str
) -> None:
    with RedisServer(tmp_path / "durable", "--appendonly", "yes", "--appendfsync", "always") as server:
        service = on_redis(server.url)
        with cache_reader.Reader(service.cache, listeners) as reader:
            job = start_and_stop_before(fork_server, service, point)
            server.kill()
            server.start()
            assert_old_night_is_served(service)
            job.resume()
            assert job.wait() == 0, job.output
            assert cache_contents(service.cache) == expected_keys(service, 2)
        assert reader.check(cache_reader.validated_lists(service.night(0)).values()) == []


def test_a_server_that_is_down_is_5_and_the_rerun_serves_the_night(
    fork_server: ForkServer, tmp_path: Path, on_redis: OnRedis
) -> None:
    with RedisServer(tmp_path / "durable", "--appendonly", "yes", "--appendfsync", "always") as server:
        service = on_redis(server.url)
        job = start_and_stop_before(fork_server, service, "redis pipeline #1")
        server.kill()
        job.resume()
        assert job.wait() == 5, job.output
        assert "the Redis server does not serve" in job.output
        server.start()
        assert_old_night_is_served(service)
        assert_rerun_succeeds(fork_server, service)


def test_a_server_out_of_memory_is_5_serves_the_old_night_and_keeps_nothing_of_the_new_one(
    fork_server: ForkServer, redis_server: RedisServer, on_redis: OnRedis, listeners: set[str]
) -> None:
    service = on_redis(redis_server.url)
    contents = cache_contents(service.cache)
    with cache_reader.Reader(service.cache, listeners) as reader:
        job = start_and_stop_before(fork_server, service, "redis pipeline #1")
        redis_server.client.config_set("maxmemory", redis_server.client.info("memory")["used_memory"] - 1)
        job.resume()
        assert job.wait() == 5, job.output
        assert "out of memory" in job.output
        assert cache_contents(service.cache) == contents
        reads = reader.reads
        while reader.reads < reads + 100:
            assert reader.failures == 0
        redis_server.client.config_set("maxmemory", 0)
        assert_old_night_is_served(service)
        assert_rerun_succeeds(fork_server, service)
    assert reader.check(cache_reader.validated_lists(service.night(0)).values()) == []


def test_a_replica_is_refused_for_loading_and_good_for_reading(
    fork_server: ForkServer, redis_server: RedisServer, on_redis: OnRedis, tmp_path: Path, listeners: set[str]
) -> None:
    service = on_redis(redis_server.url)
    with RedisServer(tmp_path / "replica", "--replicaof", "127.0.0.1", str(redis_server.port)) as replica:
        while replica.client.info("replication")["master_link_status"] != "up":
            pass
        with cache_reader.Reader(replica.url, listeners) as reader:
            options = [replica.url if each == service.cache else each for each in service.options(1)]
            job = fork_server.start("job", "refresh_cache", *options)
            assert job.wait() == 5, job.output
            assert "is a replica" in job.output
            assert_old_night_is_served(service)
            assert_rerun_succeeds(fork_server, service)
            redis_server.client.wait(1, 5000)
            assert read_pointer(replica.url) == read_pointer(service.cache)
        assert reader.check(cache_reader.validated_lists(service.night(0)).values()) == []


def test_a_server_that_becomes_a_replica_while_it_is_loaded_is_5(
    fork_server: ForkServer, redis_server: RedisServer, on_redis: OnRedis
) -> None:
    service = on_redis(redis_server.url)
    job = start_and_stop_before(fork_server, service, "redis EVAL COMPARE_AND_SET #1")
    redis_server.client.replicaof("127.0.0.1", "1")
    job.resume()
    assert job.wait() == 5, job.output
    assert "is a replica" in job.output
    redis_server.client.replicaof("NO", "ONE")
    assert_old_night_is_served(service)
    assert_rerun_succeeds(fork_server, service)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_connection_cut_for_good_anywhere_is_5_and_the_rerun_leaves_nothing_behind(
    fork_server: ForkServer, redis_server: RedisServer, on_redis: OnRedis, undisturbed_bytes: int, share: float
) -> None:
    with FaultyNetwork(redis_server.port) as network:
        service = on_redis(network.url)
        network.cut_after = network.sent + int(undisturbed_bytes * share)
        job = refresh(fork_server, service)
        assert job.wait() == 5, job.output
        assert network.cuts > 0
        network.cut_after = None
        assert_old_night_is_served(service)
        assert_rerun_succeeds(fork_server, service)


@pytest.fixture(scope="module")
def undisturbed_bytes(fork_server: ForkServer, ranked: Service, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Bytes that a refresh sends up to the moment when it would move the pointer."""
    folder = tmp_path_factory.mktemp("measured")
    with RedisServer(folder / "redis") as server, FaultyNetwork(server.port) as network:
        service = ranked.copy_to(folder / "service", cache=network.url)
        assert refresh(fork_server, service, 0).wait() == 0
        sent_by_first_refresh = network.sent
        job = start_and_stop_before(fork_server, service, "redis EVAL COMPARE_AND_SET #1")
        sent = network.sent - sent_by_first_refresh
        job.resume()
        assert job.wait() == 0, job.output
    return sent


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_connection_that_is_cut_once_costs_nothing(
    fork_server: ForkServer, redis_server: RedisServer, on_redis: OnRedis, undisturbed_bytes: int, share: float
) -> None:
    with FaultyNetwork(redis_server.port) as network:
        service = on_redis(network.url)
        network.cut_once_after = network.sent + int(undisturbed_bytes * share)
        job = refresh(fork_server, service)
        assert job.wait() == 0, job.output
        assert network.cuts == 1
        assert cache_contents(service.cache) == expected_keys(service, 2)


def test_a_slow_server_is_waited_for_while_the_old_night_is_served(
    fork_server: ForkServer, redis_server: RedisServer, on_redis: OnRedis, listeners: set[str]
) -> None:
    with FaultyNetwork(redis_server.port) as network:
        service = on_redis(network.url)
        with cache_reader.Reader(redis_server.url, listeners) as reader:
            network.delay = 0.01
            job = refresh(fork_server, service)
            assert job.wait() == 0, job.output
            network.delay = 0
        assert cache_contents(service.cache) == expected_keys(service, 2)
        assert reader.check(cache_reader.validated_lists(service.night(0)).values()) == []
