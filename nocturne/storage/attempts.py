"""Attempts: how far the nights came that neither were published nor had their gate closed.

`WAREHOUSE/_attempts/<run_date>.json` says of the last attempt at a night which stage it is at, or failed at and why.
It is written by whoever runs a stage, for people; nothing else depends on it, and it goes when `nights` tells the end.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from nocturne.core.atomic_write import write_atomically
from nocturne.core.night import Night, Warehouse
from nocturne.storage import lease
from nocturne.storage.lease_state import lease_folder

RUNNING, DONE, FAILED, INTERRUPTED, KILLED = "running", "done", "failed", "interrupted", "killed"
FOLDER = "_attempts"


@dataclass(frozen=True)
class Attempt:
    """The last attempt at a night.

    Attributes:
        run_date: night.
        stage: the stage at work, or the last one that was.
        state: of that stage: running, done, failed, interrupted (by Ctrl-C) or killed.
        since: when it came to that state, seconds since 1970.
        token: of the lease under which it works; tells a process that was killed from one that works.
        message: of a failure: what, where, expected, what to do.
    """

    run_date: date
    stage: str
    state: str
    since: float
    token: int | None
    message: str = ""

    @property
    def at(self) -> str:
        """When it came to its state, UTC, to the second."""
        return datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Attempt":
        """From the content of its file."""
        return cls(**{**values, "run_date": date.fromisoformat(values["run_date"])})


def record(night: Night, stage: str, state: str, message: str = "") -> None:
    """Write how far the night came. A disk that takes no more takes this not either: the night's own error tells it."""
    attempt = Attempt(night.run_date, stage, state, time.time(), night.warehouse.token, message)
    with suppress(OSError):
        folder = _folder(night.warehouse)
        folder.mkdir(exist_ok=True)
        content = json.dumps(asdict(attempt), default=str, indent=1, ensure_ascii=False).encode()
        write_atomically(folder / f"{night.run_date}.json", content, part=folder / f"{night.run_date}.new")


def clear(night: Night) -> None:
    """Forget the attempt at a night: `nights` tells its end."""
    with suppress(OSError):
        (_folder(night.warehouse) / f"{night.run_date}.json").unlink(missing_ok=True)


def all_attempts(warehouse: Warehouse) -> list[Attempt]:
    """The last attempt at every night that did not come to an end, in order of night."""
    holder = lease.show(warehouse.path).grant
    at_work = holder.token if holder and holder.host else None
    folder = _folder(warehouse)
    files = sorted(folder.iterdir()) if folder.is_dir() else []  # a glob of a folder that may not be read is empty
    attempts = [Attempt.from_json(json.loads(path.read_bytes())) for path in files if path.match("????-??-??.json")]
    return [
        Attempt(**{**vars(attempt), "state": KILLED})
        if attempt.state == RUNNING and attempt.token != at_work
        else attempt
        for attempt in attempts
    ]


def _folder(warehouse: Warehouse) -> Path:
    return lease_folder(warehouse.path).parent / FOLDER
