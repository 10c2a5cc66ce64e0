"""The serving cache, run against LMDB and against a real redis-server."""

import multiprocessing
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from nocturne.core.errors import InputError, ServiceError, UsageError
from nocturne.serving.cache import (
    Cache,
    Generation,
    ListKind,
    Pointer,
    PointerMoved,
    RowBatches,
    ServedList,
    open_cache,
)
from tests.fixtures.cache_servers import ITEMS, KIND, MONDAY, TUESDAY, info, rows, serve

LOAD_HALF_AND_WAIT = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.fixtures.cache_servers import info, rows
from nocturne.serving.cache import open_cache
from nocturne.serving.cache.lmdb import store
from nocturne.serving.cache.redis import loader

store.BATCH_BYTES = loader.PIECE_BYTES = 1

class Half:
    def __iter__(self):
        yield rows(ann="x", bob="y")
        print("half", flush=True)
        sys.stdin.read()

open_cache(sys.argv[1]).load("2026-03-03-bbbbbbbb", info("x", "y"), [Half()])
"""


def listed(item_id: str) -> ServedList:
    return ServedList(date(2026, 3, 2), "control", "als", "als-1", (item_id,), (1.5,))


class Failing:
    """A part that ends in an error."""

    def __init__(self, batch: pa.RecordBatch, error: Exception) -> None:
        self.batch, self.error = batch, error

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield self.batch
        raise self.error


def serve_tuesday(cache: Cache) -> None:
    serve(cache, TUESDAY, "tuesday", Pointer(MONDAY))


def test_a_new_cache_serves_nothing(cache: Cache):
    assert cache.pointer() is None
    assert cache.get("ann") is None
    assert cache.generations() == []
    assert cache.count(MONDAY.name) == 0
    assert cache.read(MONDAY.name, "ann") is None


@pytest.mark.parametrize("user_id", ["", "ann\udce9", "\ud83d", "a" * 512, "é" * 300])
def test_an_id_that_is_no_text_or_longer_than_any_has_no_list(monday_served: Cache, user_id: str):
    assert monday_served.get(user_id) is None
    assert monday_served.read(MONDAY.name, user_id) is None


def test_a_generation_is_invisible_until_the_pointer_moves(monday_served: Cache):
    assert monday_served.load(TUESDAY.name, ITEMS, [[rows(ann="tuesday")]]) == 1
    assert monday_served.get("ann") == listed("monday")
    monday_served.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY, (MONDAY,)))
    assert monday_served.get("ann") == listed("tuesday")
    assert monday_served.pointer() == Pointer(TUESDAY, (MONDAY,))


def test_a_listener_without_a_list_reads_none(monday_served: Cache):
    assert monday_served.get("nobody") is None
    assert monday_served.get("") is None
    assert monday_served.get("x" * 600) is None


def test_lists_of_all_parts_and_batches_are_stored_and_counted(cache: Cache):
    parts = [[rows(ann="x", dan="y"), rows(eve="z")], [rows(bob="y")], [], [rows()]]
    assert cache.load(MONDAY.name, ITEMS, parts) == 4
    assert cache.count(MONDAY.name) == 4
    cache.swap_pointer(None, Pointer(MONDAY))
    assert [cache.get(user).item_ids for user in ("ann", "bob", "dan", "eve")] == [("x",), ("y",), ("y",), ("z",)]


def test_a_list_of_any_generation_reads_back_before_it_is_served(cache: Cache):
    kinds = [KIND, ListKind("control", "previous", "als-1")]
    cache.load(MONDAY.name, info("x", "y", kinds=kinds), [[rows(ann="x")], [rows(kind=kinds[1], bob="y")]])
    assert cache.decode(MONDAY.name, "ann") == listed("x")
    assert cache.decode(MONDAY.name, "bob") == listed("y")._replace(source="previous")
    assert cache.decode(MONDAY.name, "eve") is None
    assert cache.decode(TUESDAY.name, "ann") is None


def test_a_reader_opened_before_the_first_night_sees_it(cache_url: str, cache: Cache):
    with open_cache(cache_url, read_only=True) as reader:
        assert reader.get("ann") is None
        cache.load(MONDAY.name, ITEMS, [[rows(ann="monday")]])
        cache.swap_pointer(None, Pointer(MONDAY))
        assert reader.get("ann") == listed("monday")


def test_a_reader_whose_generation_is_dropped_after_it_read_the_pointer_reads_the_next_one(
    cache_url: str,
    monday_served: Cache,
):
    with open_cache(cache_url, read_only=True) as reader:
        look = reader._look

        def slow(user_id: str) -> tuple[Pointer | None, bytes, bytes | None]:
            seen = look(user_id)
            serve_tuesday(monday_served)
            monday_served.drop(MONDAY.name)
            return seen

        reader._look = slow
        assert reader.get("ann") == listed("tuesday")


def test_a_reader_reads_the_pointer_once_more_on_a_miss_and_not_on_a_hit(monday_served: Cache):
    read_head, reads = monday_served.head, []
    monday_served.get("ann")
    look = monday_served._look  # the pointer, the takedowns' stamp, and whether the listener is withheld
    monday_served.head = lambda: reads.append(1) or read_head()
    monday_served._look = lambda user_id: reads.append(1) or look(user_id)
    assert monday_served.get("ann")
    assert len(reads) == 1
    assert monday_served.get("nobody") is None
    assert len(reads) == 3


@pytest.mark.parametrize("cache_url", ["lmdb"], indirect=True)
def test_a_reader_of_a_generation_that_is_loaded_anew_with_other_item_numbers_reads_the_new_lists(
    cache_url: str,
    monday_served: Cache,
):
    with open_cache(cache_url, read_only=True) as reader:
        assert reader.get("ann") == listed("monday")
        monday_served.load(MONDAY.name, info("x", "monday"), [[rows(ann="x", bob="monday")]])
        assert reader.get("bob") == listed("monday")
        assert reader.get("ann") == listed("x")
        assert reader.count(MONDAY.name) == 2


def test_a_dropped_generation_leaves_the_others_whole(cache: Cache):
    cache.load(MONDAY.name, ITEMS, [[rows(ann="x", bob="y")]])
    cache.load(TUESDAY.name, ITEMS, [[rows(ann="z")]])
    before = cache.read(TUESDAY.name, "ann")
    assert cache.generations() == [MONDAY.name, TUESDAY.name]
    assert cache.drop(MONDAY.name)
    assert cache.generations() == [TUESDAY.name]
    assert cache.count(MONDAY.name) == 0
    assert cache.read(MONDAY.name, "ann") is None
    assert cache.read(TUESDAY.name, "ann") == before


def test_dropping_a_generation_that_is_not_there_does_nothing(monday_served: Cache):
    assert monday_served.drop(TUESDAY.name)
    assert monday_served.generations() == [MONDAY.name]


def test_loading_a_generation_again_replaces_it(cache: Cache):
    cache.load(MONDAY.name, ITEMS, [[rows(ann="x", bob="y")]])
    cache.load(MONDAY.name, ITEMS, [[rows(cec="z")]])
    assert cache.count(MONDAY.name) == 1
    assert cache.read(MONDAY.name, "ann") is None
    assert cache.read(MONDAY.name, "cec")


@pytest.mark.parametrize(
    "part",
    [[rows(ann="x"), rows(ann="y")], [rows(bob="x", ann="y")], Failing(rows(ann="x"), InputError("no more rows"))],
)
def test_a_part_that_fails_leaves_nothing_behind(monday_served: Cache, part: RowBatches):
    with pytest.raises(InputError) as caught:
        monday_served.load(TUESDAY.name, ITEMS, [[rows(aaa="x")], part])
    assert "ann" not in str(caught.value)
    assert monday_served.generations() == [MONDAY.name]
    assert monday_served.get("ann") == listed("monday")


@pytest.mark.slow
def test_a_loader_killed_half_way_leaves_the_old_generation_served_and_the_next_load_succeeds(
    cache_url: str,
    monday_served: Cache,
):
    loader = subprocess.Popen(
        [sys.executable, "-c", LOAD_HALF_AND_WAIT, cache_url, str(Path(__file__).parents[3])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert loader.stdout
    assert loader.stdout.readline() == b"half\n"
    loader.send_signal(signal.SIGKILL)
    loader.communicate()
    assert monday_served.generations() == [MONDAY.name, TUESDAY.name]
    assert monday_served.get("ann") == listed("monday")

    serve_tuesday(monday_served)
    assert monday_served.count(TUESDAY.name) == 1
    assert monday_served.get("ann") == listed("tuesday")
    assert monday_served.drop(MONDAY.name)
    assert monday_served.generations() == [TUESDAY.name]


def test_of_racing_swaps_exactly_one_wins(cache_url: str, monday_served: Cache):
    rivals = [Generation(f"2026-03-03-{number:08d}", date(2026, 3, 3)) for number in range(8)]
    for rival in rivals:
        monday_served.load(rival.name, ITEMS, [[rows(ann="x")]])
    start = threading.Barrier(len(rivals))
    won: list[Generation] = []
    lost: list[Generation] = []

    def swap(rival: Generation) -> None:
        with open_cache(cache_url) as cache:
            start.wait()
            try:
                cache.swap_pointer(Pointer(MONDAY), Pointer(rival, (MONDAY,)))
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
    assert monday_served.pointer() == Pointer(won[0], (MONDAY,))


def test_a_swap_repeated_after_a_lost_answer_is_no_lost_race(monday_served: Cache):
    monday_served.swap_pointer(None, Pointer(MONDAY))
    assert monday_served.pointer() == Pointer(MONDAY)


def test_a_snapshot_reads_its_generation_however_often_the_pointer_moves(monday_served: Cache):
    with monday_served.snapshot() as snapshot:
        assert snapshot.generation == MONDAY
        serve_tuesday(monday_served)
        monday_served.drop(MONDAY.name)
        assert snapshot.get("ann") == listed("monday")
        assert snapshot.get("nobody") is None
        assert monday_served.get("ann") == listed("tuesday")
    assert monday_served.drop(MONDAY.name)
    assert monday_served.generations() == [TUESDAY.name]


def test_what_the_pointer_keeps_is_not_dropped(monday_served: Cache):
    monday_served.load(TUESDAY.name, ITEMS, [[rows(ann="tuesday")]])
    monday_served.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY, (MONDAY,)))
    assert [monday_served.drop(generation.name) for generation in (MONDAY, TUESDAY)] == [False, False]
    assert monday_served.generations() == [MONDAY.name, TUESDAY.name]
    monday_served.swap_pointer(Pointer(TUESDAY, (MONDAY,)), Pointer(TUESDAY))
    assert monday_served.drop(MONDAY.name)


def test_the_pointer_does_not_move_to_what_is_not_there(monday_served: Cache):
    with pytest.raises(ServiceError, match="not in the cache"):
        monday_served.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY, (MONDAY,)))
    assert monday_served.pointer() == Pointer(MONDAY)


def test_a_served_generation_that_is_not_whole_is_completed_while_it_is_read(cache: Cache):
    both = info("x", "y")
    cache.load(MONDAY.name, both, [[rows(ann="x")]])
    cache.swap_pointer(None, Pointer(MONDAY))
    assert cache.load(MONDAY.name, both, [[rows(ann="x", bob="y")]]) == 2
    assert cache.count(MONDAY.name) == 2
    assert cache.get("bob") == listed("y")


def test_there_is_no_snapshot_of_nothing_nor_of_what_the_cache_has_lost(
    cache_url: str,
    cache: Cache,
    request: pytest.FixtureRequest,
):
    with pytest.raises(ServiceError, match="serves nothing"), cache.snapshot():
        pass
    cache.load(MONDAY.name, ITEMS, [[rows(ann="monday")]])
    cache.swap_pointer(None, Pointer(MONDAY))
    if cache_url.startswith("lmdb"):
        shutil.rmtree(Path(cache_url.removeprefix("lmdb:")) / "generations" / MONDAY.name)
    else:
        request.getfixturevalue("redis_server").client.delete(f"nocturne:{MONDAY.name}:about")
    with pytest.raises(ServiceError, match="not in the cache"), cache.snapshot():
        pass


def test_a_reader_opened_before_a_fork_reads_in_both_processes(monday_served: Cache):
    assert monday_served.get("ann") == listed("monday")
    with monday_served.snapshot() as snapshot:
        fork = multiprocessing.get_context("fork")
        answers, told = fork.Queue(), fork.Event()

        def child() -> None:
            answers.put((monday_served.get("ann"), snapshot.get("ann")))
            told.wait(10)
            answers.put(monday_served.get("ann"))

        process = fork.Process(target=child)
        process.start()
        assert answers.get(timeout=10) == (listed("monday"), listed("monday"))
        assert (monday_served.get("ann"), snapshot.get("ann")) == (listed("monday"), listed("monday"))
        serve_tuesday(monday_served)
        told.set()
        assert answers.get(timeout=10) == listed("tuesday")
        process.join()
        assert snapshot.get("ann") == listed("monday")
        assert monday_served.get("ann") == listed("tuesday")


def test_a_cache_opened_for_reading_refuses_to_write(cache_url: str, monday_served: Cache):
    with open_cache(cache_url, read_only=True) as reader:
        with pytest.raises(UsageError, match="reading only"):
            reader.load(TUESDAY.name, ITEMS, [])
        with pytest.raises(UsageError, match="reading only"):
            reader.swap_pointer(Pointer(MONDAY), Pointer(TUESDAY))
        with pytest.raises(UsageError, match="reading only"):
            reader.drop(MONDAY.name)
    assert monday_served.get("ann") == listed("monday")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "lmdb:",
        "memcached://:open-sesame@host",
        "redis://:open-sesame@host:port/0",
        "redis://:open#sesame@h",
        "lmdb:/\udcff",
    ],
)
def test_a_url_of_no_cache_is_a_settings_error_that_keeps_the_password(url: str):
    with pytest.raises(UsageError, match="not understood") as caught:
        open_cache(url)
    assert "sesame" not in str(caught.value)
    assert caught.value.__context__ is None
