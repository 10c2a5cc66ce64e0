"""A transport whose writes of one turn of the event loop go out as one: a system call for all, not for each."""

import asyncio
from typing import Any


class JoinedWrites:
    """A transport in front of another."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send data before the next turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.append(data)

    def close(self) -> None:
        """Send what waits, and hang up."""
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """The other members of the transport."""
        return getattr(self._transport, name)

    def _send(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._transport.write(b"".join(waiting))
