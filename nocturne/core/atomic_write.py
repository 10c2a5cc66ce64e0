"""Atomic writes: a file bears its name once it is whole and on the disk, or never."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def open_atomically(path: Path, part: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write to that takes its place at `path` when the context ends; after an error nothing is left of it.

    Args:
        path: in a folder that exists; an older file there is replaced.
        part: where the file lies until then, on the same disk. By default beside `path` under a hidden name of its
            own, so that processes may write at once. A fixed name is for one writer at a time: what a killed one left
            is overwritten.

    Raises:
        FileNotFoundError: another process wrote to the same `part` and has put it in its place.
        OSError: the disk cannot be written.
    """
    part = part or path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def write_atomically(path: Path, content: bytes, part: Path | None = None) -> None:
    """Write a file of these bytes, as `open_atomically` does."""
    with open_atomically(path, part) as file:
        file.write(content)
