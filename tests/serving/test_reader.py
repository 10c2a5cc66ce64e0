"""A reader that lives on: it follows the pointer, holds one generation whole, and recovers by itself."""

from dataclasses import replace
from datetime import date

import pytest

from nocturne.core.errors import InputError, ServiceError
from nocturne.serving.cache import Cache, Generation, Pointer, open_cache
from nocturne.serving.cache.redis.item_copies import copy_whole, local_copy
from nocturne.serving.cache.served_items import ServedItems
from nocturne.serving.reader import Reader
from tests.fixtures.cache_servers import MONDAY, serve
from tests.fixtures.served_world import GENERATION, LISTENERS, TITLES, serve_world

NEXT = Generation("2026-03-03-bbbbbbbb", date(2026, 3, 3))


@pytest.fixture
def reader(cache: Cache):
    made = Reader(cache, check_seconds=0)
    yield made
    made.close()


def test_an_empty_cache_serves_nothing_until_there_is_a_night(cache: Cache, reader: Reader):
    with pytest.raises(ServiceError, match="serves nothing"):
        reader.served()
    assert reader.history() == ()
    serve_world(cache)
    assert reader.served().generation == GENERATION
    assert reader.history() == (GENERATION,)


def test_a_generation_of_lists_alone_is_refused(cache: Cache, reader: Reader):
    serve(cache, MONDAY, "x", None)
    with pytest.raises(ServiceError, match="serves lists alone"):
        reader.served()


def test_a_listener_and_the_items_are_read_from_one_generation(cache: Cache, reader: Reader):
    serve_world(cache)
    served = reader.served()
    row = served.row("ann")
    assert row is not None
    assert [served.items.describe(int(number)).title for number in row.numbers] == ["Bay", "Fir", "Cob"]
    assert (row.market, row.factors.tolist(), row.heard.tolist()) == ("SE", [1, 0], [0])
    assert served.row("eve") is None


def test_the_next_generation_is_seen_and_the_one_before_is_read_to_its_end(cache: Cache, reader: Reader):
    serve_world(cache)
    before = reader.served()
    serve_world(cache, NEXT, {"ann": LISTENERS["bob"]})
    after = reader.served()
    assert (before.generation, after.generation) == (GENERATION, NEXT)
    assert [before.row("ann").market, after.row("ann").market] == ["SE", "NO"]


def test_a_rollback_is_seen(cache: Cache, reader: Reader):
    serve_world(cache)
    serve_world(cache, NEXT)
    assert reader.served().generation == NEXT
    pointer = cache.pointer()
    cache.swap_pointer(pointer, replace(Pointer(GENERATION), version=pointer.version + 1))
    assert reader.served().generation == GENERATION


def test_the_pointer_is_not_looked_at_more_often_than_asked(cache: Cache):
    serve_world(cache)
    lazy = Reader(cache, check_seconds=3600)
    assert lazy.served().generation == GENERATION
    serve_world(cache, NEXT)
    assert lazy.served().generation == GENERATION
    lazy.close()


def test_items_are_looked_up_by_id_and_described(cache: Cache, reader: Reader):
    serve_world(cache)
    items = reader.served().items
    assert [items.number(item) for item in TITLES] == list(range(8))
    assert [items.number(item) for item in ("", "a", "zzz", "Ash", "\ud800")] == [None] * 5
    described = items.describe(7)
    assert described == ("hop", "Hop", "Yew", "audiobook", None, False)
    assert items.may_list("NO").tolist() == [True] * 6 + [False, True]
    assert items.may_list(None).tolist() == items.may_list("DK").tolist() == items.may_list("NO").tolist()
    assert items.may_list("SE").all()


def test_a_file_that_is_no_items_is_told(tmp_path):
    file = tmp_path / "items.arrow"
    file.write_bytes(b"garbage")
    with pytest.raises(InputError, match="items of a generation cannot be read"):
        ServedItems(file)


def test_a_copy_is_whole_or_not_there_and_old_ones_go(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def broken():
        yield b"one"
        raise ServiceError("gone")

    with pytest.raises(ServiceError):
        copy_whole(local_copy("redis://h:1/0", "g1", "a"), broken())
    for number in range(1, 6):
        copy_whole(local_copy("redis://h:1/0", f"g{number}", "a"), [b"one", b"two"])
    copies = sorted(tmp_path.rglob("*"))
    assert [copy.name for copy in copies if copy.is_file()] == ["g3-a.arrow", "g4-a.arrow", "g5-a.arrow"]
    assert copies[0].stat().st_mode & 0o777 == 0o700


def test_a_reader_of_redis_recovers_when_the_server_is_back(redis_server):
    with open_cache(redis_server.url) as cache:
        serve_world(cache)
    with open_cache(redis_server.url, read_only=True) as cache:
        reader = Reader(cache, check_seconds=0)
        assert reader.served().row("ann")
        redis_server.stop()
        with pytest.raises(ServiceError):
            reader.served()
        redis_server.start()
        with pytest.raises(ServiceError, match="serves nothing"):
            reader.served()
        with open_cache(redis_server.url) as writer:
            serve_world(writer)
        assert reader.served().row("ann")
        reader.close()
