"""The refresh and the rollback, against LMDB and a real redis-server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from nocturne.core.errors import InputError, ServiceError, SettingsError
from nocturne.core.night import Night
from nocturne.serving import manifest, publications, rollout
from nocturne.serving.cache import Cache, Generation, Pointer, PointerMoved, open_cache
from nocturne.serving.cache.lmdb.store import EmbeddedCache
from nocturne.serving.rollout import Refreshed, release, require_recorded, rollback
from nocturne.storage import tables
from tests.fixtures.published_nights import Ready, ready

MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 3, day) for day in (2, 3, 4, 5))

REFRESH_UNTIL_THE_LISTS_ARE_LOADED = """
import sys
from dataclasses import replace
from datetime import date
from nocturne.serving.cache import open_cache
from nocturne.core.night import Night
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

night = Night(date(2026, 3, 3), "", sys.argv[2], sys.argv[1], load_settings(overrides=["tables.buckets=1"]))
made = ready(night, night.run_date, ann="tuesday", bob="tuesday")
with open_cache(sys.argv[1]) as cache:
    refresh(made.night, made.row, made.about, [Waiting(part) for part in made.parts], cache)
"""


@pytest.fixture
def cache(cache_url: str) -> Iterator[Cache]:
    with open_cache(cache_url) as opened:
        yield opened


@pytest.fixture
def service(night) -> Night:
    """A warehouse with one bucket; caches keep three generations."""
    return night(MONDAY, "tables.buckets=1")


def serve(made: Ready, cache: Cache) -> Refreshed:
    return rollout.refresh(made.night, made.row, made.about, made.parts, cache)


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
    return {str(row["generation"]): row["state"] for row in publications.known(service)}


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
    return Generation(made.row["generation"], made.night.run_date)


def test_a_night_is_loaded_published_and_served(service: Night, cache: Cache):
    made = ready(service, MONDAY, ann="x", bob="y")
    name = made.row["generation"]
    assert serve(made, cache) == Refreshed(name, moved=True, reason=None, listeners=2)
    assert cache.pointer() == Pointer(generation(made), move=1, warehouse=service.warehouse)
    assert first_items(cache, "bob") == ("y",)
    assert states(service) == {name: "published"}


def test_the_same_night_twice_changes_nothing(two_nights, cache: Cache):
    before = cache.pointer()
    for made in reversed(two_nights):
        again = serve(unread(made), cache)
        assert again == Refreshed(made.row["generation"], moved=False, reason=None, listeners=1)
    assert cache.pointer() == before


def test_as_many_generations_are_kept_as_settings_say(service: Night, two_nights, cache: Cache):
    settings = service.settings.model_copy(
        update={"cache": service.settings.cache.model_copy(update={"generations": 2})}
    )
    wednesday = ready(replace(service, settings=settings), WEDNESDAY, ann="wednesday")
    serve(wednesday, cache)
    assert cache.generations() == [two_nights[1].row["generation"], wednesday.row["generation"]]


def test_a_backfill_of_an_older_night_is_published_but_not_loaded_and_does_not_move_the_pointer(
    service: Night, two_nights, cache: Cache
):
    before = cache.pointer()
    other = ready(service, MONDAY, ann="other")
    served = two_nights[1].row["generation"]
    told = f"backfill of an older night: {served} is served"
    assert serve(unread(other), cache) == Refreshed(None, moved=False, reason=told, listeners=0)
    assert cache.pointer() == before
    assert states(service) == {
        two_nights[0].row["generation"]: "superseded",
        other.row["generation"]: "published",
        served: "stale",
    }


def test_a_rollback_is_recorded_and_holds_until_it_is_released(service: Night, two_nights, cache: Cache):
    monday, tuesday = two_nights
    held = Pointer(generation(monday), held="too much jazz", move=3, warehouse=service.warehouse)
    assert rollback(service, cache, "too much jazz") == held
    assert first_items(cache, "ann") == ("monday",)
    assert states(service) == {monday.row["generation"]: "published", tuesday.row["generation"]: "rolled_back"}

    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    told = f"held on {monday.row['generation']}: too much jazz"
    assert serve(unread(wednesday), cache) == Refreshed(None, moved=False, reason=told, listeners=0)
    again = serve(unread(tuesday), cache)
    assert again.reason == told
    assert states(service)[tuesday.row["generation"]] == "rolled_back"

    assert release(service, cache) == replace(held, held=None, move=4)
    assert serve(wednesday, cache).moved
    assert cache.pointer() == Pointer(generation(wednesday), (generation(monday),), move=5, warehouse=service.warehouse)
    assert cache.generations() == [monday.row["generation"], wednesday.row["generation"]]


def test_a_rollback_that_died_before_it_was_recorded_is_recorded_by_the_next_night(
    service: Night, two_nights, cache: Cache, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(publications, "withdraw", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        rollback(service, cache, "too much jazz")
    assert first_items(cache, "ann") == ("monday",)
    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    assert serve(wednesday, cache).reason == f"held on {two_nights[0].row['generation']}: too much jazz"
    assert states(service)[two_nights[1].row["generation"]] == "rolled_back"
    require_recorded(service, cache)


def test_a_rollback_goes_to_the_generation_that_is_named(service: Night, two_nights, cache: Cache):
    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    serve(wednesday, cache)
    monday, tuesday = two_nights
    rollback(service, cache, "jazz since Tuesday", monday.row["generation"])
    assert first_items(cache, "ann") == ("monday",)
    assert states(service) == {
        monday.row["generation"]: "published",
        tuesday.row["generation"]: "rolled_back",
        wednesday.row["generation"]: "rolled_back",
    }


def test_what_was_rolled_back_is_served_again_once_the_hold_is_released(service: Night, two_nights, cache: Cache):
    rollback(service, cache, "too much jazz")
    release(service, cache)
    assert serve(two_nights[1], cache).moved
    assert set(states(service).values()) == {"published"}
    assert first_items(cache, "ann") == ("tuesday",)


def test_a_rollback_without_an_earlier_night_is_an_error(service: Night, monday: Ready, cache: Cache):
    with pytest.raises(SettingsError, match="serves no generation"):
        rollback(service, cache, "too much jazz")
    serve(monday, cache)
    with pytest.raises(SettingsError, match="no previous generation"):
        rollback(service, cache, "too much jazz")
    with pytest.raises(SettingsError, match="no such generation"):
        rollback(service, cache, "too much jazz", "2026-03-01-00000000")


def test_a_rollback_to_lists_that_the_cache_has_lost_is_an_error(
    service: Night, two_nights, cache: Cache, monkeypatch: pytest.MonkeyPatch
):
    count = type(cache).count
    lost = two_nights[0].row["generation"]
    monkeypatch.setattr(type(cache), "count", lambda self, name: 0 if name == lost else count(self, name))
    with pytest.raises(ServiceError, match="does not hold every list"):
        rollback(service, cache, "too much jazz")
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
    class Forgetful(EmbeddedCache):
        def read(self, generation: str, user_id: str) -> bytes | None:
            return (super().read(generation, user_id) or b"")[:-1]

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
                if other.pointer().held is None:
                    rollback(service, other, "too much jazz")

    wednesday.parts = [Rolling()]
    with pytest.raises(PointerMoved):
        serve(wednesday, cache)
    assert cache.pointer().served == generation(two_nights[0])
    assert cache.pointer().held == "too much jazz"


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
            service.warehouse,
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
    assert cache.generations() == [monday.row["generation"], wednesday.row["generation"]]
    assert first_items(cache, "ann") == ("wednesday",)


# What the manifest is for


def forge(row):
    """Other content under the old seal."""
    row["model_version"] = "als-2"


def reject(row):
    """A seal that is right, over an expectation that failed."""
    row["expectations"] = [each | {"outcome": "failed"} for each in row["expectations"]]
    row["manifest"] = manifest.seal(row)


def leave_out(row):
    """A seal that is right, over too few expectations."""
    row["expectations"] = row["expectations"][1:]
    row["manifest"] = manifest.seal(row)


@pytest.mark.parametrize(
    ("change", "says"), [(forge, "over its content"), (reject, "was not held"), (leave_out, "was not held")]
)
def test_a_manifest_that_does_not_hold_moves_no_pointer(service: Night, monday: Ready, cache: Cache, change, says):
    change(monday.row)
    with pytest.raises(InputError, match=says):
        serve(monday, cache)
    assert cache.pointer() is None


def test_a_manifest_whose_file_was_changed_moves_no_pointer(service: Night, two_nights, cache: Cache):
    path = manifest.path_of(service, two_nights[0].row)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"listeners": 7}))
    with pytest.raises(InputError, match="None in the file"):
        rollback(service, cache, "too much jazz")
    path.unlink()
    with pytest.raises(InputError, match="None in the file"):
        rollback(service, cache, "too much jazz")
    assert first_items(cache, "ann") == ("tuesday",)


def test_a_night_whose_table_was_written_again_can_be_rolled_back_to_at_its_version(
    service: Night, two_nights, cache: Cache
):
    tables.replace(
        tables.night_rows(two_nights[0].night, "ranked_lists").slice(0, 0), "ranked_lists", two_nights[0].night
    )
    rollback(service, cache, "too much jazz")
    assert first_items(cache, "ann") == ("monday",)


def test_a_night_whose_files_are_gone_is_not_rolled_back_to(service: Night, two_nights, cache: Cache):
    (path,) = tables.files(two_nights[0].night, "ranked_lists")["path"].to_pylist()
    Path(tables.table_path(service, "ranked_lists"), path).unlink()
    with pytest.raises(ServiceError, match="not on the disk"):
        rollback(service, cache, "too much jazz")
    assert first_items(cache, "ann") == ("tuesday",)


def test_a_table_whose_log_lost_its_last_version_moves_no_pointer(service: Night, two_nights, cache: Cache):
    wednesday = ready(service, WEDNESDAY, ann="wednesday")
    log = Path(tables.table_path(service, "ranked_lists"), "_delta_log")
    max(log.glob("*.json")).unlink()
    with pytest.raises((InputError, ServiceError)):
        serve(wednesday, cache)
    assert first_items(cache, "ann") == ("tuesday",)


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
        require_recorded(service, cache)
        redis_server.client.set("nocturne:pointer", before)
        with pytest.raises(ServiceError, match="went back behind the last move"):
            require_recorded(service, cache)
        serve(ready(service, WEDNESDAY, ann="wednesday"), cache)
        require_recorded(service, cache)
        assert cache.pointer().move == 3
        assert first_items(cache, "ann") == ("wednesday",)

    def test_a_rollback_that_the_cache_lost_holds_again(self, service: Night, two_nights, cache: Cache, go_back):
        rollback(service, cache, "too much jazz")
        go_back()
        assert first_items(cache, "ann") == ("tuesday",)
        wednesday = ready(service, WEDNESDAY, ann="wednesday")
        assert serve(wednesday, cache).reason == f"held on {two_nights[0].row['generation']}: too much jazz"
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
        assert cache.pointer().move == 3
