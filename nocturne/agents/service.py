"""The service that tools reach: a warehouse, a serving cache and a landing zone."""

import threading

from nocturne.core.errors import UsageError
from nocturne.core.night import Warehouse
from nocturne.core.service_sections import CacheSettings
from nocturne.core.settings import load_settings
from nocturne.serving.cache import Cache, open_cache
from nocturne.serving.opened_cache import require_cache, serves_nothing
from nocturne.serving.reader import Reader, Served


class Service:
    """Places of one service; threads may share it.

    Attributes:
        landing: folder of the landing zone; "": none.
    """

    def __init__(self, warehouse: Warehouse | None, cache: str = "", landing: str = "") -> None:
        """Opens nothing yet.

        Args:
            warehouse: its tables, with all settings; None: tools that need them say so.
            cache: URL of its serving cache, with whatever password it came with; "": none.
            landing: folder of the landing zone; "": none.
        """
        self.landing = landing
        self._warehouse = warehouse
        self._cache = cache
        self._open: tuple[Cache, Reader] | None = None
        self._lock = threading.Lock()

    @property
    def cache_settings(self) -> CacheSettings:
        """Settings of the cache."""
        return (self._warehouse.settings if self._warehouse else load_settings()).cache

    @property
    def has_cache(self) -> bool:
        """True if the server was started with a serving cache."""
        return bool(self._cache)

    def tables(self) -> Warehouse:
        """The warehouse as it is now, for one call.

        Raises:
            UsageError: the server was started without one.
        """
        if self._warehouse is None:
            raise UsageError("this server has no warehouse", fix="start it with --warehouse DIR")
        return self._warehouse.at_one_time()

    def cache(self) -> str:
        """URL of the cache.

        Raises:
            UsageError: the server was started without one.
        """
        if not self._cache:
            raise UsageError("this server has no serving cache", fix="start it with --cache URL")
        return self._cache

    def served(self) -> Served:
        """The generation that is served now: all of one answer comes from it.

        Raises:
            UsageError: there is no cache, or it serves nothing.
            ServiceError: it is away, or serves lists alone.
        """
        with self._lock:
            if self._open is None:
                require_cache(self.cache())
                store = open_cache(self._cache, self.cache_settings, read_only=True)
                self._open = (store, Reader(store, check_seconds=0))
            store, reader = self._open
            if store.pointer() is None:
                raise serves_nothing(store)
            return reader.served()

    def close(self) -> None:
        """Let go of the cache."""
        with self._lock:
            if self._open:
                store, reader = self._open
                reader.close()
                store.close()
            self._open = None
