"""Both serving caches, real: fixtures for the tests that run against each of them."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
import redis

from nocturne.cache import About, Cache, Generation, Head, Pointer

PASSWORD = "open-sesame"
NIGHT = date(2026, 3, 2)
HEAD = Head("control", "als", "als-1")
MONDAY = Generation("2026-03-02-aaaaaaaa", date(2026, 3, 2))
TUESDAY = Generation("2026-03-03-bbbbbbbb", date(2026, 3, 3))


def rows(run_date: date = NIGHT, head: Head = HEAD, **best_items: str) -> pa.RecordBatch:
    """Rows of ranked_lists, each with one item of score 1.5, in the order given."""
    return pa.RecordBatch.from_pylist(
        [
            {"run_date": run_date, "user_id": user_id, **head._asdict(), "items": [{"item_id": item, "score": 1.5}]}
            for user_id, item in best_items.items()
        ]
    )


def about(*item_ids: str, run_date: date = NIGHT, heads: Sequence[Head] = (HEAD,), lists: int = 1) -> About:
    """What lists of these items have in common."""
    return About(run_date, lists, heads, pa.array(item_ids, pa.string()))


def users(start: int, end: int) -> pa.RecordBatch:
    """Rows of user-000000 and so on, each with item x."""
    return rows(**{f"user-{each:06d}": "x" for each in range(start, end)})


def serve(cache: Cache, generation: Generation, item: str, expected: Pointer | None) -> None:
    """Load a generation in which ann has this item, and move the pointer to it."""
    cache.load(generation.name, ITEMS, [[rows(ann=item)]])
    cache.swap_pointer(expected, Pointer(generation))


class Then:
    """A part during which something happens."""

    def __init__(self, first: pa.RecordBatch, happening: Callable[[], object], then: pa.RecordBatch) -> None:
        self.first, self.happening, self.then = first, happening, then

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The rows before and after."""
        yield self.first
        self.happening()
        yield self.then


ITEMS = about("monday", "tuesday", "x", "y", "z", lists=2_000)


@dataclass
class RedisServer:
    """A redis-server on a free loopback port, with a password, without persistence unless options say so."""

    port: int
    command: list[str]
    process: subprocess.Popen[bytes]
    options: dict[str, str] = field(default_factory=dict)
    scheme: str = "redis"

    @property
    def url(self) -> str:
        """Where it serves, password and all."""
        return f"{self.scheme}://:{PASSWORD}@127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        """A plain client of it."""
        return redis.Redis.from_url(self.url, **self.options)

    def stop(self) -> None:
        """End it, losing everything that is not on disk."""
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        self.wait()

    def empty(self) -> None:
        """Forget everything, memory limits too."""
        self.client.flushall()
        self.client.config_set("maxmemory", 0)
        self.client.config_set("maxmemory-policy", "noeviction")

    def wait(self) -> None:
        """Until it answers."""
        for _ in range(100):
            try:
                self.client.ping()
            except redis.ConnectionError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise AssertionError("redis-server did not start")


def start_redis(folder: Path, *options: str) -> RedisServer:
    """Start a server and wait until it answers."""
    program = shutil.which("redis-server")
    assert program, "these tests need redis-server: apt-get install redis-server"
    port = _free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD]
    command += ["--dir", str(folder), "--enable-debug-command", "yes", *options]
    server = RedisServer(port, command, subprocess.Popen(command, stdout=subprocess.DEVNULL))
    server.wait()
    return server


def start_redis_with_tls(folder: Path) -> RedisServer:
    """Start a server that only speaks TLS; its authority is folder/ca.pem."""
    program = shutil.which("redis-server")
    assert program, "these tests need redis-server: apt-get install redis-server"
    _certify(folder)
    port = _free_port()
    command = [program, "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--requirepass", PASSWORD, "--dir", str(folder), "--tls-auth-clients", "no"]
    command += ["--tls-cert-file", str(folder / "server.pem"), "--tls-key-file", str(folder / "server.key")]
    command += ["--tls-ca-cert-file", str(folder / "ca.pem")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    server = RedisServer(port, command, process, {"ssl_ca_certs": str(folder / "ca.pem")}, "rediss")
    server.wait()
    return server


def _certify(folder: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "1")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", *signed)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    server.empty()
    return server.url
