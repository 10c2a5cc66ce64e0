"""The cache in LMDB files: what no other store has."""

import os
import resource
import threading
from contextlib import suppress
from datetime import date
from pathlib import Path

import lmdb
import pyarrow as pa
import pytest

from nocturne.core.errors import InputError, ServiceError
from nocturne.serving.cache import Generation, Pointer, open_cache
from nocturne.serving.cache.lmdb import store
from tests.fixtures.cache_servers import ITEMS, MONDAY, TUESDAY, info, rows, serve, users


def test_a_reader_creates_no_files(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path / 'cache'}", read_only=True) as reader:
        assert reader.get("ann") is None
        assert reader.generations() == []
    assert list(tmp_path.iterdir()) == []


def test_a_listener_in_two_parts_is_refused_without_telling_who(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as cache:
        with pytest.raises(InputError, match="two lists, in different parts") as caught:
            cache.load(MONDAY.name, ITEMS, [[rows(ann="x", bob="y")], [rows(bob="z")]])
        assert cache.generations() == []
    assert "bob" not in str(caught.value)


def test_parts_are_merged_into_full_pages(tmp_path: Path):
    halves = [[users(0, 20_000).take(pa.array(range(start, 20_000, 2)))] for start in (0, 1)]
    with open_cache(f"lmdb:{tmp_path}") as cache:
        assert cache.load(MONDAY.name, info("x", lists=20_000), halves) == 20_000
        assert cache.count(MONDAY.name) == 20_000
    with lmdb.open(str(tmp_path / "generations" / MONDAY.name), readonly=True, lock=False, max_dbs=2) as environment:
        table = environment.open_db(b"lists", create=False)
        with environment.begin() as transaction:
            pages = transaction.stat(table)["leaf_pages"]
    # 8 of node, 11 of key and 12 of value, made even, and 2 that point at it, into 4080 bytes: 120 lists a page
    assert pages == -(-20_000 // 120)


@pytest.mark.parametrize("lists", [1, 300])
def test_the_map_grows_with_the_lists_whatever_was_expected(tmp_path: Path, lists: int):
    items = [{"item_id": "x", "score": float(each)} for each in range(7_000)]
    batch = users(0, 300).set_column(5, "items", pa.array([items] * 300, users(0, 1).schema.field("items").type))
    with open_cache(f"lmdb:{tmp_path}") as cache:
        assert cache.load(MONDAY.name, info("x", lists=lists), [[batch]]) == 300
        cache.swap_pointer(None, Pointer(MONDAY))
        assert cache.get("user-000299").scores[-1] == 6999.0


def test_user_ids_that_cannot_be_keys_are_an_input_error_that_does_not_tell_them(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as cache:
        assert cache.load(MONDAY.name, ITEMS, [[rows(**{"é" * 255: "x"})]]) == 1
        with pytest.raises(InputError, match="found: 512 bytes") as caught:
            cache.load(MONDAY.name, ITEMS, [[rows(**{"é" * 256: "x"})]])
        with pytest.raises(InputError, match="an empty user_id"):
            cache.load(MONDAY.name, ITEMS, [[rows(**{"": "x", "ann": "x"})]])
    assert "é" not in str(caught.value)


def test_a_disk_that_takes_no_more_is_a_service_error_and_the_old_lists_stay_served(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as cache:
        serve(cache, MONDAY, "monday", None)
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, unlimited[1]))
        try:
            with pytest.raises(ServiceError, match="serving cache failed"):
                cache.load(TUESDAY.name, ITEMS, [[users(0, 100_000)]])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert cache.generations() == [MONDAY.name]
        assert cache.get("ann").item_ids == ("monday",)


def test_a_path_that_is_a_file_is_a_service_error(tmp_path: Path):
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(ServiceError, match="cache failed"):
        open_cache(f"lmdb:{tmp_path / 'cache'}")


def test_files_of_dropped_generations_are_let_go_when_the_next_one_is_read(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as writer, open_cache(f"lmdb:{tmp_path}", read_only=True) as reader:
        for night in range(5):
            generation = Generation(f"2026-03-0{night + 1}-aaaaaaaa", date(2026, 3, night + 1))
            writer.load(generation.name, ITEMS, [[rows(ann="x")]])
            before = writer.pointer()
            writer.swap_pointer(before, Pointer(generation))
            if before:
                writer.drop(before.served.name)
            assert reader.get("ann").item_ids == ("x",)
        assert open_files(tmp_path / "generations") == 1


def open_files(folder: Path) -> int:
    links = [str(os.path.realpath(each)) for each in Path("/proc/self/fd").iterdir()]
    return sum(link.startswith(str(folder)) for link in links)


def test_threads_read_one_environment(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as cache:
        cache.load(MONDAY.name, ITEMS, [[users(0, 2_000)]])
        cache.swap_pointer(None, Pointer(MONDAY))
        wrong: list[str] = []

        def read() -> None:
            with open_cache(f"lmdb:{tmp_path}", read_only=True) as reader:
                wrong.extend(str(each) for each in range(2_000) if reader.get(f"user-{each:06d}").item_ids != ("x",))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_removal_that_was_interrupted_leaves_nothing_to_read_and_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with open_cache(f"lmdb:{tmp_path}") as cache:
        cache.load(MONDAY.name, ITEMS, [[rows(ann="monday")]])
        with monkeypatch.context() as broken:
            broken.setattr(store.shutil, "rmtree", lambda folder: (folder / "data.mdb").chmod(0o600) or 1 / 0)
            with pytest.raises(ZeroDivisionError):
                cache.drop(MONDAY.name)
        assert cache.count(MONDAY.name) == 0
        assert cache.generations() == [MONDAY.name]
        assert cache.drop(MONDAY.name)
        assert cache.generations() == []


def test_a_forked_child_reads_no_generation_that_was_dropped_meanwhile(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as cache:
        serve(cache, MONDAY, "monday", None)
        with cache.snapshot() as snapshot:
            serve(cache, TUESDAY, "tuesday", Pointer(MONDAY))
            cache.drop(MONDAY.name)
            assert snapshot.get("ann").item_ids == ("monday",)
            child = os.fork()
            if child == 0:
                with suppress(ServiceError):
                    snapshot.get("ann")
                    os._exit(1)
                os._exit(0 if cache.get("ann").item_ids == ("tuesday",) else 2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert snapshot.get("ann").item_ids == ("monday",)


@pytest.mark.slow
def test_a_child_reads_however_busy_the_threads_of_its_parent_were_when_it_was_forked(tmp_path: Path):
    with open_cache(f"lmdb:{tmp_path}") as cache:
        serve(cache, MONDAY, "monday", None)
        stop, failed = threading.Event(), []

        def read() -> None:
            while not stop.is_set():
                if cache.get("ann").item_ids != ("monday",):
                    failed.append("parent")

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(0 if cache.get("ann").item_ids == ("monday",) else 1)
            if os.waitpid(child, 0)[1]:
                failed.append("child")
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
