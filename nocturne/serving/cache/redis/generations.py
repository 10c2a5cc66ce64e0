"""Generations in Redis as readers see them: the names of their keys, their lists, and snapshots that hold them."""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast
from zlib import crc32

import redis

from nocturne.core.errors import ServiceError
from nocturne.serving.cache.open_generation import OpenGeneration
from nocturne.serving.cache.overlay import Overlay
from nocturne.serving.cache.pointer import Generation
from nocturne.serving.cache.redis import scripts
from nocturne.serving.cache.redis.connection import errors
from nocturne.serving.cache.redis.item_copies import copy_whole, local_copy
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.values import Decoder, ItemsGone, ServedList
from nocturne.serving.cache.withheld import bars, digest_of

Result = TypeVar("Result")

GENERATIONS_KEY = "nocturne:generations"
DROPPING_KEY = "nocturne:dropping"
OVERLAY_KEY, STAMP_KEY = "nocturne:takedowns", "nocturne:takedowns:stamp"
BUCKETS_AT_ONCE = 1000
LAPSE_SECONDS = 600
RENEW_SECONDS = 120


def info_key(generation: str) -> str:
    """Hash of what the lists share (`head`, and chunks of item ids by number) and of who may write (`load`)."""
    return f"nocturne:{generation}:about"


def readers_key(generation: str) -> str:
    """Sorted set of the snapshots that need the generation, by the second in which they lapse."""
    return f"nocturne:{generation}:readers"


def items_key(generation: str, load: str) -> str:
    """Hash of the pieces of the file of its items, by number."""
    return f"nocturne:{generation}:{load}:items"


def withheld_key(user_id: str) -> str:
    """The generations in which nothing of a listener is read any more; no key of who may be read."""
    return f"nocturne:withheld:{digest_of(user_id)}"


def field_of(user_id: str) -> bytes | None:
    """The field of a listener in the hash that they are in; None of what is no text, which nobody is."""
    try:
        return user_id.encode()
    except UnicodeEncodeError:
        return None


class HashBuckets:
    """The hashes that one load of a generation fills, of value by user_id."""

    def __init__(self, generation: str, load: str, number: int) -> None:
        self._prefix = f"nocturne:{generation}:{load}:".encode()
        self._number = number

    def key(self, user_id: bytes) -> bytes:
        """The hash that this listener is in."""
        return b"%s%d" % (self._prefix, crc32(user_id) % self._number)

    def batches(self, size: int) -> Iterator[list[bytes]]:
        """All of them, so many at a time."""
        for start in range(0, self._number, size):
            yield [b"%s%d" % (self._prefix, bucket) for bucket in range(start, min(start + size, self._number))]


class RedisGeneration(OpenGeneration):
    """One load of a generation on a server."""

    def __init__(self, client: redis.Redis, place: str, name: str, header: bytes) -> None:
        super().__init__(name, Decoder(header))
        self._redis = client
        self._place = place
        fields = json.loads(header)
        self.load: str = fields["load"]
        self.item_pieces: int = fields.get("item_pieces", 0)
        self.items_load: str = fields.get("items_load", self.load)
        self.buckets = HashBuckets(name, self.load, fields["buckets"])

    @classmethod
    def open(cls, client: redis.Redis, place: str, name: str) -> "RedisGeneration | None":
        """The generation as it is now, also while it is loaded or dropped; None if it is not there."""
        with errors(place):
            header = cast("bytes | None", client.hget(info_key(name), "head"))
        return cls(client, place, name, header) if header else None

    def read(self, user_id: str) -> bytes | None:
        """The stored value of one listener; None if there is none."""
        field = field_of(user_id)
        if field is None:
            return None
        with errors(self._place):
            return cast("bytes | None", self._redis.hget(cast("str", self.buckets.key(field)), cast("str", field)))

    def items_file(self) -> Path | None:
        """A copy of the file of its items, made once on each machine; None in a generation of lists alone.

        Raises:
            ServiceError: the server failed, or the disk has no room for the copy.
        """
        if not self.item_pieces:
            return None
        path = local_copy(self._place, self.name, self.items_load)
        if not path.exists():
            try:
                with errors(self._place):
                    copy_whole(path, map(self.item_piece, range(self.item_pieces)))
            except ItemsGone:
                return None
        return path

    def item_piece(self, number: int) -> bytes:
        """A piece of the file of its items, by number.

        Raises:
            ItemsGone: it is not there any more.
        """
        piece = cast("bytes | None", self._redis.hget(items_key(self.name, self.items_load), str(number)))
        if piece is None:
            raise ItemsGone
        return piece

    def read_chunk(self, number: int) -> bytes | None:
        """Item ids by number; None if they are not there any more."""
        with errors(self._place):
            return cast("bytes | None", self._redis.hget(info_key(self.name), str(number)))

    def count(self) -> int:
        """Listeners that the generation holds, counted in the store."""
        listeners = 0
        for keys in self.buckets.batches(BUCKETS_AT_ONCE):
            with errors(self._place):
                pipeline = self._redis.pipeline(transaction=False)
                for key in keys:
                    pipeline.hlen(cast("str", key))
                listeners += sum(pipeline.execute())
        return listeners

    def is_current(self) -> bool:
        """True if it is there, is not being dropped, and was not loaded anew."""
        with errors(self._place):
            return bool(self._redis.hget(info_key(self.name), "load") == self.load.encode())


class RedisSnapshot:
    """A snapshot: a reader that is registered with the server until it lets go, or lapses."""

    def __init__(self, client: redis.Redis, place: str, generation: Generation, overlay: Callable[[], Overlay]) -> None:
        """Args: overlay: reads the takedowns, or knows what they were a moment ago."""
        self.generation = generation
        self._overlay = overlay
        self._redis = client
        self._place = place
        self._reader = uuid.uuid4().hex
        self._renew_at = self._lapses_at = 0.0
        self._lists: RedisGeneration | None = None

    def take(self) -> bool:
        """Register; False if the generation is not there, or is being dropped."""
        if not self._register():
            return False
        self._lists = RedisGeneration.open(self._redis, self._place, self.generation.name)
        return self._lists is not None

    @property
    def lists(self) -> RedisGeneration:
        """The load of the generation that was there when the snapshot was taken."""
        assert self._lists, "it was taken"
        return self._lists

    def get(self, user_id: str) -> ServedList | None:
        """The list of this listener, without what is taken down now; None if there is none."""
        takedowns = self._overlay().takedowns
        return self._read(lambda user: self.lists.get(user, takedowns), user_id)

    def row(self, user_id: str) -> ServedRow | None:
        """The list and the row of this listener, without what is taken down now; None if there is none."""
        takedowns = self._overlay().takedowns
        return self._read(lambda user: self.lists.row(user, takedowns), user_id)

    def items_file(self) -> Path | None:
        """A copy of the file of the generation's items."""
        return self.lists.items_file()

    def is_current(self) -> bool:
        """True if the server has the same load of the generation, and keeps it for this reader."""
        return self._is_registered() and self.lists.is_current()

    def release(self) -> None:
        """Let go."""
        with suppress(ServiceError), errors(self._place):  # if not now, it lapses
            self._redis.zrem(readers_key(self.generation.name), self._member())

    def gone(self) -> ServiceError:
        """The error that says that the server does not have the load any more."""
        return ServiceError(
            "the generation was dropped while it was read",
            where=f"{self._place}, generation {self.generation.name}",
            expected=f"a reader that reads at least every {LAPSE_SECONDS} seconds",
            fix="take a new snapshot",
        )

    def _read(self, read: Callable[[str], Result | None], user_id: str) -> Result | None:
        """The result of a read of one listener, from the load that was there when the snapshot was taken."""
        if not self._is_registered():
            raise self.gone()
        with errors(self._place):
            withheld = cast("bytes | None", self._redis.get(withheld_key(user_id)))
        if bars(withheld, self.generation.name):
            return None
        result = read(user_id)
        if result is None and not self.lists.is_current():
            raise self.gone()
        return result

    def _is_registered(self) -> bool:
        """True if the server knows the reader, which says again that it reads when it is time."""
        if time.monotonic() < self._renew_at:
            return True
        try:
            return self._register()
        except ServiceError:  # such as a server that is out of memory for a while
            if time.monotonic() >= self._lapses_at:
                raise
            return True

    def _register(self) -> bool:
        now = time.monotonic()
        name = self.generation.name
        with errors(self._place):
            keys = [GENERATIONS_KEY, readers_key(name)]
            registered = bool(self._redis.eval(scripts.HOLD, 2, *keys, name, self._member(), LAPSE_SECONDS))
        if registered:
            self._renew_at, self._lapses_at = now + RENEW_SECONDS, now + LAPSE_SECONDS
        return registered

    def _member(self) -> str:
        return f"{self._reader}:{os.getpid()}"  # a forked child must not let go for its parent
