"""The lease on a warehouse: one night at a time writes it, and waiting nights go in order of date.

`WAREHOUSE/_lease/` holds the state, one JSON file that is replaced whole, under a lock that the
kernel lets go of when its process dies. A process renews its lease from a thread for as long as it
lives. An orchestrator's run, which has no process of its own, keeps its lease between its jobs; each
job enters under the run's name, one at a time, so that a job started again cannot meet its orphan.
Every process that is let in gets a higher token than all before it, and commits to tables with it, so that a
late write of an earlier one is refused (`nocturne.storage.tables`).
Standard library only, on a file system that all writers of the warehouse share.
"""

import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nocturne.core.errors import ServiceError, UsageError

HEARTBEAT_SECONDS = 20.0
PROCESS_LASTS_SECONDS = 300.0
"""Silence after which the process of another host counts as dead; on this host we look."""
RUN_LASTS_SECONDS = 3600.0
"""Silence after which an orchestrator's run counts as dead: longer than any pause between its tasks."""
WAITER_LASTS_SECONDS = 300.0
"""Silence after which a waiting night is forgotten: longer than the pause between two polls."""
LOCK_SECONDS = 30.0
"""How long to wait for a lock that is kept for milliseconds, on a machine that is very busy."""
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
"""What a wrong path ends with; every other trouble of the disk may pass."""


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


@dataclass(frozen=True)
class State:
    """What `WAREHOUSE/_lease/state.json` says.

    Attributes:
        token: the last that was given out.
        worked: token of the last process that was let in.
        left: token of the last process that said that it left; if it is not `worked`, that one died, or is late.
    """

    token: int = 0
    held: Claim | None = None
    waiting: tuple[Claim, ...] = ()
    worked: int = 0
    left: int = 0


@dataclass
class Lease:
    """A lease that this process works under.

    Attributes:
        token: higher than that of every process that worked before.
        takes_over: whether the process before never said that it left, and may be late rather than dead.
    """

    warehouse: str
    holder: str
    token: int
    takes_over: bool
    lost: threading.Event = field(default_factory=threading.Event, repr=False)

    def check(self) -> None:
        """Call before a write that must not come late.

        Raises:
            ServiceError: the lease went to another holder meanwhile.
        """
        if self.lost.is_set() or not _renew(self.warehouse, self.holder, self.token):
            raise ServiceError(
                "the lease on the warehouse was lost while the night ran",
                where=self.warehouse,
                found=str(show(self.warehouse).held or "nobody holds it now"),
                expected=f"{self.holder} with token {self.token}",
                fix="run this night again: the tables are replaced whole, nothing is written twice",
            )


def take(warehouse: str, run_date: date, holder: str) -> bool:
    """Take, or renew, the lease for a run that outlives this process; a first call only queues for it.

    Polled, it grants the lease to the earliest night among those polling. Raises as `hold`.
    """
    now = time.time()
    return _claim(warehouse, Claim(holder, run_date.isoformat(), now, now, run=True), queue=True) is not None


def release(warehouse: str, holder: str) -> bool:
    """Give up the holder's lease and its place in the queue; True if the lease is free of the holder now.

    A process that still works under the lease keeps it until it ends.
    """
    if not _folder(warehouse).is_dir():
        return True
    with _state(warehouse) as box:
        box.state = replace(box.state, waiting=_without(box.state.waiting, holder))
        held = box.state.held
        if held is None or held.holder != holder:
            return True
        box.state = replace(box.state, held=replace(held, run=False) if held.host else None)
        return box.state.held is None


def show(warehouse: str) -> State:
    """Who holds the lease and who waits, the earliest night first; claims that lapsed are left out."""
    if not _folder(warehouse).is_dir():
        return State()
    with _state(warehouse) as box:
        return box.state


@contextmanager
def hold(warehouse: str, run_date: date, holder: str | None = None, wait_seconds: float = 0) -> Iterator[Lease]:
    """Hold the lease for as long as the block runs; a thread renews it.

    Args:
        warehouse: folder of the Delta tables.
        run_date: night to write; of several nights the first.
        holder: a run that may hold the lease already, and then keeps it after the block; by default this process.
        wait_seconds: how long to wait for other nights.

    Raises:
        ServiceError: another night holds the lease or comes first, a job of the same run is still alive,
            or the disk fails.
        UsageError: the warehouse is no folder that can be written.
    """
    claim = _process_claim(run_date, holder)
    lease = Lease(warehouse, claim.holder, *_wait(warehouse, claim, wait_seconds))
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(lease, stop), name="lease", daemon=True)
    heart.start()
    try:
        yield lease
        lease.check()
    finally:
        stop.set()
        heart.join()
        _leave(warehouse, claim, lease.token)


def _process_claim(run_date: date, holder: str | None) -> Claim:
    now, host, pid = time.time(), socket.gethostname(), os.getpid()
    name = holder or f"{host}-{pid}-{secrets.token_hex(4)}"
    started = _process_start(pid) or ""
    return Claim(name, run_date.isoformat(), now, now, run=False, host=host, pid=pid, started=started)


def _wait(warehouse: str, claim: Claim, wait_seconds: float) -> tuple[int, bool]:
    deadline = time.monotonic() + wait_seconds
    while (granted := _claim(warehouse, replace(claim, renewed=time.time()), queue=wait_seconds > 0)) is None:
        if time.monotonic() >= deadline:
            if wait_seconds > 0:
                release(warehouse, claim.holder)
            raise _busy(warehouse, claim)
        time.sleep(min(1.0, wait_seconds))
    return granted


def _claim(warehouse: str, claim: Claim, *, queue: bool) -> tuple[int, bool] | None:
    """Token of the grant and whether it takes over, or None. In a queue the first call only says which night waits."""
    with _state(warehouse) as box:
        state = box.state
        if state.held and state.held.holder == claim.holder:
            held = _enter(state, state.held, claim)
            return _let_in(box, held) if held else None
        others = _without(state.waiting, claim.holder)
        known = next((waiter for waiter in state.waiting if waiter.holder == claim.holder), None)
        claim = replace(claim, since=known.since) if known else claim
        first = all(_turn(claim) < _turn(other) for other in others)
        if state.held is None and first and (known or not queue):
            box.state = replace(state, waiting=others)
            return _let_in(box, replace(claim, since=time.time(), token=state.token + 1))
        if queue:
            box.state = replace(state, waiting=tuple(sorted((*others, claim), key=_turn)))
        return None


def _enter(state: State, held: Claim, claim: Claim) -> Claim | None:
    """The lease of a holder who asks again: a run renews it; a process works under it if no other does."""
    if claim.run:
        return replace(held, run=True, renewed=claim.renewed)
    if held.host:
        return None
    token = state.token + 1
    return replace(held, renewed=claim.renewed, token=token, host=claim.host, pid=claim.pid, started=claim.started)


def _let_in(box: "_Box", held: Claim) -> tuple[int, bool]:
    """Write down who holds the lease; returns the token, and whether the process before never said that it left."""
    before = box.state
    worked = held.token if held.host and held.token > before.token else before.worked
    box.state = replace(before, token=max(before.token, held.token), held=held, worked=worked)
    return held.token, before.worked != before.left


def _leave(warehouse: str, claim: Claim, token: int) -> None:
    """The process ends: a run keeps the lease, otherwise it is free."""
    with _state(warehouse) as box:
        if box.state.worked == token:
            box.state = replace(box.state, left=token)
        held = box.state.held
        if held and (held.holder, held.host, held.pid) == (claim.holder, claim.host, claim.pid):
            box.state = replace(box.state, held=_without_process(held) if held.run else None)


def _without_process(claim: Claim) -> Claim:
    return replace(claim, host="", pid=0, started="")


def _turn(claim: Claim) -> tuple[str, float, str]:
    return claim.run_date, claim.since, claim.holder


def _without(waiting: tuple[Claim, ...], holder: str) -> tuple[Claim, ...]:
    return tuple(waiter for waiter in waiting if waiter.holder != holder)


def _renew(warehouse: str, holder: str, token: int) -> bool:
    with _state(warehouse) as box:
        held = box.state.held
        if held is None or (held.holder, held.token) != (holder, token):
            return False
        box.state = replace(box.state, held=replace(held, renewed=time.time()))
        return True


def _beat(lease: Lease, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        try:
            if not _renew(lease.warehouse, lease.holder, lease.token):
                lease.lost.set()
                return
        except ServiceError:
            continue  # a disk that fails for a moment costs one beat; `check` speaks up if it lasts


def _busy(warehouse: str, claim: Claim) -> ServiceError:
    state = show(warehouse)
    blocker = state.held or next(iter(state.waiting), claim)
    return ServiceError(
        f"the warehouse is busy: night {claim.run_date} has to wait",
        where=warehouse,
        found=f"held by {blocker}" if state.held else f"an earlier night comes first: {blocker}",
        fix="start this again when that night is done; if nothing runs it any more: "
        f"nocturne lease release --warehouse {warehouse} --holder '{blocker.holder}'",
    )


def _process_alive(claim: Claim, lasts: float) -> bool:
    if claim.host == socket.gethostname() and claim.started:
        return _process_start(claim.pid) == claim.started
    return time.time() - claim.renewed < lasts


def _process_start(pid: int) -> str | None:
    """When a process of this host started, in ticks; None if it is dead, or where there is no /proc."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else numbers[18]


@dataclass
class _Box:
    state: State


@contextmanager
def _state(warehouse: str) -> Iterator[_Box]:
    """The state without lapsed claims; what the block leaves in the box is written back if it differs."""
    folder = _folder(warehouse)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w", encoding="utf-8") as lock:
            _lock(lock.fileno(), warehouse)
            before = _read(folder)
            box = _Box(_living(before))
            yield box
            if box.state != before:
                _write(folder, box.state)
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


def _lock(file: int, warehouse: str) -> None:
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
                    where=f"{_folder(warehouse)}/lock",
                    found=f"not free for {LOCK_SECONDS:g} s, expected for the time of one small write",
                    fix="`lslocks` names it: it was stopped, let it go on or end it; then run this again",
                ) from None
            time.sleep(0.01)


def _folder(warehouse: str) -> Path:
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


def _living(state: State) -> State:
    held = state.held
    if held and held.host and not _process_alive(held, PROCESS_LASTS_SECONDS):
        held = _without_process(held)
    if held and not held.host and not (held.run and time.time() - held.renewed < RUN_LASTS_SECONDS):
        held = None
    waiting = tuple(waiter for waiter in state.waiting if _process_alive(waiter, WAITER_LASTS_SECONDS))
    return replace(state, held=held, waiting=waiting)


def _read(folder: Path) -> State:
    try:
        values = json.loads((folder / "state.json").read_bytes())
    except FileNotFoundError:
        return State()
    held = Claim(**values["held"]) if values["held"] else None
    waiting = tuple(Claim(**waiter) for waiter in values["waiting"])
    # A lease of release 0.3 knows nothing of processes that left.
    return State(values["token"], held, waiting, values.get("worked", 0), values.get("left", 0))


def _write(folder: Path, state: State) -> None:
    fresh = folder / "state.json.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(asdict(state), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / "state.json")
