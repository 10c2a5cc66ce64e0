"""Rows of `nights`: the manifest of a night, under its checksum, and the state that the night came to."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from nocturne.storage.contracts import contract

PUBLISHED, GATE_CLOSED, STALE = "published", "gate_closed", "stale"
SUPERSEDED, ROLLED_BACK = "superseded", "rolled_back"
OUTSIDE_CHECKSUM = ("state", "reason", "costs", "manifest", "pointers")
"""Columns that can change after the night, or depend on how fast it went."""

_MAPS = ("content", "versions", "files", "pointers")
_LISTS = ("expectations", "coverage", "erasures")
_COLUMN_OF = {"row_hashes": "content", "file_names_hashes": "files"}


@dataclass(frozen=True)
class Manifest:
    """A night's inputs, results and proofs: the columns under the checksum.

    Attributes:
        generation: of the cache that holds its lists; None if the gate closed.
        listeners: lists, count.
        row_hashes: by table, the column `content`.
        expectations: result of every critical expectation.
        coverage: counts by market and content type.
        versions: Delta version of each table.
        erasures: by table what left the night since it was published, as in the column of `nights`.
        file_names_hashes: by table, the column `files`.
    """

    run_date: date
    generation: str | None
    listeners: int
    model_version: str | None
    lists_digest: str | None
    code_version: str
    settings_hash: str
    row_hashes: Mapping[str, str]
    expectations: tuple[Mapping[str, Any], ...]
    coverage: tuple[Mapping[str, Any], ...]
    versions: Mapping[str, int]
    file_names_hashes: Mapping[str, str]
    erasures: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> "Manifest":
        """From values by column of `nights`; maps are dicts."""
        values = {name: columns.get(_COLUMN_OF.get(name, name)) for name in cls.__dataclass_fields__}
        return cls(**values | {name: tuple(values[name] or ()) for name in _LISTS})

    def columns(self) -> dict[str, Any]:
        """Values by column of `nights`; maps are dicts."""
        values = {_COLUMN_OF.get(name, name): value for name, value in vars(self).items()}
        lists = {name: list(values[name]) for name in _LISTS}
        return values | {name: dict(values[name]) for name in _MAPS if name in values} | lists

    @property
    def checksum(self) -> str:
        """SHA-256 over all its columns, in hexadecimal digits."""
        names = [column.name for column in contract("nights").columns if column.name not in OUTSIDE_CHECKSUM]
        columns = self.columns()
        return hashlib.sha256(canonical_json({name: columns[name] for name in names})).hexdigest()


@dataclass(frozen=True)
class NightRecord:
    """A row of `nights`.

    Attributes:
        checksum: of the manifest as it was when it was written, the column `manifest`.
        reason: why the state is not published, or why the pointer did not move to it.
        costs: a row a stage.
        pointers: pointer of each cache, JSON by place, as it was last moved to this night.
    """

    manifest: Manifest
    checksum: str
    state: str
    reason: str | None
    costs: tuple[Mapping[str, Any], ...]
    pointers: Mapping[str, str]

    @property
    def run_date(self) -> date:
        """The night."""
        return self.manifest.run_date

    @property
    def generation(self) -> str | None:
        """Generation of the cache that holds its lists; None if the gate closed."""
        return self.manifest.generation

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "NightRecord":
        """From a row of `nights`, all columns."""
        columns: dict[str, Any] = {name: dict(value) if name in _MAPS else value for name, value in row.items()}
        return cls(
            Manifest.from_columns(columns),
            checksum=columns["manifest"],
            state=columns["state"],
            reason=columns["reason"],
            costs=tuple(columns["costs"]),
            pointers=columns["pointers"],
        )

    def columns(self) -> dict[str, Any]:
        """Values by column, in the order of the contract; maps are dicts."""
        values = self.manifest.columns() | {
            "manifest": self.checksum,
            "state": self.state,
            "reason": self.reason,
            "costs": list(self.costs),
            "pointers": dict(self.pointers),
        }
        return {column.name: values[column.name] for column in contract("nights").columns}

    def to_row(self) -> dict[str, Any]:
        """As a row of `nights`."""
        columns = self.columns()
        return columns | {name: sorted(columns[name].items()) for name in _MAPS}


def canonical_json(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    """One text for equal values: keys in order, dates as ISO 8601."""
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(value, default=date.isoformat, sort_keys=True, indent=indent, separators=separators)
    return text.encode()
