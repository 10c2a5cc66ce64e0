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
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from nocturne.core.night import Night
from nocturne.flow import GATED_TABLES, TABLES
from nocturne.lifecycle.expiry import Inventory, Limits, outdated, readable, recorded
from nocturne.serving import publications
from nocturne.serving.cache.pointer import Pointer
from nocturne.serving.manifest import FOLDER as MANIFESTS
from nocturne.serving.manifest import Row
from nocturne.storage import delta_log, fencing, fingerprints, tables
from nocturne.storage.contracts import contract
from nocturne.storage.delta_log import Log
from nocturne.storage.history import closed_dates
from nocturne.storage.tables import OF_MODELS
from nocturne.training import registry
from nocturne.validation.data_docs import FOLDER as DATA_DOCS

SCRATCH = ".ranking-*"
_IN_ORDER = ("nights", *(table for table in TABLES if table != "nights"))
"""Nobody is promised a night that is going; `validations` come after the tables that they speak of."""

Files = dict[str, int]
"""Size of data files in bytes, by path below the table's folder."""


@dataclass
class Removed:
    """What went of a table or folder.

    Attributes:
        table: its name in the warehouse.
        partitions: nights; of `models` and `item_factors` models.
        rows: of these partitions.
        files: deleted, the log's apart; files of rows that went just now follow after the hours that settings say.
        log_files: of the transaction log.
        bytes: of both kinds of files.
    """

    table: str
    partitions: int = 0
    rows: int = 0
    files: int = 0
    log_files: int = 0
    bytes: int = 0


def retain(night: Night, caches: Iterable[Pointer] = (), *, dry_run: bool = False) -> list[Removed]:
    """Remove what the settings of retention let go; returns what went, or would go, of every table and folder.

    A dry run changes nothing; otherwise the night is one under the lease.

    Args:
        night: its run_date is the day that nights are counted back from.
        caches: pointers of caches, beside those on record in `nights`.

    Raises:
        SettingsError: a limit is set for what is no table or may not lose rows, or there is no warehouse.
        InputError: a pointer on record cannot be read, so that it is not known what is served.
        ServiceError: a later process has taken the lease over, or wrote a table meanwhile.
    """
    limits = Limits.of(night.settings.retention, night.run_date)
    tables.require_warehouse(night)
    known = publications.known(night)
    kept = [generation for pointer in (*recorded(known), *caches) for generation in pointer.kept]
    names, served = {each.name for each in kept}, frozenset(each.run_date for each in kept)
    paths = {name: tables.table_path(night, name) for name in _IN_ORDER}
    stocks = [_Stock(name, path) for name, path in paths.items() if DeltaTable.is_deltatable(path)]
    there = _inventory(night, stocks, known, served)
    gone = outdated(there, limits, night.settings.listens.dedup_nights)
    promised = [row for row in known if row["run_date"] not in gone["nights"]]
    removed = []
    for stock in stocks:
        first = limits.first(stock.name)
        rows = [row for row in promised if row["run_date"] >= first or row["run_date"] in there.whole]
        removed.append(_shrink(night, stock, gone[stock.name], rows, names, dry_run=dry_run))
    left = {table: days - gone[table] | there.whole for table, days in there.dates.items()}
    return [*removed, *_sweep(night, limits, left, dry_run=dry_run)]


class _Stock:
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
        found = self.actions[f"partition.{self.column}"]
        chosen = self.actions.filter(pc.is_in(found, pa.array(list(values), found.type)))
        return pc.sum(chosen["num_records"]).as_py() or 0

    def belonging(self, row: Row, files: Mapping[Any, Files]) -> Files:
        """Those of the files that belong to a night: see `tables.partitions`."""
        if self.name in OF_MODELS:
            return files.get(row["model_version"], {})
        if self.name == "item_index":
            return {
                path: size for day, found in files.items() if day <= row["run_date"] for path, size in found.items()
            }
        return files.get(row["run_date"], {})


def _columns(actions: pa.Table, names: Sequence[str]) -> list[list[Any]]:
    return [actions[name].to_pylist() for name in names]


def _by_partition(actions: pa.Table, column: str) -> Mapping[Any, Files]:
    found: dict[Any, Files] = {}
    for value, path, size in zip(*_columns(actions, (f"partition.{column}", "path", "size_bytes")), strict=True):
        found.setdefault(value, {})[path] = size
    return found


@lru_cache(maxsize=2)  # nights in a row name the same version of `models`
def _at(path: str, column: str, version: int) -> Mapping[Any, Files]:
    """Files by partition value as of a version; none if the log does not reach back to it."""
    try:
        return _by_partition(pa.table(DeltaTable(path, version=version).get_add_actions(flatten=True)), column)
    except DeltaError:
        return {}


def _inventory(night: Night, stocks: Sequence[_Stock], known: Sequence[Row], served: frozenset[date]) -> Inventory:
    factors = [stock.actions for stock in stocks if stock.name == "item_factors"]
    names = [f"partition.{name}" for name in contract("item_factors").partitioned_by]
    trained = {version: day for each in factors for day, version in zip(*_columns(each, names), strict=True)}
    return Inventory(
        dates={stock.name: frozenset(stock.files) for stock in stocks if stock.name not in OF_MODELS},
        models=registry.models(night),
        factors=trained,
        closed=frozenset(closed_dates(night, GATED_TABLES)),
        served=served,
        published=frozenset(row["run_date"] for row in known if row["state"] == publications.PUBLISHED),
    )


def _shrink(
    night: Night,
    stock: _Stock,
    gone: Collection[Any],
    known: Sequence[Row],
    generations: Collection[str],
    *,
    dry_run: bool,
) -> Removed:
    """Remove partitions, then files, then log entries: each is needed by whoever still reads the one before.

    Args:
        known: rows of `nights` that the table still keeps.
        generations: those that caches keep.
    """
    hours = night.settings.retention.removed_files_hours
    removed = Removed(stock.name, len(gone), stock.rows_of(gone))
    log, changes = Log.of(stock.folder), _changes(night, stock, gone)
    leaving = {path for value in gone for path in stock.files[value]}
    promised = _promised(stock, gone, readable(known, generations))
    if not dry_run:
        for change in changes:
            change()
        stock = _Stock(stock.name, stock.path)
    unused = set(stock.delta.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True))
    unused |= leaving if dry_run and hours == 0 else set()
    # Delta lists what was removed for as long as the log tells of it, on the disk or not.
    found = [path for name in sorted(unused - promised) if (path := stock.folder / name).exists()]
    files = [*found, *_left_over(stock.folder, hours)]
    removed.files, removed.bytes = len(files), _size(files)
    if not dry_run:
        fencing.stamp(stock.delta, night.token)
        _unlink(files)
        _remove_empty_folders(stock.folder)
        if log.wants_checkpoint:
            stock.delta.create_checkpoint()
    last = stock.delta.version() + (len(changes) if dry_run else 0)
    after = log.with_checkpoint(last) if dry_run and log.wants_checkpoint else Log.of(stock.folder)
    versions = [row["versions"][stock.name] for row in known if stock.name in row["versions"]]
    unneeded = after.unneeded(versions, last, hours)
    counted = [path for path in unneeded if path in log]
    removed.log_files, removed.bytes = len(counted), removed.bytes + _size(counted)
    if not dry_run:
        _unlink(unneeded)
    return removed


def _promised(stock: _Stock, gone: Collection[Any], known: Sequence[Row]) -> set[str]:
    """Files that belong to a night at its version and not to the table any more: it was run again, or began to be."""
    current = {value: files for value, files in stock.files.items() if value not in gone}
    promised: set[str] = set()
    for row in known:
        if stock.name not in row["versions"]:
            continue
        now = stock.belonging(row, current)
        if row["files"].get(stock.name) != fingerprints.of_names(now):
            then = _at(stock.path, stock.column, row["versions"][stock.name])
            promised |= stock.belonging(row, then).keys() - now.keys()
    return promised


def _changes(night: Night, stock: _Stock, gone: Collection[Any]) -> list[Callable[[], object]]:
    """The commits that are due: that the log is left to us, if that is not so, and the removal of partitions."""
    properties = delta_log.properties(night.settings.retention.nights.get(stock.name))
    values = ", ".join(f"'{value}'" for value in sorted(gone))
    due: list[Callable[[DeltaTable, CommitProperties | None], object]] = []
    if properties.items() - stock.delta.metadata().configuration.items():
        due.append(lambda delta, stamp: delta.alter.set_table_properties(properties, commit_properties=stamp))
    if gone:
        # Partitions are removed whole: no file is read or written.
        due.append(lambda delta, stamp: delta.delete(f"{stock.column} IN ({values})", commit_properties=stamp))
    return [partial(_commit, night, stock, change) for change in due]


def _commit(night: Night, stock: _Stock, change: Callable[[DeltaTable, CommitProperties | None], object]) -> None:
    delta = DeltaTable(stock.path)
    with fencing.refusals(delta):
        change(delta, fencing.stamped(delta, night.token))


def _sweep(night: Night, limits: Limits, left: Mapping[str, frozenset[date]], *, dry_run: bool) -> list[Removed]:
    """Remove the files beside the tables whose nights are gone, and what dead drivers left.

    Args:
        left: nights that each table still has, or would have to keep.
    """
    warehouse = Path(tables.table_path(night, "nights")).parent
    # Under the lease nobody else ranks.
    found = {SCRATCH: [path for folder in warehouse.glob(SCRATCH) for path in folder.rglob("*") if path.is_file()]}
    for name, table in ((MANIFESTS, "nights"), (DATA_DOCS, "validations")):
        days = {path: _day(path) for path in sorted((warehouse / name).glob("????-??-??*"))}
        found[name] = [
            path for path, day in days.items() if day and day < limits.first(table) and day not in left[table]
        ]
    removed = [Removed(name, files=len(files), bytes=_size(files)) for name, files in found.items()]
    if not dry_run:
        for files in found.values():
            _unlink(files)
        for scratch in warehouse.glob(SCRATCH):
            shutil.rmtree(scratch)
    return removed


def _left_over(table: Path, hours: int) -> list[Path]:
    """Files that dead writers did not finish, which Delta does not list: `name#1` of delta-rs, and `name.tmp`."""
    found = [path for path in table.rglob("*") if "#" in path.name or path.suffix == ".tmp"]
    return [path for path in found if time.time() - path.stat().st_mtime >= hours * 3600]


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
