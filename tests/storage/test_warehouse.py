import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nocturne.core.errors import UsageError
from nocturne.storage.warehouse import create_missing, with_stored_settings
from tests.fixtures import two_listeners


def test_a_warehouse_is_made_once_and_found_again(night):
    tonight = night(two_listeners.TONIGHT, "tables.buckets=3")
    before = sorted(Path(tonight.warehouse.path).rglob("*.json"))
    create_missing(tonight.warehouse)
    assert sorted(Path(tonight.warehouse.path).rglob("*.json")) == before


def test_a_setting_that_is_fixed_for_its_life_is_kept_and_read_from_there(night):
    made = night(two_listeners.TONIGHT, "tables.buckets=3", "interactions.half_life_days=7.0")
    other = night(two_listeners.TONIGHT, "tables.buckets=4", "interactions.half_life_days=7.0")
    with pytest.raises(UsageError, match=r"tables\.buckets is fixed"):
        create_missing(other.warehouse)
    assert with_stored_settings(made.warehouse).settings.tables.buckets == 3
    assert with_stored_settings(made.warehouse).settings.interactions.half_life_days == 7


def test_a_table_of_another_release_is_told_by_its_columns(night):
    tonight = night(two_listeners.TONIGHT)
    of_before = pa.table({"run_date": [two_listeners.TONIGHT], "generation": ["g"]})
    shutil.rmtree(tonight.warehouse.table_path("costs"))
    write_deltalake(tonight.warehouse.table_path("costs"), of_before)
    with pytest.raises(UsageError, match="made by another release") as raised:
        create_missing(tonight.warehouse)
    assert "generation, rows_read" in str(raised.value)
