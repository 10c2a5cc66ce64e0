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
from nocturne.core.night import Night, Warehouse
from nocturne.storage import lease, lease_state, tables, writing
from nocturne.storage.bucket_files import BucketWriter
from nocturne.storage.contracts import contract
from nocturne.storage.fencing import APPLICATION, conflicts_as_errors, next_version, verify_committed, writer_options
from nocturne.storage.warehouse import fence_out_previous_writers, leased
from tests.fixtures import two_listeners

LATE = "another process has written this table meanwhile"


@pytest.fixture
def both(night) -> tuple[Night, Night]:
    """The night under an earlier token, and under a later one."""
    tonight = night(two_listeners.TONIGHT, "tables.buckets=1")
    earlier, later = (replace(tonight, warehouse=replace(tonight.warehouse, token=token)) for token in (3, 4))
    return earlier, later


def quarantined(night: Night) -> int:
    return tables.count(night, "quarantine")


def columns_of(table: str) -> str:
    return ", ".join(f"`{column.name}` {column.type}" for column in contract(table).columns)


def test_every_commit_carries_its_token_and_a_number_of_its_own(both):
    _, later = both
    versions = []
    for _ in range(2):
        two_listeners.write(later, "quarantine", two_listeners.quarantine())
        versions.append(tables.open_table(later.warehouse, "quarantine").transaction_version(APPLICATION))
    assert versions == [4 * 2**32, 4 * 2**32 + 1]


def test_an_earlier_token_cannot_commit_after_a_later_one(both):
    earlier, later = both
    two_listeners.write(later, "quarantine", two_listeners.quarantine())
    with pytest.raises(ServiceError, match=LATE):
        two_listeners.write(earlier, "quarantine", [])
    assert quarantined(later) == 1


def test_a_commit_on_its_way_is_refused_when_a_later_token_comes_in_between(both, monkeypatch: pytest.MonkeyPatch):
    earlier, later = both
    open_for_writing = writing._open_for_writing

    def overtaken(warehouse: Warehouse, table: str) -> DeltaTable:
        delta = open_for_writing(warehouse, table)
        if warehouse.token == earlier.warehouse.token:
            two_listeners.write(later, "quarantine", two_listeners.quarantine())
        return delta

    monkeypatch.setattr(writing, "_open_for_writing", overtaken)
    with pytest.raises(ServiceError, match=LATE):
        two_listeners.write(earlier, "quarantine", [])
    assert quarantined(later) == 1


def test_files_that_tasks_wrote_are_not_committed_late(spark: SparkSession, both):
    earlier, later = both
    path = later.warehouse.table_path("pools")
    writer = BucketWriter(path, contract("pools").arrow_schema, str(two_listeners.TONIGHT), 0)
    writer.write(pa.Table.from_pylist(two_listeners.pools(), schema=contract("pools").arrow_schema))
    fence_out_previous_writers(later.warehouse)
    with pytest.raises(ServiceError, match=LATE):
        writing.commit_files(spark, earlier, {"pools": [writer.close()]})
    assert tables.count(later, "pools") == 0


def test_spark_passes_over_a_late_commit_and_that_is_an_error(spark: SparkSession, both):
    earlier, later = both
    rows = spark.createDataFrame([(two_listeners.TONIGHT, "unparsable", "f", "raw")], columns_of("quarantine"))
    version = next_version(tables.open_table(earlier.warehouse, "quarantine"), earlier.warehouse.token)
    fence_out_previous_writers(later.warehouse)
    path = later.warehouse.table_path("quarantine")
    rows.write.format("delta").mode("append").options(**writer_options(version)).save(path)
    with pytest.raises(ServiceError, match=LATE):
        verify_committed(path, version)
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
        fence_out_previous_writers(later.warehouse)
        go_on.touch()

    rows = spark.createDataFrame([(two_listeners.TONIGHT, "unparsable", "f", "raw")], columns_of("quarantine"))
    path, table = earlier.warehouse.table_path("quarantine"), tables.open_table(earlier.warehouse, "quarantine")
    writer = rows.mapInArrow(held_up, columns_of("quarantine")).write.format("delta").mode("append")
    other = threading.Thread(target=take_over)
    other.start()
    with pytest.raises(ServiceError, match=LATE), conflicts_as_errors(table):
        writer.options(**writer_options(next_version(table, earlier.warehouse.token))).save(path)
    other.join()
    assert quarantined(later) == 0


def test_who_takes_over_from_a_process_that_never_left_fences_every_table_first(night, monkeypatch: pytest.MonkeyPatch):
    tonight = night(two_listeners.TONIGHT)
    monkeypatch.setattr(lease_state, "PROCESS_LASTS_SECONDS", 0)
    monkeypatch.setattr(lease.socket, "gethostname", lambda: "host-that-sleeps")
    late_lease = leased(tonight.warehouse, tonight.run_date, "late")
    late_warehouse = late_lease.__enter__()
    monkeypatch.setattr(lease.socket, "gethostname", lambda: "another-host")
    with leased(tonight.warehouse, tonight.run_date, "next") as next_warehouse:
        assert next_warehouse.token > late_warehouse.token
        with pytest.raises(ServiceError, match=LATE):
            two_listeners.write(replace(tonight, warehouse=late_warehouse), "quarantine", two_listeners.quarantine())
    with pytest.raises(ServiceError, match="lease on the warehouse was lost"):
        late_lease.__exit__(None, None, None)
    assert quarantined(tonight) == 0


def test_who_follows_a_process_that_left_fences_nothing(night):
    tonight = night(date(2025, 3, 2))
    version = tables.version(tonight.warehouse, "quarantine")
    for _ in range(2):
        with leased(tonight.warehouse, tonight.run_date):
            pass
    assert tables.version(tonight.warehouse, "quarantine") == version
