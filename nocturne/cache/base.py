"""What every serving cache does, whatever it is stored in."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from nocturne.cache.pointer import Pointer
from nocturne.cache.served import ServedList, decode
from nocturne.errors import ServiceError, SettingsError

BATCH_BYTES = 4 * 2**20


class PointerMoved(ServiceError):  # noqa: N818 (says what happened, like GateClosed)
    """Somebody else moved the pointer since it was read: look again, then decide anew."""


class Cache(ABC):
    """Generations of lists, and one pointer to the generation that is served.

    Whatever the store raises comes out as ServiceError, or as SettingsError where the server refuses
    the user or password; messages name the place without its password, and no listener.
    """

    def __init__(self, place: str, *, read_only: bool) -> None:
        self.place = place
        self._read_only = read_only

    def get(self, user_id: str) -> ServedList | None:
        """The list that is served to this listener; None if there is none."""
        pointer = self.pointer()
        while pointer:
            value = self.read(pointer.served.name, user_id)
            if value is not None:
                return decode(value)
            # a miss may mean that the generation was dropped since the pointer was read
            latest = self.pointer()
            if latest == pointer:
                return None
            pointer = latest
        return None

    def load(self, generation: str, rows: Iterable[tuple[str, bytes]]) -> int:
        """Store (user_id, value) of every row under the generation, which no reader sees until the pointer moves.

        What a dead loader left of the same generation is removed first, and so is what a failure leaves.

        Returns:
            Rows stored; `count` tells how many listeners can be read back.

        Raises:
            InputError: a user_id cannot be a key.
            ServiceError: the store failed, or is full.
        """
        self._must_write()
        self.drop(generation)
        try:
            return self._write(generation, rows)
        except BaseException:
            with contextlib.suppress(ServiceError):  # the next load removes what is left
                self.drop(generation)
            raise

    def swap_pointer(self, expected: Pointer | None, new: Pointer) -> None:
        """Set the pointer to `new` if it is `expected`, atomically and durably; a second time does nothing.

        Raises:
            PointerMoved: it is neither.
        """
        self._must_write()
        if not self._compare_and_set(expected, new):
            raise PointerMoved(
                "the pointer was moved by somebody else meanwhile",
                where=self.place,
                expected=expected.served.name if expected else "no pointer yet",
                fix="run the same command again",
            )

    def drop(self, generation: str) -> None:
        """Remove a generation, whole or half-written; readers of an embedded cache keep what they hold."""
        self._must_write()
        self._remove(generation)

    @abstractmethod
    def pointer(self) -> Pointer | None:
        """What is served; None before the first night."""

    @abstractmethod
    def read(self, generation: str, user_id: str) -> bytes | None:
        """The stored value of one listener in one generation; None if either is not there."""

    @abstractmethod
    def count(self, generation: str) -> int:
        """Listeners that the generation holds, counted in the store; 0 if it is not there."""

    @abstractmethod
    def generations(self) -> list[str]:
        """Names of all generations in the store, half-written ones too, in ascending order."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""

    @abstractmethod
    def _write(self, generation: str, rows: Iterable[tuple[str, bytes]]) -> int: ...

    @abstractmethod
    def _compare_and_set(self, expected: Pointer | None, new: Pointer) -> bool: ...

    @abstractmethod
    def _remove(self, generation: str) -> None: ...

    def _must_write(self) -> None:
        if self._read_only:
            raise SettingsError("the cache was opened for reading only", where=self.place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def batches(rows: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Rows as (key, value) in batches of about 4 MiB, so that memory stays flat whatever the lists weigh."""
    batch: list[tuple[bytes, bytes]] = []
    weight = 0
    for user_id, value in rows:
        key = user_id.encode()
        batch.append((key, value))
        weight += len(key) + len(value)
        if weight >= BATCH_BYTES:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch
