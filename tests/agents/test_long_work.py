"""Long work of tools: it reports progress over both transports, and ends when its call is cancelled."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.agents.conftest import ROOT, TOKEN, over_http

pytestmark = pytest.mark.slow

SERVER = str(Path(__file__).with_name("slow_server.py"))
START_SECONDS = 60


@pytest.fixture
def counted(tmp_path):
    return tmp_path / "counted"


@pytest.fixture(params=["stdio", "http"])
def transport(request, counted, tmp_path):
    """Makes the transport to a server whose work never ends."""
    if request.param == "stdio":
        environment = {"PYTHONPATH": str(ROOT)}
        yield lambda: StdioServerParameters(command=sys.executable, args=[SERVER, str(counted)], env=environment)
        return
    tokens, log = tmp_path / "tokens", tmp_path / "log"
    tokens.write_text(TOKEN)
    with log.open("wb") as output:
        command = [sys.executable, SERVER, str(counted), "http", str(tokens)]
        process = subprocess.Popen(command, stderr=output, env={"PYTHONPATH": str(ROOT)})
    try:
        until = time.monotonic() + START_SECONDS
        while "listening on " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield partial(over_http, log.read_text().partition("listening on ")[2].partition(",")[0])
    finally:
        process.terminate()
        process.wait(20)


def test_it_tells_how_far_it_is_and_ends_soon_after_the_call_is_cancelled(transport, counted):
    told, enough = [], []

    async def note(done, of, message):
        told.append((done, of, message))
        if len(told) == 5:
            enough[0].set()

    async def cancelled():
        enough.append(anyio.Event())
        async with Client(transport()) as client:
            async with anyio.create_task_group() as tasks:

                async def call():
                    await client.call_tool("nights", {}, progress_callback=note)

                tasks.start_soon(call)
                with anyio.fail_after(START_SECONDS):
                    await enough[0].wait()
                tasks.cancel_scope.cancel()
            await anyio.sleep(1)
            ended_at = counted.read_text()
            await anyio.sleep(0.5)
            assert counted.read_text() == ended_at
            assert len((await client.list_tools()).tools) >= 6

    anyio.run(cancelled)
    assert told[:2] == [(0, 1_000_000, "step 0"), (1, 1_000_000, "step 1")]
