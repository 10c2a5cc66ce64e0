"""Takedowns in both caches: gone from every answer at once, lists full, and the pointer where it was."""

import json
import threading
from datetime import date
from pathlib import Path

import pytest

from nocturne.core.errors import InputError, ServiceError, UsageError
from nocturne.core.takedowns import Takedowns
from nocturne.serving.cache import Cache, Generation, Overlay, TakedownsChanged, open_cache
from nocturne.serving.now_playing import Filters, now_playing, related
from nocturne.serving.reader import Reader
from nocturne.serving.standing import nightly_list
from nocturne.serving.steered import SteerRequest, steer
from nocturne.serving.takedowns import TakedownRequest, obey, take_down
from nocturne.steering.plan import Plan
from tests.fixtures.served_world import GENERATION, ITEMS, LISTENERS, serve_world
from tests.fixtures.takedowns import NOON, word

ROOT = Path(__file__).parents[2]
NEXT = Generation("2026-03-03-bbbbbbbb", date(2026, 3, 3))
IN_RESERVE = {"ann": ["gum", "fir", "hop"], "bob": ["ash"]}
"""Fir is in ann's list: what stands twice moves up once."""


@pytest.fixture
def served(cache: Cache) -> Cache:
    """The small world with something in reserve."""
    reserves = {user: [ITEMS.index(item) for item in IN_RESERVE.get(user, ())] for user in LISTENERS}
    serve_world(cache, listeners={user: row | {"reserve": reserves[user]} for user, row in LISTENERS.items()})
    return cache


def items_of(cache: Cache, user: str) -> list[str]:
    found = cache.get(user)
    assert found is not None
    return list(found.item_ids)


def test_a_list_stays_full_and_what_stands_behind_moves_up(served: Cache):
    before, pointer = served.get("ann"), served.pointer()
    obey(served, [word("fir")])
    after = served.get("ann")
    assert before is not None
    assert after is not None
    assert before.item_ids == ("bay", "fir", "cob")
    assert after.item_ids == ("bay", "cob", "gum")
    assert after.scores == (before.scores[0], before.scores[2], before.scores[2])
    assert served.pointer() == pointer
    obey(served, [word("gum", minute=1), word("bay", minute=1), word("hop", minute=1)])
    assert items_of(served, "ann") == ["cob"]


def test_a_lift_brings_the_list_back(served: Cache):
    before = served.get("ann")
    obey(served, [word("bay")])
    obey(served, [word("bay", minute=1, lifts=True)])
    assert served.get("ann") == before


def test_an_item_that_is_down_in_a_market_is_gone_for_its_listeners_alone(served: Cache):
    obey(served, [word("dew", "NO")])
    assert items_of(served, "bob") == ["elm", "ash"]
    assert items_of(served, "cec") == ["ash", "dew"]


def test_every_reader_in_every_process_obeys_from_its_next_read_on(cache_url: str, served: Cache):
    with open_cache(cache_url, read_only=True) as reader, reader.snapshot() as snapshot:
        assert reader.get("ann")
        assert snapshot.get("ann")
        obey(served, [word("bay")])
        assert "bay" not in items_of(reader, "ann")
        later = threading.Event()
        later.wait(0.2)  # a snapshot of a server looks ten times a second
        listed, row = snapshot.get("ann"), snapshot.row("ann")
        assert listed is not None
        assert listed.item_ids == ("fir", "cob", "gum")
        assert row is not None
        assert [ITEMS[number] for number in row.numbers] == ["fir", "cob"]


def test_what_is_taken_down_stays_so_in_another_generation_and_after_a_rollback(served: Cache):
    obey(served, [word("bay")])
    serve_world(served, NEXT)
    assert items_of(served, "ann") == ["fir", "cob"]
    pointer = served.pointer()
    assert pointer is not None
    served.swap_pointer(pointer, type(pointer)(GENERATION, (), version=pointer.version + 1))
    assert items_of(served, "ann") == ["fir", "cob", "gum"]


def test_a_refresh_reads_back_lists_as_they_were_loaded(served: Cache):
    before = served.decode(GENERATION.name, "ann")
    obey(served, [word("bay")])
    assert served.decode(GENERATION.name, "ann") == before


def test_two_writers_at_once_lose_nothing(cache_url: str, served: Cache):
    def write(some: str) -> None:
        with open_cache(cache_url) as store:
            for item in some:
                obey(store, [word(item)])

    threads = [threading.Thread(target=write, args=(some,)) for some in ("abcdefgh", "ijklmnop", "abmnop")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    overlay = served.overlay()
    assert overlay.takedowns.item_ids == set("abcdefghijklmnop")
    assert overlay.version == 16


def test_a_change_decided_on_takedowns_of_before_is_refused_and_a_second_time_does_nothing(served: Cache):
    before = served.overlay()
    first, second = (before.with_words([word(item)]) for item in ("bay", "fir"))
    served.swap_overlay(before, first)
    served.swap_overlay(before, first)
    with pytest.raises(TakedownsChanged):
        served.swap_overlay(before, second)
    assert obey(served, [word("bay")]).version == 1


def test_a_reader_writes_no_takedowns(cache_url: str, served: Cache):
    with open_cache(cache_url, read_only=True) as reader, pytest.raises(UsageError, match="reading only"):
        reader.swap_overlay(Overlay(), Overlay(1, Takedowns.of([word("bay")])))


def test_what_another_release_wrote_is_told_and_nothing_is_shown(served: Cache):
    class Strange(Overlay):
        content = b'{"version":1}'

    served.swap_overlay(Overlay(), Strange(1))
    with pytest.raises(InputError, match="takedowns of the serving cache"):
        served.get("ann")


def test_thousands_of_takedowns_have_room(served: Cache):
    overlay = obey(served, [word(f"item-{number}", why="x" * 500) for number in range(30_000)])
    assert len(overlay.content) > 15 * 2**20
    assert items_of(served, "ann") == ["bay", "fir", "cob"]
    obey(served, [word("bay")])
    assert items_of(served, "ann") == ["fir", "cob", "gum"]


def test_no_answer_lists_or_names_what_is_taken_down(served: Cache):
    reader = Reader(served, check_seconds=0)
    try:
        whole = reader.served()
        obey(served, [word("bay"), word("ash")])
        now = reader.served()
        assert reader.served() is now
        assert now.generation == whole.generation
        row, filters, number = now.row("ann"), Filters(limit=8, allow_heard=True, because=True), ITEMS.index
        assert row is not None
        answers = [
            nightly_list(now.items, row, Plan(), filters),
            now_playing(now.items, row, "cob", ["ash", "bay"], filters),
            now_playing(now.items, None, "ash", [], filters),
            now_playing(now.items, None, None, [], filters._replace(market="SE")),
            related(now.items, "dew", filters),
            steer(now.items, row, SteerRequest(Plan(), "ash", limit=8)).answer,
        ]
        for answer in answers:
            assert answer is not None
            assert answer.suggestions
            assert {number("ash"), number("bay")}.isdisjoint(each.number for each in answer.suggestions)
            assert not any(name in each.why for each in answer.suggestions for name in ("Ash", "Bay"))
        assert related(now.items, "ash", filters) is None
        assert related(whole.items, "ash", filters) is not None
    finally:
        reader.close()


def test_what_is_popular_is_replaced_by_the_next_most_heard_of_its_type(served: Cache):
    reader = Reader(served, check_seconds=0)
    try:
        assert [ITEMS[number] for number in reader.served().items.popular("SE")[0]] == ["ash", "dew", "gum"]
        obey(served, [word("ash", "SE")])
        items = reader.served().items
        assert [ITEMS[number] for number in items.popular("SE")[0]] == ["dew", "gum", "bay"]
        assert [ITEMS[number] for number in items.popular("NO")[0]] == ["dew", "ash"]
        assert items.popular("DE")[0].tolist() == [0, 3, 1]
    finally:
        reader.close()


class TestRequests:
    """Requests of commands and of the service."""

    @pytest.fixture
    def landing(self, tmp_path: Path) -> Path:
        (tmp_path / "landing").mkdir()
        return tmp_path / "landing"

    def landed(self, landing: Path) -> list[dict[str, object]]:
        files = sorted((landing / "takedowns").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def test_a_request_is_landed_and_obeyed_from_the_night_after_the_one_that_is_served(
        self, served: Cache, landing: Path
    ):
        obeyed = take_down(served, landing, TakedownRequest(["bay", "bay", "fir"], "court order"), NOON)
        assert [(line["item_id"], line["from_night"]) for line in self.landed(landing)] == [
            ("bay", "2026-03-02"),
            ("fir", "2026-03-02"),
        ]
        assert items_of(served, "ann") == ["cob", "gum", "hop"]
        again = take_down(served, landing, TakedownRequest(["bay"], "once more"), NOON)
        assert (again.words, again.overlay.version) == ((), obeyed.overlay.version)
        assert len(self.landed(landing)) == 2
        lifted = take_down(served, landing, TakedownRequest(["bay"], "settled", lifts=True))
        assert str(lifted.words[0].from_night) == "2026-03-03"
        assert items_of(served, "ann") == ["bay", "cob", "gum"]

    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            (TakedownRequest(["bay"], " "), "needs a reason"),
            (TakedownRequest(["bay"], "x", market="*"), "names none"),
            (TakedownRequest(["bay", "nobody"], "x"), "does not know an item"),
            (TakedownRequest(["bay"], "x", lifts=True), "is not taken down"),
        ],
    )
    def test_a_request_that_cannot_be_meant_does_nothing(
        self, served: Cache, landing: Path, request_: TakedownRequest, message: str
    ):
        with pytest.raises(UsageError, match=message):
            take_down(served, landing, request_)
        assert not (landing / "takedowns").exists()
        assert served.overlay() == Overlay()

    def test_an_item_may_be_taken_down_before_it_is_known(self, served: Cache, landing: Path):
        take_down(served, landing, TakedownRequest(["nobody"], "x", unseen_too=True))
        assert served.overlay().takedowns.item_ids == {"nobody"}

    def test_a_lift_in_a_market_of_what_is_down_everywhere_is_refused(self, served: Cache, landing: Path):
        take_down(served, landing, TakedownRequest(["bay"], "x"))
        with pytest.raises(UsageError, match="not taken down in SE alone"):
            take_down(served, landing, TakedownRequest(["bay"], "x", market="SE", lifts=True))

    def test_without_a_landing_zone_nothing_is_taken_down(self, served: Cache, tmp_path: Path):
        with pytest.raises(UsageError, match="no landing zone"):
            take_down(served, tmp_path / "nowhere", TakedownRequest(["bay"], "x"))
        (tmp_path / "takedowns").write_text("a file in its place")
        with pytest.raises(ServiceError, match="cannot be landed"):
            take_down(served, tmp_path, TakedownRequest(["bay"], "x"))
        assert served.overlay() == Overlay()


def test_one_module_alone_changes_the_takedowns_of_a_cache():
    callers = [path.name for path in (ROOT / "nocturne").rglob("*.py") if ".swap_overlay(" in path.read_text()]
    assert callers == ["takedowns.py"]
