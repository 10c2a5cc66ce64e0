"""Recorded verdicts: rows of `validations` of a night, in the order of the flow, with what each expectation means."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import pyarrow.compute as pc

from nocturne.core.night import Warehouse
from nocturne.flow import GATED_TABLES, VALIDATED_TABLES
from nocturne.storage import tables
from nocturne.validation import suites

Row = dict[str, Any]


def verdicts(warehouse: Warehouse, run_date: date, names: Sequence[str] = VALIDATED_TABLES) -> list[Row]:
    """Rows of `validations` of a night's tables, in the order of their names here, then of expectations."""
    of_night = (pc.field("run_date") == run_date) & pc.field("table").isin(list(names))
    rows: list[Row] = tables.rows(warehouse, "validations", of_night).to_pylist()
    return sorted(rows, key=lambda row: (names.index(row["table"]), row["expectation"]))


def closing(rows: Sequence[Row]) -> list[Row]:
    """Rows of critical expectations of gated tables that failed: those that close the gate."""
    return [
        row
        for row in rows
        if row["severity"] == suites.CRITICAL and row["outcome"] == "failed" and row["table"] in GATED_TABLES
    ]


def meaning(row: Row) -> str:
    """The sentence that Data Docs have for an expectation; "" if the suite of today has none."""
    return suites.meanings(row["table"]).get((row["expectation"], row["severity"]), "")


def sentence(row: Row) -> str:
    """Table and expectation of a verdict, and its meaning."""
    explained = meaning(row)
    return f"{row['table']}.{row['expectation']}" + (f": {explained}" if explained else "")


def not_validated(rows: Sequence[Row], names: Sequence[str] = VALIDATED_TABLES) -> list[str]:
    """Tables without any verdict."""
    present = {row["table"] for row in rows}
    return [name for name in names if name not in present]
