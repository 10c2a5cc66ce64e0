"""The landing zone: the same rows as were counted, whatever format they came in, or the file is named."""

import gzip
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.ingestion import landing
from nocturne.ingestion.ingest_events import ingest_events
from nocturne.ingestion.landed_rows import Part, as_texts, read_parts
from nocturne.ingestion.landing_files import EVENT_FIELDS, LandedFile
from nocturne.storage import tables
from tests.conftest import nights_in
from tests.fixtures.landed_files import DAY, TIME, parquet, write_file

SOUND = f'"event_id": "%s", "user_id": "u", "item_id": "i", "listened_at": "{TIME}"'


def read(spark: SparkSession, zone: Path) -> list[dict[str, object]]:
    files = landing.list_events(spark, str(zone), DAY)
    batches = list(map(as_texts, read_parts(chain(*landing.share_out(files)), EVENT_FIELDS)))
    landing.require_every_row(files, Counter(name for batch in batches for name in batch["file"].to_pylist()))
    return [row for batch in batches for row in batch.to_pylist()]


def test_every_format_gives_the_same_fields_and_keeps_the_line(spark: SparkSession, tmp_path: Path) -> None:
    write_file(tmp_path, "a.jsonl", f'{{{SOUND % 1}, "plays": 2}}\n\n')
    write_file(tmp_path, "b.jsonl.gz", f'{{{SOUND % 2}, "plays": "2"}}')
    write_file(tmp_path, "c.csv", f'event_id,user_id,item_id,listened_at,plays,extra\n3,u,i,"{TIME}",2,x\n')
    write_file(tmp_path, "d.csv", f'\ufeff"plays","listened_at","item_id","user_id","event_id"\r\n2,{TIME},i,u,4\r\n')
    times = pa.array([datetime(2025, 3, 2, 10, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    write_file(tmp_path, "e.parquet", parquet(event_id=["5"], listened_at=times, plays=pa.array([2], pa.int32())))
    rows = read(spark, tmp_path)
    assert [row["file"] for row in rows] == ["a.jsonl", "b.jsonl.gz", "c.csv", "d.csv", "e.parquet"]
    assert [row["event_id"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert {(row["parsed"], row["user_id"], row["item_id"], row["plays"], row["ms_played"]) for row in rows} == {
        (True, "u", "i", "2", None)
    }
    assert {str(row["listened_at"])[:10] for row in rows} == {"2025-03-02"}
    assert [row["raw"] for row in rows][2:] == [f'3,u,i,"{TIME}",2,x', f"2,{TIME},i,u,4", None]


def judge_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have any number of events judged on the executors, as large days are."""
    monkeypatch.setattr("nocturne.ingestion.ingest_events._FEW_EVENTS", -1)
    monkeypatch.setattr("nocturne.ingestion.ingest_events._EVENTS_TOGETHER", 500)


@pytest.fixture(params=["here", "on executors"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are judged in this process, and in tasks."""
    if request.param == "on executors":
        judge_many(monkeypatch)


def ingest(spark: SparkSession, tonight: Night) -> None:
    write_file(Path(tonight.landing), "_SUCCESS", "", f"events/date={tonight.run_date}")
    ingest_events(spark, tonight, lambda *_, **__: None)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 9, mtime=0)[:-5]),
        ("a.parquet", b"PAR1"),
        ("a.csv", "event_id\n"),
        ("a.json", ""),
    ],
)
def test_a_wrong_file_fails_the_stage_by_its_name(
    spark: SparkSession, night: Callable[..., Night], name: str, content: str | bytes
) -> None:
    tonight = night(DAY)
    write_file(Path(tonight.landing), "sound.jsonl", f"{{{SOUND % 1}}}")
    write_file(Path(tonight.landing), name, content)
    with pytest.raises(InputError, match=name):
        ingest(spark, tonight)
    assert not tables.dates(tonight.warehouse, "listens")


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("change", [lambda path: path.write_text("{}\n" * 2), lambda path: path.unlink()])
def test_a_file_that_changes_between_counting_and_reading_is_told_by_name(
    spark: SparkSession,
    night: Callable[..., Night],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
) -> None:
    tonight = night(DAY)
    path = write_file(Path(tonight.landing), "a.jsonl", "{}\n" * 3)
    share_out = landing.share_out

    def share_out_later(files: list[LandedFile]) -> list[list[Part]]:
        change(path)
        return share_out(files)

    monkeypatch.setattr(landing, "share_out", share_out_later)
    with pytest.raises(InputError, match=r"a\.jsonl"):
        ingest(spark, tonight)
    assert not tables.dates(tonight.warehouse, "listens")


def land_two_nights(zone: Path) -> list[date]:
    """Duplicates within a night, of other listeners and of the night before, a bot, broken rows, three formats."""
    days = [DAY, DAY + timedelta(days=1)]
    for day in days:
        folder = f"events/date={day}"
        times = [f"{day}T{n // 60:02d}:{n % 60:02d}:00Z" for n in range(1320)]
        bot = [event(f"{day}-bot-{n}", "bot", time) for n, time in enumerate(times)]
        bot += [event(f"{day}-bot-again-{n}", "bot", time) for n, time in enumerate(times[:200])]
        people = [event(f"{day}-{n % 150}", f"u{n % 40}", times[n]) for n in range(200)]
        resent = [event(f"{DAY}-{n}", f"u{n % 40}", times[n]) for n in range(30)]
        write_file(zone, "a.jsonl", "\n".join([*bot, *people, "[]", "", "{}"]), folder)
        write_file(zone, "b.jsonl.gz", "\n".join(resent), folder)
        ids = {"event_id": [f"{day}-p", "", f"{day}-p"], "user_id": ["u1", "u2", "bot"], "item_id": ["i"] * 3}
        write_file(zone, "c.parquet", parquet(**ids, listened_at=times[5:8]), folder)
    return days


def event(event_id: str, user_id: str, time: str) -> str:
    return f'{{"event_id": "{event_id}", "user_id": "{user_id}", "item_id": "i", "listened_at": "{time}"}}'


def test_many_events_are_judged_as_few_are(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = land_two_nights(tmp_path / "landing")
    stored = []
    for way in ("here", "on executors"):
        if way == "on executors":
            judge_many(monkeypatch)
        tonight = replace(nights_in(tmp_path / way)(DAY, "listens.bot_rows=1000"), landing=str(tmp_path / "landing"))
        for day in days:
            ingest(spark, tonight.on(day))
        rows = {name: tables.rows(tonight.warehouse, name) for name in ("listens", "quarantine", "ingests")}
        stored.append({name: sorted(map(str, table.to_pylist())) for name, table in rows.items()})
    assert stored[0] == stored[1]
    first, second = tables.rows(tonight.warehouse, "ingests").sort_by("run_date").to_pylist()
    # Each night 50 of 200 people's rows and one of Parquet; 30 were sent again, on the first night within it.
    assert (first["listens"], first["duplicates"]) == (151, 50 + 1 + 30)
    assert (second["listens"], second["duplicates"]) == (151, 50 + 1 + 30)
    assert dict(first["reasons"]) == {"unparsable": 1, "missing_event_id": 2, "bot": 1520}


def test_odd_rows_of_every_format_are_conserved_and_quarantine_can_be_read_by_anyone(
    spark: SparkSession, night: Callable[..., Night]
) -> None:
    tonight = night(DAY)
    zone = Path(tonight.landing)
    lines = [
        f"{{{SOUND % 1}}}{{{SOUND % 2}}}",
        f'{{{SOUND % 3}, "market": "caf\udce9"}}',
        f"{{{SOUND % 4}}}".replace('"u"', '"s\\ud83d"'),
        f"{{{SOUND % 5}}}".replace('"u"', '"\\t"'),
        f"{{{SOUND % 6}}}".replace('"u"', '"' + "L" * 600 + '"'),
        f"{{{SOUND % 7}}}",
    ]
    write_file(zone, "a[1].jsonl", "\n".join(lines))
    users = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"u"]).buffers())
    two = {"event_id": ["8", "9"], "item_id": ["i"] * 2, "listened_at": [TIME] * 2}
    write_file(zone, "b.parquet", parquet(user_id=users, **two))
    write_file(zone, "_SUCCESS", "8")
    ingest_events(spark, tonight, lambda *_, **__: None)
    stored = {
        table: DeltaTable(tonight.warehouse.table_path(table)).to_pyarrow_table().to_pylist()
        for table in ("quarantine", "listens")
    }
    assert sorted(row["event_id"] for row in stored["listens"]) == ["7", "9"]
    assert sorted((row["reason"], row["file"]) for row in stored["quarantine"]) == [
        ("long_id", "a[1].jsonl"),
        ("missing_user_id", "a[1].jsonl"),
        ("unparsable", "a[1].jsonl"),
        ("unparsable", "a[1].jsonl"),
        ("unparsable", "a[1].jsonl"),
        ("unparsable", "b.parquet"),
    ]
    raw = [row["raw"] for row in stored["quarantine"]]
    assert lines[0] in raw
    assert any("caf\\xe9" in text for text in raw)
