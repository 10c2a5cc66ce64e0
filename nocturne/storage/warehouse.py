"""A warehouse as a whole: its tables created, its settings fixed for its life, its lease taken."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from nocturne.core.errors import UsageError, text_of
from nocturne.core.night import Warehouse
from nocturne.core.settings import load_settings
from nocturne.flow import TABLES
from nocturne.storage import fencing, tables
from nocturne.storage.contracts import contract
from nocturne.storage.lease import hold

_FIXED = "nocturne."
_NAMES = ("interactions.half_life_days", "tables.buckets")


def create_missing(warehouse: Warehouse) -> None:
    """Create every table that the warehouse lacks, empty, as its contract says.

    Raises:
        UsageError: the warehouse cannot be written, or was made with settings that are fixed for its life.
    """
    try:
        for table in TABLES:
            _create(warehouse, table)
    except (OSError, DeltaError) as error:
        raise UsageError(
            "the warehouse cannot be written",
            where=warehouse.path,
            found=text_of(error),
            expected="a folder that this user may write",
            fix="give another --warehouse, or change its permissions",
        ) from error


@contextmanager
def leased(warehouse: Warehouse, run_date: date, holder: str | None = None) -> Iterator[Warehouse]:
    """Hold the lease for as long as the block runs; gives the warehouse with its token, and with all its tables.

    Args:
        run_date: the first night that is worked on: waiting nights go in order of date.
        holder: a run that may hold the lease already.

    Raises:
        ServiceError: another night holds the lease.
        UsageError: the warehouse cannot be written.
    """
    with hold(warehouse.path, run_date, holder) as lease:
        create_missing(warehouse)
        warehouse = replace(warehouse, token=lease.token)
        if lease.takes_over:
            fence_out_previous_writers(warehouse)
        yield warehouse


def fence_out_previous_writers(warehouse: Warehouse) -> None:
    """Commit the warehouse's token to every table: what an earlier process still has in hand is refused."""
    assert warehouse.token is not None
    for table in TABLES:
        fencing.advance(DeltaTable(warehouse.table_path(table)), warehouse.token)


def open_warehouse(folder: str, conf: str | None = None, overrides: Sequence[str] | None = None) -> Warehouse:
    """The warehouse in a folder, with the settings that are fixed for its life.

    Raises:
        UsageError: there is none, or settings are wrong.
    """
    return with_stored_settings(Warehouse(folder, load_settings(conf or None, overrides or ())))


def with_stored_settings(warehouse: Warehouse) -> Warehouse:
    """The warehouse with the settings that are fixed for its life, as they are stored there."""
    tables.require_warehouse(warehouse)
    stored = DeltaTable(warehouse.table_path("interactions")).metadata().configuration
    fixed = load_settings(
        overrides=[f"{name}={stored[key]}" for name in _NAMES if (key := f"{_FIXED}{name}") in stored]
    )
    settings = warehouse.settings.model_copy(update={"interactions": fixed.interactions, "tables": fixed.tables})
    return replace(warehouse, settings=settings)


def _require_writable(path: str) -> None:
    """Raise PermissionError unless files can be added to a table, lest a night finds out at its end."""
    for folder in (path, f"{path}/_delta_log") if "://" not in path else ():
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "may not be written", folder)


def _create(warehouse: Warehouse, table: str) -> None:
    path, promised, fixed = warehouse.table_path(table), contract(table), _fixed_settings(warehouse, table)
    if not DeltaTable.is_deltatable(path):
        DeltaTable.create(
            path,
            promised.arrow_schema,
            partition_by=list(promised.partitioned_by),
            description=promised.comment,
            configuration=promised.plain_properties | fixed,
            raise_if_key_not_exists=False,
        )
    _require_writable(path)
    delta = DeltaTable(path)
    columns, expected = {field.name for field in delta.schema().fields}, {column.name for column in promised.columns}
    if columns != expected:
        raise UsageError(
            "the warehouse was made by another release",
            where=path,
            found=f"columns {', '.join(sorted(columns ^ expected))} in one of them only",
            expected=f"the columns of schemas/{table}.sql",
            fix="run the nights into a new warehouse: CHANGELOG.md says which releases read each other's",
        )
    properties = delta.metadata().configuration
    for name, value in fixed.items():
        if properties.get(name) != value:
            raise UsageError(
                f"{name.removeprefix(_FIXED)} is fixed for the life of a warehouse",
                where=path,
                found=f"{properties.get(name)} in the table, {value} in the settings",
                fix="keep the setting, or run the nights into a new warehouse",
            )
    absent = {
        name: check for name, check in promised.constraints.items() if f"delta.constraints.{name}" not in properties
    }
    if absent:
        delta.alter.add_constraint(absent)


def _fixed_settings(warehouse: Warehouse, table: str) -> dict[str, str]:
    """Settings that the stored rows depend on, kept as properties of the table."""
    fixed = {}
    if table in tables.BUCKETED:
        fixed["tables.buckets"] = str(warehouse.settings.tables.buckets)
    if table == "interactions":
        fixed["interactions.half_life_days"] = str(warehouse.settings.interactions.half_life_days)
    return {f"{_FIXED}{name}": value for name, value in fixed.items()}
