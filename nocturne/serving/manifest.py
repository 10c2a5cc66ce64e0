"""The manifest of a night: what it was made from, what it came to, what was proved of it, and a seal over that.

A manifest is a row of `nights` as a dict, maps as dicts. What can change after the night, or depends on how fast
it went, lies outside the seal: see UNSEALED. The same row is kept as a JSON file beside the tables.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from nocturne.core.errors import InputError, ServiceError
from nocturne.core.night import Night
from nocturne.storage import fingerprints, tables
from nocturne.storage.contracts import contract

Row = dict[str, Any]

FOLDER = "_manifests"
NOT_SERVED = ("gate_closed", "rolled_back")
UNSEALED = ("state", "reason", "costs", "manifest", "pointers")
NOT_RESULTS = ("spark", "cache", "retention")
"""Sections of the settings on which no table depends."""


def sealed(facts: Row) -> Row:
    """The manifest of these facts: every column of `nights` but those that are not sealed, and the seal."""
    return facts | {"manifest": seal(facts)}


def seal(row: Row) -> str:
    """SHA-256 over all sealed columns, in hexadecimal digits."""
    names = [column.name for column in contract("nights").columns if column.name not in UNSEALED]
    return hashlib.sha256(_canonical({name: row[name] for name in names})).hexdigest()


def settings_hash(night: Night) -> str:
    """Hash of every setting that tables depend on: 16 hexadecimal digits."""
    return hashlib.sha256(night.settings.model_dump_json(exclude=set(NOT_RESULTS)).encode()).hexdigest()[:16]


def path_of(night: Night, row: Row) -> Path:
    """The JSON file of a manifest: one a generation, and one for a night whose gate closed."""
    name = row["generation"] or f"{row['run_date']}-closed"
    return Path(night.warehouse) / FOLDER / f"{name}.json"


def write_file(night: Night, row: Row) -> None:
    """Write the manifest beside the tables: whole or not at all."""
    path = path_of(night, row)
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(_canonical(row, indent=1))
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


def require_sound(night: Night, row: Row | None, expected: Mapping[str, Collection[str]]) -> Row:
    """Prove a manifest before the pointer moves to its generation; returns it.

    Its row and its file bear the same seal, which is that of their content; every critical expectation was held
    and none failed; each table still has, at its version, the files that the night was validated with.

    Args:
        night: the night of the manifest.
        row: its row of `nights`; None if there is none.
        expected: names of the critical expectations of every gated table, by table.

    Raises:
        InputError: the night may not be served, or its manifest is not what it was.
        ServiceError: the disk does not hold what the tables' logs say.
    """
    if row is None:
        raise _unsound(night, "no manifest in `nights`", "a manifest of this generation")
    if row["state"] in NOT_SERVED:
        raise _unsound(night, f"{row['state']}: {row['reason']}", "a night that was published and not withdrawn")
    stored = _read_file(night, row)
    if {row["manifest"], stored} != {seal(row)}:
        raise _unsound(night, f"{row['manifest']} in `nights`, {stored} in the file", f"{seal(row)} over its content")
    held = {(each["table"], each["expectation"]) for each in row["expectations"] if each["outcome"] != "failed"}
    open_ones = sorted({(table, name) for table, names in expected.items() for name in names} - held)
    if open_ones:
        raise _unsound(night, f"{'.'.join(open_ones[0])} was not held", "every critical expectation held")
    for table, known in row["files"].items():
        _require_files(night, table, row, known)
    return row


def _require_files(night: Night, table: str, row: Row, known: str) -> None:
    version = row["versions"][table]
    last = tables.version(night, table)
    if last < version:
        raise _unsound(night, f"{table} ends at version {last}", f"version {version}, which its log has lost")
    names, files = fingerprints.recorded(night, table, version, row["model_version"])
    if names != known:
        raise _unsound(night, f"other files in {table} at version {version}", "those that were validated")
    gone = fingerprints.missing(night, table, files)
    if gone:
        raise ServiceError(
            "data files of a published night are not on the disk",
            where=f"{tables.table_path(night, table)}, version {version}",
            found=f"{len(gone)} missing or of another size, such as {gone[0]}",
            fix=f"run night {night.run_date} again",
        )


def _read_file(night: Night, row: Row) -> str | None:
    """Seal of the file, if that is the seal of its content."""
    try:
        content = json.loads(path_of(night, row).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    content["run_date"] = date.fromisoformat(content["run_date"])
    return str(content["manifest"]) if seal(content) == content["manifest"] else None


def _canonical(value: Row, indent: int | None = None) -> bytes:
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(value, default=date.isoformat, sort_keys=True, indent=indent, separators=separators)
    return text.encode()


def _unsound(night: Night, found: str, expected: str) -> InputError:
    return InputError(
        f"night {night.run_date} cannot be served: its manifest does not hold",
        where=night.warehouse,
        found=found,
        expected=expected,
        fix=f"run night {night.run_date} again; until then listeners keep the lists that are served",
    )
