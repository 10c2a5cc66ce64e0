"""Exposures: every one is on the disk or counted as dropped, in whole lines, whatever the disk does."""

import asyncio
import errno
import json
import os
import shutil
import threading
from datetime import UTC, date, datetime
from types import SimpleNamespace

import httpx
import pytest

from nocturne.core.settings import load_settings
from nocturne.ingestion.exposure_accounts import with_counts
from nocturne.ingestion.exposure_files import COMPLETE, count_lines, list_writers
from nocturne.ingestion.exposure_rows import Rules, parse_line
from nocturne.serving.cache import open_cache
from nocturne.serving.http import exposure_folder
from nocturne.serving.http.app import Worker
from nocturne.serving.http.exposures import Counts, Exposures, Shown, exposure
from nocturne.serving.now_playing import Answer, Suggestion
from tests.fixtures.fake_service import LISTENER, TUESDAY, FakeServed, ask, end, fake_app, service_settings
from tests.fixtures.served_world import ARMS, LISTENERS, in_arm, serve_world

DAY = "2025-03-05"
NEXT_DAY = "2025-03-06"
ROOMY = 2**20
NEVER = 3600.0


def shown(number, day=DAY):
    return Shown(day, json.dumps({"exposure_id": number}).encode() + b"\n")


@pytest.fixture
def landing(tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


@pytest.fixture
def writing(landing):
    """Makes exposures that are flushed by hand: `writing(today=...)`; all are closed at the end."""
    made = []

    def make(memory=ROOMY, today=lambda: DAY, seconds=NEVER):
        made.append(Exposures(landing, seconds, memory, today=today))
        return made[-1]

    yield make
    for exposures in made:
        exposures.close()


def parts(landing, day=DAY):
    return sorted(landing.glob(f"exposures/date={day}/*/part-*.jsonl"))


def numbers(landing, day=DAY):
    lines = [line for part in parts(landing, day) for line in part.read_text().splitlines()]
    return [json.loads(line)["exposure_id"] for line in lines]


def marks(landing, day=DAY):
    return [json.loads(mark.read_text()) for mark in landing.glob(f"exposures/date={day}/*/_SUCCESS")]


def fail_writes(monkeypatch, times, half=False):
    """Have the next writes fail as on a full disk, perhaps after half of the bytes."""
    write = os.write
    outcomes = (["half"] if half else []) + ["full"] * times

    def failing(descriptor, data):
        outcome = outcomes.pop(0) if outcomes else "whole"
        if outcome == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: len(data) // 2] if outcome == "half" else data)

    monkeypatch.setattr(exposure_folder, "os", SimpleNamespace(**vars(os) | {"write": failing}))


def test_an_exposure_says_what_was_shown_to_whom_when_and_from_what():
    answer = Answer(
        (Suggestion(0, 1.5, "for you", 0.25), Suggestion(2, 1.0, "for you", 1.0)), "als", "control", "als-1"
    )
    at = datetime(2025, 3, 5, 23, 59, 59, 999_999, tzinfo=UTC)
    day, line = exposure(FakeServed(TUESDAY), answer, "now_playing", LISTENER, "t9", "SE", at)
    assert day == "2025-03-05"
    assert line.endswith(b"}\n")
    told = json.loads(line)
    assert len(told.pop("exposure_id")) == 32
    assert told == {
        "user_id": LISTENER,
        "shown_at": "2025-03-05T23:59:59.999Z",
        "surface": "now_playing",
        "generation": TUESDAY.name,
        "run_date": "2025-03-04",
        "arm": "control",
        "source": "als",
        "model_version": "als-1",
        "playing": "t9",
        "market": "SE",
        "items": [{"item_id": "t1", "propensity": 0.25}, {"item_id": "t3", "propensity": 1.0}],
    }


def test_an_exposure_of_an_experiment_on_what_comes_next_says_where_the_arms_differ():
    answer = Answer((), "als", "mix/control", "als-1", {"bold": 3, "calm": None})
    _, line = exposure(FakeServed(TUESDAY), answer, "now_playing", LISTENER, "t9", "SE")
    told = json.loads(line)
    assert (told["arm"], told["differences"]) == ("mix/control", {"bold": 3, "calm": None})


def test_what_is_recorded_is_on_the_disk_after_a_flush_in_order(writing, landing):
    exposures = writing()
    for number in range(3):
        exposures.record(shown(number))
    assert exposures.counts == Counts(waiting=3, written=0, dropped=0)
    exposures.flush()
    assert exposures.counts == Counts(waiting=0, written=3, dropped=0)
    assert numbers(landing) == [0, 1, 2]
    assert marks(landing) == []


def test_a_thread_flushes_by_itself(landing):
    flushed = threading.Event()
    exposures = Exposures(landing, 0.05, ROOMY, tell=lambda counts: counts.written and flushed.set(), today=lambda: DAY)
    exposures.record(shown(1))
    assert flushed.wait(20)
    assert numbers(landing) == [1]
    exposures.close()


def test_the_end_writes_what_waits_and_a_mark_with_the_number_of_rows(writing, landing):
    exposures = writing()
    exposures.record(shown(1))
    exposures.flush()
    exposures.record(shown(2))
    exposures.close()
    assert numbers(landing) == [1, 2]
    assert marks(landing) == [{"rows": 2}]


def test_a_writer_that_showed_nothing_leaves_nothing(writing, landing):
    writing().close()
    assert list(landing.iterdir()) == []


def test_a_day_that_is_over_is_marked_though_nothing_comes_after_it(writing, landing):
    today = [DAY]
    exposures = writing(today=lambda: today[0])
    exposures.record(shown(1))
    exposures.flush()
    today[0] = NEXT_DAY
    exposures.flush()
    assert marks(landing) == [{"rows": 1}]


def test_each_exposure_lies_under_the_day_on_which_it_was_shown(writing, landing):
    exposures = writing()
    for number, day in enumerate((DAY, DAY, NEXT_DAY)):
        exposures.record(shown(number, day))
    exposures.flush()
    assert (numbers(landing), numbers(landing, NEXT_DAY)) == ([0, 1], [2])
    assert marks(landing) == [{"rows": 2}]
    exposures.close()
    assert marks(landing, NEXT_DAY) == [{"rows": 1}]


def test_a_clock_that_goes_back_gets_a_folder_of_its_own(writing, landing):
    exposures = writing()
    for number, day in enumerate((DAY, NEXT_DAY, DAY)):
        exposures.record(shown(number, day))
    exposures.close()
    assert sorted(numbers(landing)) == [0, 2]
    assert marks(landing) == [{"rows": 1}, {"rows": 1}]


def test_writers_have_folders_of_their_own(writing, landing):
    for number in range(3):
        exposures = writing()
        exposures.record(shown(number))
        exposures.close()
    assert len(list(landing.glob("exposures/*/*"))) == 3


def test_a_part_that_is_full_is_followed_by_another(writing, landing, monkeypatch):
    monkeypatch.setattr(exposure_folder, "PART_BYTES", 20)
    exposures = writing()
    for number in range(4):
        exposures.record(shown(number))
        exposures.flush()
    assert [part.name for part in parts(landing)] == ["part-000000.jsonl", "part-000001.jsonl"]
    assert numbers(landing) == [0, 1, 2, 3]


def test_memory_is_bounded_and_what_it_has_no_room_for_is_counted(writing, landing):
    exposures = writing(memory=2 * len(shown(1).line))
    for number in range(5):
        exposures.record(shown(number))
    assert exposures.counts == Counts(waiting=2, written=0, dropped=3)
    exposures.flush()
    exposures.record(shown(5))
    exposures.flush()
    assert numbers(landing) == [0, 1, 5]


@pytest.mark.parametrize("half", [False, True], ids=["at once", "in the midst of a line"])
def test_what_a_full_disk_does_not_take_is_written_once_when_it_does(writing, landing, monkeypatch, caplog, half):
    exposures = writing()
    exposures.record(shown(1))
    exposures.flush()
    fail_writes(monkeypatch, times=1, half=half)
    exposures.record(shown(2))
    exposures.flush()
    assert numbers(landing) == [1]
    assert exposures.counts == Counts(waiting=1, written=1, dropped=0)
    assert "No space left on device" in caplog.text
    exposures.record(shown(3))
    exposures.close()
    assert numbers(landing) == [1, 2, 3]
    assert marks(landing) == [{"rows": 3}]
    assert len(parts(landing)) == 1


def test_a_full_disk_is_warned_of_once_a_minute(writing, landing, monkeypatch, caplog):
    exposures = writing()
    fail_writes(monkeypatch, times=3)
    exposures.record(shown(1))
    for _ in range(3):
        exposures.flush()
    assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1


def test_a_folder_that_vanishes_is_made_anew(writing, landing):
    exposures = writing()
    exposures.record(shown(1))
    exposures.flush()
    shutil.rmtree(landing / "exposures")
    exposures.record(shown(2))
    exposures.flush()
    assert exposures.counts.waiting == 1
    exposures.flush()
    assert numbers(landing) == [2]
    assert exposures.counts == Counts(waiting=0, written=2, dropped=0)


def test_a_landing_zone_that_vanishes_is_not_made_anew_and_what_waits_at_the_end_is_counted_as_lost(
    writing, landing, caplog
):
    exposures = writing()
    landing.rmdir()
    exposures.record(shown(1))
    exposures.close()
    assert not landing.exists()
    assert exposures.counts == Counts(waiting=0, written=0, dropped=1)
    assert "1 exposures could not be written" in caplog.text


def test_nothing_is_lost_or_written_twice_while_threads_record_and_flush(landing):
    exposures = Exposures(landing, 0.001, ROOMY, today=lambda: DAY)
    for number in range(3000):
        exposures.record(shown(number))
    exposures.close()
    assert numbers(landing) == list(range(3000))
    assert marks(landing) == [{"rows": 3000}]


def served_exposures(landing):
    return [json.loads(line) for part in landing.glob("exposures/*/*/part-*") for line in part.read_text().splitlines()]


def test_lists_and_next_items_that_were_answered_are_exposures(landing):
    app = fake_app(landing=landing)
    listing = f"/v1/listeners/{LISTENER}/list"
    assert ask(app, "GET", f"{listing}?market=SE&limit=2").status_code == 200
    assert ask(app, "POST", "/v1/now-playing", json={"user_id": "new", "playing": "t1"}).status_code == 200
    for path in (f"{listing}?limit=0", "/v1/listeners/nobody/list", "/v1/items/t1/related", "/v1/generations"):
        ask(app, "GET", path)
    assert ask(app, "GET", listing, headers={"Nocturne-Preview": "page"}).status_code == 200
    end(app)
    first, second = served_exposures(landing)
    assert [first[name] for name in ("surface", "user_id", "market", "playing")] == ["list", LISTENER, "SE", None]
    assert [item["item_id"] for item in first["items"]] == ["t1", "a/b c/ö"]
    assert [second[name] for name in ("surface", "user_id", "market", "playing")] == ["now_playing", "new", None, "t1"]
    assert second["source"] == "market_popular"


def test_counts_of_exposures_are_metrics(landing):
    app = fake_app(landing=landing, exposure_flush_seconds=0.05)
    ask(app, "GET", f"/v1/listeners/{LISTENER}/list")
    end(app)
    text = ask(app, "GET", "/metrics").text
    assert "nocturne_exposures_written_total 1.0" in text
    assert "nocturne_exposures_waiting 0.0" in text
    assert "nocturne_exposures_dropped_total 0.0" in text


def test_the_night_takes_every_exposure_of_a_service_and_finds_its_writer_complete(landing):
    app = fake_app(landing=landing)
    ask(app, "GET", f"/v1/listeners/{LISTENER}/list?market=SE")
    ask(app, "POST", "/v1/now-playing", json={"user_id": "坂本", "playing": "t1", "content_types": ["audiobook"]})
    end(app)
    (day,) = landing.glob("exposures/date=*")
    run_date = date.fromisoformat(day.name.removeprefix("date="))
    writers = list_writers(str(landing), run_date)
    (writer,) = with_counts(writers, [count_lines(file) for file in writers[0].files])
    assert (writer.state, writer.lines) == (COMPLETE, 2)
    rules = Rules.of(run_date, load_settings().listens)
    rows = [parse_line(line, rules) for part in day.glob("*/part-*") for line in part.read_bytes().splitlines()]
    assert [row.get("reason") for row in rows] == [None, None]
    assert [row["user_id"] for row in rows] == [LISTENER, "坂本"]


def test_listeners_of_an_experiment_are_answered_by_their_arm_whatever_the_store_and_the_night_takes_the_differences(
    cache_url, landing
):
    members = {name: in_arm("ann", f"mix/{name}") for name in ("control", "bold")}
    with open_cache(cache_url) as cache:
        serve_world(cache, listeners={**LISTENERS, **members}, arms=ARMS)
    settings = load_settings()
    app = Worker(cache_url, settings.cache, service_settings(), str(landing))()

    async def ask_all():
        transport = httpx.ASGITransport(app)
        async with (
            app.app.router.lifespan_context(app.app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            asked = [
                {"user_id": user_id, "playing": "ash", "limit": 4} for user_id in ("control", "bold", "ann", "nobody")
            ]
            answers = [await client.post("/v1/now-playing", json=body) for body in asked]
            answers.append(await client.get("/v1/listeners/bold/list?limit=2"))
            return [answer.json() for answer in answers]

    answers = asyncio.run(ask_all())
    shown = [[item["item_id"] for item in answer["items"]] for answer in answers]
    assert shown[:3] == [["bay", "fir", "cob", "dew"], ["bay", "fir", "dew", "cob"], ["bay", "fir", "cob", "dew"]]
    assert [answer["arm"] for answer in answers] == ["mix/control", "mix/bold", "control", "control", "mix/bold"]
    assert not any("differences" in answer for answer in answers)
    (day,) = landing.glob("exposures/date=*")
    rules = Rules.of(date.fromisoformat(day.name.removeprefix("date=")), settings.listens)
    rows = [parse_line(line, rules) for part in day.glob("*/part-*") for line in part.read_bytes().splitlines()]
    told = [(row["user_id"], row["surface"], row["differences"]) for row in rows]
    assert told == [
        ("control", "now_playing", {"bold": 3, "calm": None}),
        ("bold", "now_playing", {"bold": 3}),
        ("ann", "now_playing", None),
        ("nobody", "now_playing", None),
        ("bold", "list", {"bold": None}),
    ]
