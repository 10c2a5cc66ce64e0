"""A cache that is a server, and takes its time, keeps neither the loop nor a client waiting for long."""

import asyncio
import threading
import time

from nocturne.core.errors import ServiceError
from nocturne.serving.http.cache_access import CacheServer
from tests.fixtures.fake_service import LISTENER, MONDAY, TUESDAY, FakeReader

SOON = 30


class FakeRows:
    """Rows that come when they are released; a listener's is their id."""

    def __init__(self):
        self.released = asyncio.Event()
        self.closed = False

    async def row(self, snapshot, user_id):
        await self.released.wait()
        return user_id

    async def overlay(self, known):
        return known

    def close(self):
        self.closed = True


class SlowReader(FakeReader):
    """A reader that waits to be released."""

    def __init__(self):
        super().__init__()
        self.released = threading.Event()

    def served(self):
        assert self.released.wait(SOON)
        return super().served()


async def until(condition):
    """Wait until it holds."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def run(reader, use, *, patience_seconds=60.0):
    """Use an access to a server, from its start to its close."""

    async def whole():
        access = CacheServer(reader, FakeRows(), check_seconds=0.001, patience_seconds=patience_seconds)
        await access.start()
        try:
            return await use(access)
        finally:
            await access.close()

    return asyncio.run(whole())


def generation_or_error(access):
    try:
        return access.served().generation
    except ServiceError as error:
        return str(error)


def test_what_is_served_and_the_history_are_known_from_the_start():
    async def use(access):
        return access.served().generation, await access.history()

    served, history = run(FakeReader(), use)
    assert served == history[0] == TUESDAY


def test_the_loop_goes_on_while_a_row_is_read():
    async def use(access):
        served = access.served()
        row = asyncio.ensure_future(access.row(served, LISTENER))
        await asyncio.sleep(0)
        assert not row.done()
        access._rows.released.set()
        return await row

    assert run(FakeReader(), use) == LISTENER


def test_an_error_is_told_until_a_look_finds_better():
    reader = FakeReader()

    async def use(access):
        reader.error = ServiceError("away")
        await until(lambda: generation_or_error(access) == "away")
        assert generation_or_error(access) == "away"
        reader.error = None
        await until(lambda: generation_or_error(access) == TUESDAY)

    run(reader, use)


def test_a_look_that_takes_too_long_is_told_and_taken_over_when_it_ends():
    reader = SlowReader()

    async def use(access):
        assert "does not answer" in generation_or_error(access)
        reader.released.set()
        await until(lambda: generation_or_error(access) == TUESDAY)

    run(reader, use, patience_seconds=0.05)


def test_a_generation_is_served_while_another_takes_long_to_open():
    reader = SlowReader()
    reader.released.set()

    async def use(access):
        reader.released.clear()
        reader.generation = MONDAY
        await asyncio.sleep(0.2)  # several times the patience
        assert generation_or_error(access) == TUESDAY
        reader.released.set()
        await until(lambda: generation_or_error(access) == MONDAY)

    run(reader, use, patience_seconds=0.02)


def test_the_end_lets_go_of_everything():
    reader = FakeReader()

    async def use(access):
        return access._rows

    assert run(reader, use).closed
    assert reader.closed
