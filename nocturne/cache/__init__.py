"""The serving cache: whole generations of lists, and one pointer that says which is served."""

from pathlib import Path

from nocturne.cache.base import Cache, PointerMoved
from nocturne.cache.embedded import EmbeddedCache
from nocturne.cache.pointer import Generation, Pointer
from nocturne.cache.served import ServedList
from nocturne.cache.shared import SharedCache
from nocturne.errors import SettingsError

__all__ = ["Cache", "Generation", "Pointer", "PointerMoved", "ServedList", "check_url", "open_cache"]


def open_cache(url: str, read_only: bool = False) -> Cache:
    """Open the cache at `lmdb:PATH`, `redis://[user:password@]host:port/db` or `rediss://...`.

    Args:
        url: where the cache is; its password is in no message.
        read_only: refuse to write; an embedded cache that does not exist is then not created.

    Raises:
        SettingsError: the URL names no cache, or the server refuses the user or password.
        ServiceError: the disk or the server does not serve.
    """
    check_url(url)
    scheme, _, rest = url.partition(":")
    if scheme == "lmdb":
        return EmbeddedCache(Path(rest), read_only=read_only)
    return SharedCache(url, read_only=read_only)


def check_url(url: str) -> None:
    """Raise SettingsError unless the URL is that of a cache, whether or not there is one."""
    scheme, _, rest = url.partition(":")
    if scheme in {"lmdb", "redis", "rediss"} and rest:
        return
    raise SettingsError(
        "the cache's URL is not understood",
        where="--cache",
        found=f"{scheme}:..." if rest else "no scheme or no place",
        expected="lmdb:PATH or redis://[user:password@]host:port/db",
    )
