"""The cache in Redis: hashes of about 440 lists each, and the pointer in `nocturne:pointer`.

    nocturne:pointer                        what is served
    nocturne:takedowns                      what is taken down, whatever is served
    nocturne:takedowns:stamp                tells these from all others
    nocturne:generations                    set of the generations that may be read
    nocturne:dropping                       set of those that are being removed
    nocturne:<generation>:about             hash of what its lists share, and of who may write them
    nocturne:<generation>:readers           sorted set of the snapshots that need it
    nocturne:<generation>:<load>:<bucket>   hash of value by user_id
    nocturne:<generation>:<load>:items      hash of the pieces of the file of its items, by number
    nocturne:withheld:<digest>              generations in which nothing of a listener is read any more

Every key of a generation can be told from its name and `about`: nothing ever scans the server. None expires.
"""

import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import sleep
from typing import IO, cast

from nocturne.core.errors import ServiceError
from nocturne.core.service_sections import CacheSettings
from nocturne.serving.cache.base import ParallelMap, Progress, RowBatches
from nocturne.serving.cache.open_generation import OpenGeneration
from nocturne.serving.cache.overlay import Overlay
from nocturne.serving.cache.pointer import Generation, Pointer, from_json, to_json
from nocturne.serving.cache.redis import scripts
from nocturne.serving.cache.redis.connection import connect, errors, replica
from nocturne.serving.cache.redis.erasing import ErasingRedisCache
from nocturne.serving.cache.redis.generations import (
    DROPPING_KEY,
    GENERATIONS_KEY,
    OVERLAY_KEY,
    STAMP_KEY,
    RedisGeneration,
    RedisSnapshot,
    info_key,
    items_key,
    readers_key,
    withheld_key,
)
from nocturne.serving.cache.redis.item_copies import PIECE_BYTES
from nocturne.serving.cache.redis.loader import BatchesLoader, lost, store
from nocturne.serving.cache.snapshot import Snapshot
from nocturne.serving.cache.values import GenerationInfo

POINTER_KEY = "nocturne:pointer"
OVERLAY_SECONDS = 0.1
"""Between two looks of a snapshot at the takedowns: each costs a round trip."""

BUCKET_LISTS = 440
"""So few that nearly every hash fits a table of 512 places."""

BUCKETS_AT_ONCE = 128
LIST_BYTES = 1_400
"""About those of a listener: a rate of lists is a rate of bytes for the items."""


class RedisCache(ErasingRedisCache):
    """A cache on a Redis server, read by any number of services."""

    def __init__(self, url: str, settings: CacheSettings, *, read_only: bool = False) -> None:
        self._url = url
        self._settings = settings
        self._redis, place = connect(url, settings, read_only=read_only)
        super().__init__(place, read_only=read_only)
        self._look_at = 0.0

    def head(self) -> tuple[Pointer | None, bytes]:
        """The pointer, and the stamp of the takedowns, in one round trip."""
        with errors(self.place):
            text, stamp = cast("list[bytes | None]", self._redis.mget(POINTER_KEY, STAMP_KEY))
        return from_json(text) if text else None, stamp or b""

    def _overlay_content(self) -> bytes | None:
        with errors(self.place):
            return cast("bytes | None", self._redis.get(OVERLAY_KEY))

    def _recent_overlay(self) -> Overlay:
        """The takedowns as they were a moment ago, for readers who would else wait for a round trip more."""
        now = time.monotonic()
        if now >= self._look_at:
            self.overlay()
            self._look_at = now + OVERLAY_SECONDS
        return self._overlay

    def _compare_and_set_overlay(self, expected: bytes, new: Overlay) -> bool:
        with errors(self.place):
            arguments = expected, new.stamp, new.content
            return bool(self._redis.eval(scripts.SET_OVERLAY, 2, STAMP_KEY, OVERLAY_KEY, *cast("list[str]", arguments)))

    def _look(self, user_id: str) -> tuple[Pointer | None, bytes, bytes | None]:
        with errors(self.place):
            keys = POINTER_KEY, STAMP_KEY, withheld_key(user_id)
            text, stamp, withheld = cast("list[bytes | None]", self._redis.mget(*keys))
        return from_json(text) if text else None, stamp or b"", withheld

    def generations(self) -> list[str]:
        """Names of all generations in the store, half-written and half-removed ones too, in ascending order."""
        with errors(self.place):
            names = cast("set[bytes]", self._redis.sunion([GENERATIONS_KEY, DROPPING_KEY]))
        return sorted(name.decode() for name in names)

    def close(self) -> None:
        """Close the connections."""
        self._reading.clear()
        self._redis.close()

    def _compare_and_set(self, expected: Pointer | None, new: Pointer) -> bool:
        with errors(self.place):
            keys = [POINTER_KEY, GENERATIONS_KEY, info_key(new.served.name)]
            was = to_json(expected) if expected else b""
            served = self._reading.get(new.served.name) or self._opened(new.served.name)
            load = served.load if isinstance(served, RedisGeneration) else ""
            done = self._redis.eval(scripts.COMPARE_AND_SET, 3, *keys, was, to_json(new), new.served.name, load)
        if done == -1:
            raise self._lost(new.served.name)
        return bool(done)

    def _open(self, generation: str) -> OpenGeneration | None:
        return RedisGeneration.open(self._redis, self.place, generation)

    @contextmanager
    def _held(self, generation: Generation) -> Iterator[Snapshot | None]:
        hold = RedisSnapshot(self._redis, self.place, generation, self._recent_overlay)
        try:
            yield hold if hold.take() else None
        finally:
            hold.release()

    def _write(
        self,
        generation: str,
        info: GenerationInfo,
        parts: Sequence[RowBatches],
        map_parts: ParallelMap,
        progress: Progress,
    ) -> int:
        from nocturne.serving.cache.served_items import write_items  # compiles loops, which a rollback does without

        self._check_server()
        with errors(self.place), tempfile.TemporaryFile() as items:
            if info.items is not None:
                write_items(info.items, items)
            load = self._begin(generation, info, items)
        stored = 0
        for lists in map_parts(BatchesLoader(self._url, self._settings, generation, load), parts):
            stored += lists
            progress(stored)
        with errors(self.place):
            ours = self._redis.hget(info_key(generation), "load") == load.encode()
        if not ours:
            raise lost(self.place, generation)
        return stored

    def _begin(self, generation: str, info: GenerationInfo, items: IO[bytes]) -> str:
        """Store what the lists share, and say under which load they belong.

        Args:
            items: the file of the items, written to its end; empty without any.
        """
        key, pieces = info_key(generation), -(-items.tell() // PIECE_BYTES)
        with errors(self.place):
            # there is an earlier load only where it could not be dropped: it is completed
            earlier = cast("bytes | None", self._redis.hget(key, "load"))
            load = earlier.decode() if earlier else uuid.uuid4().hex[:8]
            header = info.to_json(load=load, buckets=max(1, info.lists // BUCKET_LISTS), item_pieces=pieces)
            if earlier and self._redis.hget(key, "head") != header:
                raise ServiceError(
                    "an earlier load of the generation is still read, and tells its lists otherwise",
                    where=f"{self.place}, generation {generation}",
                    fix="run again when another generation is served, and readers have let go of this one",
                )
            # the first write names the generation, so that whatever is left of a dead loader is found
            self._redis.eval(scripts.BEGIN, 2, GENERATIONS_KEY, key, generation, load, header, earlier or b"")
            for number, chunk in enumerate(info.chunks()):
                store(self._redis, generation, load, {key.encode(): [b"%d" % number, chunk]})
            items.seek(0)
            for number in range(pieces):
                piece = [b"%d" % number, items.read(PIECE_BYTES)]
                store(self._redis, generation, load, {items_key(generation, load).encode(): piece})
                if rate := self._settings.lists_per_second:
                    sleep(PIECE_BYTES / LIST_BYTES / rate)
        return load

    def _remove(self, generation: str) -> bool:
        info, readers = info_key(generation), readers_key(generation)
        with errors(self.place):
            keys = [GENERATIONS_KEY, DROPPING_KEY, info, readers, POINTER_KEY]
            answer = self._redis.eval(scripts.LET_GO, len(keys), *keys, generation)
        if answer != b"dropping":
            return bool(answer != b"held")
        self._unlink_lists(generation)
        with errors(self.place):
            # one by one: a server that is out of memory takes no transactions, and this is how it gets some back
            self._redis.unlink(info, readers)
            self._redis.srem(DROPPING_KEY, generation)  # last, so that an interrupted removal is taken up again
        return True

    def _unlink_lists(self, generation: str) -> None:
        """Remove the lists little by little: a server that frees a night at once answers nobody meanwhile."""
        open_generation = RedisGeneration.open(self._redis, self.place, generation)
        if open_generation is None:
            return
        with errors(self.place):
            self._redis.unlink(items_key(generation, open_generation.items_load))
        rate = self._settings.lists_per_second
        at_once = max(1, min(BUCKETS_AT_ONCE, rate // BUCKET_LISTS)) if rate else BUCKETS_AT_ONCE
        for keys in open_generation.buckets.batches(at_once):
            with errors(self.place):
                self._redis.unlink(*cast("list[str]", keys))
            if rate:
                sleep(len(keys) * BUCKET_LISTS / rate)

    def _check_server(self) -> None:
        with errors(self.place):
            role = self._redis.info("replication").get("role")
            policy = self._redis.info("memory").get("maxmemory_policy", "unknown")
        if role != "master":
            raise replica(self.place, f"role {role}")
        if policy != "noeviction":
            raise ServiceError(
                "the Redis server may evict lists that are being served",
                where=self.place,
                found=f"maxmemory-policy {policy}",
                expected="maxmemory-policy noeviction",
                fix="`redis-cli config set maxmemory-policy noeviction`, and the same in redis.conf",
            )
