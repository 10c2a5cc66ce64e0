"""Tables as they stand: read again when somebody has committed to them, and not before."""

import os
import shutil
from pathlib import Path

import pytest

from nocturne.core.errors import InputError, UsageError
from nocturne.core.night import Night
from nocturne.storage import tables
from tests.fixtures import two_listeners


@pytest.fixture
def tonight(night) -> Night:
    return night(two_listeners.TONIGHT, "tables.buckets=1")


def reasons(night: Night) -> list[str]:
    return tables.night_rows(night, "quarantine", ["reason"])["reason"].to_pylist()


def test_a_table_is_opened_once_until_somebody_commits_to_it(tonight):
    first = tables.open_table(tonight.warehouse, "quarantine")
    assert tables.open_table(tonight.warehouse, "quarantine") is first
    two_listeners.write(tonight, "quarantine", two_listeners.quarantine())
    assert tables.open_table(tonight.warehouse, "quarantine").version() == first.version() + 1
    assert len(reasons(tonight)) == 1


def test_a_commit_that_left_the_time_of_the_folder_as_it_was_is_seen(tonight):
    log = Path(tonight.warehouse.table_path("quarantine"), "_delta_log")
    before, times = tables.version(tonight.warehouse, "quarantine"), log.stat()
    two_listeners.write(tonight, "quarantine", two_listeners.quarantine())
    os.utime(log, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert tables.version(tonight.warehouse, "quarantine") == before + 1
    assert len(reasons(tonight)) == 1


def test_a_version_that_is_gone_is_not_remembered(tonight):
    two_listeners.write(tonight, "quarantine", two_listeners.quarantine())
    last = tables.version(tonight.warehouse, "quarantine")
    assert tables.open_table(tonight.warehouse, "quarantine", last).version() == last
    Path(tonight.warehouse.table_path("quarantine"), "_delta_log", f"{last:020}.json").unlink()
    with pytest.raises(InputError, match="a version of a table is not there"):
        tables.open_table(tonight.warehouse, "quarantine", last)
    assert reasons(tonight) == []


def test_a_warehouse_put_in_the_place_of_another_is_read(tonight, tmp_path):
    folder = tonight.warehouse.path
    shutil.copytree(folder, tmp_path / "before")
    two_listeners.write(tonight, "quarantine", two_listeners.quarantine())
    assert len(reasons(tonight)) == 1
    shutil.rmtree(folder)
    with pytest.raises(UsageError, match="there is no warehouse"):
        reasons(tonight)
    shutil.copytree(tmp_path / "before", folder)
    assert reasons(tonight) == []


def test_a_table_at_one_time_stays_as_it_was_whatever_others_commit(tonight):
    then = tonight.at_one_time()
    assert reasons(then) == []
    two_listeners.write(tonight, "quarantine", two_listeners.quarantine())
    assert reasons(then) == []
    assert len(reasons(tonight)) == 1
