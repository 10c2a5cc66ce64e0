"""Writing of Delta tables: a night's partition, or some rows, replaced in one fenced commit."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, cast

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from nocturne.core.errors import InputError
from nocturne.core.night import Night, Warehouse
from nocturne.storage import fencing
from nocturne.storage.bucket_files import BucketFile
from nocturne.storage.contracts import check_columns, contract, spark_type
from nocturne.storage.tables import BUCKETED, require_warehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FEW_ROWS = 50_000
"""Rows that the driver may hold at once: for so few, Spark's commit takes longer than all the rest."""


def replace_night(content: "DataFrame | pa.Table", table: str, night: Night, at_most: int | None = None) -> None:
    """Replace the night's partition of a table by these rows, in one commit.

    Args:
        content: a Spark frame, written by Spark, or an Arrow table, written by delta-rs.
        at_most: upper bound of the rows, where it is known: a frame of few rows is written by delta-rs too.

    Raises:
        InputError: columns are missing, unexpected or mistyped.
        UndeclaredAccessError: the stage at work does not declare that it writes the table.
    """
    where = f"{contract(table).partitioned_by[0]} = '{night.run_date}'"
    if not isinstance(content, pa.Table):
        check_columns(table, dict(content.dtypes), night.warehouse.table_path(table))
        content = content.select([column.name for column in contract(table).columns])
        if at_most is None or at_most > FEW_ROWS:
            _replace_by_spark(content, table, night.warehouse, where)
            return
        content = content.toArrow()
    replace_rows(content, table, night.warehouse, where)


def replace_rows(rows: pa.Table, table: str, warehouse: Warehouse, where: str) -> None:
    """Replace rows of a table, whatever their nights, in one commit.

    Args:
        where: SQL predicate of the rows that are replaced.

    Raises:
        As `replace_night`.
    """
    promised = contract(table)
    check_columns(table, {field.name: spark_type(field.type) for field in rows.schema}, warehouse.table_path(table))
    rows = rows.select([column.name for column in promised.columns]).cast(promised.arrow_schema)
    if table in BUCKETED:
        rows = rows.sort_by([("bucket", "ascending"), ("user_id", "ascending")])
    delta = _open_for_writing(warehouse, table)
    with fencing.conflicts_as_errors(delta):
        write_deltalake(
            delta,
            rows,
            mode="overwrite",
            predicate=where,
            commit_properties=fencing.commit_properties(delta, warehouse.token),
        )


def commit_files(spark: "SparkSession", night: Night, files: Mapping[str, Sequence[BucketFile]]) -> None:
    """Replace the night's partition of tables by files that tasks have written into their folders, a commit a table.

    Nothing is committed before the rows of every table hold what their contract says.

    Args:
        files: by table.

    Raises:
        InputError: rows break a constraint of the contract, which whoever writes a Delta table must check.
    """
    from nocturne.core.spark.session import plan_simply  # small tables are written without Spark

    most = max((sum(file.rows for file in written) for written in files.values()), default=0)
    with plan_simply(spark, most):
        _check_constraints(spark, night.warehouse, files)
    for table, written in files.items():
        promised, delta = contract(table), _open_for_writing(night.warehouse, table)
        with fencing.conflicts_as_errors(delta):
            delta.create_write_transaction(
                [file.add_action(str(night.run_date)) for file in written],
                mode="overwrite",
                schema=promised.arrow_schema,
                partition_by=list(promised.partitioned_by),
                partition_filters=[("run_date", "=", str(night.run_date))],
                commit_properties=fencing.commit_properties(delta, night.warehouse.token),
            )


def _check_constraints(spark: "SparkSession", warehouse: Warehouse, files: Mapping[str, Sequence[BucketFile]]) -> None:
    """Raise InputError if rows of any table break its constraints; one job counts them all: each has its price."""
    counted = [
        _count_broken(spark, warehouse, table, written)
        for table, written in files.items()
        if written and contract(table).constraints
    ]
    broken = reduce(lambda first, second: first.unionAll(second), counted).collect() if counted else []
    for table, wrong in broken:
        if wrong:
            raise InputError(
                f"rows of {table} break its constraints",
                where=warehouse.table_path(table),
                found=f"{wrong} rows",
                expected=" and ".join(contract(table).constraints.values()),
                fix="this is a fault of Nocturne's: report it with the night's settings",
            )


def _count_broken(spark: "SparkSession", warehouse: Warehouse, table: str, files: Sequence[BucketFile]) -> "DataFrame":
    """One row: the table, and how many rows of its files break a constraint."""
    promised, path = contract(table), warehouse.table_path(table)
    kinds = ", ".join(f"`{column.name}` {column.type}" for column in promised.columns)
    written = spark.read.schema(kinds).parquet(*(f"{path}/{file.path}" for file in files))
    broken = " OR ".join(f"NOT coalesce({check}, false)" for check in promised.constraints.values())
    return written.where(broken).selectExpr(f"'{table}' AS `table`", "count(*) AS broken")


def _replace_by_spark(rows: "DataFrame", table: str, warehouse: Warehouse, where: str) -> None:
    path, delta = warehouse.table_path(table), _open_for_writing(warehouse, table)
    version = fencing.next_version(delta, warehouse.token)
    rows = _lay_out(rows, warehouse.settings.tables.buckets) if table in BUCKETED else rows
    writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", where)
    with fencing.conflicts_as_errors(delta):
        writer.options(**fencing.writer_options(version)).save(path)
    fencing.verify_committed(path, version)


def _open_for_writing(warehouse: Warehouse, table: str) -> DeltaTable:
    if warehouse.access:
        warehouse.access.require_write(table)
    if opened := (warehouse.opened or {}).get(table):
        return cast("DeltaTable", opened)
    require_warehouse(warehouse)
    return DeltaTable(warehouse.table_path(table))


def _lay_out(rows: "DataFrame", buckets: int) -> "DataFrame":
    """One sorted file per bucket, so that a bucket of two tables can be read side by side."""
    return rows.repartition(buckets, "bucket").sortWithinPartitions("bucket", "user_id")
