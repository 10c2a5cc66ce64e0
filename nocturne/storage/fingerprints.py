"""Fingerprints of a night's tables: hashes of their rows, of their files' bytes and of their files' names."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.flow import COSTS
from nocturne.storage import tables
from nocturne.storage.contracts import contract
from nocturne.storage.stored_rows import StoredRows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_READERS = 4
_SMALL_BYTES = 64 * 2**20
_DECIDED_LATER = ("state", "moves", "metrics")
"""Columns of `models` that change long after the night that they belong to."""

_MEASURED_ROWS = {"alerts": ("table", COSTS)}
"""A column of a table and its value in rows about what is measured: the same night may take longer on another day."""


def row_hashes(spark: "SparkSession", night: Night, names: Sequence[str]) -> dict[str, str]:
    """Hash over the rows of tables that belong to the night, by table: 16 hexadecimal digits.

    It depends on the rows alone, not on their order, their files, or what of them is measured: a multiset hash,
    the sum of the 64-bit hashes of all rows modulo 2^64 (Clarke et al. 2003, section 3, MSet-Add-Hash).
    Large tables are read on the executors.
    """
    return {table: _row_hash(spark, night, table) for table in names}


def hashed_columns(table: str) -> list[str]:
    """The columns that the hash of a table's rows is over, in the contract's order."""
    omitted = _DECIDED_LATER if table == "models" else ()
    return [each.name for each in contract(table).columns if not each.measured and each.name not in omitted]


def sum_of_hashes(rows: pa.RecordBatch) -> int:
    """Sum of the hashes of rows, of the hashed columns alone, modulo 2^64."""
    from nocturne.core.hashing import hash_rows  # compiles loops, which a rollback does without

    return int(hash_rows(rows).sum(dtype=np.uint64))


def as_text(total: int) -> str:
    """A sum of all rows' hashes as it is recorded."""
    return f"{total % 2**64:016x}"


def file_hashes(night: Night, table: str) -> str:
    """Hash over the names and bytes of the night's data files: writing a table again changes it, as does a lost bit.

    A row of `models` is written again whenever its model moves; what was learned is told by the version alone.
    """
    if table == "models":
        return _hash(_versions(night))
    folder = Path(night.warehouse.table_path(table))
    paths = tables.files(night, table)["path"].to_pylist()
    with ThreadPoolExecutor(_READERS) as readers:
        return _hash([*paths, *readers.map(lambda path: _bytes(folder / path), paths)])


def file_names_hash(
    night: Night, table: str, at: int | None = None, model_version: str | None = None
) -> tuple[str, dict[str, int]]:
    """Hash over the names and sizes of the night's data files, and these in bytes by path, from the log alone.

    Args:
        at: version of the table, if not the last.
        model_version: model of the night, where it is on record; by default the one live on it.
    """
    live = [model_version] if model_version else None
    files = tables.files(night, table, at, live if table in tables.OF_MODELS else None)
    sizes = dict(zip(*_paths_and_sizes(files), strict=True))
    if table == "models":
        return _hash(live or _versions(night)), sizes
    return names_hash(sizes), sizes


def names_hash(files: Mapping[str, int]) -> str:
    """Hash over names and sizes of data files, in bytes by path below the table's folder."""
    return _hash([f"{path} {size}" for path, size in sorted(files.items())])


def missing_files(night: Night, table: str, files: Mapping[str, int]) -> list[str]:
    """Those of the data files, in bytes by path, that are not on the disk as they were written."""
    folder = Path(night.warehouse.table_path(table))
    return [path for path, size in files.items() if _size(folder / path) != size]


def _row_hash(spark: "SparkSession", night: Night, table: str) -> str:
    paths, sizes = _paths_and_sizes(tables.files(night, table))
    if not paths:
        return as_text(0)
    total = partial(_total_of_hashes, StoredRows.at(night, table, hashed_columns(table)), _MEASURED_ROWS.get(table))
    if sum(sizes) <= _SMALL_BYTES:
        return as_text(total(paths))
    from nocturne.core.spark.session import map_on_executors  # which a rollback does without

    return as_text(sum(map_on_executors(spark)(total, [[path] for path in paths])))


def _total_of_hashes(rows: StoredRows, measured: tuple[str, str] | None, paths: Sequence[str]) -> int:
    """Sum of the hashes of all rows in some of the data files, but for rows about what is measured."""
    return sum(sum_of_hashes(_without(batch, measured)) for batch in rows.in_files(paths))


def _without(batch: pa.RecordBatch, measured: tuple[str, str] | None) -> pa.RecordBatch:
    return batch.filter(pc.not_equal(batch[measured[0]], measured[1])) if measured else batch


def _versions(night: Night) -> list[str]:
    return [str(version) for version in tables.partitions(night, "models")[1]]


def _paths_and_sizes(files: pa.Table) -> tuple[list[str], list[int]]:
    return files["path"].to_pylist(), files["size_bytes"].to_pylist()


def _bytes(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
