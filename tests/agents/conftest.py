"""Fixtures of tools of agents: a service of three nights, and real clients of the SDK on both transports."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.fixtures.agents_world import World, build_world

PROGRAM = ["-c", "from nocturne.cli.main import run; run()", "mcp"]
ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef0123456789abcdef"
START_SECONDS = 120


class Caller:
    """A client in a thread of its own: `caller("nights", run_date="2025-03-04")` is the structured answer."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self.portal, self.client = portal, client
        self.calls: list[str] = []

    def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = self.result(tool, **arguments)
        assert not result.is_error, result.content
        return result.structured_content

    def result(self, tool: str, **arguments: Any) -> Any:
        self.calls.append(tool)
        return self.portal.call(partial(self.client.call_tool, tool, arguments))

    def error(self, tool: str, **arguments: Any) -> str:
        result = self.result(tool, **arguments)
        assert result.is_error, result.structured_content
        return result.content[0].text


@contextmanager
def calling(server: Any) -> Iterator[Caller]:
    """A client of a server: in this process, a command to start, or a context of a transport."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(server)) as client:
        yield Caller(portal, client)


@asynccontextmanager
async def over_http(url: str) -> AsyncIterator[Any]:
    """The transport to a server that asks for a token."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as web,
        streamable_http_client(url, http_client=web) as streams,
    ):
        yield streams


@contextmanager
def calling_stdio(*options: str) -> Iterator[Caller]:
    parameters = StdioServerParameters(command=sys.executable, args=[*PROGRAM, *options], env={"PYTHONPATH": str(ROOT)})
    with calling(parameters) as caller:
        yield caller


@contextmanager
def serving_http(folder: Path, *options: str) -> Iterator[str]:
    """`nocturne mcp --http` on a free port; gives its URL."""
    tokens, log = folder / "tokens", folder / f"mcp-{time.monotonic_ns()}.log"
    tokens.write_text(TOKEN + "\n")
    command = [sys.executable, *PROGRAM, "--http", "--port", "0", "--token-file", str(tokens), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, cwd=ROOT)
    try:
        until = time.monotonic() + START_SECONDS
        while "listening on " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield log.read_text().partition("listening on ")[2].partition(",")[0]
    finally:
        process.terminate()
        assert process.wait(20) == 0, log.read_text()


@contextmanager
def calling_http(folder: Path, *options: str) -> Iterator[Caller]:
    with serving_http(folder, *options) as url, calling(over_http(url)) as caller:
        yield caller


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The service. Shared: read it."""
    return build_world(tmp_path_factory.mktemp("agents") / "service")


@pytest.fixture(scope="session", params=["stdio", "http"])
def ask(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Ask a server of that service, that reads alone."""
    make: Callable[..., Any] = calling_stdio
    if request.param == "http":
        make = partial(calling_http, tmp_path_factory.mktemp("http"))
    with make(*world.options) as caller:
        yield caller
