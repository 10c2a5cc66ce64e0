"""Are the tables of two warehouses equal, apart from what their contracts call measured?

python tests/tools/compare_warehouses.py WAREHOUSE OTHER
"""

import sys
from collections import Counter

import pyarrow as pa
from deltalake import DeltaTable

from nocturne.flow import TABLES
from nocturne.storage.contracts import contract


def compare_warehouses(one: str, other: str) -> list[str]:
    """One sentence per table that differs; empty when all are equal. Rows are compared whatever their order.

    Args:
        one: folder of Delta tables.
        other: likewise.
    """
    return [difference for table in TABLES if (difference := _compare(table, one, other))]


def _compare(table: str, one: str, other: str) -> str:
    left, right = (_rows(table, warehouse) for warehouse in (one, other))
    only_left, only_right = left - right, right - left
    if not only_left and not only_right:
        return ""
    names = [column.name for column in contract(table).columns if not column.measured]
    # Columns, not rows: a row may hold a user id.
    unequal = [
        name
        for place, name in enumerate(names)
        if Counter(row[place] for row in left.elements()) != Counter(row[place] for row in right.elements())
    ]
    return (
        f"{table}: {only_left.total()} of {left.total()} rows only in {one}, "
        f"{only_right.total()} of {right.total()} only in {other}; "
        f"differing columns: {', '.join(unequal) or 'none taken alone'}"
    )


def _rows(table: str, warehouse: str) -> Counter[tuple[str, ...]]:
    """Every row as the texts of its columns, which tell floats apart to the bit."""
    names = [column.name for column in contract(table).columns if not column.measured]
    content = DeltaTable(f"{warehouse}/{table}").to_pyarrow_dataset().to_table(columns=names)
    return Counter(zip(*(_texts(content.column(name)) for name in names), strict=True))


def _texts(column: pa.ChunkedArray) -> list[str]:
    # A map has no order of its own.
    unordered = pa.types.is_map(column.type)
    return [repr(sorted(value) if unordered and value else value) for value in column.to_pylist()]


if __name__ == "__main__":
    differences = compare_warehouses(*sys.argv[1:])
    print("\n".join(differences) or "equal")
    sys.exit(bool(differences))
