"""Version of the code that made a table: the release, and a hash of its sources."""

from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


@cache
def code_version() -> str:
    """Release of the library, and 12 hexadecimal digits of a hash of its source files."""
    digest = sha256()
    for name, content in sorted(_read_sources(files("nocturne"), "")):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    try:
        release = version("nocturne")
    except PackageNotFoundError:  # from a zip
        release = "unpackaged"
    return f"{release}+{digest.hexdigest()[:12]}"


def _read_sources(folder: "Traversable", path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read_sources(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield f"{path}{entry.name}", entry.read_bytes()
