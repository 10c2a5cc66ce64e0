"""Access to the cache from an event loop, which must not wait: at once where memory is read, else as answers come."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

from nocturne.core.errors import ServiceError
from nocturne.serving.cache.overlay import NO_OVERLAY, Overlay

if TYPE_CHECKING:
    from nocturne.serving.cache import Generation, Snapshot
    from nocturne.serving.cache.rows import ServedRow
    from nocturne.serving.reader import Served

Result = TypeVar("Result")

OVERLAY_SECONDS = 0.2
"""For which takedowns are obeyed as they were seen: what is taken down is gone a second later."""

PATIENCE_SECONDS = 2.0
"""For a server's answer; a client that waits for longer has given up."""


class ReadsServed(Protocol):
    """Knows the generation that is served, as `nocturne.serving.reader.Reader` does."""

    def served(self) -> "Served":
        """The generation that is served now."""

    def history(self) -> "Sequence[Generation]":
        """The generation that is served, and those that a rollback could serve."""

    def close(self) -> None:
        """Let go of the cache."""


class ReadsRows(Protocol):
    """Reads rows of listeners from a server, as `nocturne.serving.cache.redis.row_reader.RowReader` does."""

    async def row(self, snapshot: "Snapshot", user_id: str) -> "ServedRow | None":
        """The list and the row of a listener; None if there is none."""

    async def overlay(self, known: "Overlay") -> "Overlay":
        """The takedowns that are obeyed now; those that are known if they are the same."""

    def close(self) -> None:
        """Let go of the connection."""


class CacheAccess(Protocol):
    """Reads one cache; its errors are NocturneErrors."""

    def served(self) -> "Served":
        """The generation that is served now."""

    async def current(self) -> "Served":
        """The same under the takedowns of this moment: all that is shown comes from it."""

    async def row(self, served: "Served", user_id: str) -> "ServedRow | None":
        """The list and the row of a listener in a generation; None if there is none."""

    async def history(self) -> "Sequence[Generation]":
        """The generation that is served, and those that a rollback could serve."""

    async def start(self) -> None:
        """Begin to follow the pointer."""

    async def close(self) -> None:
        """Let go of the cache."""


class MappedCache:
    """A cache in mapped memory: a thread would take longer than a read."""

    def __init__(self, reader: ReadsServed) -> None:
        self._reader = reader
        self.served = reader.served

    async def current(self) -> "Served":
        """The generation that is served now, under the takedowns of this moment."""
        return self._reader.served()

    async def row(self, served: "Served", user_id: str) -> "ServedRow | None":
        """The list and the row of a listener in a generation; None if there is none."""
        return served.row(user_id)

    async def history(self) -> "Sequence[Generation]":
        """The generation that is served, and those that a rollback could serve."""
        return self._reader.history()

    async def start(self) -> None:
        """Nothing: every request looks at the pointer."""

    async def close(self) -> None:
        """Let go of the cache."""
        self._reader.close()


class CacheServer:
    """A cache on a server: a thread looks at the pointer, and rows are read without one."""

    def __init__(
        self,
        reader: ReadsServed,
        rows: ReadsRows,
        check_seconds: float,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Args: check_seconds: between two looks at the pointer."""
        self._reader = reader
        self._rows = rows
        self._check_seconds = check_seconds
        self._patience_seconds = patience_seconds
        self._threads = ThreadPoolExecutor(2, "asking")
        self._look: asyncio.Future[Served] | None = None
        self._seen: Served | Exception = self._silence()
        self._following: asyncio.Task[None] | None = None
        self._overlay, self._overlay_from = NO_OVERLAY, -OVERLAY_SECONDS
        self._looking_at_overlay = asyncio.Lock()

    def served(self) -> "Served":
        """The generation that was served when the pointer was last looked at.

        Raises:
            NocturneError: the cache was away, or nothing that can be read was served.
        """
        if isinstance(self._seen, Exception):
            raise self._seen.with_traceback(None)
        return self._seen

    async def current(self) -> "Served":
        """The generation that is served now, under the takedowns of a moment ago at most.

        The first who asks after that moment asks the server, which a look at another generation may keep waiting.

        Raises:
            NocturneError: as of `served`; or the server failed, or takes too long.
        """
        if time.monotonic() - self._overlay_from > OVERLAY_SECONDS:
            async with self._looking_at_overlay:
                if time.monotonic() - self._overlay_from > OVERLAY_SECONDS:
                    asked_at = time.monotonic()
                    self._overlay = await self._rows.overlay(self._overlay)
                    self._overlay_from = asked_at
        served = self.served().under(self._overlay)
        self._seen = served
        return served

    async def row(self, served: "Served", user_id: str) -> "ServedRow | None":
        """The list and the row of a listener in a generation; None if there is none.

        Raises:
            NocturneError: the server failed, has lost the generation, or takes too long.
        """
        return await self._rows.row(served.snapshot, user_id)

    async def history(self) -> "Sequence[Generation]":
        """The generation that is served, and those that a rollback could serve.

        Raises:
            NocturneError: the cache is away, or takes too long.
        """
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await self._in_a_thread(self._reader.history)
        except TimeoutError:
            raise self._silence() from None

    async def start(self) -> None:
        """Look at the pointer, and go on looking."""
        await self._look_once()
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Let go of the cache; a thread that still waits for the server ends with its answer."""
        if self._following:
            self._following.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._rows.close()
        self._reader.close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._check_seconds)
            await self._look_once()

    async def _look_once(self) -> None:
        """Take over what is served, or why that is not known.

        A look that takes long, as it does while the items of another generation are copied, is waited for again later;
        what was served goes on being served. If the server is away, reads of rows say so.
        """
        self._look = self._look or self._in_a_thread(self._reader.served)
        done, _ = await asyncio.wait({self._look}, timeout=self._patience_seconds)
        if not done:
            if isinstance(self._seen, Exception):
                self._seen = self._silence()
            return
        look, self._look = self._look, None
        try:
            self._seen = look.result()
        except Exception as error:  # noqa: BLE001 - requests raise it, and the next look may find better
            self._seen = error

    def _in_a_thread(self, function: Callable[[], Result]) -> asyncio.Future[Result]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function)

    def _silence(self) -> ServiceError:
        found = f"nothing for {self._patience_seconds:g} s"
        return ServiceError("the serving cache does not answer", found=found, fix="try again")
