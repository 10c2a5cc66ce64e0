"""Rows as they are stored: in the order of buckets, from one version, only the columns asked for."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.storage import writing
from nocturne.storage.bucket_files import ITEM_IDS, BucketWriter
from nocturne.storage.contracts import contract
from nocturne.storage.stored_rows import StoredRows
from tests.fixtures import two_listeners
from tests.fixtures.empty_warehouses import create_empty

Read = Callable[[StoredRows], object]


@pytest.fixture
def night(tmp_path) -> Night:
    night = Night(
        Warehouse(str(tmp_path / "warehouse"), load_settings(overrides=["tables.buckets=3"])),
        two_listeners.TONIGHT,
        "",
        "lmdb:",
    )
    create_empty(night.warehouse)
    return night


def write(night: Night, users: dict[str, int]) -> None:
    """A file for each bucket, in the order given."""
    ana, *_ = two_listeners.interactions()
    two_listeners.write(
        night, "interactions", [ana | {"user_id": user, "bucket": bucket} for user, bucket in users.items()]
    )


def users(rows: StoredRows) -> list[str]:
    return [user for batch in rows for user in batch.column("user_id").to_pylist()]


def test_rows_come_by_bucket_and_user(night: Night) -> None:
    write(night, {"d": 2, "a": 1, "e": 0, "c": 0, "b": 2})

    assert users(StoredRows.at(night, "interactions", ["user_id"])) == ["c", "e", "a", "b", "d"]


def test_times_are_in_microseconds_whoever_wrote_them(spark: SparkSession, night: Night) -> None:
    rows = pa.Table.from_pylist(two_listeners.interactions(), schema=contract("interactions").arrow_schema)
    writing.replace_night(spark.createDataFrame(rows), "interactions", night)

    (batch,) = StoredRows.at(night, "interactions", ["recent_times", "market_heard_at"])

    moment = pa.timestamp("us", "UTC")
    assert (batch.column("recent_times").type.value_type, batch.column("market_heard_at").type) == (moment, moment)
    assert batch.column("recent_times").to_pylist() == rows["recent_times"].to_pylist()


def test_texts_come_as_dictionaries_where_these_are_asked_for(spark: SparkSession, night: Night) -> None:
    promised = contract("ranked_lists").arrow_schema
    writer = BucketWriter(night.warehouse.table_path("ranked_lists"), promised, str(night.run_date), 0)
    ana, ben = two_listeners.ranked_lists()
    lists = [ana, ben | {"items": ben["items"][::-1]}]
    for row in lists:  # each a group of rows, with a dictionary of its own
        writer.write(pa.Table.from_pylist([row], schema=promised))
    writing.commit_files(spark, night, {"ranked_lists": [writer.close()]})

    batches = list(StoredRows.at(night, "ranked_lists", ["items"], dictionaries=(ITEM_IDS,)))

    assert [batch["items"].to_pylist() for batch in batches] == [[row["items"]] for row in lists]
    assert [batch["items"].flatten().field("item_id").dictionary.to_pylist() for batch in batches] == [
        ["c", "e"],
        ["e", "c"],
    ]


def test_rows_stay_as_they_were_whatever_is_written_since(night: Night) -> None:
    write(night, {"a": 0, "b": 1})
    rows = StoredRows.at(night, "interactions", ["user_id"])
    write(night, {"z": 0})

    assert users(rows) == users(rows) == ["a", "b"]


@pytest.mark.parametrize("read", [list, StoredRows.to_table, lambda rows: rows.of_listeners(["ana"])])
def test_a_changed_byte_of_a_score_is_not_read(spark: SparkSession, night: Night, read: Read) -> None:
    promised = contract("ranked_lists").arrow_schema
    writer = BucketWriter(night.warehouse.table_path("ranked_lists"), promised, str(night.run_date), 0)
    writer.write(pa.Table.from_pylist(two_listeners.ranked_lists(), schema=promised))
    writing.commit_files(spark, night, {"ranked_lists": [writer.close()]})
    rows = StoredRows.at(night, "ranked_lists", ["user_id", "items"])
    row_group = pq.read_metadata(writer.file).row_group(0)
    columns = map(row_group.column, range(row_group.num_columns))
    (scores,) = (column for column in columns if column.path_in_schema == "items.list.element.score")
    content = bytearray(writer.file.read_bytes())
    content[scores.data_page_offset + scores.total_compressed_size - 1] ^= 1
    writer.file.write_bytes(content)

    with pytest.raises(OSError, match="CRC checksum verification failed"):
        read(rows)


def test_a_task_opens_its_own_files_and_no_log(night: Night) -> None:
    write(night, {"a": 0, "b": 1, "c": 2})
    rows = pickle.loads(pickle.dumps(StoredRows.at(night, "interactions", ["user_id", "bucket"]).in_bucket(1)))
    folder = Path(night.warehouse.table_path("interactions"))
    shutil.rmtree(folder / "_delta_log")
    for other in (0, 2):
        shutil.rmtree(folder / f"run_date={night.run_date}" / f"bucket={other}")

    assert [batch.to_pylist() for batch in rows] == [[{"user_id": "b", "bucket": 1}]]
    assert rows.to_table().to_pylist() == [{"user_id": "b", "bucket": 1}]
    assert rows.of_listeners(["b", "c"]).num_rows == 1


def test_other_nights_and_other_columns_are_left_out(night: Night) -> None:
    yesterday = [row | {"user_id": "old"} for row in two_listeners.interactions(two_listeners.YESTERDAY)]
    write_deltalake(
        night.warehouse.table_path("interactions"),
        pa.Table.from_pylist(yesterday, schema=contract("interactions").arrow_schema),
        mode="append",
    )
    write(night, {"a": 0})
    columns = ["user_id", "market", "item_indexes"]
    (batch,) = StoredRows.at(night, "interactions", columns)

    assert batch.to_pylist() == [{"user_id": "a", "market": "SE", "item_indexes": [0, 1]}]
    assert set(batch.schema.names) == set(columns)


def test_a_night_without_rows_has_none(night: Night) -> None:
    assert users(StoredRows.at(night, "interactions", ["user_id"])) == []
