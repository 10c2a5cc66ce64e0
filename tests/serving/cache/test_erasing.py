"""Listeners withheld and erased, against both caches."""

import lmdb
import pytest

from nocturne.core.settings import load_settings
from nocturne.serving.cache import Cache, Pointer, open_cache
from nocturne.serving.cache.redis.connection import connect
from nocturne.serving.cache.withheld import bars, digest_of, generations_of, value_of
from tests.fixtures.cache_servers import ITEMS, MONDAY, TUESDAY, RedisServer, rows, start_redis

TWO_LISTENERS = {"ann": "monday", "ben": "x"}


@pytest.fixture
def two_served(cache: Cache) -> Cache:
    """Monday and Tuesday, ann and ben in both; Tuesday is served, Monday kept."""
    for generation in (MONDAY, TUESDAY):
        cache.load(generation.name, ITEMS, [[rows(generation.run_date, **TWO_LISTENERS)]])
    cache.swap_pointer(None, Pointer(TUESDAY, (MONDAY,)))
    return cache


def test_who_is_withheld_has_no_list_in_any_process_and_generation_at_once(two_served: Cache, cache_url: str) -> None:
    with (
        open_cache(cache_url, read_only=True) as other,
        other.snapshot() as tuesday,
        other.snapshot_of(MONDAY) as monday,
    ):
        assert other.get("ann")
        assert tuesday.get("ann")
        two_served.withhold(["ann"])
        assert [other.get("ann"), tuesday.get("ann"), tuesday.row("ann"), monday.get("ann")] == [None] * 4
        assert other.get("ben")
        assert tuesday.get("ben")
        assert two_served.get("ann") is None


def test_proofs_see_what_is_stored_until_it_is_erased(two_served: Cache) -> None:
    two_served.withhold(["ann"])
    assert two_served.count(MONDAY.name) == 2
    assert two_served.decode(TUESDAY.name, "ann")
    for generation in (MONDAY, TUESDAY):
        two_served.erase(generation.name, {"ann", "nobody"})
        assert two_served.count(generation.name) == 1
        assert two_served.read(generation.name, "ann") is None
        assert two_served.decode(generation.name, "ben")
    two_served.let_back(["ann"])
    assert two_served.get("ann") is None
    assert two_served.get("ben")


def test_a_generation_loaded_after_that_serves_who_is_back(two_served: Cache) -> None:
    two_served.withhold(["ann"])
    for generation in (MONDAY, TUESDAY):
        two_served.erase(generation.name, {"ann"})
    two_served.let_back(["ann"])
    two_served.load("2026-03-04-cccccccc", ITEMS, [[rows(ann="y")]])
    wednesday = type(MONDAY)("2026-03-04-cccccccc", MONDAY.run_date)
    two_served.swap_pointer(Pointer(TUESDAY, (MONDAY,)), Pointer(wednesday, (TUESDAY,), version=2))
    served = two_served.get("ann")
    assert served is not None
    assert served.item_ids == ("y",)


def test_readers_that_have_files_of_before_open_do_not_serve_who_is_gone(two_served: Cache, cache_url: str) -> None:
    with open_cache(cache_url, read_only=True) as reader, reader.snapshot() as before:
        assert reader.get("ann")
        assert before.get("ann")
        two_served.withhold(["ann"])
        for generation in (MONDAY, TUESDAY):
            two_served.erase(generation.name, {"ann"})
        two_served.let_back(["ann"])
        assert reader.get("ann") is None
        assert before.get("ann") is None
        assert reader.get("ben")


def test_no_id_is_left_in_any_file_of_lmdb(tmp_path) -> None:
    with open_cache(f"lmdb:{tmp_path / 'cache'}") as cache:
        listeners = {f"listener-{number:05d}": "x" for number in range(2000)}
        cache.load(MONDAY.name, ITEMS, [[rows(**listeners)]])
        cache.swap_pointer(None, Pointer(MONDAY))
        gone = [f"listener-{number:05d}" for number in (0, 999, 1999)]
        cache.withhold(gone)
        cache.erase(MONDAY.name, set(gone))
        cache.let_back(gone)
        assert cache.count(MONDAY.name) == 1997
        assert cache.get("listener-01000")
    stored = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not [user for user in gone for content in stored if user.encode() in content]
    assert any(b"listener-01000" in content for content in stored)


@pytest.fixture
def persistent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("persistent")
    server = start_redis(folder, "--save", "3600 1", "--appendonly", "yes")
    yield server, folder
    server.stop()


def test_no_id_is_left_in_what_redis_persisted(persistent: tuple[RedisServer, object]) -> None:
    server, folder = persistent
    with open_cache(server.url) as cache:
        cache.load(MONDAY.name, ITEMS, [[rows(**{"listener-of-before": "x", "listener-who-stays": "y"})]])
        cache.swap_pointer(None, Pointer(MONDAY))
        cache.rewrite_persisted()
        assert any(b"listener-of-before" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
        cache.withhold(["listener-of-before"])
        cache.erase(MONDAY.name, {"listener-of-before"})
        cache.let_back(["listener-of-before"])
        cache.rewrite_persisted()
        stored = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert not any(b"listener-of-before" in content for content in stored)
        assert any(b"listener-who-stays" in content for content in stored)
        client, _ = connect(server.url, load_settings().cache, read_only=True)
        assert not [key for key in client.keys("*") if b"withheld" in key]
        client.close()


def test_values_say_in_which_generations() -> None:
    assert generations_of(value_of(None)) is None
    assert generations_of(value_of(["b", "a"])) == {"a", "b"}
    assert bars(value_of(None), "any")
    assert bars(value_of(["a"]), "a")
    assert not bars(value_of(["a"]), "b")
    assert not bars(None, "a")
    assert digest_of("ann") != digest_of("ben")


def test_an_environment_of_pointers_forgets_who_is_gone_with_their_generations(tmp_path) -> None:
    with open_cache(f"lmdb:{tmp_path / 'cache'}") as cache:
        cache.load(MONDAY.name, ITEMS, [[rows(ann="x")]])
        cache.swap_pointer(None, Pointer(MONDAY))
        cache.withhold(["ann"])
        cache.erase(MONDAY.name, {"ann"})
        cache.let_back(["ann"])
        cache.load(TUESDAY.name, ITEMS, [[rows(ann="y")]])
        cache.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY, version=2))
        cache.drop(MONDAY.name)
        cache.let_back([])
        assert cache.get("ann")
    with lmdb.open(str(tmp_path / "cache" / "pointer"), max_dbs=2) as pointers, pointers.begin() as transaction:
        assert [bytes(key) for key, _ in transaction.cursor()] == [b"pointer"]
