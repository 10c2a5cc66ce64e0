"""What tells that a table of a night is still what it was: hashes of its rows, of its files and of their names."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from pyarrow.dataset import ParquetFragmentScanOptions

from nocturne.core.hashing import hash_rows
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.contracts import contract

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_READERS = 4
_BATCH_ROWS = 8192
_SMALL_BYTES = 64 * 2**20
_DECIDED_LATER = ("state", "moves", "metrics")
"""What changes in `models` long after the night that it belongs to."""


def content(spark: "SparkSession", night: Night, names: Sequence[str]) -> dict[str, str]:
    """Hash over the rows of tables that belong to the night, by table: 16 hexadecimal digits.

    It depends on the rows alone, not on their order, their files, or columns that are measured: a multiset hash,
    the sum of the 64-bit hashes of all rows modulo 2^64 (Clarke et al. 2003, section 3, MSet-Add-Hash).
    Large tables are read on the executors.
    """
    return {table: _content(spark, night, table) for table in names}


def fingerprint(night: Night, table: str) -> str:
    """Hash over the names and bytes of the night's data files: writing a table again changes it, as does a lost bit.

    A row of `models` is written again whenever its model moves; what was learned is told by the version alone.
    """
    if table == "models":
        return _hash(_versions(night))
    folder = Path(tables.table_path(night, table))
    paths = tables.files(night, table)["path"].to_pylist()
    with ThreadPoolExecutor(_READERS) as readers:
        return _hash([*paths, *readers.map(lambda path: _bytes(folder / path), paths)])


def recorded(
    night: Night, table: str, at: int | None = None, model_version: str | None = None
) -> tuple[str, dict[str, int]]:
    """Hash over the names and sizes of the night's data files, and these in bytes by path, from the log alone.

    Args:
        at: version of the table, if not the last.
        model_version: model of the night, where it is on record; by default the one live on it.
    """
    live = [model_version] if model_version else None
    found = tables.files(night, table, at, live if table in tables.OF_MODELS else None)
    files = dict(zip(*_columns(found), strict=True))
    return _hash(live or _versions(night)) if table == "models" else of_names(files), files


def of_names(files: Mapping[str, int]) -> str:
    """Hash over names and sizes of data files, in bytes by path below the table's folder."""
    return _hash([f"{path} {size}" for path, size in sorted(files.items())])


def missing(night: Night, table: str, files: Mapping[str, int]) -> list[str]:
    """Those of the data files, in bytes by path, that are not on the disk as they were written."""
    folder = Path(tables.table_path(night, table))
    return [path for path, size in files.items() if _size(folder / path) != size]


@dataclass(frozen=True)
class _Rows:
    """Rows of some nights or models of a table, at one version, that any process can read."""

    path: str
    version: int
    partition: str
    values: list[Any]
    columns: tuple[str, ...]

    def total(self, files: Sequence[str]) -> int:
        """Sum of the hashes of all rows in some of the data files, modulo 2^64; pages must be as they were written."""
        dataset = DeltaTable(self.path, version=self.version).to_pyarrow_dataset()
        scanned: dict[str, Any] = {
            "columns": list(self.columns),
            "batch_size": _BATCH_ROWS,
            "fragment_scan_options": ParquetFragmentScanOptions(page_checksum_verification=True),
        }
        total = 0
        for fragment in dataset.get_fragments(pc.field(self.partition).isin(self.values)):
            if fragment.path in files:
                for rows in fragment.to_batches(dataset.schema, **scanned):
                    total += int(hash_rows(rows).sum(dtype=np.uint64))
        return total % 2**64


def _content(spark: "SparkSession", night: Night, table: str) -> str:
    found = tables.files(night, table)
    paths, sizes = _columns(found)
    if not paths:
        return f"{0:016x}"
    column, values = tables.partitions(night, table)
    omitted = _DECIDED_LATER if table == "models" else ()
    rows = _Rows(
        tables.table_path(night, table),
        tables.version(night, table),
        column,
        values,
        tuple(each.name for each in contract(table).columns if not each.measured and each.name not in omitted),
    )
    if sum(sizes) <= _SMALL_BYTES:
        return f"{rows.total(paths):016x}"
    from nocturne.core.spark.session import on_executors  # which a rollback does without

    return f"{sum(on_executors(spark)(rows.total, [[path] for path in paths])) % 2**64:016x}"


def _versions(night: Night) -> list[str]:
    return [str(version) for version in tables.partitions(night, "models")[1]]


def _columns(found: pa.Table) -> tuple[list[str], list[int]]:
    return found["path"].to_pylist(), found["size_bytes"].to_pylist()


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
