"""The warehouse: one Delta directory per table, created, read and replaced only here.

Tables with a row per listener or event are read and written by Spark. Control tables of a few rows
go through delta-rs, whose commit takes a twentieth of the time of Spark's, and need no JVM.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow.dataset import get_partition_keys
from pyarrow.parquet import ParquetFile
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nocturne.core.errors import InputError, SettingsError
from nocturne.core.night import Night
from nocturne.storage import fencing
from nocturne.storage.bucket_files import BucketFile
from nocturne.storage.contracts import check_columns, contract, spark_type
from nocturne.storage.model_transitions import live_on

FEW_ROWS = 20_000
"""Rows that the driver may hold at once: for so few, Spark's commit takes longer than all the rest."""

OF_MODELS = ("models", "item_factors")
"""Tables with a partition a model: to a night belongs that of the model live on it."""

_BATCH_ROWS = 4096
_READ_BYTES = 2**20
BUCKETED = ("interactions", "pools", "ranked_lists")
"""Tables with a row a listener, in one sorted file a bucket."""


def require_warehouse(night: Night) -> None:
    """Raise SettingsError unless the warehouse holds tables."""
    if not DeltaTable.is_deltatable(table_path(night, "listens")):
        raise SettingsError(
            "there is no warehouse",
            where=night.warehouse,
            expected="a folder with Nocturne's tables",
            fix="check --warehouse; `ingest_events` makes a new one",
        )


def table_path(night: Night, table: str) -> str:
    """Folder of a table; absolute when the warehouse is a local folder."""
    return f"{root(night)}/{table}"


def root(night: Night) -> str:
    """Folder of the warehouse, absolute when it is a local one."""
    return night.warehouse if "://" in night.warehouse else str(Path(night.warehouse).absolute())


def read(spark: SparkSession, night: Night, table: str) -> DataFrame:
    """All nights of a table."""
    return spark.read.format("delta").load(table_path(night, table))


def read_night(spark: SparkSession, night: Night, table: str) -> DataFrame:
    """What of a table belongs to the night: see `partitions`."""
    column, values = partitions(night, table)
    return read(spark, night, table).where(F.col(column).isin(values))


def belonging_column(table: str) -> str:
    """The partition column that tells which rows belong to a night."""
    return "model_version" if table in OF_MODELS else contract(table).partitioned_by[0]


def partitions(night: Night, table: str) -> tuple[str, list[Any]]:
    """A partition column, and its values that belong to the night.

    The night itself; for the item index every night so far; for models and their factors the version of the
    model live on this night.
    """
    column = belonging_column(table)
    if table == "item_index":
        return column, [day for day in dates(night, table) if day <= night.run_date]
    if table in OF_MODELS:
        live = live_on(rows(night, "models", columns=["model_version", "moves"]).to_pylist(), night.run_date)
        return column, [live["model_version"]] if live else []
    return column, [night.run_date]


def dates(night: Night, table: str) -> list[date]:
    """Values of the table's first partition column, ascending."""
    column = contract(table).partitioned_by[0]
    actions = pa.table(opened(night, table).get_add_actions(flatten=True))
    return sorted(pc.unique(actions[f"partition.{column}"]).to_pylist())


def files(night: Night, table: str, at: int | None = None, values: Sequence[Any] | None = None) -> pa.Table:
    """The data files that belong to the night: `path` below the table's folder and `size_bytes`, in order of path.

    Args:
        at: version of the table, if not the last.
        values: values of the first partition column that belong to the night, where they are known better.
    """
    column, values = partitions(night, table) if values is None else (belonging_column(table), values)
    actions = _actions_of(night, table, column, values, at)
    return actions.select(["path", "size_bytes", "num_records"]).sort_by("path")


def version(night: Night, table: str) -> int:
    """Number of the table's last commit."""
    return opened(night, table).version()


def count(night: Night, table: str) -> int:
    """Rows that belong to the night, from the transaction log alone."""
    return _count(files(night, table))


def count_of(night: Night, table: str, days: Sequence[date]) -> int:
    """Rows of these nights, from the transaction log alone."""
    return _count(_actions_of(night, table, contract(table).partitioned_by[0], days))


def rows(
    night: Night, table: str, where: pc.Expression | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Rows of a table as Arrow, through delta-rs; all columns of the contract unless some are named."""
    names = list(columns or (column.name for column in contract(table).columns))
    return opened(night, table).to_pyarrow_dataset().to_table(columns=names, filter=where)


def night_rows(night: Night, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """What of a table belongs to the night, as Arrow."""
    column, values = partitions(night, table)
    return rows(night, table, _among(column, values), columns)


def batches(night: Night, table: str) -> Iterator[pa.RecordBatch]:
    """What of a table belongs to the night, a batch at a time."""
    column, values = partitions(night, table)
    dataset = opened(night, table).to_pyarrow_dataset()
    names = [field.name for field in contract(table).columns]
    yield from dataset.to_batches(columns=names, filter=_among(column, values))


@dataclass(frozen=True)
class StoredRows:
    """One night's rows of a table keyed by listener, a batch at a time, in the order of bucket and user_id.

    Each time they are gone through they are read anew, from one version: the same rows, whatever was written since.

    Attributes:
        path: folder of the table.
        version: version of the table to read.
        run_date: the night.
        columns: the columns to read.
        bucket: the only bucket to read, if not all.
    """

    path: str
    version: int
    run_date: date
    columns: tuple[str, ...]
    bucket: int | None = None

    @classmethod
    def at(cls, night: Night, table: str, columns: Sequence[str]) -> "StoredRows":
        """The rows as they are now."""
        return cls(table_path(night, table), opened(night, table).version(), night.run_date, tuple(columns))

    def of_bucket(self, bucket: int) -> "StoredRows":
        """The rows of one bucket."""
        return replace_fields(self, bucket=bucket)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Read the files one after another, none of them whole: a scan of the dataset would read ahead."""
        for file in self._files():
            yield from file.iter_batches(_BATCH_ROWS, columns=list(self.columns), use_threads=False)

    def some(self, rows: int, seed: int) -> Iterator[pa.RecordBatch]:
        """At most so many rows of one group of each file, which the seed draws, as it draws the rows."""
        draw = np.random.default_rng(seed)
        for file in self._files():
            if not file.num_row_groups:
                continue
            group = file.read_row_group(int(draw.integers(file.num_row_groups)), list(self.columns), use_threads=False)
            drawn = np.sort(draw.permutation(group.num_rows)[:rows])
            yield from group.take(drawn).to_batches()

    def _files(self) -> Iterator[ParquetFile]:
        dataset = _at(self.path, self.version).to_pyarrow_dataset()
        wanted = pc.field("run_date") == self.run_date
        if self.bucket is not None:
            wanted &= pc.field("bucket") == self.bucket
        of_night = dataset.get_fragments(wanted)
        for _, path in sorted(
            (get_partition_keys(file.partition_expression)["bucket"], file.path) for file in of_night
        ):
            with dataset.filesystem.open_input_file(path) as stored:
                yield ParquetFile(stored, buffer_size=_READ_BYTES, pre_buffer=False, page_checksum_verification=True)


def replace(
    content: DataFrame | pa.Table, table: str, night: Night, where: str | None = None, at_most: int | None = None
) -> None:
    """Replace the night's partition of a table by these rows, in one commit.

    Args:
        content: a Spark frame, written by Spark, or an Arrow table, written by delta-rs.
        where: SQL predicate of what is replaced, if less than the whole partition.
        at_most: upper bound of the rows, where it is known: a frame of few rows is written by delta-rs too.

    Raises:
        InputError: columns are missing, unexpected or mistyped.
    """
    promised = contract(table)
    where = where or f"{promised.partitioned_by[0]} = '{night.run_date}'"
    path = table_path(night, table)
    names = [column.name for column in promised.columns]
    if isinstance(content, DataFrame):
        check_columns(table, dict(content.dtypes), path)
        if at_most is None or at_most > FEW_ROWS:
            _replace_by_spark(_lay_out(content.select(names), table, night), path, where, night.token)
            return
        content = content.toArrow()
    else:
        check_columns(table, {each.name: spark_type(each.type) for each in content.schema}, path)
    few = content.select(names).cast(promised.arrow_schema)
    if table in BUCKETED:
        few = few.sort_by([("bucket", "ascending"), ("user_id", "ascending")])
    delta = opened(night, table)
    with fencing.refusals(delta):
        write_deltalake(
            delta, few, mode="overwrite", predicate=where, commit_properties=fencing.stamped(delta, night.token)
        )


def _replace_by_spark(rows: DataFrame, path: str, where: str, token: int | None) -> None:
    delta = DeltaTable(path)
    number = fencing.stamp(delta, token)
    writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", where)
    with fencing.refusals(delta):
        writer.options(**fencing.options(number)).save(path)
    fencing.require(path, number)


def commit(spark: SparkSession, night: Night, table: str, files: Sequence[BucketFile]) -> None:
    """Replace the night's partition of a table by files that tasks have written into its folder, in one commit.

    Raises:
        InputError: rows break a constraint of the contract, which whoever writes a Delta table must check.
    """
    promised, path = contract(table), table_path(night, table)
    broken = [f"NOT coalesce({check}, false)" for check in promised.constraints.values()]
    if files and broken:
        kinds = ", ".join(f"`{column.name}` {column.type}" for column in promised.columns)
        written = spark.read.schema(kinds).parquet(*(f"{path}/{file.path}" for file in files))
        wrong = written.where(" OR ".join(broken)).count()
        if wrong:
            raise InputError(
                f"rows of {table} break its constraints",
                where=path,
                found=f"{wrong} rows",
                expected=" and ".join(promised.constraints.values()),
                fix="this is a fault of Nocturne's: report it with the night's settings",
            )
    delta = DeltaTable(path)
    with fencing.refusals(delta):
        delta.create_write_transaction(
            [file.added(str(night.run_date)) for file in files],
            mode="overwrite",
            schema=promised.arrow_schema,
            partition_by=list(promised.partitioned_by),
            partition_filters=[("run_date", "=", str(night.run_date))],
            commit_properties=fencing.stamped(delta, night.token),
        )


def bucket(user_id: str, buckets: int) -> Column:
    """Hash bucket of a user: the same function in every table keyed by user."""
    return F.pmod(F.xxhash64(user_id), F.lit(buckets)).cast("int")


def _lay_out(content: DataFrame, table: str, night: Night) -> DataFrame:
    """One sorted file per bucket, so that a bucket of two tables can be read side by side."""
    if table not in BUCKETED:
        return content
    buckets = night.settings.tables.buckets
    return content.repartition(buckets, "bucket").sortWithinPartitions("bucket", "user_id")


def opened(night: Night, table: str, at: int | None = None) -> DeltaTable:
    """A table by delta-rs, at a version if not the last; SettingsError where there is no warehouse."""
    try:
        return _at(table_path(night, table), at)
    except TableNotFoundError:
        require_warehouse(night)
        raise


def _at(path: str, version: int | None) -> DeltaTable:
    try:
        return DeltaTable(path, version=version)
    except TableNotFoundError:
        raise
    except DeltaError as error:
        if version is None:
            raise
        raise InputError(
            "a version of a table is not there",
            where=path,
            found=str(error),
            expected=f"version {version}",
            fix="its log was damaged, or retention has let go of it: run the night again",
        ) from error


def _actions_of(night: Night, table: str, column: str, values: Sequence[Any], at: int | None = None) -> pa.Table:
    actions = pa.table(opened(night, table, at).get_add_actions(flatten=True))
    wanted = pa.array(values, _kind(table, column))
    return cast("pa.Table", actions.filter(pc.is_in(actions[f"partition.{column}"], wanted)))


def _among(column: str, values: Sequence[Any]) -> pc.Expression:
    # Without values there is no type to compare with.
    return pc.field(column).isin(values) if values else pc.scalar(False)


def _kind(table: str, column: str) -> pa.DataType:
    return contract(table).arrow_schema.field(column).type


def _count(actions: pa.Table) -> int:
    return pc.sum(actions["num_records"]).as_py() or 0
