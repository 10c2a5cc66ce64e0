"""The stage: the same rows in this process and in tasks, night by night, from the tables of real nights."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.ingestion.build_interactions import build_interactions
from nocturne.ingestion.ingest_events import ingest_events
from nocturne.storage import tables
from tests.conftest import nights_in
from tests.fixtures.landed_files import DAY, parquet, write_file

NIGHTS = [DAY + timedelta(days=number) for number in range(3)]


def land(zone: Path) -> None:
    for number, day in enumerate(NIGHTS):
        listens = range(40 * number, 40 * number + 150)
        events = parquet(
            event_id=[f"{day}-{listen}" for listen in listens],
            user_id=[f"u{listen // 3}" for listen in listens],
            item_id=[f"i{listen * 3 % 80}" for listen in listens],
            listened_at=[f"{day}T{listen % 24:02d}:00:00Z" for listen in listens],
        )
        write_file(zone, "events.parquet", events, f"events/date={day}")
        write_file(zone, "_SUCCESS", "", f"events/date={day}")


@pytest.mark.parametrize("rows_at_once", [2**17, 8])
def test_many_rows_are_merged_as_few_are(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    land(tmp_path / "landing")
    stored = {}
    for way, few_rows in (("here", 10**9), ("on executors", -1)):
        monkeypatch.setattr("nocturne.ingestion.build_interactions._FEW_ROWS", few_rows)
        monkeypatch.setattr("nocturne.ingestion.build_interactions._LISTENS_AT_ONCE", rows_at_once)
        monkeypatch.setattr("nocturne.ingestion.build_interactions._FEWEST_AT_ONCE", rows_at_once)
        tonight = replace(nights_in(tmp_path / way)(DAY), landing=str(tmp_path / "landing"))
        for day in NIGHTS:
            for stage in (ingest_events, build_interactions):
                stage(spark, tonight.on(day), lambda *_, **__: None)
        stored[way] = {
            name: sorted(map(str, tables.rows(tonight.warehouse, name).to_pylist()))
            for name in ("item_index", "interactions")
        }
    assert stored["here"] == stored["on executors"]
    assert len(stored["here"]["item_index"]) == 80
    assert len(stored["here"]["interactions"]) == 50 + 64 + 77


def test_a_row_is_in_its_bucket_and_a_file_in_order(spark: SparkSession, night: Callable[..., Night]) -> None:
    tonight = night(DAY)
    land(Path(tonight.landing))
    for stage in (ingest_events, build_interactions):
        stage(spark, tonight, lambda *_, **__: None)
    for table in ("listens", "interactions"):
        for bucket in range(tonight.settings.tables.buckets):
            rows = tables.night_rows(tonight, table, ["bucket", "user_id"]).filter(pc.field("bucket") == bucket)
            assert rows["user_id"].to_pylist() == sorted(rows["user_id"].to_pylist())
