"""Rows as they are stored: in the order of buckets, from one version, only the columns asked for."""

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nocturne.core.night import Night
from nocturne.core.settings import load_settings
from nocturne.storage import tables
from nocturne.storage.contracts import contract
from nocturne.storage.warehouse import create_missing
from tests.fixtures import two_listeners


@pytest.fixture
def night(tmp_path) -> Night:
    night = Night(
        two_listeners.TONIGHT, "", str(tmp_path / "warehouse"), "lmdb:", load_settings(overrides=["tables.buckets=3"])
    )
    create_missing(night)
    return night


def write(night: Night, users: dict[str, int]) -> None:
    """A file for each bucket, in the order given."""
    ana, *_ = two_listeners.interactions()
    two_listeners.write(
        night, "interactions", [ana | {"user_id": user, "bucket": bucket} for user, bucket in users.items()]
    )


def users(rows: tables.StoredRows) -> list[str]:
    return [user for batch in rows for user in batch.column("user_id").to_pylist()]


def test_rows_come_by_bucket_and_user(night: Night) -> None:
    write(night, {"d": 2, "a": 1, "e": 0, "c": 0, "b": 2})

    assert users(tables.StoredRows.at(night, "interactions", ["user_id"])) == ["c", "e", "a", "b", "d"]


def test_rows_stay_as_they_were_whatever_is_written_since(night: Night) -> None:
    write(night, {"a": 0, "b": 1})
    rows = tables.StoredRows.at(night, "interactions", ["user_id"])
    write(night, {"z": 0})

    assert users(rows) == users(rows) == ["a", "b"]


def test_other_nights_and_other_columns_are_left_out(night: Night) -> None:
    yesterday = [row | {"user_id": "old"} for row in two_listeners.interactions(two_listeners.YESTERDAY)]
    write_deltalake(
        tables.table_path(night, "interactions"),
        pa.Table.from_pylist(yesterday, schema=contract("interactions").arrow_schema),
        mode="append",
    )
    write(night, {"a": 0})
    columns = ["user_id", "market", "item_indexes"]
    (batch,) = tables.StoredRows.at(night, "interactions", columns)

    assert batch.to_pylist() == [{"user_id": "a", "market": "SE", "item_indexes": [0, 1]}]
    assert set(batch.schema.names) == set(columns)


def test_a_night_without_rows_has_none(night: Night) -> None:
    assert users(tables.StoredRows.at(night, "interactions", ["user_id"])) == []
