"""Listeners erased from one table: every night that it keeps, as it stands and as published nights name it.

All files are written anew first, and the commits that put them in place written down in a journal; then they are made.
Who is killed meanwhile goes on from the journal, and neither writes a row twice nor loses what left.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from nocturne.core.atomic_write import write_atomically
from nocturne.core.night import Night, Warehouse
from nocturne.core.xxhash import buckets_of
from nocturne.lifecycle.requests import Leaving, folder_of
from nocturne.serving.night_record import NightRecord
from nocturne.storage import fingerprints, rewriting, tables
from nocturne.storage.bucket_files import BucketFile
from nocturne.storage.contracts import contract
from nocturne.storage.rewriting import Replacement, Rewriter, StoredFile

_JOURNAL = "journal"


@dataclass(frozen=True)
class Account:
    """Rows that left a night of a table, summed up.

    Attributes:
        generation: of a night that was run again, whose rows these were; None of rows as they stand.
        rows: that left.
        removed: sum of their hashes.
        counts: of what accounts of the night count: listeners, late, and reasons of rejected rows.
    """

    run_date: str
    generation: str | None
    rows: int
    removed: int
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass
class TableErasure:
    """The work on one table, as its journal has it.

    Attributes:
        replacements: commits, in order, with the generation whose version each makes; None where none does.
        accounts: of every night that loses rows.
        files_before: hash of a night's files before, of nights that lose rows: as `validations` should have it.
        mark: of its commits.
        committed: whether all of them are made.
        floor: first version in which nobody who leaves is left.
        versions: by generation, of nights that were run again; what they name in place of their own.
        names_before: hash of the names of a night's files before, of every night that the table has.
        bytes_written: of files written anew.
    """

    table: str
    replacements: list[tuple[str | None, Replacement]] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    files_before: dict[str, str] = field(default_factory=dict)
    names_before: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    committed: bool = False
    floor: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    bytes_written: int = 0

    def to_json(self) -> bytes:
        """As the journal keeps it."""
        told = asdict(self) | {"replacements": [[name, each.to_json()] for name, each in self.replacements]}
        return json.dumps(told, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "TableErasure":
        """From the journal."""
        told: dict[str, Any] = json.loads(content)
        told["replacements"] = [(name, Replacement.from_json(each)) for name, each in told["replacements"]]
        told["accounts"] = [Account(**each) for each in told["accounts"]]
        return cls(**told)


def erase_from_table(
    warehouse: Warehouse, table: str, leaving: Leaving, records: Sequence[NightRecord]
) -> TableErasure:
    """Put every row of these listeners out of a table; goes on where a journal says how far it came.

    Args:
        records: of nights that may be read, or be served again.

    Raises:
        ServiceError: somebody else wrote the table, or a file does not read back.
    """
    path = journal(warehouse, table)
    if path.exists():
        work = TableErasure.from_json(path.read_bytes())
    else:
        work = _plan(warehouse, table, leaving, records)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, work.to_json())
    for place, (generation, change) in enumerate(work.replacements if not work.committed else ()):
        version = rewriting.replace_files(warehouse, table, change, f"{work.mark}/{place}")
        if generation:
            work.versions[generation] = version
    work.committed = True  # from here on nobody looks for the commits in the log, which is cut later
    write_atomically(path, work.to_json())
    return work


def journal(warehouse: Warehouse, table: str) -> Path:
    """The journal of a table."""
    return folder_of(warehouse) / _JOURNAL / f"{table}.json"


def standing_files(delta: DeltaTable, table: str) -> dict[date, list[StoredFile]]:
    """Files of a table by night."""
    by_day: dict[date, list[StoredFile]] = {}
    for file in rewriting.stored_files(delta, table):
        by_day.setdefault(file.keys["run_date"], []).append(file)
    return by_day


def names_hash(files: Iterable[StoredFile]) -> str:
    """Hash of the names of files, as manifests have it."""
    return fingerprints.names_hash({file.path: file.size for file in files})


def _plan(warehouse: Warehouse, table: str, leaving: Leaving, records: Sequence[NightRecord]) -> TableErasure:
    """Write the files anew, and say which commits put them in place.

    First what stands, so that nobody who leaves is in any version after it; then, one after another, earlier states of
    nights; then what stands of these nights again.
    """
    work = TableErasure(table)
    delta = DeltaTable(warehouse.table_path(table))
    standing = standing_files(delta, table)
    rewriter = Rewriter(warehouse, table, partial(leaving.are_of, promised=contract(table)))
    work.names_before = {str(day): names_hash(files) for day, files in standing.items()}
    stands = _plan_standing(warehouse, work, standing, rewriter, leaving)
    taken = {day: {file.path for file in files} for day, files in stands.items()}
    restored = set()
    for record in sorted(records, key=lambda each: each.manifest.versions.get(table, -1)):
        earlier = _earlier_files(warehouse, table, record, standing)
        if earlier is not None and record.generation:
            _plan_earlier(work, record, earlier, taken.setdefault(record.run_date, set()), rewriter)
            restored.add(record.run_date)
    for day in sorted(restored):
        again = tuple((str(day), file) for file in stands.get(day, []))
        work.replacements.append((None, Replacement((str(day),), None, again)))
    work.floor = int(delta.version()) + bool(work.replacements)
    work.bytes_written = sum(file.size for _, change in work.replacements for _, file in change.files)
    return work


def _earlier_files(
    warehouse: Warehouse, table: str, record: NightRecord, standing: Mapping[date, list[StoredFile]]
) -> list[StoredFile] | None:
    """Files of a night at its version, if they are others than those that stand; None too where they are gone."""
    version = record.manifest.versions.get(table)
    stands = names_hash(standing.get(record.run_date, []))
    if version is None or record.manifest.file_names_hashes.get(table) == stands:
        return None
    try:
        delta = DeltaTable(warehouse.table_path(table), version=version)
        files = standing_files(delta, table).get(record.run_date, [])
    except DeltaError:
        return None
    folder = Path(warehouse.table_path(table))
    return files if all((folder / file.path).exists() for file in files) else None


def _plan_earlier(
    work: TableErasure,
    record: NightRecord,
    earlier: Iterable[StoredFile],
    taken: set[str],
    rewriter: Rewriter,
) -> None:
    """Plan the commit in which the table is, for that night, as the record names it, without who leaves."""
    rewriter.removed = {}
    files = []
    for file in earlier:
        # a path cannot be added and removed in one commit
        written = rewriter.write(file) if file.path in taken or rewriter.concerns(file) else file.as_written()
        taken.add(file.path)
        if written:
            files.append((file.day, written))
    work.replacements.append((record.generation, Replacement((str(record.run_date),), None, tuple(files))))
    work.accounts += _accounts(work.table, rewriter.removed, record.generation)


def _plan_standing(
    warehouse: Warehouse,
    work: TableErasure,
    standing: Mapping[date, list[StoredFile]],
    rewriter: Rewriter,
    leaving: Leaving,
) -> dict[date, list[BucketFile]]:
    """Plan the commit after which nobody who leaves stands in the table; returns its files then, by night."""
    table, buckets = work.table, _buckets(warehouse, work.table, leaving)

    def in_reach(file: StoredFile) -> bool:
        return buckets is None or file.keys["bucket"] in buckets

    days = [
        day
        for day, files in sorted(standing.items())
        if any(in_reach(file) and rewriter.concerns(file) for file in files)
    ]
    stands = {day: [file.as_written() for file in files] for day, files in standing.items()}
    written: list[tuple[str, BucketFile]] = []
    for day in days:
        work.files_before[str(day)] = fingerprints.file_hashes(Night(warehouse, day), table)
        anew = [rewriter.write(file) for file in standing[day] if in_reach(file)]
        written += [(str(day), file) for file in anew if file]
        stands[day] = [file.as_written() for file in standing[day] if not in_reach(file)] + [
            each for each in anew if each
        ]
    if days:
        change = Replacement(tuple(map(str, days)), None if buckets is None else tuple(sorted(buckets)), tuple(written))
        work.replacements.append((None, change))
    work.accounts += _accounts(table, rewriter.removed, None)
    return stands


def _buckets(warehouse: Warehouse, table: str, leaving: Leaving) -> set[int] | None:
    """Buckets that these listeners are in; None in a table without buckets."""
    if table not in tables.BUCKETED:
        return None
    ids = pa.array(sorted(leaving.user_ids), pa.string())
    return set(buckets_of(ids, warehouse.settings.tables.buckets).tolist())


def _accounts(table: str, removed: Mapping[str, Sequence[pa.Table]], generation: str | None) -> list[Account]:
    accounts = []
    for day, parts in sorted(removed.items()):
        rows = pa.concat_tables(parts)
        if rows.num_rows:
            total = rewriting.hash_of(table, rows) % 2**64
            accounts.append(Account(day, generation, rows.num_rows, total, _counts(table, rows)))
    return accounts


def _counts(table: str, rows: pa.Table) -> dict[str, int]:
    if table == "listens":
        late = pc.sum(rows["late"]).as_py() or 0
        return {"listeners": pc.count_distinct(rows["user_id"]).as_py(), "late": late}
    if table == "quarantine":
        return dict(Counter(rows["reason"].to_pylist()))
    return {}
