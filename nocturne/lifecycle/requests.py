"""Requests for erasure: asked for by a command or landed by a producer, kept with the id until a night obeys.

`WAREHOUSE/_erasures/pending/` is the only place where an id stands for the sake of its erasure; it goes with it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Mask
from nocturne.core.atomic_write import write_atomically
from nocturne.core.erasure import ErasureKey, names
from nocturne.core.errors import UsageError
from nocturne.core.masks import mask
from nocturne.core.night import Warehouse
from nocturne.ingestion.times import parse_time
from nocturne.storage import tombstones
from nocturne.storage.contracts import Contract

FOLDER = "_erasures"
LANDED = "erasures"
_PENDING = "pending"
_DAYS_AHEAD = 2
"""Days after a night up to which something may be asked for, when that night is run."""


@dataclass(frozen=True)
class Request:
    """A request to erase a listener; it prints without the id.

    Attributes:
        asked_at: UTC.
        why: for people.
    """

    user_id: str
    asked_at: datetime
    why: str

    def __repr__(self) -> str:
        """The request without its listener."""
        return f"Request(asked_at={self.asked_at.isoformat()})"


@dataclass(frozen=True)
class Leaving:
    """Listeners who leave.

    Attributes:
        user_ids: theirs.
    """

    user_ids: frozenset[str]

    def __repr__(self) -> str:
        """Their number."""
        return f"Leaving({len(self.user_ids)} listeners)"

    def are_of(self, rows: pa.RecordBatch, promised: Contract) -> Mask:
        """True for rows of a table that are of them, or whose text names one; shape (rows,)."""
        ids = pa.array(sorted(self.user_ids), pa.string())
        found: Mask = mask(pa.repeat(False, rows.num_rows))
        for column in promised.listener_columns:
            found = found | mask(pc.fill_null(pc.is_in(rows[column], value_set=ids), False))
        for column in promised.listener_texts:
            found = found | self.are_named_in(rows[column])
        return found

    def are_named_in(self, texts: pa.Array) -> Mask:
        """True for texts in which one of their ids stands alone."""
        named: Mask = mask(pa.repeat(False, len(texts)))
        for user_id in self.user_ids:
            candidates = mask(pc.fill_null(pc.match_substring(texts, user_id), False))
            for row in candidates.nonzero()[0].tolist():
                named[row] |= names(texts[row].as_py(), user_id)
        return named


def ask(warehouse: Warehouse, user_ids: Sequence[str], asked_at: datetime, why: str) -> None:
    """Put tombstones up and keep the requests for the next night.

    Raises:
        UsageError: an id is empty, no reason is given or it names a listener, or the key is missing.
    """
    if not why.strip() or any(names(why, user_id) for user_id in user_ids if user_id):
        raise UsageError(
            "an erasure needs a reason that names no listener",
            where="--why",
            found="a listener's id" if why.strip() else "nothing",
            expected="a ticket or a sentence: it is kept after the listener is gone",
        )
    if not all(user_id.strip() for user_id in user_ids):
        raise UsageError("an empty id is nobody's", where="USER", expected="the user_id as it was landed")
    _keep(warehouse, [Request(user_id, asked_at.astimezone(UTC), why) for user_id in user_ids])


def pending(warehouse: Warehouse) -> list[Request]:
    """Requests that no night has carried out, in order of time."""
    folder = folder_of(warehouse) / _PENDING
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    told = [json.loads(path.read_bytes()) for path in files]
    requests = [Request(each["user_id"], datetime.fromisoformat(each["asked_at"]), each["why"]) for each in told]
    return sorted(requests, key=lambda each: (each.asked_at, each.user_id))


def forget(warehouse: Warehouse, requests: Iterable[Request]) -> None:
    """Remove requests that were carried out."""
    key = tombstones.key_of(warehouse)
    for request in requests:
        _path(warehouse, key, request).unlink(missing_ok=True)


def take_landed(warehouse: Warehouse, landing: str, run_date: date) -> int:
    """Take in what producers landed, and leave their files without ids; returns the lines that are no request.

    A file `NAME.jsonl` becomes `NAME.jsonl.done`, with the tombstone in place of each id. Lines that are no request,
    or that ask for a later night, stay where they are.
    """
    folder = Path(landing, LANDED)
    if "://" in landing or not landing or not folder.is_dir():
        return 0
    left = 0
    for path in sorted(folder.glob("*.jsonl")):
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        read = [(line, _read(line, run_date)) for line in lines]
        requests = [request for _, request in read if request]
        if requests:
            key = _keep(warehouse, requests)
            done = path.with_name(f"{path.name}.done")
            told = done.read_bytes() if done.exists() else b""
            told += b"".join(_without_id(key, request) for request in requests)
            write_atomically(done, told)
        others = [line for line, request in read if request is None]
        left += len(others)
        if others:
            write_atomically(path, b"\n".join(others) + b"\n")
        else:
            path.unlink()
    return left


def folder_of(warehouse: Warehouse) -> Path:
    """The folder of what erasures keep beside the tables."""
    return Path(warehouse.folder) / FOLDER


def _keep(warehouse: Warehouse, requests: Sequence[Request]) -> ErasureKey:
    """Write requests down, then their tombstones; who is killed between asks again, or the night puts them up."""
    key = tombstones.key_of(warehouse)
    (folder_of(warehouse) / _PENDING).mkdir(parents=True, exist_ok=True, mode=0o700)
    for request in requests:
        content = {"user_id": request.user_id, "asked_at": request.asked_at.isoformat(), "why": request.why}
        write_atomically(_path(warehouse, key, request), json.dumps(content).encode())
    put_up(warehouse, key, requests)
    return key


def put_up(warehouse: Warehouse, key: ErasureKey, requests: Sequence[Request]) -> None:
    """Put up the tombstones of requests that have none yet."""
    known = tombstones.read(warehouse).instants
    missing = [
        each for each in requests if (at := known.get(key.tombstone(each.user_id))) is None or at < each.asked_at
    ]
    if missing:
        tombstones.append(warehouse, key, [(each.user_id, each.asked_at, each.why) for each in missing])


def _path(warehouse: Warehouse, key: ErasureKey, request: Request) -> Path:
    return folder_of(warehouse) / _PENDING / f"{key.tombstone(request.user_id)[:32]}.json"


def _read(line: bytes, run_date: date) -> Request | None:
    """The request of a landed line; None if it is none, or one for a later night."""
    try:
        told: Any = json.loads(line)
        user_id, asked_at, why = told["user_id"], parse_time(told["asked_at"]), told.get("why") or "landed"
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    end = datetime.combine(run_date, time(), UTC) + timedelta(days=1 + _DAYS_AHEAD)
    if not isinstance(user_id, str) or not user_id.strip() or asked_at is None or asked_at >= end:
        return None
    why = why if isinstance(why, str) and not names(why, user_id) else "landed"
    return Request(user_id, asked_at, why)


def _without_id(key: ErasureKey, request: Request) -> bytes:
    told = {"listener": key.tombstone(request.user_id), "asked_at": request.asked_at.isoformat(), "why": request.why}
    return json.dumps(told).encode() + b"\n"
