"""Costs of every stage of a night: written to `costs` when it is done, and part of the night's record."""

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.flow import COSTS, Stage
from nocturne.monitoring.openlineage import Written
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract


def record(night: Night, stage: Stage, seconds: float, rows_read: int) -> dict[str, Written]:
    """Write the stage's row, in place of what its last run took; returns what lies in each table that it writes."""
    written = {table: _written(night, table) for table in stage.writes}
    row = {
        "run_date": night.run_date,
        "stage": stage.name,
        "seconds": seconds,
        "rows_read": rows_read,
        "rows_written": sum(each.rows for each in written.values()),
        "bytes_written": sum(each.size_bytes for each in written.values()),
    }
    where = f"run_date = '{night.run_date}' AND stage = '{stage.name}'"
    writing.replace_rows(
        pa.Table.from_pylist([row], schema=contract(COSTS).arrow_schema), COSTS, night.warehouse, where
    )
    return written


def _written(night: Night, table: str) -> Written:
    files = tables.files(night, table)
    return Written(_sum(files, "num_records"), _sum(files, "size_bytes"), files.num_rows)


def _sum(files: pa.Table, column: str) -> int:
    return pc.sum(files[column]).as_py() or 0
