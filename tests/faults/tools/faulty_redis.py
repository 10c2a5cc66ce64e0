"""A redis-server that can be killed, filled and slowed down, and a network in front of it that can be cut."""

import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import redis


class RedisServer:
    """A redis-server on a loopback port of its own; without persistence unless options say so."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("this needs redis-server: apt-get install redis-server")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        options = ("--save", "", *options, "--dir", str(folder), "--enable-debug-command", "yes")
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", *options]
        self.client = redis.Redis(port=self.port)
        self.start()

    @property
    def url(self) -> str:
        """URL of its database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it has loaded what is on the disk and answers."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                if self.client.ping():
                    return
            except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, with everything that is not on the disk."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.kill()


class FaultyNetwork:
    """A TCP proxy on a loopback port that delays what goes through it, or cuts connections after some bytes.

    Attributes:
        cut_after: bytes to the server after which every connection is cut; None: never.
        cut_once_after: likewise, but only the connection that sends them.
        cut_every: bytes to the server after which the connection is cut that sends them, again and again.
        delay: seconds that each piece on its way to the server waits.
        cuts: connections that were cut.
        sent: bytes that went to the server.
    """

    def __init__(self, port: int) -> None:
        """Args: port of the server."""
        self.cut_after: int | None = None
        self.cut_once_after: int | None = None
        self.cut_every: int | None = None
        self.delay = 0.0
        self.cuts = self.sent = 0
        self._target, self._last_cut = port, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """URL of the cache behind it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _cuts(self) -> bool:
        cut = self.cut_after is not None and self.sent > self.cut_after
        if self.cut_once_after is not None and self.sent > self.cut_once_after:
            cut, self.cut_once_after = True, None
        if self.cut_every is not None and self.sent > self._last_cut + self.cut_every:
            cut, self._last_cut = True, self.sent
        self.cuts += cut
        return cut

    def _pass_on(self, source: socket.socket, target: socket.socket, to_server: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(4096):
                if to_server:
                    time.sleep(self.delay)
                    self.sent += len(piece)
                    if self._cuts():
                        break
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            source.shutdown(socket.SHUT_RDWR)
        source.close()


def free_port() -> int:
    """A port of the loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
