"""The gate: the reasons for which nothing of a night may be served. Pure."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa


def gate(
    validations: pa.Table,
    critical_expectations: Mapping[str, Collection[str]],
    file_hashes: Mapping[str, str | None],
) -> list[str]:
    """The reasons for which nothing of a night may be served; empty when the gate is open.

    Args:
        validations: the rows of `validations` of the night.
        critical_expectations: their names, of every gated table, by table.
        file_hashes: hash of each table's data files of the night as they are now, by table.

    Returns:
        One sentence per reason, by table and expectation. Warnings and skipped expectations are none.
    """
    rows_by_table: dict[str, list[dict[str, Any]]] = {table: [] for table in sorted(critical_expectations)}
    for row in validations.to_pylist():
        rows_by_table.setdefault(row["table"], []).append(row)
    return [
        reason
        for table, rows in rows_by_table.items()
        for reason in _reasons(table, rows, critical_expectations.get(table, ()), file_hashes.get(table))
    ]


def _reasons(
    table: str, rows: list[dict[str, Any]], critical_expectations: Collection[str], file_hash: str | None
) -> Iterator[str]:
    if not rows:
        yield f"{table} was not validated"
        return
    if any(row["files"] != file_hash for row in rows):
        yield f"{table} changed after it was validated"
    for name in sorted(set(critical_expectations) - {row["expectation"] for row in rows}):
        yield f"{table}: {name} was not checked"
    for row in sorted(rows, key=lambda row: str(row["expectation"])):
        if row["severity"] == "critical" and row["outcome"] not in {"success", "skipped"}:
            yield f"{table}: {row['expectation']} is {row['observed']}, expected {row['limit']}"
