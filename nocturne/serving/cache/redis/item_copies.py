"""Copies of the items of generations in Redis: one file a generation on each machine, which all its readers map."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nocturne.core.atomic_write import open_atomically

PIECE_BYTES = 256 * 2**10
"""Stored in two milliseconds, in which the server answers nobody."""

KEPT = 3


def local_copy(place: str, generation: str, load: str) -> Path:
    """The file of a load of a generation, in a folder of this user's alone."""
    server = hashlib.sha256(place.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"nocturne-items-{os.getuid()}", server, f"{generation}-{load}.arrow")


def copy_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Write the pieces to a file, whole or not at all.

    Copies of generations before the last few are removed: who maps them keeps them.

    Raises:
        OSError: the file cannot be written, or its folder belongs to somebody else.
    """
    ours = path.parent.parent
    ours.mkdir(exist_ok=True, mode=0o700)
    if ours.stat().st_uid != os.getuid():
        raise PermissionError(13, "belongs to another user", str(ours))
    path.parent.mkdir(exist_ok=True, mode=0o700)
    with open_atomically(path) as file:
        file.writelines(pieces)
    for copy in sorted(path.parent.glob("*.arrow"), key=lambda copy: copy.stat().st_mtime_ns)[:-KEPT]:
        copy.unlink(missing_ok=True)
