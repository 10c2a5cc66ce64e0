from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.flow import GATED_TABLES
from nocturne.storage import fingerprints, tables, writing
from tests.fixtures import two_listeners

TABLES = ("listens", "rankings", "ranked_lists")


@pytest.fixture
def tonight(night) -> Night:
    made = night(two_listeners.TONIGHT, *two_listeners.SETTINGS)
    two_listeners.write_sound_nights(made)
    return made


def only_file(night: Night, table: str) -> Path:
    (path,) = tables.files(night, table)["path"].to_pylist()
    return Path(night.warehouse.table_path(table), path)


def test_the_order_of_rows_and_measured_columns_change_no_hash(spark: SparkSession, tonight: Night):
    before = fingerprints.row_hashes(spark, tonight, TABLES)
    two_listeners.write(tonight, "listens", two_listeners.listens()[::-1])
    two_listeners.write(
        tonight, "rankings", [two_listeners.rankings()[0] | {"way": "another", "bytes": 1, "reasons": []}]
    )
    assert fingerprints.row_hashes(spark, tonight, TABLES) == before


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("listens", two_listeners.listens()[1:]),
        ("listens", [*two_listeners.listens(), two_listeners.listens()[0]]),
        ("rankings", [two_listeners.rankings()[0] | {"personal": 1}]),
        ("ranked_lists", [row | {"items": row["items"][::-1]} for row in two_listeners.ranked_lists()]),
    ],
    ids=["a row less", "a row twice", "a number", "an order of items"],
)
def test_other_rows_have_another_hash(spark: SparkSession, tonight: Night, table: str, rows: list[two_listeners.Row]):
    before = fingerprints.row_hashes(spark, tonight, TABLES)
    two_listeners.write(tonight, table, rows)
    after = fingerprints.row_hashes(spark, tonight, TABLES)
    assert {name for name in TABLES if after[name] != before[name]} == {table}


def test_rows_hash_alike_whether_spark_or_delta_rs_wrote_them(spark: SparkSession, tonight: Night):
    by_delta_rs = fingerprints.row_hashes(spark, tonight, TABLES)
    for table in TABLES:
        rows = tables.read_night(spark, tonight, table).collect()
        frame = spark.createDataFrame(rows, tables.read_night(spark, tonight, table).schema)
        writing.replace_night(frame, table, tonight)
    assert fingerprints.row_hashes(spark, tonight, TABLES) == by_delta_rs


def test_a_map_hashes_alike_in_whatever_order_it_is_stored(spark: SparkSession, tonight: Night):
    reasons = [("late", 1), ("unparsable", 2)]
    found = []
    for order in (reasons, reasons[::-1]):
        two_listeners.write(tonight, "ingests", [two_listeners.ingests()[0] | {"reasons": order}])
        found.append(fingerprints.row_hashes(spark, tonight, ["ingests"]))
    assert found[0] == found[1]


def test_other_nights_count_nothing(spark: SparkSession, tonight: Night):
    before = fingerprints.row_hashes(spark, tonight, GATED_TABLES)
    tomorrow = replace(tonight, run_date=tonight.run_date + timedelta(days=1))
    two_listeners.write(tomorrow, "listens", two_listeners.listens(tomorrow.run_date))
    assert fingerprints.row_hashes(spark, tonight, GATED_TABLES) == before


def test_a_flipped_bit_changes_the_fingerprint(tonight: Night):
    before, file = fingerprints.file_hashes(tonight, "ranked_lists"), only_file(tonight, "ranked_lists")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert fingerprints.file_hashes(tonight, "ranked_lists") != before


def test_a_file_that_is_gone_changes_the_fingerprint_and_is_missing(tonight: Night):
    before, version = fingerprints.file_hashes(tonight, "items"), tables.version(tonight.warehouse, "items")
    _, files = fingerprints.file_names_hash(tonight, "items", version)
    assert fingerprints.missing_files(tonight, "items", files) == []
    file = only_file(tonight, "items")
    file.unlink()
    assert fingerprints.file_hashes(tonight, "items") != before
    assert [Path(path).name for path in fingerprints.missing_files(tonight, "items", files)] == [file.name]


def test_the_names_of_a_version_stay_when_the_table_is_written_again(tonight: Night):
    version, before = tables.version(tonight.warehouse, "items"), fingerprints.file_names_hash(tonight, "items")[0]
    two_listeners.write(tonight, "items", two_listeners.items())
    assert fingerprints.file_names_hash(tonight, "items", version)[0] == before
    assert fingerprints.file_names_hash(tonight, "items")[0] != before


def test_the_names_of_a_version_stay_when_an_earlier_night_is_made_again_and_adds_nothing(tonight: Night):
    yesterday = tonight.on(two_listeners.YESTERDAY)
    text = {"item_index": 0, "item_id": "a", "encoder": "none", "text_digest": "a", "embedding": [1.0]}
    two_listeners.write(yesterday, "item_texts", [text | {"run_date": yesterday.run_date}])
    version = tables.version(tonight.warehouse, "item_texts")
    before = fingerprints.file_names_hash(tonight, "item_texts", version)
    assert len(before[1]) == 1
    two_listeners.write(yesterday, "item_texts", [])
    assert fingerprints.file_names_hash(tonight, "item_texts", version) == before


def test_a_move_of_a_model_changes_neither_fingerprint_nor_names(tonight: Night):
    before = fingerprints.file_hashes(tonight, "models"), fingerprints.file_names_hash(tonight, "models")[0]
    stored = tables.night_rows(tonight, "models")
    again = pa.Table.from_pylist([stored.to_pylist()[0] | {"seconds": 9.0}], schema=stored.schema)
    writing.replace_rows(again, "models", tonight.warehouse, f"model_version = '{two_listeners.MODEL}'")
    assert (fingerprints.file_hashes(tonight, "models"), fingerprints.file_names_hash(tonight, "models")[0]) == before
