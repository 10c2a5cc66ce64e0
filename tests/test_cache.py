"""What holds of a serving cache, run against LMDB and against a real redis-server."""

import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from cache_servers import PASSWORD, RedisServer, cache_url, redis_server, start_redis  # noqa: F401

from nocturne.cache import Cache, Generation, Pointer, PointerMoved, ServedList, embedded, open_cache
from nocturne.cache.embedded import EmbeddedCache
from nocturne.cache.served import encode
from nocturne.errors import InputError, ServiceError, SettingsError
from nocturne.flow import ExitStatus

MONDAY = Generation("2026-03-02-aaaaaaaa", date(2026, 3, 2))
TUESDAY = Generation("2026-03-03-bbbbbbbb", date(2026, 3, 3))

LOAD_HALF_AND_WAIT = """
import sys
from nocturne.cache import open_cache

def rows():
    for number in range(30):
        yield f"user-{number}", bytes(2**19)
    print("half", flush=True)
    sys.stdin.read()

open_cache(sys.argv[1]).load("2026-03-03-bbbbbbbb", rows())
"""


def listed(item_id: str) -> ServedList:
    return ServedList(MONDAY.run_date, "control", "als", "als-1", ((item_id, 1.5),))


@pytest.fixture
def cache(cache_url: str) -> Iterator[Cache]:  # noqa: F811
    with open_cache(cache_url) as opened:
        yield opened


@pytest.fixture
def monday_served(cache: Cache) -> Cache:
    cache.load(MONDAY.name, [("ann", encode(listed("monday")))])
    cache.swap_pointer(None, Pointer(MONDAY))
    return cache


def test_a_new_cache_serves_nothing(cache: Cache):
    assert cache.pointer() is None
    assert cache.get("ann") is None
    assert cache.generations() == []
    assert cache.count(MONDAY.name) == 0


def test_a_generation_is_invisible_until_the_pointer_moves(monday_served: Cache):
    assert monday_served.load(TUESDAY.name, [("ann", encode(listed("tuesday")))]) == 1
    assert monday_served.get("ann") == listed("monday")
    monday_served.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY, previous=MONDAY))
    assert monday_served.get("ann") == listed("tuesday")
    assert monday_served.pointer() == Pointer(TUESDAY, previous=MONDAY)


def test_a_listener_without_a_list_reads_none(monday_served: Cache):
    assert monday_served.get("nobody") is None
    assert monday_served.get("") is None
    assert monday_served.get("x" * 600) is None


def test_a_reader_opened_before_the_first_night_sees_it(cache_url: str, cache: Cache):  # noqa: F811
    with open_cache(cache_url, read_only=True) as reader:
        assert reader.get("ann") is None
        cache.load(MONDAY.name, [("ann", encode(listed("monday")))])
        cache.swap_pointer(None, Pointer(MONDAY))
        assert reader.get("ann") == listed("monday")


@pytest.mark.parametrize("cache_url", ["lmdb"], indirect=True)
def test_a_reader_whose_generation_is_dropped_after_it_read_the_pointer_reads_the_next_one(
    cache_url: str,  # noqa: F811
    monday_served: Cache,
):
    class Slow(EmbeddedCache):
        def pointer(self) -> Pointer | None:
            read = super().pointer()
            if read == Pointer(MONDAY):
                monday_served.load(TUESDAY.name, [("ann", encode(listed("tuesday")))])
                monday_served.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY))
                monday_served.drop(MONDAY.name)
            return read

    with Slow(Path(cache_url.removeprefix("lmdb:")), read_only=True) as reader:
        assert reader.get("ann") == listed("tuesday")


def test_a_dropped_generation_leaves_the_others_whole(cache: Cache):
    cache.load(MONDAY.name, [("ann", b"1"), ("bob", b"2")])
    cache.load(TUESDAY.name, [("ann", b"3")])
    assert cache.generations() == [MONDAY.name, TUESDAY.name]
    cache.drop(MONDAY.name)
    assert cache.generations() == [TUESDAY.name]
    assert cache.count(MONDAY.name) == 0
    assert cache.read(TUESDAY.name, "ann") == b"3"


def test_loading_a_generation_again_replaces_it(cache: Cache):
    cache.load(MONDAY.name, [("ann", b"1"), ("bob", b"2")])
    cache.load(MONDAY.name, [("cec", b"3")])
    assert cache.count(MONDAY.name) == 1
    assert cache.read(MONDAY.name, "ann") is None
    assert cache.read(MONDAY.name, "cec") == b"3"


def test_a_listener_loaded_twice_counts_once(cache: Cache):
    assert cache.load(MONDAY.name, [("ann", b"1"), ("ann", b"2")]) == 2
    assert cache.count(MONDAY.name) == 1


def test_a_loader_whose_rows_fail_leaves_nothing_behind(monday_served: Cache):
    def rows() -> Iterator[tuple[str, bytes]]:
        yield "ann", b"1"
        raise InputError("no more rows")

    with pytest.raises(InputError, match="no more rows"):
        monday_served.load(TUESDAY.name, rows())
    assert monday_served.generations() == [MONDAY.name]
    assert monday_served.get("ann") == listed("monday")


def test_a_loader_killed_half_way_leaves_the_old_generation_served_and_the_next_load_succeeds(
    cache_url: str,  # noqa: F811
    monday_served: Cache,
):
    loader = subprocess.Popen(
        [sys.executable, "-c", LOAD_HALF_AND_WAIT, cache_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert loader.stdout
    assert loader.stdout.readline() == b"half\n"
    loader.send_signal(signal.SIGKILL)
    loader.communicate()
    assert monday_served.generations() == [MONDAY.name, TUESDAY.name]
    assert monday_served.get("ann") == listed("monday")

    monday_served.load(TUESDAY.name, [("ann", encode(listed("tuesday")))])
    assert monday_served.count(TUESDAY.name) == 1
    monday_served.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY))
    assert monday_served.get("ann") == listed("tuesday")


def test_of_racing_swaps_exactly_one_wins(cache_url: str, monday_served: Cache):  # noqa: F811
    rivals = [Generation(f"2026-03-03-{number:08d}", date(2026, 3, 3)) for number in range(8)]
    start = threading.Barrier(len(rivals))
    won: list[Generation] = []
    lost: list[Generation] = []

    def swap(rival: Generation) -> None:
        with open_cache(cache_url) as cache:
            start.wait()
            try:
                cache.swap_pointer(Pointer(MONDAY), Pointer(rival, previous=MONDAY))
                won.append(rival)
            except PointerMoved:
                lost.append(rival)

    threads = [threading.Thread(target=swap, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 7
    assert monday_served.pointer() == Pointer(won[0], previous=MONDAY)


def test_a_swap_repeated_after_a_lost_answer_is_no_lost_race(monday_served: Cache):
    monday_served.swap_pointer(None, Pointer(MONDAY))
    assert monday_served.pointer() == Pointer(MONDAY)


def test_a_cache_opened_for_reading_refuses_to_write(cache_url: str, monday_served: Cache):  # noqa: F811
    with open_cache(cache_url, read_only=True) as reader:
        with pytest.raises(SettingsError, match="reading only"):
            reader.load(TUESDAY.name, [])
        with pytest.raises(SettingsError, match="reading only"):
            reader.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY))
        with pytest.raises(SettingsError, match="reading only"):
            reader.drop(MONDAY.name)
    assert monday_served.get("ann") == listed("monday")


@pytest.mark.parametrize(
    "url", ["", "lmdb:", "memcached://:open-sesame@host", "redis://:open-sesame@host:port/0", "redis://:open#sesame@h"]
)
def test_a_url_of_no_cache_is_a_settings_error_that_keeps_the_password(url: str):
    with pytest.raises(SettingsError, match="not understood") as caught:
        open_cache(url)
    assert "sesame" not in str(caught.value)
    assert caught.value.__context__ is None


# LMDB


def test_a_reader_creates_no_files(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path / 'cache'}", read_only=True) as reader:
        assert reader.get("ann") is None
        assert reader.generations() == []
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_holds_an_old_generation_keeps_it(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as writer, open_cache(f"lmdb:{tmp_path}", read_only=True) as reader:
        writer.load(MONDAY.name, [("ann", b"1"), ("bob", b"2")])
        assert reader.read(MONDAY.name, "ann") == b"1"
        writer.drop(MONDAY.name)
        assert reader.read(MONDAY.name, "bob") == b"2"


def test_the_map_grows_with_the_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "FIRST_MAP_BYTES", 2**16)
    rows = [(f"user-{number:03d}", bytes([number % 256]) * 50_000) for number in range(300)]
    with open_cache(f"lmdb:{tmp_path}") as cache:
        assert cache.load(MONDAY.name, rows) == 300
        assert [cache.read(MONDAY.name, user_id) for user_id, _ in rows] == [value for _, value in rows]


def test_a_user_id_longer_than_a_key_is_an_input_error_that_does_not_tell_it(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as cache:
        assert cache.load(MONDAY.name, [("é" * 255, b"1")]) == 1
        with pytest.raises(InputError, match="found: 512 bytes") as caught:
            cache.load(MONDAY.name, [("é" * 256, b"1")])
    assert "é" not in str(caught.value)


def test_a_disk_that_takes_no_more_is_a_service_error_and_the_old_lists_stay_served(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as cache:
        cache.load(MONDAY.name, [("ann", encode(listed("monday")))])
        cache.swap_pointer(None, Pointer(MONDAY))
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, unlimited[1]))
        try:
            with pytest.raises(ServiceError, match="serving cache failed"):
                cache.load(TUESDAY.name, ((f"user-{number}", bytes(2**16)) for number in range(200)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert cache.generations() == [MONDAY.name]
        assert cache.get("ann") == listed("monday")


def test_a_path_that_is_a_file_is_a_service_error(tmp_path: Path):
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(ServiceError, match="cache failed"):
        open_cache(f"lmdb:{tmp_path / 'cache'}")


# Redis


def test_a_stopped_server_is_a_service_error_with_its_place_and_without_its_password(tmp_path: Path):
    server = start_redis(tmp_path)
    with open_cache(server.url) as cache:
        assert cache.pointer() is None
        server.stop()
        with pytest.raises(ServiceError) as caught:
            cache.pointer()
    assert caught.value.status == ExitStatus.SERVICE_FAILED
    assert f"127.0.0.1:{server.port}/0" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_wrong_password_is_a_settings_error_that_does_not_tell_it(redis_server: RedisServer):  # noqa: F811
    with open_cache(redis_server.url.replace(PASSWORD, "wrong-guess")) as cache, pytest.raises(SettingsError) as caught:
        cache.pointer()
    assert "refuses the user or password" in str(caught.value)
    assert "wrong-guess" not in str(caught.value)


@pytest.mark.parametrize("cache_url", ["redis"], indirect=True)
def test_a_server_that_may_evict_is_refused(cache: Cache, redis_server: RedisServer):  # noqa: F811
    redis_server.client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(ServiceError, match="maxmemory-policy allkeys-lru"):
        cache.load(MONDAY.name, [("ann", b"1")])
    assert cache.generations() == []


@pytest.mark.parametrize("cache_url", ["redis"], indirect=True)
def test_a_server_out_of_memory_keeps_the_old_lists_and_tells_no_user_id(
    monday_served: Cache,
    redis_server: RedisServer,  # noqa: F811
):
    used = redis_server.client.info("memory")["used_memory"]
    redis_server.client.config_set("maxmemory", used + 3 * 2**20)
    with pytest.raises(ServiceError, match="out of memory") as caught:
        monday_served.load(TUESDAY.name, ((f"user-{number}", bytes(2**16)) for number in range(200)))
    assert "user-" not in str(caught.value)
    assert monday_served.generations() == [MONDAY.name]
    assert monday_served.count(TUESDAY.name) == 0
    assert monday_served.get("ann") == listed("monday")


@pytest.mark.parametrize("cache_url", ["redis"], indirect=True)
def test_nothing_is_left_of_a_dropped_generation(cache: Cache, redis_server: RedisServer):  # noqa: F811
    cache.load(MONDAY.name, ((f"user-{number}", b"1") for number in range(25_000)))
    assert cache.count(MONDAY.name) == 25_000
    cache.drop(MONDAY.name)
    assert redis_server.client.keys() == []
