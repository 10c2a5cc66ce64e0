"""The landing zone read by Spark: the same rows as were counted, whatever format they came in, or the file is named."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.ingestion import landing
from nocturne.ingestion.ingest_events import ingest_events
from nocturne.ingestion.landing_files import EVENT_FIELDS
from tests.fixtures.landed_files import DAY, TIME, parquet, write_file

SOUND = f'"event_id": "%s", "user_id": "u", "item_id": "i", "listened_at": "{TIME}"'


def read(spark: SparkSession, zone: Path) -> list[dict[str, object]]:
    files = landing.list_events(spark, str(zone), DAY)
    events = landing.read_events(spark, files).persist()
    landing.require_every_row(events, files)
    return sorted((row.asDict() for row in events.collect()), key=lambda row: str(row["file"]))


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


def test_an_empty_day_has_the_columns_of_any_other(spark: SparkSession, tmp_path: Path) -> None:
    events = landing.read_events(spark, landing.list_events(spark, str(tmp_path), DAY))
    assert events.columns == ["file", "raw", "parsed", *EVENT_FIELDS, "failure"]
    assert events.count() == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 9, mtime=0)[:-5]),
        ("a.parquet", b"PAR1"),
        ("a.csv", "event_id\n"),
        ("a.json", ""),
    ],
)
def test_a_wrong_file_comes_out_of_spark_as_our_error(
    spark: SparkSession, tmp_path: Path, name: str, content: str | bytes
) -> None:
    write_file(tmp_path, "sound.jsonl", f"{{{SOUND % 1}}}")
    write_file(tmp_path, name, content)
    with pytest.raises(InputError, match=name):
        read(spark, tmp_path)


def test_a_file_that_changes_between_counting_and_reading_is_told_by_name(spark: SparkSession, tmp_path: Path) -> None:
    path = write_file(tmp_path, "a.jsonl", "{}\n")
    files = landing.list_events(spark, str(tmp_path), DAY)
    with pytest.raises(InputError, match=r"a\.jsonl(.|\n)*1 rows read(.|\n)*2 rows"):
        landing.require_every_row(landing.read_events(spark, files), [replace(files[0], rows=2)])
    path.unlink()
    with pytest.raises(InputError, match=r"a\.jsonl"):
        landing.require_every_row(landing.read_events(spark, files), files)


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
