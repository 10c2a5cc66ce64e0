"""The serving cache: whole generations of lists, and one pointer that says which is served."""

from pathlib import Path

from nocturne.core.errors import UsageError
from nocturne.core.service_sections import CacheSettings
from nocturne.core.settings import load_settings
from nocturne.serving.cache.base import (
    Cache,
    ParallelMap,
    PointerMoved,
    Progress,
    RowBatches,
    TakedownsChanged,
)
from nocturne.serving.cache.lmdb.store import LmdbCache
from nocturne.serving.cache.overlay import Overlay
from nocturne.serving.cache.pointer import Generation, Pointer
from nocturne.serving.cache.snapshot import Snapshot
from nocturne.serving.cache.values import GenerationInfo, ListKind, ServedList

__all__ = [
    "Cache",
    "Generation",
    "GenerationInfo",
    "ListKind",
    "Overlay",
    "ParallelMap",
    "Pointer",
    "PointerMoved",
    "Progress",
    "RowBatches",
    "ServedList",
    "Snapshot",
    "TakedownsChanged",
    "check_url",
    "open_cache",
]


def open_cache(url: str, settings: CacheSettings | None = None, read_only: bool = False) -> Cache:
    """Open the cache at `lmdb:PATH`, `redis://[user:password@]host:port/db` or `rediss://...`.

    Args:
        url: where the cache is; its password is in no message.
        settings: how a Redis server is reached and filled; by default those of conf/default.toml.
        read_only: refuse to write; an embedded cache that does not exist is then not created.

    Raises:
        UsageError: the URL names no cache, a file named in the settings cannot be read, or the server refuses
            the user or password.
        ServiceError: the disk or the server does not serve.
    """
    check_url(url)
    scheme, _, rest = url.partition(":")
    if scheme == "lmdb":
        return LmdbCache(Path(rest), read_only=read_only)
    from nocturne.serving.cache.redis.store import RedisCache  # its client takes longer to import than all the rest

    return RedisCache(url, settings or load_settings().cache, read_only=read_only)


def check_url(url: str) -> None:
    """Raise UsageError unless the URL is that of a cache, whether or not there is one."""
    scheme, _, rest = url.partition(":")
    if (
        scheme in {"lmdb", "redis", "rediss"}
        and rest
        and not any("\ud800" <= character <= "\udfff" for character in rest)
    ):
        return
    raise UsageError(
        "the cache's URL is not understood",
        where="--cache",
        found=f"{scheme}:..." if rest else "no scheme or no place",
        expected="lmdb:PATH or redis://[user:password@]host:port/db",
    )
