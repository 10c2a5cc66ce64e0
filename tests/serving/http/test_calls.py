"""A cache that is a server, and takes its time, keeps neither the loop nor a client waiting for long."""

import asyncio
import threading
import time

import pytest

from nocturne.core.errors import ServiceError
from nocturne.serving.http.calls import CallInThreads, SharedReader, call_at_once
from tests.fixtures.fake_service import FakeReader


@pytest.fixture
def released():
    """An event for which slow calls wait, set at the end."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_has_its_result_or_its_error_at_once_and_in_threads():
    async def both(function):
        in_threads = CallInThreads()
        try:
            return await call_at_once(function), await in_threads(function)
        finally:
            in_threads.close()

    assert asyncio.run(both(lambda: 7)) == (7, 7)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(both(lambda: 1 // 0))


def test_the_loop_goes_on_while_a_thread_waits(released):
    async def meanwhile():
        call = CallInThreads(threads=2, patience_seconds=60)
        waiting = asyncio.ensure_future(call(lambda: released.wait(60)))
        assert await call(lambda: "another") == "another"
        assert not waiting.done()
        released.set()
        assert await waiting
        call.close()

    asyncio.run(meanwhile())


def test_a_server_that_does_not_answer_is_not_waited_for(released):
    async def ask():
        call = CallInThreads(threads=1, patience_seconds=0.05)
        begun = time.monotonic()
        for _ in range(3):  # the second and the third have no thread left
            with pytest.raises(ServiceError, match="does not answer"):
                await call(lambda: released.wait(60))
        released.set()
        call.close()
        return time.monotonic() - begun

    assert asyncio.run(ask()) < 30


def test_threads_look_at_the_pointer_one_at_a_time_and_the_others_do_not_wait_for_long(released):
    class SlowReader(FakeReader):
        def served(self):
            entered.set()
            released.wait(60)
            return super().served()

    entered = threading.Event()
    reader = SharedReader(SlowReader(), patience_seconds=0.05)
    first = threading.Thread(target=reader.served)
    first.start()
    assert entered.wait(30)
    with pytest.raises(ServiceError, match="does not answer"):
        reader.served()
    released.set()
    first.join()
    assert reader.served().generation == reader.history()[0]


def test_an_error_lets_the_next_one_look():
    inner = FakeReader(error=ServiceError("away"))
    reader = SharedReader(inner)
    for _ in range(2):
        with pytest.raises(ServiceError, match="away"):
            reader.served()
    inner.error = None
    assert reader.served()
    reader.close()
    assert inner.closed
