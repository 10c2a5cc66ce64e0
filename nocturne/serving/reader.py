"""A reader of the serving cache that lives as long as its process: one generation at a time, whole."""

import threading
import time
from contextlib import ExitStack
from typing import NamedTuple

from nocturne.core.errors import ServiceError
from nocturne.serving.cache import Cache, Generation, Snapshot
from nocturne.serving.cache.overlay import NO_OVERLAY, Overlay
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ServedItems


class Served:
    """One generation as a process reads it; everything of one answer comes from one of these.

    Attributes:
        generation: the generation.
        snapshot: of it, in the cache.
        items: its items, mapped into memory, under the takedowns that are obeyed.
    """

    def __init__(
        self, snapshot: Snapshot, items: ServedItems, overlay: Overlay = NO_OVERLAY, whole: ServedItems | None = None
    ) -> None:
        """Args: whole: the items without takedowns, where `items` are not."""
        self.generation: Generation = snapshot.generation
        self.snapshot = snapshot
        self.items = items
        self._overlay = overlay
        self._whole = whole or items

    def under(self, overlay: Overlay) -> "Served":
        """The same generation under these takedowns, and no others."""
        if overlay.stamp == self._overlay.stamp:
            return self
        return Served(self.snapshot, self._whole.under(overlay.takedowns), overlay, self._whole)

    def is_current(self) -> bool:
        """True if the cache has the generation as it was when it was opened."""
        return self.snapshot.is_current()

    def row(self, user_id: str) -> ServedRow | None:
        """The list and the row of a listener; None if there is none.

        Raises:
            ServiceError: the store failed, or has lost the generation.
        """
        return self.snapshot.row(user_id)


class _Open(NamedTuple):
    """A generation that is open, and what lets go of it."""

    served: Served
    hold: ExitStack


class Reader:
    """Follows the pointer of a cache, and holds the generation that it leads to.

    The generation before is let go one change later: an answer that began with it is finished with it.
    """

    def __init__(self, cache: Cache, check_seconds: float = 0.2) -> None:
        self._cache = cache
        self._check_seconds = check_seconds
        self._check_at = 0.0
        self._open: _Open | None = None
        self._before: _Open | None = None

    def served(self) -> Served:
        """The generation that is served, under the takedowns of this moment.

        The pointer is looked at once in `check_seconds` at most.

        Raises:
            ServiceError: the cache is away, serves nothing, or serves lists alone.
            InputError: another release loaded what it serves.
        """
        now = time.monotonic()
        if self._open is None or now >= self._check_at:
            self._follow()
            self._check_at = now + self._check_seconds
        assert self._open
        served = self._open.served.under(self._cache.overlay())
        if served is not self._open.served:
            self._open = self._open._replace(served=served)
        return served

    def history(self) -> tuple[Generation, ...]:
        """The generation that is served, then those that a rollback could serve.

        Raises:
            ServiceError: the cache is away.
        """
        pointer = self._cache.pointer()
        return pointer.retained if pointer else ()

    def close(self) -> None:
        """Let go of everything; the cache stays open."""
        for held in (self._open, self._before):
            if held:
                held.hold.close()
        self._open = self._before = None

    def _follow(self) -> None:
        """Open what the pointer leads to, unless it is open; a generation that was loaded anew is opened anew."""
        pointer = self._cache.pointer()
        if self._open and pointer and pointer.served == self._open.served.generation and self._open.served.is_current():
            return
        opened = self._opened()
        if self._before:
            self._before.hold.close()
        self._before, self._open = self._open, opened
        # it takes a while, and most answers do without it
        threading.Thread(target=opened.served.items.prepare, daemon=True).start()

    def _opened(self) -> _Open:
        with ExitStack() as hold:
            snapshot = hold.enter_context(self._cache.snapshot())
            file = snapshot.items_file()
            if file is None:
                raise ServiceError(
                    "the cache serves lists alone",
                    where=f"{self._cache.place}, generation {snapshot.generation.name}",
                    expected="a generation with its items",
                    fix="run refresh_cache for a night with this release",
                )
            try:
                items = ServedItems(file)
            except OSError as error:
                raise ServiceError(
                    "the items of a generation cannot be read", where=str(file), found=str(error)
                ) from error
            return _Open(Served(snapshot, items), hold.pop_all())
