"""A serving cache opened for people and agents: one that is there, and, to have its pointer moved, serves something."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nocturne.core.errors import UsageError
from nocturne.core.service_sections import CacheSettings
from nocturne.serving import cache
from nocturne.serving.cache import Cache


def require_cache(url: str) -> None:
    """Raise UsageError unless there is a cache to read: a mistyped path is no empty cache, and none is made of it."""
    cache.check_url(url)
    scheme, _, place = url.partition(":")
    if scheme == "lmdb" and not Path(place).is_dir():
        raise UsageError(
            "there is no cache here",
            where=url,
            found=f"no folder {place}",
            expected="the --cache that nights were run with",
            fix="check the path and the folder that you are in; the first night makes the cache",
        )


@contextmanager
def opened(url: str, settings: CacheSettings, *, write: bool = False) -> Iterator[Cache]:
    """A cache that is there; to move its pointer it has to serve something.

    Raises:
        UsageError: there is none, or it serves nothing.
    """
    require_cache(url)
    with cache.open_cache(url, settings, read_only=True) as store:
        if not write:
            yield store
            return
        if store.pointer() is None:
            raise serves_nothing(store)
    with cache.open_cache(url, settings) as store:
        yield store


def serves_nothing(store: Cache) -> UsageError:
    """The error of a cache that no night was loaded into."""
    return UsageError(
        "the cache is empty: it serves no night yet",
        where=store.place,
        fix="run a night with this --cache, or check that it is the one you mean",
    )
