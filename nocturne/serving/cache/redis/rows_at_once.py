"""Rows of all listeners who are asked for at once, read from a Redis server in one round trip."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from nocturne.core.sections import CacheSettings
from nocturne.serving.cache.base import Snapshot
from nocturne.serving.cache.redis.connection import connect_without_waiting, errors
from nocturne.serving.cache.redis.generations import RedisSnapshot, field_of, info_key
from nocturne.serving.cache.rows import ServedRow

MOST_AT_ONCE = 64


class _Wanted(NamedTuple):
    """A row that somebody waits for."""

    snapshot: RedisSnapshot
    field: bytes
    row: "asyncio.Future[ServedRow | None]"


class RowsAtOnce:
    """A reader of rows over one connection; whoever asks while it is busy is in the next round trip."""

    def __init__(self, url: str, settings: CacheSettings) -> None:
        """Args: as `connect`; it connects when it is used."""
        self._redis, self._place = connect_without_waiting(url, settings)
        self._wanted: list[_Wanted] = []
        self._asking: asyncio.Task[None] | None = None

    async def row(self, snapshot: Snapshot, user_id: str) -> ServedRow | None:
        """The list and the row of a listener in a snapshot of this server; None if there is none.

        Raises:
            ServiceError: the server failed, or has lost the generation.
        """
        assert isinstance(snapshot, RedisSnapshot)
        field = field_of(user_id)
        if field is None:
            return None
        wanted = _Wanted(snapshot, field, asyncio.get_running_loop().create_future())
        self._wanted.append(wanted)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await wanted.row

    async def close(self) -> None:
        """Let go of the connection."""
        if self._asking:
            self._asking.cancel()
        await self._redis.aclose()

    async def _ask(self) -> None:
        while self._wanted:
            asked, self._wanted = self._wanted[:MOST_AT_ONCE], self._wanted[MOST_AT_ONCE:]
            try:
                rows = await self._rows(asked)
            except Exception as error:  # noqa: BLE001 - those who wait raise it
                rows = [error] * len(asked)
            for wanted, row in zip(asked, rows, strict=True):
                if wanted.row.done():  # nobody waits any more
                    continue
                if isinstance(row, Exception):
                    wanted.row.set_exception(row)
                else:
                    wanted.row.set_result(row)

    async def _rows(self, asked: Sequence[_Wanted]) -> "list[ServedRow | Exception | None]":
        """The rows; a generation's load is read behind them, which says whether a row that lacks was ever there."""
        snapshots = {wanted.snapshot.lists.load: wanted.snapshot for wanted in asked}
        pipeline = self._redis.pipeline(transaction=False)
        for wanted in asked:
            pipeline.hget(cast("str", wanted.snapshot.lists.buckets.key(wanted.field)), cast("str", wanted.field))
        for snapshot in snapshots.values():
            pipeline.hget(info_key(snapshot.generation.name), "load")
        with errors(self._place):
            answers: list[Any] = await pipeline.execute()
        values, loads = answers[: len(asked)], dict(zip(snapshots, answers[len(asked) :], strict=True))
        return [_row(wanted, value, loads) for wanted, value in zip(asked, values, strict=True)]


def _row(wanted: _Wanted, value: bytes | None, loads: dict[str, bytes | None]) -> "ServedRow | Exception | None":
    lists = wanted.snapshot.lists
    if value is not None:
        return lists.as_row(value)
    return None if loads[lists.load] == lists.load.encode() else wanted.snapshot.gone()
