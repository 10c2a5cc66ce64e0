"""The gate, and the refresh against LMDB and a real redis-server."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from cache_servers import cache_url, redis_server  # noqa: F401

from nocturne.cache import Cache, Generation, Pointer, PointerMoved, ServedList, open_cache
from nocturne.cache.embedded import EmbeddedCache
from nocturne.errors import InputError, ServiceError, SettingsError
from nocturne.night import Night
from nocturne.refresh import Refreshed, gate, refresh, release, rollback
from nocturne.settings import load_settings

MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)

REFRESH_UNTIL_THE_LISTS_ARE_LOADED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from nocturne.cache import base, open_cache
from nocturne.refresh import refresh
from test_refresh import TUESDAY, lists, night

base.BATCH_BYTES = 100

def batches():
    yield lists(TUESDAY, ann="tuesday", bob="tuesday", cec="tuesday")
    print("half", flush=True)
    sys.stdin.read()

refresh(night(TUESDAY), batches(), "bbbbbbbbbb", open_cache(sys.argv[1]))
"""


def night(run_date: date) -> Night:
    return Night(run_date, landing="", warehouse="", cache="", settings=load_settings())


def lists(run_date: date, **best_items: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [
            {
                "run_date": run_date,
                "bucket": 0,
                "user_id": user_id,
                "market": None,
                "arm": "control",
                "items": [{"item_id": item_id, "score": 0.1}],
                "source": "als",
                "model_version": "als-1",
                "candidates": 1,
                "digest": "d",
            }
            for user_id, item_id in best_items.items()
        ]
    )


def unread() -> Iterator[pa.RecordBatch]:
    raise AssertionError("the lists were read")
    yield


@pytest.fixture
def cache(cache_url: str) -> Iterator[Cache]:  # noqa: F811
    with open_cache(cache_url) as opened:
        yield opened


@pytest.fixture
def two_nights(cache: Cache) -> Cache:
    refresh(night(MONDAY), [lists(MONDAY, ann="monday")], "aaaaaaaaaa", cache)
    refresh(night(TUESDAY), [lists(TUESDAY, ann="tuesday")], "bbbbbbbbbb", cache)
    return cache


def test_a_night_is_loaded_and_served(cache: Cache):
    batches = [lists(MONDAY, ann="x", bob="y"), lists(MONDAY, cec="z")]
    assert refresh(night(MONDAY), batches, "aaaaaaaaaa", cache) == Refreshed("2026-03-02-aaaaaaaa", True, None, 3)
    assert cache.pointer() == Pointer(Generation("2026-03-02-aaaaaaaa", MONDAY))
    assert cache.get("cec") == ServedList(MONDAY, "control", "als", "als-1", (("z", 0.1),))


def test_the_same_night_twice_changes_nothing(two_nights: Cache):
    before = two_nights.pointer()
    again = refresh(night(TUESDAY), unread(), "bbbbbbbbbb", two_nights)
    assert again == Refreshed("2026-03-03-bbbbbbbb", False, None, 1)
    previous_again = refresh(night(MONDAY), unread(), "aaaaaaaaaa", two_nights)
    assert previous_again == Refreshed("2026-03-02-aaaaaaaa", False, None, 1)
    assert two_nights.pointer() == before


def test_two_generations_are_kept(two_nights: Cache):
    refresh(night(WEDNESDAY), [lists(WEDNESDAY, ann="wednesday")], "cccccccccc", two_nights)
    assert two_nights.generations() == ["2026-03-03-bbbbbbbb", "2026-03-04-cccccccc"]


def test_a_backfill_of_an_older_night_is_not_loaded_and_does_not_move_the_pointer(two_nights: Cache):
    before = two_nights.pointer()
    assert refresh(night(MONDAY), unread(), "other lists", two_nights) == Refreshed(
        None, False, "backfill of an older night: 2026-03-03-bbbbbbbb is served", 0
    )
    assert two_nights.pointer() == before


def test_a_rollback_serves_the_previous_night_until_it_is_released(two_nights: Cache):
    monday, wednesday = Generation("2026-03-02-aaaaaaaa", MONDAY), Generation("2026-03-04-cccccccc", WEDNESDAY)
    assert rollback(two_nights, "too much jazz") == Pointer(monday, held="too much jazz")
    assert two_nights.get("ann").items == (("monday", 0.1),)

    held = refresh(night(WEDNESDAY), unread(), "cccccccccc", two_nights)
    assert held == Refreshed(None, False, "held on 2026-03-02-aaaaaaaa: too much jazz", 0)

    assert release(two_nights) == Pointer(monday)
    assert refresh(night(WEDNESDAY), [lists(WEDNESDAY, ann="w")], "cccccccccc", two_nights).moved
    assert two_nights.pointer() == Pointer(wednesday, previous=monday)
    assert two_nights.generations() == [monday.name, wednesday.name]


def test_a_rollback_without_a_previous_night_is_an_error(cache: Cache):
    with pytest.raises(SettingsError, match="serves no generation"):
        rollback(cache, "too much jazz")
    refresh(night(MONDAY), [lists(MONDAY, ann="x")], "aaaaaaaaaa", cache)
    with pytest.raises(SettingsError, match="no previous generation"):
        rollback(cache, "too much jazz")


def test_a_rollback_to_a_generation_that_the_cache_has_lost_is_an_error(two_nights: Cache):
    two_nights.drop("2026-03-02-aaaaaaaa")
    with pytest.raises(ServiceError, match="no longer in the cache"):
        rollback(two_nights, "too much jazz")
    assert two_nights.get("ann").items == (("tuesday", 0.1),)


def test_a_listener_with_two_lists_does_not_read_back(two_nights: Cache):
    batches = [lists(WEDNESDAY, ann="x", bob="y"), lists(WEDNESDAY, ann="z")]
    with pytest.raises(ServiceError, match="2 listeners; 1 of 3 sampled lists differ"):
        refresh(night(WEDNESDAY), batches, "cccccccccc", two_nights)
    assert two_nights.get("ann").items == (("tuesday", 0.1),)
    assert two_nights.generations() == ["2026-03-02-aaaaaaaa", "2026-03-03-bbbbbbbb"]


def test_a_list_that_the_store_changed_is_not_served(tmp_path: Path):
    class Forgetful(EmbeddedCache):
        def read(self, generation: str, user_id: str) -> bytes | None:
            return super().read(generation, user_id)[:-1]

    with Forgetful(tmp_path) as cache:
        with pytest.raises(ServiceError, match="1 of 1 sampled lists differ"):
            refresh(night(MONDAY), [lists(MONDAY, ann="x")], "aaaaaaaaaa", cache)
        assert cache.pointer() is None


def test_a_listener_missing_outside_the_sample_is_found_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Lossy(EmbeddedCache):
        def _write(self, generation: str, rows: Iterable[tuple[str, bytes]]) -> int:
            every = list(rows)
            return super()._write(generation, every[1:]) + 1

    monkeypatch.setattr("nocturne.refresh.SAMPLE_LISTENERS", 1)
    with Lossy(tmp_path) as cache:
        with pytest.raises(ServiceError, match="1 listeners; 0 of 1 sampled lists differ"):
            refresh(night(MONDAY), [lists(MONDAY, ann="x", bob="y")], "aaaaaaaaaa", cache)
        assert cache.pointer() is None


def test_a_score_that_is_not_finite_is_not_served(cache: Cache):
    broken = lists(MONDAY, ann="x").set_column(5, "items", pa.array([[{"item_id": "x", "score": float("inf")}]]))
    with pytest.raises(InputError, match="not finite"):
        refresh(night(MONDAY), [broken], "aaaaaaaaaa", cache)
    assert cache.pointer() is None
    assert cache.generations() == []


def test_a_pointer_moved_during_the_load_is_not_overwritten(cache_url: str, two_nights: Cache):  # noqa: F811
    def batches() -> Iterator[pa.RecordBatch]:
        yield lists(WEDNESDAY, ann="wednesday")
        with open_cache(cache_url) as other:
            rollback(other, "too much jazz")

    with pytest.raises(PointerMoved):
        refresh(night(WEDNESDAY), batches(), "cccccccccc", two_nights)
    assert two_nights.pointer() == Pointer(Generation("2026-03-02-aaaaaaaa", MONDAY), held="too much jazz")


def test_a_refresh_killed_half_way_leaves_the_old_night_served_and_the_next_one_succeeds(
    cache_url: str,  # noqa: F811
    cache: Cache,
):
    refresh(night(MONDAY), [lists(MONDAY, ann="monday")], "aaaaaaaaaa", cache)
    dying = subprocess.Popen(
        [sys.executable, "-c", REFRESH_UNTIL_THE_LISTS_ARE_LOADED, cache_url, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert dying.stdout
    assert dying.stdout.readline() == b"half\n"
    dying.kill()
    dying.communicate()
    assert cache.generations() == ["2026-03-02-aaaaaaaa", "2026-03-03-bbbbbbbb"]
    assert cache.get("ann").items == (("monday", 0.1),)

    assert refresh(night(WEDNESDAY), [lists(WEDNESDAY, ann="wednesday")], "cccccccccc", cache).moved
    assert cache.generations() == ["2026-03-02-aaaaaaaa", "2026-03-04-cccccccc"]
    assert cache.get("ann").items == (("wednesday", 0.1),)


def validations(*rows: tuple[str, str, str, str]) -> pa.Table:
    columns = ("table", "expectation", "severity", "outcome")
    schema = pa.schema([(name, pa.string()) for name in (*columns, "limit", "files")] + [("observed", pa.float64())])
    defaults = {"limit": ">= 50", "files": "f1", "observed": 25.0}
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) | defaults for row in rows], schema)


def test_the_gate_is_open_when_every_critical_expectation_holds_or_was_skipped():
    found = validations(
        ("listens", "rows", "critical", "success"),
        ("listens", "volume_change", "critical", "skipped"),
        ("listens", "bots", "warning", "failed"),
    )
    assert gate(found, {"listens": {"rows", "volume_change"}}, {"listens": "f1"}) == []


def test_a_failed_critical_expectation_closes_the_gate():
    found = validations(("ranked_lists", "shortest_list", "critical", "failed"))
    assert gate(found, {"ranked_lists": {"shortest_list"}}, {"ranked_lists": "f1"}) == [
        "ranked_lists: shortest_list is 25.0, expected >= 50"
    ]


def test_an_expectation_that_was_not_checked_closes_the_gate():
    found = validations(("listens", "rows", "critical", "success"))
    assert gate(found, {"listens": {"rows", "nulls"}}, {"listens": "f1"}) == ["listens: nulls was not checked"]


def test_a_table_that_was_not_validated_closes_the_gate_even_without_expectations():
    assert gate(validations(), {"models": set(), "items": {"rows"}}, {"models": "f1", "items": "f1"}) == [
        "items was not validated",
        "models was not validated",
    ]


@pytest.mark.parametrize("files", [{"listens": "f2"}, {"listens": None}, {}])
def test_a_table_that_changed_after_it_was_validated_closes_the_gate(files: dict[str, str | None]):
    found = validations(("listens", "rows", "critical", "success"))
    assert gate(found, {"listens": {"rows"}}, files) == ["listens changed after it was validated"]
