"""A writer of exposures, or steers: the folder of one day, lines appended to its parts, a mark when the day is over.

LANDING/exposures/date=2025-01-04/<host>-<pid>-<start ms>/part-000000.jsonl
LANDING/exposures/date=2025-01-04/<host>-<pid>-<start ms>/_SUCCESS            {"rows": 1234}
"""

import errno
import json
import os
import re
import socket
import time
from contextlib import suppress
from pathlib import Path

from nocturne.core.atomic_write import write_atomically

PART_BYTES = 64 * 2**20


class ExposureFolder:
    """The folder of one writer and one day; whoever reads it sees whole lines, but for the end of one who was killed.

    Attributes:
        day: UTC, as `2025-01-04`.
        path: the folder.
        rows: lines on the disk.
        sound: False when more cannot be appended: somebody removed the folder, or its last line may be half a one.
    """

    def __init__(self, landing: Path, day: str, kind: str = "exposures") -> None:
        """Make the folder, but no landing zone.

        Args:
            kind: of the lines, and name of the folder of all writers.

        Raises:
            OSError: it cannot be made.
        """
        if not landing.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no landing zone", str(landing))
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
        writer = f"{host}-{os.getpid()}-{time.time_ns() // 1_000_000}"
        self.day = day
        self.path = landing / kind / f"date={day}" / writer
        self.rows = 0
        self.sound = True
        self._parts = self._bytes = 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir()
        try:
            self._part = self._open_part()
        except OSError:
            with suppress(OSError):
                self.path.rmdir()  # the next try makes another one
            raise

    def append(self, lines: bytes, rows: int) -> None:
        """Put whole lines on the disk, or none of them.

        Raises:
            OSError: they cannot be written, or somebody removed the folder.
        """
        if self._bytes >= PART_BYTES:
            full, self._part = self._part, self._open_part()
            os.close(full)
        if not os.fstat(self._part).st_nlink:
            self.sound = False
            raise FileNotFoundError(errno.ENOENT, "somebody removed the folder", str(self.path))
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._part, rest) :]
            os.fdatasync(self._part)
        except OSError:
            self.sound = False
            os.ftruncate(self._part, self._bytes)
            self.sound = True
            raise
        self._bytes += len(lines)
        self.rows += rows

    def complete(self) -> None:
        """Say that this writer is done with the day, and how many rows it has.

        Raises:
            OSError: the mark cannot be written.
        """
        self.close()
        write_atomically(self.path / "_SUCCESS", json.dumps({"rows": self.rows}).encode())

    def close(self) -> None:
        """Let go of the file, without a mark."""
        with suppress(OSError):
            os.close(self._part)

    def _open_part(self) -> int:
        path = self.path / f"part-{self._parts:06d}.jsonl"
        part = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._parts += 1
        self._bytes = 0
        return part
