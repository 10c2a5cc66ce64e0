"""Mapped files: an object whose arrays are mapped into memory where it is loaded.

Processes of one machine that load the same file share its pages: nothing is copied but what is changed.
"""

import mmap
import pickle
from pathlib import Path
from typing import Any

_ALIGNMENT = 64
_LENGTH_BYTES = 8


def save(value: Any, file: Path) -> int:
    """Write an object, NumPy arrays and Arrow buffers apart from the rest; returns the bytes written.

    Raises:
        OSError: the file cannot be written.
    """
    buffers: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    with file.open("wb") as stored:
        places = []
        for buffer in buffers:
            places.append((stored.tell(), buffer.raw().nbytes))
            stored.write(buffer.raw())
            stored.write(bytes(-stored.tell() % _ALIGNMENT))
        last = pickle.dumps((places, rest))
        stored.write(last + len(last).to_bytes(_LENGTH_BYTES))
        return stored.tell()


def load(file: Path) -> Any:
    """The object that `save` wrote; trust the file as you trust the code, for it is unpickled."""
    with file.open("rb") as stored:
        content = memoryview(mmap.mmap(stored.fileno(), 0, access=mmap.ACCESS_COPY))
    length = int.from_bytes(content[-_LENGTH_BYTES:])
    places, rest = pickle.loads(content[-_LENGTH_BYTES - length : -_LENGTH_BYTES])  # noqa: S301 - the driver's own
    return pickle.loads(rest, buffers=[content[start : start + size] for start, size in places])  # noqa: S301
