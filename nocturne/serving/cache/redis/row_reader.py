"""Rows of listeners, read from a Redis server by an event loop."""

import asyncio
from contextlib import suppress
from typing import cast

import redis

from nocturne.core.service_sections import CacheSettings
from nocturne.serving.cache.overlay import NO_OVERLAY, Overlay, read_overlay
from nocturne.serving.cache.redis.connection import connect, errors
from nocturne.serving.cache.redis.generations import (
    OVERLAY_KEY,
    STAMP_KEY,
    RedisSnapshot,
    field_of,
    info_key,
    withheld_key,
)
from nocturne.serving.cache.redis.pipelined import PipelinedConnection
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.snapshot import Snapshot
from nocturne.serving.cache.withheld import bars


class RowReader:
    """A reader over one connection, which is opened when it is used, and again after it was lost."""

    def __init__(self, url: str, settings: CacheSettings, patience_seconds: float) -> None:
        """Args: patience_seconds: for an answer; url and settings, and what it raises: as `connect`."""
        client, self._place = connect(url, settings, read_only=True)
        self._options = client.connection_pool.connection_kwargs
        self._secure = issubclass(client.connection_pool.connection_class, redis.SSLConnection)
        self._patience_seconds = patience_seconds
        self._connection: PipelinedConnection | None = None
        self._opening = asyncio.Lock()

    async def row(self, snapshot: Snapshot, user_id: str) -> ServedRow | None:
        """The list and the row of a listener in a snapshot of this server; None if there is none.

        Raises:
            UsageError: the server refuses the user or password.
            ServiceError: the server failed, takes too long, or has lost the generation.
        """
        assert isinstance(snapshot, RedisSnapshot)
        lists, field = snapshot.lists, field_of(user_id)
        if field is None:
            return None
        value, withheld = await asyncio.gather(  # both in one round trip
            self._ask("HGET", lists.buckets.key(field), field), self._ask("GET", withheld_key(user_id))
        )
        if bars(withheld, snapshot.generation.name):
            return None
        if value is not None:
            return lists.as_row(value)
        if await self._ask("HGET", info_key(snapshot.generation.name), "load") != lists.load.encode():
            raise snapshot.gone()
        return None

    async def overlay(self, known: Overlay) -> Overlay:
        """The takedowns that are obeyed now.

        Args:
            known: as they were before; they are read only if they are others now.

        Raises:
            UsageError, ServiceError: as of `row`.
            InputError: another release wrote them.
        """
        stamp = await self._ask("GET", STAMP_KEY) or b""
        if stamp == known.stamp:
            return known
        return read_overlay(await self._ask("GET", OVERLAY_KEY)) if stamp else NO_OVERLAY

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection:
            self._connection.close()

    async def _ask(self, *command: bytes | str) -> bytes | None:
        """The answer to a command that reads; asked for again where the connection is lost meanwhile."""
        with errors(self._place):
            try:
                async with asyncio.timeout(self._patience_seconds):
                    connection = self._connection
                    if connection is not None and connection.is_open:
                        with suppress(ConnectionError):
                            return cast("bytes | None", await connection.ask(*command))
                    return cast("bytes | None", await (await self._opened()).ask(*command))
            except TimeoutError:
                self.close()  # it may never answer again
                raise TimeoutError(f"no answer for {self._patience_seconds:g} s") from None

    async def _opened(self) -> PipelinedConnection:
        async with self._opening:  # of all who find it lost the first opens it
            if self._connection is None or not self._connection.is_open:
                self._connection = await PipelinedConnection.open(self._options, secure=self._secure)
            return self._connection
