"""Tables of a warehouse as they stand: one Delta directory a table, opened for reading only here.

Tables with a row per listener or event are read by Spark. Control tables of a few rows go through delta-rs,
which needs no JVM. A stage can open the tables alone that it declares in the flow.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from nocturne.core.errors import InputError, UsageError
from nocturne.core.night import Night, Warehouse
from nocturne.storage.contracts import contract
from nocturne.storage.model_transitions import ModelRecord, live_on

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from pyspark.sql import DataFrame, SparkSession

OF_MODELS = ("models", "item_factors", "encoders")
"""Tables with a partition a model: to a night belongs that of the model live on it."""

ACCUMULATED = ("item_index", "item_texts", "cold_factors", "bridges", "bridge_factors", "tombstones")
"""Tables whose rows stay as they were when they were added: to a night belong those of every night so far."""

BUCKETED = (
    *("listens", "interactions", "pools", "ranked_lists", "shelf_lists"),
    *("arm_pools", "arm_lists", "assignments", "triggers"),
)
"""Tables keyed by listener, in one file a bucket, and an arm where these are apart, in order of user_id."""

_TABLES_KEPT = 128
"""Tables that stay open, at the most: those of a warehouse, some at several versions."""


class OpenTable(DeltaTable):
    """A table as it was opened, which lists its files once a version."""

    def __init__(self, path: str, version: int | None) -> None:
        super().__init__(path, version=version)
        self._path = path
        self._actions: dict[int, pa.Table] = {}
        self._datasets: dict[int, ds.Dataset] = {}

    def actions(self) -> pa.Table:
        """A row per data file: its path, size and number of rows, and its values of the partition columns."""
        version = self.version()
        if version not in self._actions:
            self._actions = {version: pa.table(self.get_add_actions(flatten=True))}
        return self._actions[version]

    def dataset(self) -> "ds.Dataset":
        """The data files; local ones without delta-rs between, which takes half as long again."""
        version = self.version()
        if version not in self._datasets:
            local = None if "://" in self._path else SubTreeFileSystem(self._path, LocalFileSystem())
            self._datasets = {version: self.to_pyarrow_dataset(filesystem=local)}
        return self._datasets[version]


def is_warehouse(warehouse: Warehouse) -> bool:
    """True if the folder holds Nocturne's tables.

    Raises:
        PermissionError: the folder may not be looked into, where delta-rs would say that nothing is there.
    """
    path = warehouse.table_path("listens")
    return ("://" in path or Path(path).is_dir()) and bool(DeltaTable.is_deltatable(path))


def require_warehouse(warehouse: Warehouse) -> None:
    """Raise UsageError unless the warehouse holds tables."""
    if not is_warehouse(warehouse):
        raise UsageError(
            "there is no warehouse",
            where=warehouse.path,
            expected="a folder with Nocturne's tables",
            fix="check --warehouse; `ingest_events` makes a new one",
        )


def open_table(warehouse: Warehouse, table: str, at: int | None = None) -> OpenTable:
    """A table by delta-rs, at a version if not the last.

    Raises:
        UsageError: there is no warehouse.
        InputError: the version is not there any more.
        UndeclaredAccessError: the stage at work does not declare that it reads the table.
    """
    if warehouse.access:
        warehouse.access.record_read(table)
    return _open(warehouse, table, at)


def open_night_table(night: Night, table: str, at: int | None = None) -> OpenTable:
    """A table of which the night's own rows are wanted alone: also one that the stage at work has just written."""
    if night.warehouse.access:
        night.warehouse.access.record_result(table)
    return _open(night.warehouse, table, at)


def read(spark: "SparkSession", warehouse: Warehouse, table: str, days: Sequence[date] | None = None) -> "DataFrame":
    """Rows of a table by Spark: of some of its nights, or of all."""
    delta, column = open_table(warehouse, table), contract(table).partitioned_by[0]
    actions = _add_actions(delta, table, column, _dates(delta, table) if days is None else days)
    return _read(spark, warehouse.table_path(table), table, actions)


def read_night(spark: "SparkSession", night: Night, table: str) -> "DataFrame":
    """A night's rows of a table by Spark: see `partitions`."""
    actions = _add_actions(open_night_table(night, table), table, *partitions(night, table))
    return _read(spark, night.warehouse.table_path(table), table, actions)


def belonging_column(table: str) -> str:
    """The partition column that tells which rows belong to a night."""
    return "model_version" if table in OF_MODELS else contract(table).partitioned_by[0]


def partitions(night: Night, table: str, at: int | None = None) -> tuple[str, list[Any]]:
    """A partition column, and its values that belong to the night, at a version of the table if not the last.

    The night itself; for tables that accumulate every night so far; for models and their factors the version of
    the model live on this night.
    """
    column = belonging_column(table)
    if table in ACCUMULATED:
        days = _dates(open_night_table(night, table, at), table)
        return column, [day for day in days if day <= night.run_date]
    if table in OF_MODELS:
        live = live_on(models(night.warehouse), night.run_date)
        return column, [live.version] if live else []
    return column, [night.run_date]


def dates(warehouse: Warehouse, table: str) -> list[date]:
    """Values of the table's first partition column, ascending."""
    return _dates(open_table(warehouse, table), table)


def files(night: Night, table: str, at: int | None = None, values: Sequence[Any] | None = None) -> pa.Table:
    """The data files that belong to the night: `path` below the table's folder and `size_bytes`, in order of path.

    Args:
        at: version of the table, if not the last.
        values: values of the belonging column of the night, where they are known better.
    """
    column, values = partitions(night, table, at) if values is None else (belonging_column(table), values)
    actions = _add_actions(open_night_table(night, table, at), table, column, values)
    return actions.select(["path", "size_bytes", "num_records"]).sort_by("path")


def models(warehouse: Warehouse) -> list[ModelRecord]:
    """Every model, in any order."""
    return [ModelRecord.from_row(row) for row in rows(warehouse, "models").to_pylist()]


def version(warehouse: Warehouse, table: str) -> int:
    """Number of the table's last commit."""
    return open_table(warehouse, table).version()


def count(night: Night, table: str) -> int:
    """Number of rows that belong to the night, from the transaction log alone."""
    return _count(files(night, table))


def count_of(warehouse: Warehouse, table: str, days: Sequence[date]) -> int:
    """Number of rows of some nights, from the transaction log alone."""
    return _count(_add_actions(open_table(warehouse, table), table, contract(table).partitioned_by[0], days))


def rows(
    warehouse: Warehouse, table: str, where: pc.Expression | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Rows of a table as Arrow, through delta-rs; all columns of the contract unless some are named."""
    return _rows(open_table(warehouse, table).dataset(), table, where, columns)


def night_rows(night: Night, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A night's rows of a table, as Arrow."""
    column, values = partitions(night, table)
    return _rows(_night_dataset(night, table), table, _is_in(column, values), columns)


def batches(night: Night, table: str) -> Iterator[pa.RecordBatch]:
    """A night's rows of a table, a batch at a time."""
    column, values = partitions(night, table)
    yield from _night_dataset(night, table).to_batches(columns=_names(table), filter=_is_in(column, values))


def at_version(path: str, number: int | None) -> OpenTable:
    """The table in a folder at a version, the last one if none is named; in any process, without a warehouse.

    Raises:
        InputError: the version is not there any more.
    """
    try:
        return OpenTable(path, number)
    except DeltaError as error:
        if number is None or isinstance(error, TableNotFoundError):
            raise
        raise InputError(
            "a version of a table is not there",
            where=path,
            found=str(error),
            expected=f"version {number}",
            fix="its log was damaged, or retention has let go of it: run the night again",
        ) from error


def _open(warehouse: Warehouse, table: str, at: int | None) -> OpenTable:
    path = warehouse.table_path(table)
    opened: dict[str, OpenTable] | None = warehouse.opened
    try:
        if opened is None or at is not None:
            return _unchanged(path, at)
        return opened.get(table) or opened.setdefault(table, at_version(path, None))
    except TableNotFoundError:
        require_warehouse(warehouse)
        raise


def _unchanged(path: str, at: int | None) -> OpenTable:
    """A table to be read alone, opened anew only if its log's folder has changed: to open one is to read its log."""
    log = Path(path, "_delta_log")
    try:
        folder = log.stat()
    except OSError:  # no local folder, or none that can be looked into
        return at_version(path, at)
    opened: OpenTable = _opened(path, at, folder.st_ino, folder.st_mtime_ns)
    # A commit within a tick of the file system's clock leaves the folder's time as it was.
    if at is None and (log / f"{opened.version() + 1:020}.json").exists():
        return at_version(path, at)
    return opened


@lru_cache(_TABLES_KEPT)
def _opened(path: str, at: int | None, _inode: int, _changed_at: int) -> OpenTable:
    return at_version(path, at)


def _read(spark: "SparkSession", folder: str, table: str, actions: pa.Table) -> "DataFrame":
    """Data files as Parquet: to read the table itself, Spark works through its log, in job after job."""
    columns = contract(table).columns
    kinds = ", ".join(f"`{column.name}` {column.type}" for column in columns)
    paths = sorted(f"{folder}/{path}" for path in actions["path"].to_pylist())
    if not paths:
        return spark.createDataFrame([], kinds)
    files = spark.read.schema(kinds).option("basePath", folder).parquet(*paths)
    return files.select([column.name for column in columns])


def _night_dataset(night: Night, table: str) -> "ds.Dataset":
    return open_night_table(night, table).dataset()


def _rows(files: "ds.Dataset", table: str, where: pc.Expression | None, columns: Sequence[str] | None) -> pa.Table:
    return files.to_table(columns=list(columns or _names(table)), filter=where)


def _names(table: str) -> list[str]:
    return [column.name for column in contract(table).columns]


def _dates(delta: OpenTable, table: str) -> list[date]:
    column = contract(table).partitioned_by[0]
    actions = delta.actions()
    return sorted(pc.unique(actions[f"partition.{column}"]).to_pylist())


def _add_actions(delta: OpenTable, table: str, column: str, values: Sequence[Any]) -> pa.Table:
    actions = delta.actions()
    chosen = pa.array(values, contract(table).arrow_schema.field(column).type)
    return cast("pa.Table", actions.filter(pc.is_in(actions[f"partition.{column}"], chosen)))


def files_with_keys(
    delta: OpenTable, table: str, column: str, values: Sequence[Any]
) -> list[tuple[str, dict[str, Any]]]:
    """Data files below the table's folder, of some values of a partition column, each with all its partition values."""
    actions = _add_actions(delta, table, column, values)
    keys = actions.select([f"partition.{name}" for name in contract(table).partitioned_by])
    names = dict(zip(keys.column_names, contract(table).partitioned_by, strict=True))
    of_files = keys.rename_columns(names).to_pylist()
    return list(zip(actions["path"].to_pylist(), of_files, strict=True))


def _is_in(column: str, values: Sequence[Any]) -> pc.Expression:
    # Without values there is no type to compare with.
    return pc.field(column).isin(values) if values else pc.scalar(False)


def _count(actions: pa.Table) -> int:
    return pc.sum(actions["num_records"]).as_py() or 0
