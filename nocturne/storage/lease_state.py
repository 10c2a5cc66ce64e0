"""The state of a warehouse's lease: who holds it and who waits, in one JSON file replaced whole under a lock."""

import errno
import fcntl
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nocturne.core.atomic_write import write_atomically
from nocturne.core.errors import ServiceError, UsageError

PROCESS_LASTS_SECONDS = 300.0
"""Silence after which the process of another host counts as dead; on this host we look."""
RUN_LASTS_SECONDS = 3600.0
"""Silence after which an orchestrator's run counts as dead: longer than any pause between its tasks."""
WAITER_LASTS_SECONDS = 300.0
"""Silence after which a waiting night is forgotten: longer than the pause between two polls."""
LOCK_SECONDS = 30.0
"""Seconds to wait for a lock that is kept for milliseconds, on a machine that is very busy."""
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
"""Errors that a wrong path ends with; every other trouble of the disk may pass."""


@dataclass(frozen=True)
class Claim:
    """A night that holds the lease, or waits for it.

    Attributes:
        holder: who: a process, or an Airflow run.
        run_date: night, ISO 8601.
        since: when it was granted, or when the waiting began, seconds since 1970.
        renewed: when it was last heard of, seconds since 1970.
        run: True for a run, which keeps the lease when its process of the moment ends.
        token: number of the grant, higher than that of every earlier one; 0 while waiting.
        host: where the holder's process runs; "" when none does.
        pid: that process.
        started: when it started, in ticks: tells it from a later process with the same pid.
    """

    holder: str
    run_date: str
    since: float
    renewed: float
    run: bool
    token: int = 0
    host: str = ""
    pid: int = 0
    started: str = ""

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        process = f", process {self.pid} on {self.host}" if self.host else ""
        return f"night {self.run_date} of {self.holder}, since {since}{process}"

    def without_process(self) -> "Claim":
        """The claim of a run between two of its jobs."""
        return replace(self, host="", pid=0, started="")


@dataclass(frozen=True)
class State:
    """The content of `WAREHOUSE/_lease/state.json`.

    Attributes:
        token: the last that was given out.
        grant: the claim that holds the lease.
        waiting: the other claims, in their order.
        process_token: of the last process that was let in.
        departed_token: of the last process that said that it left; if it is not `process_token`, that one died, or
            is late.
    """

    token: int = 0
    grant: Claim | None = None
    waiting: tuple[Claim, ...] = ()
    process_token: int = 0
    departed_token: int = 0


@dataclass
class StateFile:
    """The state file while it is locked; `state` may be set."""

    state: State


@contextmanager
def open_state_file(warehouse: str) -> Iterator[StateFile]:
    """The state file, locked, without expired claims; the state that the block leaves in it is stored if it differs.

    Raises:
        ServiceError: another process keeps the lock, or the disk fails.
        UsageError: the warehouse is no folder that can be written.
    """
    folder = lease_folder(warehouse)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w", encoding="utf-8") as lock:
            _take_lock(lock.fileno(), folder)
            stored = _read_state(folder)
            file = StateFile(_without_expired(stored))
            yield file
            if file.state != stored:
                _write_state(folder, file.state)
    except OSError as error:
        if error.errno in NOT_WRITABLE:
            raise UsageError(
                "the warehouse cannot be written",
                where=warehouse,
                found=str(error),
                fix="name a folder that you may write with --warehouse",
            ) from error
        raise ServiceError(
            "the lease on the warehouse cannot be written", where=str(folder), found=str(error)
        ) from error


def read_state(folder: Path) -> State:
    """The state in a lease's folder without expired claims, as of its last whole write; an empty one if there is none.

    Raises:
        UsageError: the file may not be read.
    """
    try:
        return _without_expired(_read_state(folder))
    except OSError as error:
        raise UsageError(
            "the lease on the warehouse cannot be read",
            where=str(folder),
            found=str(error),
            fix="ask for permission to read the warehouse",
        ) from error


def lease_folder(warehouse: str) -> Path:
    """Folder of the lease, which may not exist yet.

    Raises:
        UsageError: the warehouse is not on a file system.
    """
    parts = urlsplit(warehouse)
    if parts.scheme not in ("", "file"):
        raise UsageError(
            "the lease needs a warehouse on a file system",
            where=warehouse,
            found=f"{parts.scheme}:",
            expected="a path, or file:///path",
            fix="mount the store, and name it by its path",
        )
    return Path(unquote(parts.path) if parts.scheme else warehouse) / "_lease"


def process_start(pid: int) -> str | None:
    """When a process of this host started, in ticks; None if it is dead, or where there is no /proc."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else numbers[18]


def _take_lock(file: int, folder: Path) -> None:
    """Take the lock, which nobody keeps for longer than one small write; it goes when the file is closed.

    Raises:
        ServiceError: somebody keeps it: a process that was stopped in the middle of that write.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise ServiceError(
                    "another process keeps the lease's lock",
                    where=f"{folder}/lock",
                    found=f"not free for {LOCK_SECONDS:g} s, expected for the time of one small write",
                    fix="`lslocks` names it: it was stopped, let it go on or end it; then run this again",
                ) from None
            time.sleep(0.01)


def _without_expired(state: State) -> State:
    grant = state.grant
    if grant and grant.host and not _process_alive(grant, PROCESS_LASTS_SECONDS):
        grant = grant.without_process()
    if grant and not grant.host and not (grant.run and time.time() - grant.renewed < RUN_LASTS_SECONDS):
        grant = None
    waiting = tuple(claim for claim in state.waiting if _process_alive(claim, WAITER_LASTS_SECONDS))
    return replace(state, grant=grant, waiting=waiting)


def _process_alive(claim: Claim, lasts_seconds: float) -> bool:
    if claim.host == socket.gethostname() and claim.started:
        return process_start(claim.pid) == claim.started
    return time.time() - claim.renewed < lasts_seconds


def _read_state(folder: Path) -> State:
    try:
        values = json.loads((folder / "state.json").read_bytes())
    except FileNotFoundError:
        return State()
    return State(
        token=values["token"],
        grant=Claim(**values["held"]) if values["held"] else None,
        waiting=tuple(Claim(**claim) for claim in values["waiting"]),
        # A lease of release 0.3 knows nothing of processes that left.
        process_token=values.get("worked", 0),
        departed_token=values.get("left", 0),
    )


def _write_state(folder: Path, state: State) -> None:
    values = {
        "token": state.token,
        "held": asdict(state.grant) if state.grant else None,
        "waiting": [asdict(claim) for claim in state.waiting],
        "worked": state.process_token,
        "left": state.departed_token,
    }
    content = json.dumps(values, indent=1).encode()
    write_atomically(folder / "state.json", content, part=folder / "state.json.new")
