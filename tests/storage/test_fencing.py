"""A writer whose lease went on to another cannot commit: by delta-rs, by Spark, before and in the middle."""

import threading
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from nocturne.core.errors import ServiceError
from nocturne.core.night import Night
from nocturne.storage import lease, tables
from nocturne.storage.bucket_files import BucketWriter
from nocturne.storage.contracts import contract
from nocturne.storage.fencing import APPLICATION, options, refusals, require, stamp
from nocturne.storage.leased import leased
from nocturne.storage.warehouse import keep_out_late_writers
from tests.fixtures import two_listeners

LATE = "another process has written this table meanwhile"


@pytest.fixture
def both(night) -> tuple[Night, Night]:
    """The night under an earlier token, and under a later one."""
    tonight = night(two_listeners.TONIGHT, "tables.buckets=1")
    return replace(tonight, token=3), replace(tonight, token=4)


def quarantined(night: Night) -> int:
    return tables.count(night, "quarantine")


def columns_of(table: str) -> str:
    return ", ".join(f"`{column.name}` {column.type}" for column in contract(table).columns)


def test_every_commit_is_stamped_with_its_token_and_a_number_of_its_own(both):
    _, later = both
    stamps = []
    for _ in range(2):
        two_listeners.write(later, "quarantine", two_listeners.quarantine())
        stamps.append(tables.opened(later, "quarantine").transaction_version(APPLICATION))
    assert stamps == [4 * 2**32, 4 * 2**32 + 1]


def test_an_earlier_token_cannot_commit_after_a_later_one(both):
    earlier, later = both
    two_listeners.write(later, "quarantine", two_listeners.quarantine())
    with pytest.raises(ServiceError, match=LATE):
        two_listeners.write(earlier, "quarantine", [])
    assert quarantined(later) == 1


def test_a_commit_on_its_way_is_refused_when_a_later_token_comes_in_between(both, monkeypatch: pytest.MonkeyPatch):
    earlier, later = both
    opened = tables.opened

    def overtaken(night: Night, table: str, at: int | None = None) -> DeltaTable:
        found = opened(night, table, at)
        if night.token == earlier.token:
            two_listeners.write(later, "quarantine", two_listeners.quarantine())
        return found

    monkeypatch.setattr(tables, "opened", overtaken)
    with pytest.raises(ServiceError, match=LATE):
        two_listeners.write(earlier, "quarantine", [])
    assert quarantined(later) == 1


def test_files_that_tasks_wrote_are_not_committed_late(spark: SparkSession, both):
    earlier, later = both
    path = tables.table_path(later, "pools")
    writer = BucketWriter(path, contract("pools").arrow_schema, str(two_listeners.TONIGHT), 0)
    writer.write(pa.Table.from_pylist(two_listeners.pools(), schema=contract("pools").arrow_schema))
    keep_out_late_writers(later)
    with pytest.raises(ServiceError, match=LATE):
        tables.commit(spark, earlier, "pools", [writer.close()])
    assert tables.count(later, "pools") == 0


def test_spark_passes_over_a_late_commit_and_that_is_an_error(spark: SparkSession, both):
    earlier, later = both
    rows = spark.createDataFrame([(two_listeners.TONIGHT, "unparsable", "f", "raw")], columns_of("quarantine"))
    number = stamp(tables.opened(earlier, "quarantine"), earlier.token)
    keep_out_late_writers(later)
    path = tables.table_path(later, "quarantine")
    rows.write.format("delta").mode("append").options(**options(number)).save(path)
    with pytest.raises(ServiceError, match=LATE):
        require(path, number)
    assert quarantined(later) == 0


def test_a_spark_job_that_runs_when_a_later_process_takes_over_does_not_commit(
    spark: SparkSession, both, tmp_path: Path
):
    earlier, later = both
    begun, go_on = tmp_path / "begun", tmp_path / "go on"

    def held_up(batches):
        import time

        begun.touch()
        while not go_on.exists():
            time.sleep(0.01)
        yield from batches

    def take_over() -> None:
        while not begun.exists():
            pass
        keep_out_late_writers(later)
        go_on.touch()

    rows = spark.createDataFrame([(two_listeners.TONIGHT, "unparsable", "f", "raw")], columns_of("quarantine"))
    path, table = tables.table_path(earlier, "quarantine"), tables.opened(earlier, "quarantine")
    writer = rows.mapInArrow(held_up, columns_of("quarantine")).write.format("delta").mode("append")
    other = threading.Thread(target=take_over)
    other.start()
    with pytest.raises(ServiceError, match=LATE), refusals(table):
        writer.options(**options(stamp(table, earlier.token))).save(path)
    other.join()
    assert quarantined(later) == 0


def test_who_takes_over_from_a_process_that_never_left_stamps_every_table_first(night, monkeypatch: pytest.MonkeyPatch):
    tonight = night(two_listeners.TONIGHT)
    monkeypatch.setattr(lease, "PROCESS_LASTS_SECONDS", 0)
    monkeypatch.setattr(lease.socket, "gethostname", lambda: "host-that-sleeps")
    late = leased([tonight], "late")
    (of_late,) = late.__enter__()
    monkeypatch.setattr(lease.socket, "gethostname", lambda: "another-host")
    with leased([tonight], "next") as (of_next,):
        assert of_next.token > of_late.token
        with pytest.raises(ServiceError, match=LATE):
            two_listeners.write(of_late, "quarantine", two_listeners.quarantine())
    with pytest.raises(ServiceError, match="lease on the warehouse was lost"):
        late.__exit__(None, None, None)
    assert quarantined(tonight) == 0


def test_who_follows_a_process_that_left_stamps_nothing(night):
    tonight = night(date(2025, 3, 2))
    before = tables.version(tonight, "quarantine")
    for _ in range(2):
        with leased([tonight]):
            pass
    assert tables.version(tonight, "quarantine") == before
