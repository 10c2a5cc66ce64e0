"""Manifests: built from a night's tables, kept beside them as JSON files, and verified before the pointer moves."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.code_version import code_version
from nocturne.core.errors import InputError, ServiceError
from nocturne.core.night import Night
from nocturne.core.settings import Settings
from nocturne.flow import GATED_TABLES
from nocturne.serving.night_record import GATE_CLOSED, PUBLISHED, ROLLED_BACK, Manifest, NightRecord, canonical_json
from nocturne.storage import fingerprints, tables

FOLDER = "_manifests"
NOT_RESULTS = ("spark", "cache", "retention", "erasure")
"""Sections of the settings on which no table depends."""


def build_record(
    night: Night,
    listeners: int,
    lists_digest: str | None,
    coverage: Sequence[Mapping[str, Any]],
    validations: pa.Table | None = None,
) -> NightRecord:
    """The record of a night that is published: its manifest as its tables, their logs and `validations` are now.

    Args:
        lists_digest: hash over its lists; None if the gate closed.
        coverage: as in the column of `nights`.
        validations: of the night, where they were read already.
    """
    of_night = pc.field("run_date") == night.run_date
    validations = validations_of(night) if validations is None else validations
    rows = validations.sort_by([("table", "ascending"), ("expectation", "ascending")]).to_pylist()
    models = tables.night_rows(night, "models", ["model_version"])["model_version"].to_pylist()
    costs = tables.rows(night.warehouse, "costs", of_night).sort_by("stage").drop(["run_date"])
    shown = ("table", "expectation", "observed", "limit", "outcome")
    manifest = Manifest(
        run_date=night.run_date,
        generation=f"{night.run_date}-{lists_digest[:8]}" if lists_digest else None,
        listeners=listeners,
        model_version=next(iter(models), None),
        lists_digest=lists_digest,
        code_version=code_version(),
        settings_hash=settings_hash(night.settings),
        row_hashes={row["table"]: row["content"] for row in rows},
        expectations=tuple({name: row[name] for name in shown} for row in rows if row["severity"] == "critical"),
        coverage=tuple(coverage),
        versions={table: tables.version(night.warehouse, table) for table in GATED_TABLES},
        file_names_hashes={table: fingerprints.file_names_hash(night, table)[0] for table in GATED_TABLES},
    )
    return NightRecord(manifest, manifest.checksum, PUBLISHED, None, tuple(costs.to_pylist()), {})


def validations_of(night: Night) -> pa.Table:
    """The rows of `validations` of the night that the gate, and its manifest, are about."""
    gated = (pc.field("run_date") == night.run_date) & pc.field("table").isin(GATED_TABLES)
    return tables.rows(night.warehouse, "validations", gated)


def settings_hash(settings: Settings) -> str:
    """Hash of every setting that tables depend on: 16 hexadecimal digits."""
    return hashlib.sha256(settings.model_dump_json(exclude=set(NOT_RESULTS)).encode()).hexdigest()[:16]


def file_path(night: Night, manifest: Manifest) -> Path:
    """The JSON file of a manifest: one a generation, and one for a night whose gate closed."""
    name = manifest.generation or f"{manifest.run_date}-closed"
    return Path(night.warehouse.path) / FOLDER / f"{name}.json"


def write_file(night: Night, record: NightRecord) -> None:
    """Write the record beside the tables, whole or not at all; without the state, which can change."""
    path = file_path(night, record.manifest)
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    changing = ("state", "reason") if record.state == PUBLISHED else ()
    content = {name: value for name, value in record.columns().items() if name not in changing}
    with part.open("wb") as file:
        file.write(canonical_json(content, indent=1))
        file.flush()
        os.fsync(file.fileno())
    try:
        part.replace(path)
    except FileNotFoundError as error:
        raise ServiceError(
            "another process has written this manifest meanwhile",
            where=str(path),
            fix="let that one finish, then run this night again",
        ) from error


def verify(
    night: Night, record: NightRecord | None, expected: Mapping[str, Collection[str]], *, withdrawn_too: bool = False
) -> Manifest:
    """Prove a manifest before the pointer moves to its generation; returns it.

    Its row and its file bear the same checksum, which is that of their content; no critical expectation failed, and
    none is missing of any table that was validated; each table still has, at its version, the files that the night
    was validated with.

    Args:
        night: the night of the manifest.
        record: its row of `nights`; None if there is none.
        expected: names of the critical expectations that must be among them, by table; those of today for a night
            that is published, none for one that was published when they may have been others.
        withdrawn_too: whether a generation that was withdrawn may be served, where it is already.

    Raises:
        InputError: the night may not be served, or its manifest is not what it was.
        ServiceError: the disk does not hold what the tables' logs say.
    """
    if record is None:
        raise _unsound(night, "no manifest in `nights`", "a manifest of this generation")
    if record.state == GATE_CLOSED or (record.state == ROLLED_BACK and not withdrawn_too):
        raise _unsound(night, f"{record.state}: {record.reason}", "a night that was published and not withdrawn")
    manifest = record.manifest
    checksum, stored = manifest.checksum, _checksum_of_file(night, manifest)
    if {record.checksum, stored} != {checksum}:
        raise _unsound(night, f"{record.checksum} in `nights`, {stored} in the file", f"{checksum} over its content")
    failed = {(row["table"], row["expectation"]) for row in manifest.expectations if row["outcome"] == "failed"}
    present = {(row["table"], row["expectation"]) for row in manifest.expectations} - failed
    open_ones = sorted(failed | {(table, name) for table, names in expected.items() for name in names} - present)
    open_ones += [(table, "*") for table in sorted(set(manifest.row_hashes) - {table for table, _ in present})]
    if open_ones:
        raise _unsound(night, f"{'.'.join(open_ones[0])} was not held", "every critical expectation held")
    for table in manifest.file_names_hashes:
        _verify_files(night, table, manifest)
    return manifest


def _verify_files(night: Night, table: str, manifest: Manifest) -> None:
    version = manifest.versions[table]
    names_hash, files = fingerprints.file_names_hash(night, table, version, manifest.model_version)
    if names_hash != manifest.file_names_hashes[table]:
        raise _unsound(night, f"other files in {table} at version {version}", "those that were validated")
    missing = fingerprints.missing_files(night, table, files)
    if missing:
        raise ServiceError(
            "data files of a published night are not on the disk",
            where=f"{night.warehouse.table_path(table)}, version {version}",
            found=f"{len(missing)} missing or of another size, such as {missing[0]}",
            fix=f"run night {night.run_date} again",
        )


def _checksum_of_file(night: Night, manifest: Manifest) -> str | None:
    """Checksum that the manifest's file bears, if that is the one of its content."""
    try:
        content = json.loads(file_path(night, manifest).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    content["run_date"] = date.fromisoformat(content["run_date"])
    checksum = str(content["manifest"])
    return checksum if Manifest.from_columns(content).checksum == checksum else None


def _unsound(night: Night, found: str, expected: str) -> InputError:
    return InputError(
        f"night {night.run_date} cannot be served: its manifest does not hold",
        where=night.warehouse.path,
        found=found,
        expected=expected,
        fix=f"run night {night.run_date} again; until then listeners keep the lists that are served",
    )
