"""A connection to a Redis server from an event loop: commands go out as they come, and answers come in their order.

redis-py waits for the answer to one command, or to one pipeline, before it sends the next, and takes four times the
processor time of the rest of a request.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import hiredis
from redis import exceptions

from nocturne.serving.joined_writes import JoinedWrites

_KINDS: Mapping[str, type[exceptions.RedisError]] = {
    "NOAUTH": exceptions.AuthenticationError,
    "WRONGPASS": exceptions.AuthenticationError,
    "NOPERM": exceptions.NoPermissionError,
}

Argument = bytes | str | int


class PipelinedConnection(asyncio.Protocol):
    """One connection; once it is lost it stays so."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(protocolError=ConnectionError, replyError=_error)
        self._awaited: deque[asyncio.Future[Any]] = deque()
        self._transport: JoinedWrites | None = None

    @classmethod
    async def open(cls, options: Mapping[str, Any], *, secure: bool) -> "PipelinedConnection":
        """A connection whose user is known to the server, and whose database is selected.

        Args:
            options: as a connection of redis-py takes them.
            secure: True: by TLS.

        Raises:
            RedisError: the server refuses the user, the password or the database.
            OSError: it is not there, or is not trusted.
        """
        trusted = ssl.create_default_context(cafile=options.get("ssl_ca_certs")) if secure else None
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port, ssl=trusted)
        try:
            if options.get("password"):
                user = (options["username"],) if options.get("username") else ()
                await connection.ask("AUTH", *user, options["password"])
            await connection.ask("SELECT", options.get("db", 0))
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def is_open(self) -> bool:
        """True until it is closed or lost."""
        return self._transport is not None

    def ask(self, *command: Argument) -> "asyncio.Future[Any]":
        """The answer to a command, when it has come.

        Raises:
            ConnectionError: the connection is lost; from the answer too.
        """
        if self._transport is None:
            raise ConnectionError("the connection is lost")
        answer = asyncio.get_running_loop().create_future()
        self._awaited.append(answer)
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # it takes any number
        return answer

    def close(self) -> None:
        """Let go at once; nobody gets an answer any more."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = JoinedWrites(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        """Hand answers to those who asked for them."""
        self._reader.feed(data)
        try:
            while (value := self._reader.gets()) is not False:
                answer = self._awaited.popleft()
                if answer.done():  # nobody waits for it any more
                    continue
                if isinstance(value, Exception):
                    answer.set_exception(value)
                else:
                    answer.set_result(value)
        except (ConnectionError, IndexError):  # no answers of Redis
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        self._transport = None
        while self._awaited:
            answer = self._awaited.popleft()
            if not answer.done():
                answer.set_exception(ConnectionError(str(exc) if exc else "the connection is lost"))


def _error(text: str) -> exceptions.RedisError:
    return _KINDS.get(text.partition(" ")[0], exceptions.ResponseError)(text)
