"""The serving cache, whatever it is stored in: its generations, snapshots and pointer."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from nocturne.core.errors import ServiceError, UsageError
from nocturne.serving.cache.open_generation import OpenGeneration
from nocturne.serving.cache.overlay import NO_OVERLAY, Overlay, read_overlay
from nocturne.serving.cache.pointer import Generation, Pointer
from nocturne.serving.cache.snapshot import Snapshot
from nocturne.serving.cache.values import GenerationInfo, ItemsGone, ServedList
from nocturne.serving.cache.withheld import bars

RowBatches = Iterable[pa.RecordBatch]
"""Rows of `ranked_lists` in ascending order of user_id; can be pickled, and gone through more than once."""

ParallelMap = Callable[[Callable[[RowBatches], int], Sequence[RowBatches]], Iterable[int]]
"""Calls a function, which can be pickled, with every part, here or elsewhere: `map`, or one over executors."""


Progress = Callable[[int], None]


class PointerMoved(ServiceError):  # noqa: N818 (says what happened, like GateClosed)
    """Somebody else moved the pointer since it was read: look again, then decide anew."""


class TakedownsChanged(ServiceError):  # noqa: N818 (says what happened, like PointerMoved)
    """Somebody else changed the takedowns since they were read: look again, then decide anew."""


class Cache(ABC):
    """Generations of lists, and one pointer to the generation that is served.

    Whatever the store raises comes out as ServiceError, or as UsageError where the server refuses
    the user or password; messages name the place without its password, and no listener.
    """

    def __init__(self, place: str, *, read_only: bool) -> None:
        self.place = place
        self._read_only = read_only
        self._reading: dict[str, OpenGeneration] = {}
        self._overlay = NO_OVERLAY

    def get(self, user_id: str) -> ServedList | None:
        """The list that is served to this listener, without what is taken down; None if there is none."""
        pointer, stamp, withheld = self._look(user_id)
        again = True
        while pointer:
            name = pointer.served.name
            if bars(withheld, name):
                return None
            generation = self._reading.get(name) or self._opened(name)
            if generation is not None:
                served_list = generation.get(user_id, self._overlay_of(stamp).takedowns)
                if served_list is not None:
                    return served_list
            # a miss may mean that the generation was dropped or loaded anew since we looked
            latest, stamp = self.head()
            if latest == pointer:
                if generation is None or not again or generation.is_current():
                    return None
                again = False
                self._reading.pop(name, None)
            pointer = latest
        return None

    def read(self, generation: str, user_id: str) -> bytes | None:
        """The stored value of one listener in one generation; None if either is not there."""
        open_generation = self._current(generation)
        return open_generation.read(user_id) if open_generation else None

    def count(self, generation: str) -> int:
        """Listeners that the generation holds, counted in the store; 0 if it is not there."""
        open_generation = self._current(generation)
        return open_generation.count() if open_generation else 0

    def decode(self, generation: str, user_id: str) -> ServedList | None:
        """The list of one listener in one generation; None if either is not there."""
        open_generation = self._current(generation)
        return open_generation.get(user_id) if open_generation else None

    def items_of(self, generation: str) -> Path | None:
        """A local file of the items of one generation, served or not; None if it has none, or is not there."""
        open_generation = self._current(generation)
        return open_generation.items_file() if open_generation else None

    def keys(self) -> list[str]:
        """Names of everything that is kept beside files: of a store of keys all that are ours."""
        return []

    def load(
        self,
        generation: str,
        info: GenerationInfo,
        parts: Sequence[RowBatches],
        map_parts: ParallelMap = map,
        progress: Progress = lambda _stored: None,
    ) -> int:
        """Store the rows of all parts under the generation, which no reader sees until the pointer moves.

        What a dead loader left of the same generation is removed first, and so is what a failure leaves. One that the
        pointer keeps, or that a reader holds, and that is not whole any more, is completed where it is.

        Args:
            generation: its name.
            info: what the lists share.
            parts: the rows; no listener is in two of them.
            map_parts: goes through the parts, where a store can be loaded from several processes.
            progress: told how many rows are stored.

        Returns:
            Rows stored; `count` tells how many listeners can be read back.

        Raises:
            InputError: a row cannot be encoded, a user_id cannot be a key, or a part is not in order.
            ServiceError: the store failed, or is full.
        """
        self.drop(generation)
        try:
            return self._write(generation, info, parts, map_parts, progress)
        except BaseException:
            with contextlib.suppress(ServiceError):  # the next load removes what is left
                self.drop(generation)
            raise

    def swap_pointer(self, expected: Pointer | None, new: Pointer) -> None:
        """Set the pointer to `new` if it is `expected`, atomically and durably; a second time does nothing.

        Raises:
            PointerMoved: it is neither.
            ServiceError: the generation that `new` serves is not there, or was loaded anew since it was counted.
        """
        self._must_write()
        if not self._compare_and_set(expected, new):
            raise PointerMoved(
                "the pointer was moved by somebody else meanwhile",
                where=self.place,
                expected=expected.served.name if expected else "no pointer yet",
                fix="run the same command again",
            )

    def item_ids(self, generation: str) -> pa.ChunkedArray | None:
        """Every item that the lists of a generation may hold; None if it is not there."""
        open_generation = self._current(generation)
        try:
            return open_generation and open_generation.decoder.read_info(open_generation.read_chunk).item_ids
        except ItemsGone:
            return None

    def overlay(self) -> Overlay:
        """The takedowns that are obeyed now."""
        return self._overlay_of(self.head()[1])

    def swap_overlay(self, expected: Overlay, new: Overlay) -> None:
        """Set the takedowns to `new` if they are `expected`, atomically and durably; the pointer stays where it is.

        Every reader, in whatever process, obeys them from its next read on.

        Raises:
            TakedownsChanged: they are not.
            ServiceError: the store failed.
        """
        self._must_write()
        if not self._compare_and_set_overlay(expected.stamp, new):
            raise TakedownsChanged(
                "the takedowns were changed by somebody else meanwhile", where=self.place, fix="run the same again"
            )

    def drop(self, generation: str) -> bool:
        """Remove a generation, whole or half-written; False, and nothing done, while the pointer or a reader needs it.

        Readers of an embedded cache keep the files that they hold, whatever is removed.
        """
        self._must_write()
        self._reading.pop(generation, None)
        return self._remove(generation)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The generation that is served now, whole until the block ends, however often the pointer moves.

        Raises:
            ServiceError: the cache serves nothing, or has lost what it serves.
        """
        pointer = self.pointer()
        while pointer:
            with self._held(pointer.served) as snapshot:
                if snapshot:
                    yield snapshot
                    return
            latest = self.pointer()
            if latest == pointer:
                raise self._lost(pointer.served.name)
            pointer = latest
        raise ServiceError("the cache serves nothing", where=self.place, fix="run a night first")

    @contextlib.contextmanager
    def snapshot_of(self, generation: Generation) -> Iterator[Snapshot]:
        """A generation, served or not, for as long as the block lasts.

        Raises:
            ServiceError: the cache has no such generation.
        """
        with self._held(generation) as snapshot:
            if snapshot is None:
                raise self._lost(generation.name)
            yield snapshot

    @abstractmethod
    def withhold(self, user_ids: Sequence[str]) -> None:
        """Have these listeners read from no generation any more, in any process, from the return on.

        Proofs see what is stored: they are counted and sampled until `erase`.
        """

    @abstractmethod
    def erase(self, generation: str, user_ids: Collection[str]) -> None:
        """Remove these listeners from what is stored of a generation, if that is there."""

    @abstractmethod
    def let_back(self, user_ids: Sequence[str]) -> None:
        """Have these listeners read again, who were erased in every generation that there is."""

    @abstractmethod
    def rewrite_persisted(self) -> None:
        """Have what the store keeps of its memory on a disk written anew, so that nothing erased is left there."""

    def pointer(self) -> Pointer | None:
        """Pointer to what is served; None before the first night."""
        return self.head()[0]

    @abstractmethod
    def generations(self) -> list[str]:
        """Names of all generations in the store, half-written ones too, in ascending order."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; snapshots that were taken must be let go first."""

    @abstractmethod
    def _write(
        self,
        generation: str,
        info: GenerationInfo,
        parts: Sequence[RowBatches],
        map_parts: ParallelMap,
        progress: Progress,
    ) -> int: ...

    @abstractmethod
    def head(self) -> tuple[Pointer | None, bytes]:
        """The pointer, and the stamp of the takedowns, in one round trip."""

    @abstractmethod
    def _overlay_content(self) -> bytes | None: ...

    @abstractmethod
    def _compare_and_set_overlay(self, expected: bytes, new: Overlay) -> bool: ...

    @abstractmethod
    def _compare_and_set(self, expected: Pointer | None, new: Pointer) -> bool: ...

    @abstractmethod
    def _remove(self, generation: str) -> bool: ...

    @abstractmethod
    def _open(self, generation: str) -> OpenGeneration | None: ...

    @abstractmethod
    def _held(self, generation: Generation) -> contextlib.AbstractContextManager[Snapshot | None]: ...

    def _overlay_of(self, stamp: bytes) -> Overlay:
        """The takedowns of a stamp that was just read, or later ones."""
        if stamp != self._overlay.stamp:
            self._overlay = read_overlay(self._overlay_content()) if stamp else NO_OVERLAY
        return self._overlay

    @abstractmethod
    def _withheld(self, user_id: str) -> bytes | None: ...

    @abstractmethod
    def _look(self, user_id: str) -> tuple[Pointer | None, bytes, bytes | None]:
        """The pointer, the stamp of the takedowns, and what a listener is withheld under, in one round trip."""

    def _current(self, name: str) -> OpenGeneration | None:
        generation = self._reading.get(name)
        if generation is not None and not generation.is_current():
            self._reading.pop(name, None)
            generation = None
        return generation or self._opened(name)

    def _opened(self, name: str) -> OpenGeneration | None:
        generation = self._open(name)
        if generation is not None:
            pointer = self.pointer()
            names = {retained.name for retained in pointer.retained} if pointer else set()
            retained_generations = {old: reading for old, reading in self._reading.items() if old in names}
            self._reading = retained_generations | {name: generation}
        return generation

    def _lost(self, generation: str) -> ServiceError:
        return ServiceError(
            "the generation is not in the cache",
            where=self.place,
            expected=generation,
            fix="run refresh_cache for a sound night",
        )

    def _must_write(self) -> None:
        if self._read_only:
            raise UsageError("the cache was opened for reading only", where=self.place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
