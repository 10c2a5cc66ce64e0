"""What every stage of a night took, in `costs`: written when it is done, and told in the night's manifest."""

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.flow import COSTS, Stage
from nocturne.storage import tables
from nocturne.storage.contracts import contract


def record(night: Night, stage: Stage, seconds: float, rows_read: int) -> None:
    """Write the stage's row, in place of what its last run took."""
    written = [tables.files(night, table) for table in stage.writes]
    row = {
        "run_date": night.run_date,
        "stage": stage.name,
        "seconds": seconds,
        "rows_read": rows_read,
        "rows_written": sum(_sum(files, "num_records") for files in written),
        "bytes_written": sum(_sum(files, "size_bytes") for files in written),
    }
    where = f"run_date = '{night.run_date}' AND stage = '{stage.name}'"
    tables.replace(pa.Table.from_pylist([row], schema=contract(COSTS).arrow_schema), COSTS, night, where=where)


def _sum(files: pa.Table, column: str) -> int:
    return pc.sum(files[column]).as_py() or 0
