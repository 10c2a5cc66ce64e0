"""Two warehouses are equal, or the table and columns that differ are named."""

from datetime import date

import pyarrow as pa
import pytest

from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.storage import writing
from nocturne.storage.contracts import contract
from nocturne.storage.warehouse import create_missing
from tests.tools.compare_warehouses import compare_warehouses

COUNTS = {"rows_read": 3, "listens": 1, "duplicates": 0, "quarantined": 2, "late": 0, "listeners": 1, "erased": 0}
ITEMS = [{"item_id": item, "content_type": "track", "absent": False} for item in ("a", "b")]


@pytest.fixture
def write(tmp_path):
    """Writes rows of one night into the warehouse of that name."""

    def into(name, table, *rows):
        night = Night(Warehouse(str(tmp_path / name), load_settings()), date(2025, 1, 1), "", "")
        create_missing(night.warehouse)
        filled = [{"run_date": night.run_date} | row for row in rows]
        writing.replace_night(pa.Table.from_pylist(filled, schema=contract(table).arrow_schema), table, night)
        return night.warehouse.path

    return into


def test_the_order_of_rows_and_of_map_entries_does_not_matter(write):
    for name, rows in (("one", ITEMS), ("other", ITEMS[::-1])):
        write(name, "items", *rows)
    one = write("one", "ingests", COUNTS | {"reasons": [("x", 1), ("y", 1)]})
    other = write("other", "ingests", COUNTS | {"reasons": [("y", 1), ("x", 1)]})
    assert compare_warehouses(one, other) == []


def test_measured_columns_do_not_matter(write):
    row = {"table": "items", "expectation": "rows", "severity": "critical", "limit": ">= 1", "outcome": "success"}
    one = write("one", "validations", row | {"seconds": 1.0, "content": "c", "files": "a"})
    other = write("other", "validations", row | {"seconds": 2.0, "content": "c", "files": "b"})
    assert compare_warehouses(one, other) == []


def test_a_difference_names_table_counts_and_columns(write):
    one = write("one", "items", *ITEMS)
    other = write("other", "items", ITEMS[0], ITEMS[1] | {"title": "Blue"})
    [difference] = compare_warehouses(one, other)
    assert difference == (f"items: 1 of 2 rows only in {one}, 1 of 2 only in {other}; differing columns: title")


def test_a_row_too_many_is_a_difference(write):
    one, other = write("one", "items", *ITEMS), write("other", "items", ITEMS[0])
    assert len(compare_warehouses(one, other)) == 1
