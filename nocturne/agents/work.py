"""Work of a tool in a thread: it reports how far it is, and ends soon after its caller cancels the call."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio.from_thread
import anyio.to_thread

from nocturne.core.stage import Progress

Result = TypeVar("Result")

Report = Callable[[float, float | None, str | None], Coroutine[Any, Any, None]]
"""Sends progress to the caller: done, of how much, what comes next."""


async def in_thread(work: Callable[[Progress], Result], report: Report) -> Result:
    """Do work in a thread.

    A call that was cancelled ends the work at its next step: nothing goes on behind an answer that nobody waits for.
    """

    def step(done: int, of: int, coming: str) -> None:
        anyio.from_thread.check_cancelled()
        anyio.from_thread.run(report, float(done), float(of), coming)

    return await anyio.to_thread.run_sync(work, step)
