"""Both serving caches, real: fixtures for the tests that run against each of them."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

PASSWORD = "open-sesame"


@dataclass
class RedisServer:
    """A redis-server on a free loopback port, with a password, without persistence."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it serves, password and all."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        """A plain client of it."""
        return redis.Redis.from_url(self.url)

    def stop(self) -> None:
        """End it, losing everything."""
        self.process.kill()
        self.process.wait()


def start_redis(folder: Path) -> RedisServer:
    """Start a server and wait until it answers."""
    program = shutil.which("redis-server")
    assert program, "these tests need redis-server: apt-get install redis-server"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD, "--dir", folder]
    server = RedisServer(port, subprocess.Popen([program, *options], stdout=subprocess.DEVNULL))
    for _ in range(100):
        try:
            server.client.ping()
        except redis.ConnectionError:
            time.sleep(0.05)
        else:
            return server
    server.stop()
    raise AssertionError("redis-server did not start")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["lmdb", "redis"])
def cache_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty cache: the test runs once against each store."""
    if request.param == "lmdb":
        return f"lmdb:{tmp_path / 'cache'}"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.client.flushall()
    server.client.config_set("maxmemory", 0)
    server.client.config_set("maxmemory-policy", "noeviction")
    return server.url
