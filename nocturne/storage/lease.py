"""The lease on a warehouse: one night at a time writes it, and waiting nights go in order of date.

`WAREHOUSE/_lease/` holds the state (`nocturne.storage.lease_state`), one JSON file that is replaced whole, under a
lock that the kernel lets go of when its process dies. A process renews its lease from a thread for as long as it
lives. An orchestrator's run, which has no process of its own, keeps its lease between its jobs; each
job enters under the run's name, one at a time, so that a job started again cannot meet its orphan.
Every process that is let in gets a higher token than all before it, and commits to tables with it, so that a
late write of an earlier one is refused (`nocturne.storage.fencing`).
Standard library only, on a file system that all writers of the warehouse share.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date

from nocturne.core.errors import ServiceError
from nocturne.storage.lease_state import (
    Claim,
    State,
    StateFile,
    lease_folder,
    open_state_file,
    process_start,
    read_state,
)

HEARTBEAT_SECONDS = 20.0


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
                found=str(show(self.warehouse).grant or "nobody holds it now"),
                expected=f"{self.holder} with token {self.token}",
                fix="run this night again: the tables are replaced whole, nothing is written twice",
            )


def take(warehouse: str, run_date: date, holder: str) -> bool:
    """Take, or renew, the lease for a run that outlives this process; a first call only queues for it.

    Polled, it grants the lease to the earliest night among those polling. Raises as `hold`.
    """
    now = time.time()
    claim = Claim(holder, run_date.isoformat(), now, now, run=True)
    return _request_grant(warehouse, claim, queue=True) is not None


def release(warehouse: str, holder: str) -> bool:
    """Give up the holder's lease and its place in the queue; True if the lease is free of the holder now.

    A process that still works under the lease keeps it until it ends.
    """
    if not lease_folder(warehouse).is_dir():
        return True
    with open_state_file(warehouse) as file:
        file.state = replace(file.state, waiting=_without_claims_of(holder, file.state.waiting))
        grant = file.state.grant
        if grant is None or grant.holder != holder:
            return True
        file.state = replace(file.state, grant=replace(grant, run=False) if grant.host else None)
        return file.state.grant is None


def show(warehouse: str) -> State:
    """The state: who holds the lease and who waits, the earliest night first; claims that expired are left out.

    Takes no lock and writes nothing: a reader of the warehouse may ask.
    """
    return read_state(lease_folder(warehouse))


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
    lease = Lease(warehouse, claim.holder, *_wait_for_grant(warehouse, claim, wait_seconds))
    stop = threading.Event()
    heartbeat = threading.Thread(target=_heartbeat, args=(lease, stop), name="lease", daemon=True)
    heartbeat.start()
    try:
        yield lease
        lease.check()
    finally:
        stop.set()
        heartbeat.join()
        _record_departure(warehouse, claim, lease.token)


def _process_claim(run_date: date, holder: str | None) -> Claim:
    now, host, pid = time.time(), socket.gethostname(), os.getpid()
    name = holder or f"{host}-{pid}-{secrets.token_hex(4)}"
    started = process_start(pid) or ""
    return Claim(name, run_date.isoformat(), now, now, run=False, host=host, pid=pid, started=started)


def _wait_for_grant(warehouse: str, claim: Claim, wait_seconds: float) -> tuple[int, bool]:
    deadline = time.monotonic() + wait_seconds
    while True:
        granted = _request_grant(warehouse, replace(claim, renewed=time.time()), queue=wait_seconds > 0)
        if granted is not None:
            return granted
        if time.monotonic() >= deadline:
            if wait_seconds > 0:
                release(warehouse, claim.holder)
            raise _busy_error(warehouse, claim)
        time.sleep(min(1.0, wait_seconds))


def _request_grant(warehouse: str, claim: Claim, *, queue: bool) -> tuple[int, bool] | None:
    """Token of the grant and whether it takes over, or None. In a queue the first call only says which night waits."""
    with open_state_file(warehouse) as file:
        state = file.state
        if state.grant and state.grant.holder == claim.holder:
            renewed = _renew_or_join(state.grant, claim, state.token + 1)
            return _grant(file, renewed) if renewed else None
        others = _without_claims_of(claim.holder, state.waiting)
        queued_claim = next((waiter for waiter in state.waiting if waiter.holder == claim.holder), None)
        claim = replace(claim, since=queued_claim.since) if queued_claim else claim
        comes_first = all(_queue_order(claim) < _queue_order(other) for other in others)
        if state.grant is None and comes_first and (queued_claim or not queue):
            file.state = replace(state, waiting=others)
            return _grant(file, replace(claim, since=time.time(), token=state.token + 1))
        if queue:
            file.state = replace(state, waiting=tuple(sorted((*others, claim), key=_queue_order)))
        return None


def _renew_or_join(grant: Claim, claim: Claim, next_token: int) -> Claim | None:
    """The lease of a holder who asks again: a run renews it; a process works under it if no other does."""
    if claim.run:
        return replace(grant, run=True, renewed=claim.renewed)
    if grant.host:
        return None
    return replace(
        grant, renewed=claim.renewed, token=next_token, host=claim.host, pid=claim.pid, started=claim.started
    )


def _grant(file: StateFile, claim: Claim) -> tuple[int, bool]:
    """Record who holds the lease; returns the token, and whether the last process never said that it left."""
    state = file.state
    is_new_process = claim.host != "" and claim.token > state.token
    file.state = replace(
        state,
        token=max(state.token, claim.token),
        grant=claim,
        process_token=claim.token if is_new_process else state.process_token,
    )
    return claim.token, state.process_token != state.departed_token


def _record_departure(warehouse: str, claim: Claim, token: int) -> None:
    """Record that the process ends: a run keeps the lease, otherwise it is free."""
    with open_state_file(warehouse) as file:
        if file.state.process_token == token:
            file.state = replace(file.state, departed_token=token)
        grant = file.state.grant
        if grant and (grant.holder, grant.host, grant.pid) == (claim.holder, claim.host, claim.pid):
            file.state = replace(file.state, grant=grant.without_process() if grant.run else None)


def _queue_order(claim: Claim) -> tuple[str, float, str]:
    return claim.run_date, claim.since, claim.holder


def _without_claims_of(holder: str, waiting: tuple[Claim, ...]) -> tuple[Claim, ...]:
    return tuple(claim for claim in waiting if claim.holder != holder)


def _renew(warehouse: str, holder: str, token: int) -> bool:
    with open_state_file(warehouse) as file:
        grant = file.state.grant
        if grant is None or (grant.holder, grant.token) != (holder, token):
            return False
        file.state = replace(file.state, grant=replace(grant, renewed=time.time()))
        return True


def _heartbeat(lease: Lease, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        try:
            if not _renew(lease.warehouse, lease.holder, lease.token):
                lease.lost.set()
                return
        except ServiceError:
            continue  # a disk that fails for a moment costs one beat; `check` speaks up if it lasts


def _busy_error(warehouse: str, claim: Claim) -> ServiceError:
    state = show(warehouse)
    blocker = state.grant or next(iter(state.waiting), claim)
    return ServiceError(
        f"the warehouse is busy: night {claim.run_date} has to wait",
        where=warehouse,
        found=f"held by {blocker}" if state.grant else f"an earlier night comes first: {blocker}",
        fix="start this again when that night is done; if nothing runs it any more: "
        f"nocturne lease release --warehouse {warehouse} --holder '{blocker.holder}'",
    )
