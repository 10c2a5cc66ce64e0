import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nocturne.core.errors import SettingsError
from nocturne.storage import tables
from nocturne.storage.warehouse import create_missing, settled
from tests.fixtures import two_listeners


def test_a_warehouse_is_made_once_and_found_again(night):
    tonight = night(two_listeners.TONIGHT, "tables.buckets=3")
    before = sorted(Path(tonight.warehouse).rglob("*.json"))
    create_missing(tonight)
    assert sorted(Path(tonight.warehouse).rglob("*.json")) == before


def test_a_setting_that_is_fixed_for_its_life_is_kept_and_read_from_there(night):
    made = night(two_listeners.TONIGHT, "tables.buckets=3", "interactions.half_life_days=7.0")
    with pytest.raises(SettingsError, match=r"tables\.buckets is fixed"):
        night(two_listeners.TONIGHT, "tables.buckets=4", "interactions.half_life_days=7.0")
    assert settled(made).settings.tables.buckets == 3
    assert settled(made).settings.interactions.half_life_days == 7


def test_a_table_of_another_release_is_told_by_its_columns(night):
    tonight = night(two_listeners.TONIGHT)
    of_before = pa.table({"run_date": [two_listeners.TONIGHT], "generation": ["g"]})
    shutil.rmtree(tables.table_path(tonight, "costs"))
    write_deltalake(tables.table_path(tonight, "costs"), of_before)
    with pytest.raises(SettingsError, match="made by another release") as raised:
        create_missing(tonight)
    assert "generation, rows_read" in str(raised.value)
