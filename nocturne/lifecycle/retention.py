"""Retention: removing from a warehouse what settings let go, while others read it.

What may go is decided in `nocturne.lifecycle.expiry`. It goes in an order that can be cut short anywhere and begun
again, and in which a reader never meets half of it: a night leaves `nights` before its tables, rows leave a table
before their files, files follow after the hours that settings grant whoever opened them, and the log keeps every
version that a night of `nights` names, with its files, for as long as the table keeps that night.
"""

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from nocturne.core.experiment import experiments_of
from nocturne.core.night import Warehouse
from nocturne.flow import GATED_TABLES, TABLES
from nocturne.lifecycle.expiry import (
    ENCODERS,
    Inventory,
    Limits,
    expired_partitions,
    last_day_to_count_from,
    readable_records,
    recorded_pointers,
)
from nocturne.serving import publications
from nocturne.serving.cache.pointer import Pointer
from nocturne.serving.manifest import FOLDER as MANIFESTS
from nocturne.serving.night_record import PUBLISHED, ROLLED_BACK, NightRecord
from nocturne.storage import delta_log, fencing, fingerprints, tables
from nocturne.storage.attempts import FOLDER as ATTEMPTS
from nocturne.storage.contracts import contract
from nocturne.storage.delta_log import Log
from nocturne.storage.history import closed_dates
from nocturne.storage.tables import ACCUMULATED, OF_MODELS
from nocturne.training import registry
from nocturne.validation.data_docs import FOLDER as DATA_DOCS

SCRATCH = ".ranking-*"
_IN_ORDER = ("nights", *(table for table in TABLES if table != "nights"))
"""Nobody is promised a night that is going; `validations` come after the tables that they speak of."""

Files = dict[str, int]
"""Size of data files in bytes, by path below the table's folder."""


@dataclass
class Removed:
    """Partitions, rows and files removed from a table or folder.

    Attributes:
        table: its name in the warehouse.
        partitions: nights; of `models` and `item_factors` models.
        rows: of these partitions.
        files: deleted, the log's apart; files of rows that went just now follow after the hours that settings say.
        log_files: of the transaction log.
        bytes: of both kinds of files.
        names: of these partitions, ascending.
    """

    table: str
    partitions: int = 0
    rows: int = 0
    files: int = 0
    log_files: int = 0
    bytes: int = 0
    names: list[str] = field(default_factory=list)


def retain(
    warehouse: Warehouse,
    run_date: date,
    caches: Iterable[Pointer] = (),
    announce: Callable[[Removed], None] = lambda _removed: None,
    *,
    dry_run: bool = False,
) -> list[Removed]:
    """Remove what the settings of retention let go; returns what went, or would go, of every table and folder.

    A dry run changes nothing; otherwise the warehouse is under the lease.

    Args:
        run_date: the day that nights are counted back from, or from the day after the newest night if that is earlier.
        caches: pointers of caches, beside those on record in `nights`.
        announce: told of the rows that go from every table, before any of them does.

    Raises:
        UsageError: a limit is set for what is no table or may not lose rows, there is no warehouse, or its newest
            night is long before the day.
        InputError: a pointer on record cannot be read, so that it is not known what is served.
        ServiceError: a later process has taken the lease over, or wrote a table meanwhile.
    """
    tables.require_warehouse(warehouse)
    nights = publications.all_records(warehouse)
    generations = [each for pointer in (*recorded_pointers(nights), *caches) for each in pointer.retained]
    names, served = {each.name for each in generations}, frozenset(each.run_date for each in generations)
    paths = {name: warehouse.table_path(name) for name in _IN_ORDER}
    stored = [TableOnDisk(name, path) for name, path in paths.items() if DeltaTable.is_deltatable(path)]
    inventory = _take_inventory(warehouse, stored, nights, served)
    limits = Limits.of(warehouse.settings.retention, last_day_to_count_from(run_date, inventory.newest))
    expired = expired_partitions(inventory, limits, warehouse.settings.listens.dedup_nights)
    staying = [record for record in nights if record.run_date not in expired["nights"]]
    removed = [_count_rows(table, expired[table.name]) for table in stored]
    for of_table in removed:
        announce(of_table)
    for table, of_table in zip(stored, removed, strict=True):
        first = limits.first(table.name)
        promised = [
            record for record in staying if record.run_date >= first or record.run_date in inventory.fully_kept_nights
        ]
        _shrink_table(warehouse, table, expired[table.name], promised, names, of_table, dry_run=dry_run)
    left = {table: days - expired[table] | inventory.fully_kept_nights for table, days in inventory.dates.items()}
    return [*removed, *_remove_side_files(warehouse, limits, left, dry_run=dry_run)]


class TableOnDisk:
    """A table as it lies on the disk."""

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path, self.folder = name, path, Path(path)
        self.column = tables.belonging_column(name)
        self.delta = DeltaTable(path)
        self.actions = pa.table(self.delta.get_add_actions(flatten=True))

    @cached_property
    def files(self) -> Mapping[Any, Files]:
        """Files by partition value."""
        return _by_partition(self.actions, self.column)

    def rows_of(self, values: Collection[Any]) -> int:
        """Rows of partitions, from the log alone."""
        partition = self.actions[f"partition.{self.column}"]
        chosen = self.actions.filter(pc.is_in(partition, pa.array(list(values), partition.type)))
        return pc.sum(chosen["num_records"]).as_py() or 0

    def files_of(self, record: NightRecord, files: Mapping[Any, Files]) -> Files:
        """Those of the files that belong to a night: see `tables.partitions`."""
        if self.name in OF_MODELS:
            return files.get(record.manifest.model_version, {})
        if self.name in ACCUMULATED:
            return {
                path: size for day, added in files.items() if day <= record.run_date for path, size in added.items()
            }
        return files.get(record.run_date, {})


def _columns(actions: pa.Table, names: Sequence[str]) -> list[list[Any]]:
    return [actions[name].to_pylist() for name in names]


def _by_partition(actions: pa.Table, column: str) -> Mapping[Any, Files]:
    files: dict[Any, Files] = {}
    for value, path, size in zip(*_columns(actions, (f"partition.{column}", "path", "size_bytes")), strict=True):
        files.setdefault(value, {})[path] = size
    return files


@lru_cache(maxsize=2)  # nights in a row name the same version of `models`
def _files_at(path: str, column: str, version: int) -> Mapping[Any, Files]:
    """Files by partition value as of a version; none if the log does not reach back to it."""
    try:
        return _by_partition(pa.table(DeltaTable(path, version=version).get_add_actions(flatten=True)), column)
    except DeltaError:
        return {}


def _take_inventory(
    warehouse: Warehouse, stored: Sequence[TableOnDisk], nights: Sequence[NightRecord], served: frozenset[date]
) -> Inventory:
    factors = [table.actions for table in stored if table.name == "item_factors"]
    names = [f"partition.{name}" for name in contract("item_factors").partitioned_by]
    trained = {version: day for each in factors for day, version in zip(*_columns(each, names), strict=True)}
    return Inventory(
        dates={table.name: frozenset(table.files) for table in stored if table.name not in OF_MODELS},
        models=registry.models(warehouse),
        factors=trained,
        encoders=frozenset(version for table in stored if table.name == ENCODERS for version in table.files),
        closed=frozenset(closed_dates(warehouse, GATED_TABLES)),
        served=served,
        published=frozenset(record.run_date for record in nights if record.state == PUBLISHED),
        rolled_back=frozenset(record.run_date for record in nights if record.state == ROLLED_BACK),
        experiments=experiments_of(warehouse.settings),
        holdback_model=warehouse.settings.experiments.holdback_model,
    )


def _count_rows(table: TableOnDisk, expired: Collection[Any]) -> Removed:
    return Removed(table.name, len(expired), table.rows_of(expired), names=sorted(map(str, expired)))


def _shrink_table(
    warehouse: Warehouse,
    table: TableOnDisk,
    expired: Collection[Any],
    promised: Sequence[NightRecord],
    generations: Collection[str],
    removed: Removed,
    *,
    dry_run: bool,
) -> None:
    """Remove partitions, then files, then log entries: each is needed by whoever still reads the one before.

    Args:
        promised: records of nights that the table still keeps.
        generations: those that caches keep.
        removed: of the table; the files are added.
    """
    hours = warehouse.settings.retention.removed_files_hours
    log, changes = Log.read(table.folder), _changes(warehouse, table, expired)
    leaving = {path for value in expired for path in table.files[value]}
    referenced = _referenced_files(table, expired, readable_records(promised, generations))
    if not dry_run:
        for change in changes:
            change()
        table = TableOnDisk(table.name, table.path)
    unused = set(table.delta.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True))
    unused |= leaving if dry_run and hours == 0 else set()
    # Delta lists what was removed for as long as the log tells of it, on the disk or not.
    on_disk = [path for name in sorted(unused - referenced) if (path := table.folder / name).exists()]
    files = [*on_disk, *_left_over(table.folder, hours)]
    removed.files, removed.bytes = len(files), _size(files)
    if not dry_run:
        fencing.next_version(table.delta, warehouse.token)  # raises if a later process has taken over
        _unlink(files)
        _remove_empty_folders(table.folder)
        if log.wants_checkpoint:
            table.delta.create_checkpoint()
    last = table.delta.version() + (len(changes) if dry_run else 0)
    after = log.with_checkpoint(last) if dry_run and log.wants_checkpoint else Log.read(table.folder)
    versions = [record.manifest.versions[table.name] for record in promised if table.name in record.manifest.versions]
    unneeded = after.unneeded(versions, last, hours)
    counted = [path for path in unneeded if path in log]
    removed.log_files, removed.bytes = len(counted), removed.bytes + _size(counted)
    if not dry_run:
        _unlink(unneeded)


def _referenced_files(table: TableOnDisk, expired: Collection[Any], promised: Sequence[NightRecord]) -> set[str]:
    """Files that belong to a night at its version and not to the table any more: it was run again, or began to be."""
    current = {value: files for value, files in table.files.items() if value not in expired}
    referenced: set[str] = set()
    for record in promised:
        manifest = record.manifest
        if table.name not in manifest.versions:
            continue
        now = table.files_of(record, current)
        if manifest.file_names_hashes.get(table.name) != fingerprints.names_hash(now):
            then = _files_at(table.path, table.column, manifest.versions[table.name])
            referenced |= table.files_of(record, then).keys() - now.keys()
    return referenced


def _changes(warehouse: Warehouse, table: TableOnDisk, expired: Collection[Any]) -> list[Callable[[], object]]:
    """The commits that are due: that the log is left to us, if that is not so, and the removal of partitions."""
    properties = delta_log.properties(warehouse.settings.retention.nights.get(table.name))
    values = ", ".join(f"'{value}'" for value in sorted(expired))
    due: list[Callable[[DeltaTable, CommitProperties | None], object]] = []
    if properties.items() - table.delta.metadata().configuration.items():
        due.append(lambda delta, commit: delta.alter.set_table_properties(properties, commit_properties=commit))
    if expired:
        # Partitions are removed whole: no file is read or written.
        due.append(lambda delta, commit: delta.delete(f"{table.column} IN ({values})", commit_properties=commit))
    return [partial(_commit, warehouse, table, change) for change in due]


def _commit(
    warehouse: Warehouse, table: TableOnDisk, change: Callable[[DeltaTable, CommitProperties | None], object]
) -> None:
    delta = DeltaTable(table.path)
    with fencing.conflicts_as_errors(delta):
        change(delta, fencing.commit_properties(delta, warehouse.token))


def _remove_side_files(
    warehouse: Warehouse, limits: Limits, left: Mapping[str, frozenset[date]], *, dry_run: bool
) -> list[Removed]:
    """Remove the files beside the tables whose nights are gone, and what dead drivers left.

    Args:
        left: nights that each table still has, or would have to keep.
    """
    folder = Path(warehouse.folder)
    # Under the lease nobody else ranks.
    files_by_folder = {
        SCRATCH: [path for scratch in folder.glob(SCRATCH) for path in scratch.rglob("*") if path.is_file()]
    }
    for name, table in ((MANIFESTS, "nights"), (ATTEMPTS, "nights"), (DATA_DOCS, "validations")):
        days = {path: _day(path) for path in sorted((folder / name).glob("????-??-??*"))}
        files_by_folder[name] = [
            path for path, day in days.items() if day and day < limits.first(table) and day not in left[table]
        ]
    removed = [Removed(name, files=len(files), bytes=_size(files)) for name, files in files_by_folder.items()]
    if not dry_run:
        for files in files_by_folder.values():
            _unlink(files)
        for scratch in folder.glob(SCRATCH):
            shutil.rmtree(scratch)
    return removed


def _left_over(table: Path, hours: int) -> list[Path]:
    """Files that dead writers did not finish, which Delta does not list: `name#1` of delta-rs, and `name.tmp`."""
    unfinished = [path for path in table.rglob("*") if "#" in path.name or path.suffix == ".tmp"]
    return [path for path in unfinished if time.time() - path.stat().st_mtime >= hours * 3600]


def _day(path: Path) -> date | None:
    try:
        return date.fromisoformat(path.name[:10])
    except ValueError:
        return None


def _size(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def _unlink(files: Iterable[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)


def _remove_empty_folders(table: Path) -> None:
    """Remove the folders of partitions without files, from the inside."""
    for name, _, _ in os.walk(table, topdown=False):
        folder = Path(name)
        if "=" in folder.name and not any(folder.iterdir()):
            folder.rmdir()
