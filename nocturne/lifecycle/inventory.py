"""Inventory of an erasure: every place where a listener may stand, and what becomes of it.

Tables say it themselves: the property `nocturne.listeners` of their contracts names the columns that hold ids, or text
in which one may stand. Files, folders, logs and keys of caches are declared here. A name that is neither fails
the suite, and stands in the certificate.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nocturne.flow import TABLES
from nocturne.lifecycle.requests import FOLDER as ERASURES
from nocturne.lifecycle.requests import LANDED
from nocturne.serving.manifest import FOLDER as MANIFESTS
from nocturne.steering.ingest_steers import FOLDER as STEERS
from nocturne.storage.attempts import FOLDER as ATTEMPTS
from nocturne.storage.contracts import contract
from nocturne.training.registry import CHECKPOINTS
from nocturne.validation.data_docs import FOLDER as DATA_DOCS

LISTENER_TABLES = tuple(name for name in TABLES if contract(name).listener_columns or contract(name).listener_texts)
"""Tables with rows that leave."""

SIDE_FOLDERS = {
    MANIFESTS: "manifests; searched, and written anew with the nights",
    ATTEMPTS: "messages of errors; an id in them is struck out",
    DATA_DOCS: "pages of validations; an id in them is struck out",
    CHECKPOINTS: "state of trainings that have not ended; removed",
    "_lease": "who works on the warehouse; holds no listener",
    ERASURES: "requests with their ids until they are carried out, and certificates without",
}
"""Folders of a warehouse beside its tables, and what becomes of them."""

STRUCK_OUT = (ATTEMPTS, DATA_DOCS)

SCRATCH = ".ranking-*"
"""What a dead driver left; removed."""

OWN_LANDING = ("exposures", STEERS)
"""Folders of the landing zone that Nocturne's service writes: lines of listeners who leave go."""

LANDING_FOLDERS = {
    "events": "the producer's, but for imported and simulated days; not taken in again",
    "items": "the catalogue; holds no listener",
    "exposures": "lines of listeners who leave go",
    STEERS: "lines of listeners who leave go",
    LANDED: "requests of producers; tombstones stand in place of ids",
}
"""Folders of a landing zone, and what becomes of them."""

LOGS = {
    "nocturne.serving.http.request_log": "to the standard error; a listener is a keyed hash, or nothing",
    "airflow": "of Airflow's own folder; no job prints an id",
}
"""Logs, and why no id is in them: `docs/security.md` names the tests."""

LMDB_FILES = (
    re.compile(r"pointer/(data|lock)\.mdb"),
    re.compile(r"generations/[^/]+/(data\.mdb|lock\.mdb|items\.arrow)"),
)
"""Files of an embedded cache, below its folder."""

REDIS_KEYS = (
    re.compile(r"nocturne:(pointer|generations|dropping)"),
    re.compile(r"nocturne:withheld:[0-9a-f]{32}"),
    re.compile(r"nocturne:[^:]+:(about|readers)"),
    re.compile(r"nocturne:[^:]+:[0-9a-f]{8}:(\d+|items)"),
)
"""Keys of a shared cache."""


@dataclass(frozen=True)
class Unknown:
    """A thing of which nobody said whether a listener may stand in it."""

    where: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.where}: unknown to erasure, see nocturne/lifecycle/inventory.py"


def unknown_in_warehouse(folder: Path) -> Iterator[Unknown]:
    """Entries of a warehouse that are no table and no declared folder."""
    for entry in sorted(folder.iterdir()):
        if entry.name not in {*TABLES, *SIDE_FOLDERS} and not entry.match(SCRATCH):
            yield Unknown(str(entry))
    for table in TABLES:
        if not contract(table).says_whom_it_holds:
            yield Unknown(f"schemas/{table}.sql")


def unknown_in_landing(folder: Path) -> Iterator[Unknown]:
    """Entries of a landing zone that are not declared; its own marks begin with an underscore."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.name not in LANDING_FOLDERS and not entry.name.startswith(("_", ".")):
            yield Unknown(str(entry))


def unknown_files(cache: Path) -> Iterator[Unknown]:
    """Files of an embedded cache that are not declared."""
    for path in sorted(path for path in cache.rglob("*") if path.is_file()):
        if not any(pattern.fullmatch(str(path.relative_to(cache))) for pattern in LMDB_FILES):
            yield Unknown(str(path))


def unknown_keys(keys: Iterable[str]) -> Iterator[Unknown]:
    """Keys of a shared cache that are not declared."""
    for key in sorted(keys):
        if key.startswith("nocturne:") and not any(pattern.fullmatch(key) for pattern in REDIS_KEYS):
            yield Unknown(f"redis key {key}")
