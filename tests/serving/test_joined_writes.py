"""Writes of one turn of the loop go out as one, in their order, and before the end."""

import asyncio
from typing import Any

from nocturne.serving.joined_writes import JoinedWrites


class Transport:
    """A record of what it was told to do."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done


def run(use: Any) -> list[Any]:
    async def whole() -> list[Any]:
        transport: Any = Transport()
        await use(JoinedWrites(transport))
        return list(transport.done)

    return asyncio.run(whole())


def test_writes_of_a_turn_are_one_and_those_of_another_turn_another():
    async def use(joined: JoinedWrites) -> None:
        joined.write(b"head ")
        joined.write(b"body")
        await asyncio.sleep(0)
        joined.write(b"next")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert run(use) == [b"head body", b"next"]


def test_what_waits_is_sent_before_it_hangs_up():
    async def use(joined: JoinedWrites) -> None:
        joined.write(b"last words")
        joined.close()
        assert joined.is_closing()
        await asyncio.sleep(0)

    assert run(use) == [b"last words", "closed"]
