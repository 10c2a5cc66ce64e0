"""LMDB environments, opened once per process: LMDB breaks if a process opens the same files twice, or after a fork.

A forked child forgets its parent's environments and opens its own. It can only forget them if no thread was using one
when it was forked, for what such a thread holds stays in the child for good: so a fork waits for reads to end.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from weakref import WeakSet, WeakValueDictionary

import lmdb

LONGEST_WAIT_SECONDS = 1.0
"""Of a fork: one in the midst of a read, as by a signal handler, would wait for itself."""

USUAL_MAP_BYTES = 10 * 2**20

# An environment closes when the last holder lets go of it.
_open: WeakValueDictionary[tuple[int, int], lmdb.Environment] = WeakValueDictionary()


class Holder(Protocol):
    """Whoever holds environments, and opens them again where it has let go."""

    def let_go(self) -> None:
        """Forget all environments, without closing them."""


_holders: WeakSet[Holder] = WeakSet()


class _Gate:
    """Gate that a fork closes, and the uses of environments that it waits for."""

    def __init__(self) -> None:
        self.opening = threading.Lock()
        self.fork = threading.Lock()
        self.closed = False
        self.uses: deque[None] = deque()  # a counter whose steps no thread can come between


_gate = _Gate()


def enter() -> None:
    """Begin to use an environment; what is taken from it must be let go before `leave`."""
    _gate.uses.append(None)
    while _gate.closed:
        _gate.uses.pop()
        with _gate.fork:
            _gate.uses.append(None)


def leave() -> None:
    """End what `enter` began."""
    _gate.uses.pop()


@contextmanager
def in_use() -> Iterator[None]:
    """Between `enter` and `leave`."""
    enter()
    try:
        yield
    finally:
        leave()


def opened(
    folder: Path, holder: Holder, *, readonly: bool, lock: bool, map_bytes: int = USUAL_MAP_BYTES
) -> lmdb.Environment:
    """The environment of that folder, shared by all holders of the process.

    Args:
        map_bytes: to which it may grow.
    """
    with _gate.opening:
        _holders.add(holder)
        environment = _open.get(identity(folder)) if (folder / "data.mdb").exists() else None
        if environment is None:
            # random reads need no readahead
            environment = lmdb.open(
                str(folder),
                map_size=map_bytes,
                readonly=readonly,
                create=not readonly,
                lock=lock,
                readahead=False,
                max_readers=1024,
                max_dbs=2,
            )
            _open[identity(folder)] = environment
            if lock:
                environment.reader_check()  # slots of readers that died
        return environment


def identity(folder: Path) -> tuple[int, int]:
    """Tells an environment from all others, also from one that is loaded into the same folder later."""
    status = (folder / "data.mdb").stat()
    return status.st_dev, status.st_ino


def _before_fork() -> None:
    _gate.fork.acquire()
    _gate.closed = True
    patience = time.monotonic() + LONGEST_WAIT_SECONDS
    while _gate.uses and time.monotonic() < patience:
        time.sleep(0.0001)


def _after_fork_in_parent() -> None:
    _gate.closed = False
    _gate.fork.release()


def _after_fork_in_child() -> None:
    # py-lmdb leaves an environment of the parent as it is when a child forgets it; closing it would free its readers
    global _gate  # noqa: PLW0603 (threads that are not there any more may hold its locks)
    _gate = _Gate()
    for holder in list(_holders):
        holder.let_go()
    _open.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
