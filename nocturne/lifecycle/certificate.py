"""Certificates of erasure: what was looked at, what was found, and what trained factors still owe to who left.

One file an erasure, `WAREHOUSE/_erasures/certificates/<night>-<digits>.json`; it names listeners by their tombstones.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from nocturne.core.atomic_write import write_atomically
from nocturne.core.night import Warehouse
from nocturne.lifecycle.requests import folder_of
from nocturne.storage import tables
from nocturne.storage.model_transitions import live_on
from nocturne.training import registry

_FOLDER = "certificates"


@dataclass(frozen=True)
class Erased:
    """A listener who left, by tombstone."""

    listener: str
    asked_at: str
    why: str


@dataclass(frozen=True)
class OfTable:
    """The outcome of a table.

    Attributes:
        rows: that left.
        nights: of which any left.
        bytes_written: of files written anew.
        first_version: that can be read from now on.
    """

    rows: int
    nights: int
    bytes_written: int
    first_version: int


@dataclass(frozen=True)
class Owed:
    """A model that learned from listeners who left, as from everybody: its factors are sums over all of them.

    Attributes:
        model_version: of table `models`.
        trained_on: night.
        live: whether lists are ranked by it.
        replaced_by: night by which a live one is replaced at the latest, by settings; None of others.
        removed_by: night by which retention removes its factors; None where it keeps them.
    """

    model_version: str
    trained_on: str
    live: bool
    replaced_by: str | None
    removed_by: str | None


@dataclass(frozen=True)
class Certificate:
    """The certificate of an erasure.

    Attributes:
        night: under whose lease it was carried out.
        proofs: of every manifest and table: hashes before, removed, added and after.
        caches: generations rewritten, by place; out_of_reach: places on record that were not.
        landing: lines removed, files written anew, and files that a service still writes, which a later night does.
        looked_at, found, unknown: of the search afterwards.
        time_travel: since when versions of tables can be read, in words.
    """

    night: str
    erased: list[Erased]
    tables: dict[str, OfTable]
    nights: int
    proofs: list[dict[str, Any]]
    caches: dict[str, list[str]]
    out_of_reach: list[str]
    landing: dict[str, int]
    looked_at: dict[str, int]
    found: list[str]
    unknown: list[str]
    owed: list[Owed]
    time_travel: str = "to before this erasure is given up in every table above"

    @property
    def complete(self) -> bool:
        """True if nothing is left to do for a later night."""
        return not (self.found or self.out_of_reach or self.landing.get("open_files"))

    def to_json(self) -> bytes:
        """As it is kept, with a seal: SHA-256 of all the rest."""
        told = asdict(self) | {"complete": self.complete}
        return json.dumps(told | {"seal": seal(told)}, indent=1, sort_keys=True).encode()


def seal(told: Mapping[str, Any]) -> str:
    """SHA-256 over a certificate without its seal."""
    content = {name: value for name, value in told.items() if name != "seal"}
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write(warehouse: Warehouse, certificate: Certificate) -> Path:
    """Keep a certificate; that of the same listeners and night is replaced."""
    folder = folder_of(warehouse) / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    digits = sha256("".join(sorted(each.listener for each in certificate.erased)).encode()).hexdigest()[:8]
    path = folder / f"{certificate.night}-{digits}.json"
    write_atomically(path, certificate.to_json())
    return path


def of_listener(warehouse: Warehouse, tombstone: str) -> list[dict[str, Any]]:
    """Certificates that are about a listener, in order of night."""
    folder = folder_of(warehouse) / _FOLDER
    told = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    return [each for each in told if any(erased["listener"] == tombstone for erased in each["erased"])]


def owed_by_models(warehouse: Warehouse, run_date: date, first_night: date | None) -> list[Owed]:
    """Models whose factors are kept and that were trained when the listeners had been heard.

    Args:
        first_night: first one on which a row of theirs stood; None if none did.
    """
    if first_night is None:
        return []
    column = f"partition.{tables.belonging_column('item_factors')}"
    kept = set(_values(DeltaTable(warehouse.table_path("item_factors")), column))
    models = registry.models(warehouse)
    live = live_on(models, run_date)
    every, limits = warehouse.settings.als.retrain_every_nights, warehouse.settings.retention.nights
    owed = []
    for model in sorted(models, key=lambda each: (each.run_date, each.version)):
        if model.version in kept and model.run_date >= first_night:
            is_live = live is not None and model.version == live.version
            replaced = max(model.run_date + timedelta(days=every), run_date) if is_live else None
            limit = limits.get("item_factors")
            removed = None if limit is None else str((replaced or model.run_date) + timedelta(days=limit + 1))
            owed.append(Owed(model.version, str(model.run_date), is_live, str(replaced) if replaced else None, removed))
    return owed


def page(told: Mapping[str, Any]) -> str:
    """A certificate as Markdown, for people."""
    erased = [f"| `{each['listener'][:16]}…` | {each['asked_at']} | {each['why']} |" for each in told["erased"]]
    rows = [
        f"| `{name}` | {of_table['rows']:,} | {of_table['nights']} | {of_table['bytes_written']:,} | "
        f"{of_table['first_version']} |"
        for name, of_table in sorted(told["tables"].items())
        if of_table["rows"]
    ]
    owed = [
        f"| `{each['model_version']}` | {each['trained_on']} | {each['replaced_by'] or 'is not live'} | "
        f"{each['removed_by'] or 'kept'} |"
        for each in told["owed"]
    ]
    looked_at = [f"| {kind} | {count:,} |" for kind, count in sorted(told["looked_at"].items())]
    found = told["found"] or ["nothing"]
    return "\n".join(
        [
            f"# Certificate of erasure, night {told['night']}",
            "",
            *_table(("tombstone", "asked at", "why"), erased),
            *_table(("table", "rows that left", "nights", "bytes written anew", "first version"), rows),
            f"Manifests written anew: {told['nights']}, with {len(told['proofs'])} proofs.",
            f"Time travel {told['time_travel']}.",
            "",
            *_table(("looked at afterwards", "count"), looked_at),
            f"**Found**: {'; '.join(found)}.",
            "",
            *_table(("factors that learned from them, as from all", "trained", "replaced by", "gone by"), owed),
            f"Seal: `{told['seal']}`",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[str]) -> list[str]:
    if not rows:
        return []
    return [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |", *rows, ""]


def _values(delta: DeltaTable, column: str) -> list[Any]:
    return list(pa.table(delta.get_add_actions(flatten=True))[column].to_pylist())
