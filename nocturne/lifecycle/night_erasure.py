"""Nights after an erasure: accounts, recorded validations and manifests that say what their tables hold now.

A manifest names the new versions, and has a record of what left: after = before - removed + added, of sums of hashes.
Every step sets what it finds unchanged to what it has to be, and leaves alone what was set before.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from nocturne.core.atomic_write import write_atomically
from nocturne.core.night import Night, Warehouse
from nocturne.lifecycle.table_erasure import Account, TableErasure, journal, names_hash, standing_files
from nocturne.serving import manifest, publications
from nocturne.serving.night_record import NightRecord
from nocturne.storage import fingerprints, rewriting, tables, writing
from nocturne.storage.contracts import contract

_INGESTS = "ingests"


@dataclass(frozen=True)
class Change:
    """A night's rows of a table, before an erasure and after.

    Attributes:
        rows, changed: rows that left, and rows that say something else now.
        removed, added: sums of hashes of rows that went, and of those that came in their place.
        names_before, names: hashes of the names of their files.
        version: that they are read at.
    """

    rows: int
    changed: int
    removed: int
    added: int
    names_before: str
    names: str
    version: int


def settle_accounts(warehouse: Warehouse, works: Mapping[str, TableErasure]) -> TableErasure | None:
    """Have rows of `ingests` count who left as erased; returns the work on that table, None if nothing is counted.

    The new rows are written down before they are committed, so that nobody is subtracted twice.
    """
    path = journal(warehouse, _INGESTS)
    if not path.exists():
        work = _plan_accounts(warehouse, works)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(work, default=str).encode())
    told: dict[str, Any] = json.loads(path.read_bytes())
    if not told["rows"]:
        return None
    schema = contract(_INGESTS).arrow_schema
    rows = [
        row | {"run_date": date.fromisoformat(row["run_date"]), "reasons": [tuple(each) for each in row["reasons"]]}
        for row in told["rows"]
    ]
    days = ", ".join(f"'{row['run_date']}'" for row in rows)
    table = pa.Table.from_pylist(rows, schema=schema)
    present = tables.rows(warehouse, _INGESTS, pc.field("run_date").isin([row["run_date"] for row in rows]))
    if rewriting.hash_of(_INGESTS, present) != rewriting.hash_of(_INGESTS, table):
        writing.replace_rows(table, _INGESTS, warehouse, where=f"run_date IN ({days})")
    return TableErasure(
        _INGESTS,
        accounts=[Account(**each) for each in told["accounts"]],
        files_before=told["files_before"],
        names_before=told["names_before"],
    )


def _plan_accounts(warehouse: Warehouse, works: Mapping[str, TableErasure]) -> dict[str, Any]:
    left = {
        (table, account.run_date): account
        for table in ("listens", "quarantine")
        if table in works
        for account in works[table].accounts
        if account.generation is None
    }
    days = sorted({date.fromisoformat(day) for _, day in left})
    stored = tables.rows(warehouse, _INGESTS, pc.field("run_date").isin(days) if days else pc.scalar(False))
    rows = [
        _without(row, left.get(("listens", str(row["run_date"]))), left.get(("quarantine", str(row["run_date"]))))
        for row in stored.to_pylist()
    ]
    changed = [date.fromisoformat(str(row["run_date"])) for row in rows]
    standing = standing_files(DeltaTable(warehouse.table_path(_INGESTS)), _INGESTS)
    return {
        "rows": rows,
        "accounts": [
            {"run_date": day, "generation": None, "rows": 0, "removed": _hash_of_day(stored, day), "counts": {}}
            for day in changed
        ],
        "files_before": {str(day): fingerprints.file_hashes(Night(warehouse, day), _INGESTS) for day in changed},
        "names_before": {str(day): names_hash(standing[day]) for day in changed},
    }


def _without(row: dict[str, Any], listens: Account | None, rejected: Account | None) -> dict[str, Any]:
    """A night's row of `ingests`, with what left counted as erased."""
    reasons, gone = dict(row["reasons"]), 0
    counts = {name: row[name] for name in ("listens", "listeners", "late", "quarantined")}
    if listens:
        counts["listens"] -= listens.rows
        counts["listeners"] -= listens.counts["listeners"]
        counts["late"] -= listens.counts["late"]
        gone += listens.rows
    if rejected:
        counts["quarantined"] -= rejected.rows
        reasons = {reason: count - rejected.counts.get(reason, 0) for reason, count in reasons.items()}
        gone += rejected.rows
    told = [(reason, count) for reason, count in reasons.items() if count]
    return row | counts | {"erased": row["erased"] + gone, "reasons": told}


def _hash_of_day(rows: pa.Table, day: date) -> int:
    return rewriting.hash_of(_INGESTS, rows.filter(pc.equal(rows["run_date"], pa.scalar(day)))) % 2**64


def record_validations(warehouse: Warehouse, works: Mapping[str, TableErasure]) -> None:
    """Have `validations` of nights that lost rows name their files and hashes as they are now.

    What was changed since it was validated, by whatever else, stays what it was: unlike what was validated.
    """
    days = sorted({date.fromisoformat(day) for work in works.values() for day in work.files_before})
    if not days:
        return
    stored = tables.rows(warehouse, "validations", pc.field("run_date").isin(days))
    changed = [_revalidated(warehouse, row, works) for row in stored.to_pylist()]
    if changed != stored.to_pylist():
        where = f"run_date IN ({', '.join(repr(str(day)) for day in days)})"
        rows = pa.Table.from_pylist(changed, schema=contract("validations").arrow_schema)
        writing.replace_rows(rows, "validations", warehouse, where)


def _revalidated(warehouse: Warehouse, row: dict[str, Any], works: Mapping[str, TableErasure]) -> dict[str, Any]:
    work, day = works.get(row["table"]), str(row["run_date"])
    if work is None or row["files"] != work.files_before.get(day):
        return row
    removed, added = _sums(warehouse, work, day)
    content = fingerprints.as_text(int(row["content"], 16) - removed + added)
    return row | {
        "files": fingerprints.file_hashes(Night(warehouse, row["run_date"]), row["table"]),
        "content": content,
    }


def _sums(warehouse: Warehouse, work: TableErasure, day: str) -> tuple[int, int]:
    """Sums of the hashes of a night's rows that left a table as it stands, and of those in their place."""
    removed = sum(each.removed for each in work.accounts if each.run_date == day and each.generation is None)
    if work.table != _INGESTS:
        return removed, 0
    rows = tables.rows(warehouse, _INGESTS, pc.field("run_date") == date.fromisoformat(day))
    return removed, rewriting.hash_of(_INGESTS, rows) % 2**64


def record_manifests(warehouse: Warehouse, works: Mapping[str, TableErasure], erased_on: date) -> list[NightRecord]:
    """Have every manifest name the versions without who left, with a record of it; returns those that do."""
    standing = {table: DeltaTable(warehouse.table_path(table)) for table in works}
    files = {table: standing_files(delta, table) for table, delta in standing.items()}
    versions = {table: int(delta.version()) for table, delta in standing.items()}

    def amended(record: NightRecord) -> NightRecord:
        if record.checksum != record.manifest.checksum:
            return record  # whoever asks for it is told that it does not hold
        changes = {
            table: change
            for table, work in works.items()
            if (change := _change(warehouse, work, record, files[table], versions[table]))
        }
        return _with_changes(record, changes, erased_on)

    nights = publications.Nights(warehouse)
    publications.amend(nights, {record.generation for record in nights.records()}, amended)
    after = publications.Nights(warehouse).records()
    for record in after:
        if record.checksum == record.manifest.checksum:
            manifest.write_file(Night(warehouse, record.run_date), record)
    return after


def _change(
    warehouse: Warehouse,
    work: TableErasure,
    record: NightRecord,
    standing: Mapping[date, Sequence[Any]],
    last: int,
) -> Change | None:
    """The change of a night's rows of a table; None if its manifest is not about these rows, or knows of it."""
    told, day = record.manifest.file_names_hashes.get(work.table), str(record.run_date)
    if told is None:
        return None
    if record.generation in work.versions:
        version = work.versions[str(record.generation)]
        at = DeltaTable(warehouse.table_path(work.table), version=version)
        now = names_hash(standing_files(at, work.table).get(record.run_date, []))
        accounts = [each for each in work.accounts if each.generation == record.generation]
        removed, added = sum(each.removed for each in accounts), 0
        before = told
    else:
        version, now = last, names_hash(standing.get(record.run_date, []))
        before = work.names_before.get(day, fingerprints.names_hash({}))
        if work.table == _INGESTS and day not in work.names_before:
            return None
        accounts = [each for each in work.accounts if each.run_date == day and each.generation is None]
        removed, added = _sums(warehouse, work, day)
    if told != before or (told == now and record.manifest.versions[work.table] == version):
        return None
    changed = len(accounts) if work.table == _INGESTS else 0
    return Change(sum(each.rows for each in accounts), changed, removed, added, before, now, version)


def _with_changes(record: NightRecord, changes: Mapping[str, Change], erased_on: date) -> NightRecord:
    if not changes:
        return record
    told = record.manifest
    hashes, erasures = dict(told.row_hashes), list(told.erasures)
    for table, change in sorted(changes.items()):
        if change.rows or change.changed:
            before = hashes.get(table, fingerprints.as_text(0))
            after = fingerprints.as_text(int(before, 16) - change.removed + change.added)
            hashes |= {table: after} if table in hashes else {}
            sums = {"removed": fingerprints.as_text(change.removed), "added": fingerprints.as_text(change.added)}
            counts = {"rows": change.rows, "changed": change.changed}
            erasures.append(
                {"erased_on": erased_on, "table": table, **counts, "before": before, **sums, "after": after}
            )
    lists = changes["ranked_lists"].rows if "ranked_lists" in changes else 0
    new = replace(
        told,
        versions={**told.versions, **{table: change.version for table, change in changes.items()}},
        file_names_hashes={**told.file_names_hashes, **{table: change.names for table, change in changes.items()}},
        row_hashes=hashes,
        listeners=told.listeners - lists,
        lists_digest=hashes.get("ranked_lists") if told.lists_digest else None,
        erasures=tuple(erasures),
    )
    return replace(record, manifest=new, checksum=new.checksum)
