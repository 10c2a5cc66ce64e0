"""The refresh and the rollback, against LMDB and a real redis-server."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nocturne.core.errors import InputError, ServiceError, UsageError
from nocturne.core.night import Night
from nocturne.serving import manifest, publications, rollout
from nocturne.serving.cache import Cache, Generation, Pointer, PointerMoved, ServedList, open_cache
from nocturne.serving.cache.lmdb.store import LmdbCache
from nocturne.serving.night_record import NightRecord
from nocturne.serving.rollout import Refreshed, release, require_recorded, rollback
from nocturne.storage import tables, writing
from nocturne.storage.warehouse import create_missing
from tests.fixtures import two_listeners
from tests.fixtures.published_nights import Ready, ready

pytestmark = pytest.mark.slow

MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 3, day) for day in (2, 3, 4, 5))

REFRESH_UNTIL_THE_LISTS_ARE_LOADED = """
import sys
from dataclasses import replace
from datetime import date
from nocturne.serving.cache import open_cache
from nocturne.core.night import Night, Warehouse
from nocturne.serving.night_record import NightRecord
from nocturne.serving.rollout import refresh
from nocturne.core.settings import load_settings
sys.path.insert(0, sys.argv[3])
from tests.fixtures.published_nights import ready

class Waiting:
    def __init__(self, part): self.part = part
    def __iter__(self):
        yield from self.part
        print("half", flush=True)
        sys.stdin.read()

night = Night(Warehouse(sys.argv[2], load_settings(overrides=["tables.buckets=1"])), date(2026, 3, 3), "", sys.argv[1])
made = ready(night, night.run_date, ann="tuesday", bob="tuesday")
with open_cache(sys.argv[1]) as cache:
    refresh(made.night, made.record, made.info, [Waiting(part) for part in made.parts], cache)
"""


ROLL_BACK_AND_TELL_IMPORTS = """
import sys
from nocturne.cli import serving
from nocturne.serving import cache
def tell(*_):
    print(sorted({"numba", "pandas", "pyspark", "scipy"} & set(sys.modules)))
    sys.exit()
cache.Cache.swap_pointer = tell
serving.rollback(cache=sys.argv[1], why="too much jazz")
"""


@pytest.fixture
def service(night) -> Night:
    """A warehouse with one bucket; caches keep three generations."""
    return night(MONDAY, "tables.buckets=1")


def serve(made: Ready, cache: Cache) -> Refreshed:
    return rollout.refresh(made.night, made.record, made.info, made.parts, cache)


def unread(made: Ready) -> Ready:
    """The same, but its lists must not be read."""

    class Unread:
        def __iter__(self):
            raise AssertionError("the lists were read")

    return replace(made, parts=[Unread()])


def first_items(cache: Cache, user_id: str) -> tuple[str, ...]:
    served = cache.get(user_id)
    assert served
    return served.item_ids


def states(service: Night) -> dict[str, str]:
    return {str(record.generation): record.state for record in publications.all_records(service.warehouse)}


@pytest.fixture
def monday(service: Night) -> Ready:
    return ready(service, MONDAY, ann="monday")


@pytest.fixture
def two_nights(service: Night, monday: Ready, cache: Cache) -> tuple[Ready, Ready]:
    serve(monday, cache)
    tuesday = ready(service, TUESDAY, ann="tuesday")
    serve(tuesday, cache)
    return monday, tuesday


def generation(made: Ready) -> Generation:
    return Generation(made.record.generation, made.night.run_date)


def test_a_night_is_loaded_published_and_served(service: Night, cache: Cache):
    made = ready(service, MONDAY, ann="x", bob="y")
    name = made.record.generation
    assert serve(made, cache) == Refreshed(name, moved=True, reason=None, listeners=2)
    assert cache.pointer() == Pointer(generation(made), version=1, warehouse=service.warehouse.folder)
    assert first_items(cache, "bob") == ("y",)
    assert states(service) == {name: "published"}


def test_the_same_night_twice_changes_nothing(two_nights, cache: Cache):
    before = cache.pointer()
    for made in reversed(two_nights):
        again = serve(unread(made), cache)
        assert again == Refreshed(made.record.generation, moved=False, reason=None, listeners=1)
    assert cache.pointer() == before


def test_as_many_generations_are_kept_as_settings_say(service: Night, two_nights, cache: Cache):
    settings = service.settings.model_copy(
        update={"cache": service.settings.cache.model_copy(update={"generations": 2})}
    )
    wednesday = ready(service.with_settings(settings), WEDNESDAY, ann="wednesday")
    serve(wednesday, cache)
    assert cache.generations() == [two_nights[1].record.generation, wednesday.record.generation]


def test_a_backfill_of_an_older_night_is_published_but_not_loaded_and_does_not_move_the_pointer(
    service: Night, two_nights, cache: Cache
):
    before = cache.pointer()
    other = ready(service, MONDAY, ann="other")
    served = two_nights[1].record.generation
    told = f"backfill of an older night: {served} is served"
    assert serve(unread(other), cache) == Refreshed(None, moved=False, reason=told, listeners=0)
    assert cache.pointer() == before
    assert states(service) == {
        two_nights[0].record.generation: "superseded",
        other.record.generation: "published",
        served: "stale",
    }


def test_a_rollback_is_recorded_and_holds_until_it_is_released(service: Night, two_nights, cache: Cache):
    monday, tuesday = two_nights
    held = Pointer(generation(monday), frozen_reason="too much jazz", version=3, warehouse=service.warehouse.folder)
    assert rollback(service.warehouse, cache, "too much jazz") == held
    assert first_items(cache, "ann") == ("monday",)
    assert states(service) == {monday.record.generation: "published", tuesday.record.generation: "rolled_back"}

    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    told = f"held on {monday.record.generation}: too much jazz"
    assert serve(unread(wednesday), cache) == Refreshed(None, moved=False, reason=told, listeners=0)
    again = serve(unread(tuesday), cache)
    assert again.reason == told
    assert states(service)[tuesday.record.generation] == "rolled_back"

    assert release(service.warehouse, cache) == replace(held, frozen_reason=None, version=4)
    assert serve(wednesday, cache).moved
    assert cache.pointer() == Pointer(
        generation(wednesday), (generation(monday),), version=5, warehouse=service.warehouse.folder
    )
    assert cache.generations() == [monday.record.generation, wednesday.record.generation]


def test_a_rollback_that_died_before_it_was_recorded_is_recorded_by_the_next_night(
    service: Night, two_nights, cache: Cache, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(publications, "mark_rolled_back", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        rollback(service.warehouse, cache, "too much jazz")
    assert first_items(cache, "ann") == ("monday",)
    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    assert serve(wednesday, cache).reason == f"held on {two_nights[0].record.generation}: too much jazz"
    assert states(service)[two_nights[1].record.generation] == "rolled_back"
    require_recorded(service.warehouse, cache)


def test_a_rollback_goes_to_the_generation_that_is_named(service: Night, two_nights, cache: Cache):
    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    serve(wednesday, cache)
    monday, tuesday = two_nights
    rollback(service.warehouse, cache, "jazz since Tuesday", monday.record.generation)
    assert first_items(cache, "ann") == ("monday",)
    assert states(service) == {
        monday.record.generation: "published",
        tuesday.record.generation: "rolled_back",
        wednesday.record.generation: "rolled_back",
    }


def test_what_was_rolled_back_is_served_again_once_the_hold_is_released(service: Night, two_nights, cache: Cache):
    rollback(service.warehouse, cache, "too much jazz")
    release(service.warehouse, cache)
    assert serve(two_nights[1], cache).moved
    assert set(states(service).values()) == {"published"}
    assert first_items(cache, "ann") == ("tuesday",)


def test_a_rollback_without_an_earlier_night_is_an_error(service: Night, monday: Ready, cache: Cache):
    with pytest.raises(UsageError, match="serves no generation"):
        rollback(service.warehouse, cache, "too much jazz")
    serve(monday, cache)
    with pytest.raises(UsageError, match="no previous generation"):
        rollback(service.warehouse, cache, "too much jazz")
    with pytest.raises(UsageError, match="no such generation"):
        rollback(service.warehouse, cache, "too much jazz", "2026-03-01-00000000")


def test_until_the_pointer_moves_a_rollback_imports_nothing_that_takes_long(cache_url: str, two_nights):
    command = [sys.executable, "-c", ROLL_BACK_AND_TELL_IMPORTS, cache_url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "[]\n"


def test_a_rollback_to_lists_that_the_cache_has_lost_is_an_error(
    service: Night, two_nights, cache: Cache, monkeypatch: pytest.MonkeyPatch
):
    count = type(cache).count
    lost = two_nights[0].record.generation
    monkeypatch.setattr(type(cache), "count", lambda self, name: 0 if name == lost else count(self, name))
    with pytest.raises(ServiceError, match="does not hold every list"):
        rollback(service.warehouse, cache, "too much jazz")
    assert first_items(cache, "ann") == ("tuesday",)


def test_a_table_with_two_rows_of_a_listener_is_not_served(service: Night, two_nights, cache: Cache):
    made = ready(service, WEDNESDAY, ann="x", bob="y")
    made.parts = [*made.parts, *made.parts]
    with pytest.raises((InputError, ServiceError), match=r"two lists|does not hold every list"):
        serve(made, cache)
    assert first_items(cache, "ann") == ("tuesday",)
    assert len(cache.generations()) == 2
    assert cache.pointer().served == generation(two_nights[1])


def test_a_list_that_the_store_changed_is_not_served(service: Night, monday: Ready, tmp_path: Path):
    class Forgetful(LmdbCache):
        def decode(self, generation: str, user_id: str) -> ServedList | None:
            served = super().decode(generation, user_id)
            return served and served._replace(scores=served.scores[:-1])

    with Forgetful(tmp_path / "forgetful") as cache:
        with pytest.raises(ServiceError, match="1 of 1 sampled lists differ"):
            serve(monday, cache)
        assert cache.pointer() is None


def test_a_score_that_is_not_finite_is_not_served(service: Night, monday: Ready, cache: Cache):
    (part,) = monday.parts
    rows = next(iter(part))
    broken = pa.array([[{"item_id": "monday", "score": float("inf")}]])
    monday.parts = [[rows.set_column(rows.schema.get_field_index("items"), "items", broken)]]
    with pytest.raises(InputError, match="not finite"):
        serve(monday, cache)
    assert cache.pointer() is None
    assert cache.generations() == []


def test_a_pointer_moved_during_the_load_is_not_overwritten(
    cache_url: str,
    service: Night,
    two_nights,
    cache: Cache,
):
    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    (part,) = wednesday.parts

    class Rolling:
        def __iter__(self):
            yield from part
            with open_cache(cache_url) as other:
                if other.pointer().frozen_reason is None:
                    rollback(service.warehouse, other, "too much jazz")

    wednesday.parts = [Rolling()]
    with pytest.raises(PointerMoved):
        serve(wednesday, cache)
    assert cache.pointer().served == generation(two_nights[0])
    assert cache.pointer().frozen_reason == "too much jazz"


def test_a_refresh_killed_half_way_leaves_the_old_night_served_and_the_next_one_succeeds(
    cache_url: str,
    service: Night,
    monday: Ready,
    cache: Cache,
):
    serve(monday, cache)
    dying = subprocess.Popen(
        [
            sys.executable,
            "-c",
            REFRESH_UNTIL_THE_LISTS_ARE_LOADED,
            cache_url,
            service.warehouse.path,
            Path(__file__).parents[2],
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert dying.stdout
    assert dying.stdout.readline() == b"half\n"
    dying.kill()
    dying.communicate()
    assert first_items(cache, "ann") == ("monday",)

    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    assert serve(wednesday, cache).moved
    assert cache.generations() == [monday.record.generation, wednesday.record.generation]
    assert first_items(cache, "ann") == ("wednesday",)


# What the manifest is for


def forge(record: NightRecord) -> NightRecord:
    """Another manifest under the old checksum."""
    return replace(record, manifest=replace(record.manifest, model_version="als-2"))


def reject(record: NightRecord) -> NightRecord:
    """A checksum that is right, over an expectation that failed."""
    failed = tuple({**row, "outcome": "failed"} for row in record.manifest.expectations)
    return with_expectations(record, failed)


def leave_out(record: NightRecord) -> NightRecord:
    """A checksum that is right, over too few expectations."""
    return with_expectations(record, record.manifest.expectations[1:])


def with_expectations(record: NightRecord, rows: tuple[Mapping[str, Any], ...]) -> NightRecord:
    changed = replace(record.manifest, expectations=rows)
    return replace(record, manifest=changed, checksum=changed.checksum)


@pytest.mark.parametrize(
    ("change", "says"), [(forge, "over its content"), (reject, "was not held"), (leave_out, "was not held")]
)
def test_a_manifest_that_does_not_hold_moves_no_pointer(service: Night, monday: Ready, cache: Cache, change, says):
    changed = replace(monday, record=change(monday.record))
    with pytest.raises(InputError, match=says):
        serve(changed, cache)
    assert cache.pointer() is None


def test_a_manifest_whose_file_was_changed_moves_no_pointer(service: Night, two_nights, cache: Cache):
    path = manifest.file_path(service, two_nights[0].record.manifest)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"listeners": 7}))
    with pytest.raises(InputError, match="None in the file"):
        rollback(service.warehouse, cache, "too much jazz")
    path.unlink()
    with pytest.raises(InputError, match="None in the file"):
        rollback(service.warehouse, cache, "too much jazz")
    assert first_items(cache, "ann") == ("tuesday",)


def test_a_night_whose_table_was_written_again_can_be_rolled_back_to_at_its_version(
    service: Night, two_nights, cache: Cache
):
    writing.replace_night(
        tables.night_rows(two_nights[0].night, "ranked_lists").slice(0, 0), "ranked_lists", two_nights[0].night
    )
    rollback(service.warehouse, cache, "too much jazz")
    assert first_items(cache, "ann") == ("monday",)


def test_a_night_whose_files_are_gone_is_not_rolled_back_to(service: Night, two_nights, cache: Cache):
    (path,) = tables.files(two_nights[0].night, "ranked_lists")["path"].to_pylist()
    Path(service.warehouse.table_path("ranked_lists"), path).unlink()
    with pytest.raises(ServiceError, match="not on the disk"):
        rollback(service.warehouse, cache, "too much jazz")
    assert first_items(cache, "ann") == ("tuesday",)


def test_a_table_whose_log_lost_its_last_version_moves_no_pointer(service: Night, two_nights, cache: Cache):
    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    log = Path(service.warehouse.table_path("ranked_lists"), "_delta_log")
    max(log.glob("*.json")).unlink()
    with pytest.raises((InputError, ServiceError)):
        serve(wednesday, cache)
    assert first_items(cache, "ann") == ("tuesday",)


# What was withdrawn stays withdrawn, and is told rightly


def test_a_rollback_within_one_date_withdraws_the_later_lists_of_it(service: Night, monday: Ready, cache: Cache):
    serve(monday, cache)
    again = ready(service, MONDAY, ann="monday again")
    serve(again, cache)
    rollback(service.warehouse, cache, "worse than before")
    assert first_items(cache, "ann") == ("monday",)
    assert states(service) == {monday.record.generation: "superseded", again.record.generation: "rolled_back"}
    assert serve(unread(again), cache).reason == f"held on {monday.record.generation}: worse than before"
    assert states(service)[again.record.generation] == "rolled_back"


def test_what_one_cache_withdrew_no_other_cache_publishes_or_serves_until_it_is_released(
    service: Night, two_nights, cache: Cache, tmp_path: Path
):
    tuesday = two_nights[1]
    rollback(service.warehouse, cache, "too much jazz")
    with open_cache(f"lmdb:{tmp_path / 'other'}") as other:
        assert serve(unread(tuesday), other).reason == "withdrawn: too much jazz"
        assert other.pointer() is None
        assert states(service)[tuesday.record.generation] == "rolled_back"
        release(service.warehouse, cache)
        assert serve(tuesday, other).moved
    assert states(service)[tuesday.record.generation] == "published"


def test_a_rollback_under_another_spelling_of_the_url_withdraws_what_was_served(
    service: Night, monday: Ready, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tuesday = ready(service, TUESDAY, ann="tuesday")
    with open_cache(f"lmdb:{tmp_path / 'cache'}") as cache:
        serve(monday, cache)
        serve(tuesday, cache)
    monkeypatch.chdir(tmp_path)
    with open_cache("lmdb:./cache") as cache:
        assert cache.place == f"lmdb:{tmp_path / 'cache'}"
        rollback(service.warehouse, cache, "too much jazz")
    assert states(service) == {monday.record.generation: "published", tuesday.record.generation: "rolled_back"}


def test_an_emptied_cache_under_a_hold_serves_again_what_it_was_held_on(service: Night, tmp_path: Path):
    two_listeners.write(service, "item_index", [{"first_night": MONDAY, "item_index": 0, "item_id": "monday"}])
    monday, tuesday = ready(service, MONDAY, ann="monday"), ready(service, TUESDAY, ann="tuesday")
    with open_cache(f"lmdb:{tmp_path / 'held'}") as cache:
        serve(monday, cache)
        serve(tuesday, cache)
        rollback(service.warehouse, cache, "too much jazz")
        held = cache.pointer()
    shutil.rmtree(tmp_path / "held")
    with open_cache(f"lmdb:{tmp_path / 'held'}") as cache:
        wednesday = ready(service, WEDNESDAY, ann="wednesday")
        assert serve(unread(wednesday), cache).reason == f"held on {monday.record.generation}: too much jazz"
        assert cache.pointer() == replace(held, earlier=())
        assert first_items(cache, "ann") == ("monday",)


def test_an_expectation_that_came_later_locks_neither_rollback_nor_release(
    service: Night, two_nights, cache: Cache, monkeypatch: pytest.MonkeyPatch
):
    names = {**rollout.critical_expectations()}
    names["listens"] = [*names["listens"], "of_tomorrow"]
    monkeypatch.setattr(rollout, "critical_expectations", lambda: names)
    rollback(service.warehouse, cache, "too much jazz")
    release(service.warehouse, cache)
    assert first_items(cache, "ann") == ("monday",)
    with pytest.raises(InputError, match=r"listens\.of_tomorrow was not held"):
        serve(ready(service, WEDNESDAY, ann="wednesday"), cache)


def test_a_manifest_without_a_critical_expectation_of_a_table_serves_nothing_whenever_it_was_written(
    service: Night, two_nights, cache: Cache
):
    monday = two_nights[0].record
    without_listens = tuple(row for row in monday.manifest.expectations if row["table"] != "listens")
    changed = with_expectations(monday, without_listens)
    with pytest.raises(InputError, match=r"listens\.\* was not held"):
        manifest_after(service, changed)


def manifest_after(service: Night, record: NightRecord) -> None:
    manifest.write_file(service, record)
    manifest.verify(service, record, {})


def test_a_cache_of_another_warehouse_is_refused(service: Night, two_nights, cache: Cache, tmp_path: Path):
    elsewhere = replace(service, warehouse=replace(service.warehouse, path=str(tmp_path / "elsewhere")))
    create_missing(elsewhere.warehouse)
    other = ready(elsewhere, WEDNESDAY, ann="other")
    with pytest.raises(UsageError, match=r"(?s)serves another warehouse.*warehouse's own"):
        serve(unread(other), cache)
    assert first_items(cache, "ann") == ("tuesday",)
    assert states(elsewhere) == {}


def test_a_warehouse_that_was_mounted_elsewhere_goes_on(service: Night, two_nights, cache: Cache, tmp_path: Path):
    Path(service.warehouse.path).rename(tmp_path / "elsewhere")
    elsewhere = replace(service, warehouse=replace(service.warehouse, path=str(tmp_path / "elsewhere")))
    assert serve(ready(elsewhere, WEDNESDAY, ann="wednesday"), cache).moved


def test_who_may_not_write_the_warehouse_moves_no_pointer(
    service: Night, two_nights, cache: Cache, monkeypatch: pytest.MonkeyPatch
):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(rollout, "TemporaryFile", refuse)
    before = cache.pointer()
    with pytest.raises(UsageError, match=r"(?s)could not be recorded.*Permission denied"):
        rollback(service.warehouse, cache, "too much jazz")
    assert cache.pointer() == before
    assert set(states(service).values()) == {"published"}


def test_a_writer_that_comes_late_changes_no_manifest(service: Night, two_nights, monkeypatch: pytest.MonkeyPatch):
    tuesday = two_nights[1]
    path = manifest.file_path(service, tuesday.record.manifest)
    before = path.read_bytes()

    def refuse(*_: object, **__: object) -> None:
        raise ServiceError("the lease was lost")

    monkeypatch.setattr(writing, "replace_rows", refuse)
    changed = replace(tuesday.record, costs=({"stage": "late"},))
    with pytest.raises(ServiceError, match="lease was lost"):
        publications.publish(publications.Nights(service.warehouse), tuesday.night, changed, None)
    with pytest.raises(ServiceError, match="lease was lost"):
        publications.record_closed_gate(tuesday.night, ["late"])
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*-closed.json"))


def test_what_another_records_of_a_night_since_it_was_looked_at_is_not_overwritten(service: Night, two_nights):
    monday, tuesday = two_nights
    nights, others = publications.Nights(service.warehouse), publications.Nights(service.warehouse)
    of_monday, of_tuesday = nights.records()
    publications.mark_rolled_back(others, [tuesday.record.generation], "too much jazz")
    with pytest.raises(ServiceError, match="has written this table meanwhile"):
        nights.replace(replace(of_tuesday, state="stale"))
    nights.replace(replace(of_monday, state="stale"))  # another night: these do not conflict
    with pytest.raises(ServiceError, match="has written this table meanwhile"):
        nights.replace(replace(of_tuesday, state="stale"))
    assert states(service) == {monday.record.generation: "stale", tuesday.record.generation: "rolled_back"}


# A cache that went back


@pytest.mark.parametrize("cache_url", ["redis"], indirect=True)
class TestFailover:
    @pytest.fixture
    def go_back(self, redis_server, cache: Cache):
        """Gives the pointer the value that it had when the test began to watch."""
        client = redis_server.client
        before = client.get("nocturne:pointer")
        return lambda: client.set("nocturne:pointer", before)

    def test_a_lost_move_is_told_and_the_next_night_puts_it_right(
        self,
        service: Night,
        monday: Ready,
        cache: Cache,
        redis_server,
    ):
        serve(monday, cache)
        before = redis_server.client.get("nocturne:pointer")
        serve(ready(service, TUESDAY, ann="tuesday"), cache)
        require_recorded(service.warehouse, cache)
        redis_server.client.set("nocturne:pointer", before)
        with pytest.raises(ServiceError, match="went back behind the last move"):
            require_recorded(service.warehouse, cache)
        serve(ready(service, WEDNESDAY, ann="wednesday"), cache)
        require_recorded(service.warehouse, cache)
        assert cache.pointer().version == 3
        assert first_items(cache, "ann") == ("wednesday",)

    def test_a_rollback_that_the_cache_lost_holds_again(self, service: Night, two_nights, cache: Cache, go_back):
        rollback(service.warehouse, cache, "too much jazz")
        go_back()
        assert first_items(cache, "ann") == ("tuesday",)
        wednesday = ready(service, WEDNESDAY, ann="wednesday")
        assert serve(wednesday, cache).reason == f"held on {two_nights[0].record.generation}: too much jazz"
        assert first_items(cache, "ann") == ("monday",)

    def test_an_emptied_cache_is_filled_by_the_next_night(
        self,
        service: Night,
        two_nights,
        cache: Cache,
        redis_server,
    ):
        redis_server.client.flushall()
        assert serve(two_nights[1], cache).moved
        assert first_items(cache, "ann") == ("tuesday",)
        assert cache.pointer().version == 3


# What a search through the pointer's histories found: tests/serving/test_pointer_history.py


def test_lists_that_come_back_within_one_date_are_served_again(service: Night, monday: Ready, cache: Cache):
    serve(monday, cache)
    serve(ready(service, MONDAY, ann="monday again"), cache)
    serve(ready(service, MONDAY, ann="monday"), cache)
    assert first_items(cache, "ann") == ("monday",)
    assert states(service)[monday.record.generation] == "published"


def test_what_was_withdrawn_stays_so_when_its_night_comes_out_otherwise_in_between(
    service: Night, two_nights, cache: Cache, tmp_path: Path
):
    tuesday = two_nights[1].record.generation
    rollback(service.warehouse, cache, "too much jazz")
    serve(ready(service, TUESDAY, ann="rock"), cache)
    with open_cache(f"lmdb:{tmp_path / 'other'}") as other:
        assert serve(ready(service, TUESDAY, ann="tuesday"), other).reason == "withdrawn: too much jazz"
    assert states(service)[tuesday] == "rolled_back"


def test_a_later_night_is_stale_when_an_earlier_one_comes_back_to_what_it_was(service: Night, two_nights, cache: Cache):
    serve(ready(service, MONDAY, ann="monday again"), cache)
    serve(ready(service, TUESDAY, ann="tuesday"), cache)
    assert states(service)[two_nights[1].record.generation] == "published"
    serve(ready(service, MONDAY, ann="monday"), cache)
    assert states(service)[two_nights[1].record.generation] == "stale"


def test_a_later_night_is_stale_though_the_earlier_one_was_killed_as_it_was_published(
    service: Night, two_nights, cache: Cache, monkeypatch: pytest.MonkeyPatch
):
    again = ready(service, MONDAY, ann="monday again")
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(manifest, "write_file", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        serve(again, cache)
    serve(again, cache)
    assert states(service)[two_nights[1].record.generation] == "stale"


def test_of_a_date_the_row_that_counts_is_what_its_tables_hold(service: Night, two_nights, cache: Cache):
    rollback(service.warehouse, cache, "too much jazz")
    publications.record_closed_gate(service.on(TUESDAY), ["too few lists"])
    assert publications.all_records(service.warehouse)[-1].state == "gate_closed"
    for items in ("rock", "swing", "tango"):
        made = ready(service, TUESDAY, ann=items)
        serve(made, cache)
        assert publications.all_records(service.warehouse)[-1].generation == made.record.generation


def test_a_cache_that_is_held_on_what_another_withdrew_can_be_released(
    service: Night, two_nights, cache: Cache, tmp_path: Path
):
    monday, tuesday = two_nights
    with open_cache(f"lmdb:{tmp_path / 'other'}") as other:
        for made in (monday, tuesday, ready(service, WEDNESDAY, ann="wednesday")):
            serve(made, other)
        rollback(service.warehouse, other, "too much jazz")
        assert first_items(other, "ann") == ("tuesday",)
        rollback(service.warehouse, cache, "so it is on Tuesday")
        assert states(service)[tuesday.record.generation] == "rolled_back"
        assert release(service.warehouse, other).frozen_reason is None
        assert first_items(other, "ann") == ("tuesday",)


@pytest.mark.parametrize("lists", [{"ann": "monday"}, {}])
def test_an_emptied_cache_is_loaded_again_with_what_it_was_held_on_whatever_that_is(
    service: Night, tmp_path: Path, lists: dict[str, str]
):
    """Withdrawn meanwhile by another cache, with an item that a later night numbered first; or without any list."""
    two_listeners.write(service.on(TUESDAY), "item_index", [index_row(TUESDAY, 0, "monday")])
    nights = [ready(service, date(2026, 3, 1), ann="sunday"), ready(service, MONDAY, **lists)]
    nights.append(ready(service, TUESDAY, ann="monday"))
    held, other = (f"lmdb:{tmp_path / name}" for name in ("held", "other"))
    for url in (held, other):
        with open_cache(url) as cache:
            for made in nights:
                serve(made, cache)
    with open_cache(held) as cache:
        pointer = rollback(service.warehouse, cache, "too much jazz")
    with open_cache(other) as cache:
        rollback(service.warehouse, cache, "and more of it", nights[0].record.generation)
    shutil.rmtree(tmp_path / "held")
    with open_cache(held) as cache:
        serve(unread(ready(service, WEDNESDAY, ann="wednesday")), cache)
        recorded = publications.recorded_pointers(publications.all_records(service.warehouse))
        assert cache.pointer() == recorded[cache.place]
        assert cache.pointer() == replace(pointer, earlier=())
        assert cache.get("ann") is None if not lists else first_items(cache, "ann") == ("monday",)
        serve(nights[1], cache)
        assert release(service.warehouse, cache).frozen_reason is None


def index_row(first_night: date, number: int, item: str) -> dict[str, Any]:
    return {"first_night": first_night, "item_index": number, "item_id": item}
