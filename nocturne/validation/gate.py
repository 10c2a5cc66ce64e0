"""The gate: why nothing of a night may be served. Pure."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa


def gate(validations: pa.Table, expected: Mapping[str, Collection[str]], files: Mapping[str, str | None]) -> list[str]:
    """Why nothing of a night may be served; empty when the gate is open.

    Args:
        validations: the rows of `validations` of the night.
        expected: names of the critical expectations of every gated table, by table.
        files: hash of each table's data files of the night as they are now, by table.

    Returns:
        One sentence per reason, by table and expectation. Warnings and skipped expectations are none.
    """
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in sorted(expected)}
    for row in validations.to_pylist():
        found.setdefault(row["table"], []).append(row)
    return [
        reason
        for table, rows in found.items()
        for reason in _reasons(table, rows, expected.get(table, ()), files.get(table))
    ]


def _reasons(table: str, rows: list[dict[str, Any]], expected: Collection[str], files: str | None) -> Iterator[str]:
    if not rows:
        yield f"{table} was not validated"
        return
    if any(row["files"] != files for row in rows):
        yield f"{table} changed after it was validated"
    for name in sorted(set(expected) - {row["expectation"] for row in rows}):
        yield f"{table}: {name} was not checked"
    for row in sorted(rows, key=lambda row: str(row["expectation"])):
        if row["severity"] == "critical" and row["outcome"] not in {"success", "skipped"}:
            yield f"{table}: {row['expectation']} is {row['observed']}, expected {row['limit']}"
