"""Calls of the cache from an event loop, which must not wait: at once where memory is read, else in threads."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

from nocturne.core.errors import ServiceError

if TYPE_CHECKING:
    from nocturne.serving.cache import Generation
    from nocturne.serving.reader import Served

Result = TypeVar("Result")

THREADS = 8
PATIENCE_SECONDS = 2.0
"""For a server's answer; a client that waits for longer has given up."""


class Call(Protocol):
    """Calls a function that reads the cache."""

    async def __call__(self, function: Callable[[], Result]) -> Result:
        """The result of the function."""


async def call_at_once(function: Callable[[], Result]) -> Result:
    """The result of a function that reads mapped memory: a thread would take longer than the read."""
    return function()


class CallInThreads:
    """Calls functions that wait for a server, some at a time; the loop goes on, and no answer waits for long."""

    def __init__(self, threads: int = THREADS, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._threads = ThreadPoolExecutor(threads, "asking")
        self._patience_seconds = patience_seconds

    async def __call__(self, function: Callable[[], Result]) -> Result:
        """The result of the function.

        Raises:
            ServiceError: the server takes too long.
        """
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await asyncio.get_running_loop().run_in_executor(self._threads, function)
        except TimeoutError:
            raise _silent(self._patience_seconds) from None

    def close(self) -> None:
        """Let go of the threads; one that still waits for a server ends with its answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class ReadsServed(Protocol):
    """Knows the generation that is served, as `nocturne.serving.reader.Reader` does."""

    def served(self) -> "Served":
        """The generation that is served now."""

    def history(self) -> "Sequence[Generation]":
        """The generation that is served, and those that a rollback could serve."""

    def close(self) -> None:
        """Let go of the cache."""


class SharedReader:
    """A reader that threads share: one looks at the pointer at a time, and the others do not wait for it for long."""

    def __init__(self, reader: ReadsServed, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._reader = reader
        self._patience_seconds = patience_seconds
        self._looking = threading.Lock()

    def served(self) -> "Served":
        """The generation that is served now.

        Raises:
            NocturneError: the cache is away, or nothing that can be read is served.
        """
        if not self._looking.acquire(timeout=self._patience_seconds):
            raise _silent(self._patience_seconds)
        try:
            return self._reader.served()
        finally:
            self._looking.release()

    def history(self) -> "Sequence[Generation]":
        """The generation that is served, and those that a rollback could serve."""
        return self._reader.history()

    def close(self) -> None:
        """Let go of the cache."""
        self._reader.close()


def _silent(seconds: float) -> ServiceError:
    return ServiceError("the serving cache does not answer", found=f"nothing for {seconds:g} s", fix="try again")
