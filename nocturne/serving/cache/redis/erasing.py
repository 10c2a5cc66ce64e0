"""Listeners withheld and erased in Redis: a key each while they are withheld, then fields and pieces of items."""

import io
import json
import tempfile
import time
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

import pyarrow as pa
import redis

from nocturne.core.errors import ServiceError
from nocturne.serving.cache.base import Cache
from nocturne.serving.cache.redis.connection import errors
from nocturne.serving.cache.redis.generations import RedisGeneration, field_of, info_key, items_key, withheld_key
from nocturne.serving.cache.redis.item_copies import PIECE_BYTES, local_copy
from nocturne.serving.cache.withheld import value_of

_PERSIST_SECONDS = 600


class ErasingRedisCache(Cache):
    """The part of the shared cache by which listeners go."""

    _redis: redis.Redis

    def _withheld(self, user_id: str) -> bytes | None:
        with errors(self.place):
            return cast("bytes | None", self._redis.get(withheld_key(user_id)))

    def withhold(self, user_ids: Sequence[str]) -> None:
        """Have these listeners read from no generation any more."""
        self._must_write()
        with errors(self.place):
            for user_id in user_ids:
                self._redis.set(withheld_key(user_id), value_of(None))

    def erase(self, generation: str, user_ids: Collection[str]) -> None:
        """Remove the fields of these listeners, and what the items say of them."""
        self._must_write()
        stored = RedisGeneration.open(self._redis, self.place, generation)
        if stored is None:
            return
        with errors(self.place):
            for field in filter(None, map(field_of, user_ids)):
                self._redis.hdel(cast("str", stored.buckets.key(field)), cast("str", field))
        if stored.item_pieces:
            self._erase_from_items(stored, user_ids)
        self._reading.pop(generation, None)

    def let_back(self, user_ids: Sequence[str]) -> None:
        """Have these listeners read again."""
        self._must_write()
        with errors(self.place):
            for user_id in user_ids:
                self._redis.delete(withheld_key(user_id))

    def keys(self) -> list[str]:
        """Names of all keys of ours; goes through all that the server has, which nothing else does."""
        with errors(self.place):
            return sorted(key.decode() for key in self._redis.scan_iter("nocturne:*", count=1000))

    def rewrite_persisted(self) -> None:
        """Have the server write its append-only file and its snapshot anew, where it keeps any; waits for both.

        Raises:
            ServiceError: the server did not come to an end.
        """
        self._must_write()
        with errors(self.place):
            if self._redis.info("persistence").get("aof_enabled"):
                self._redis.bgrewriteaof()
                self._wait_for("aof_rewrite_in_progress", "aof_rewrite_scheduled", "aof_last_bgrewrite_status")
            if self._redis.config_get("save").get("save"):
                self._redis.bgsave()
                self._wait_for("rdb_bgsave_in_progress", "rdb_bgsave_in_progress", "rdb_last_bgsave_status")

    def _wait_for(self, running: str, scheduled: str, status: str) -> None:
        deadline = time.monotonic() + _PERSIST_SECONDS
        told = self._redis.info("persistence")
        while (told.get(running) or told.get(scheduled)) and time.monotonic() < deadline:
            time.sleep(0.05)
            told = self._redis.info("persistence")
        if told.get(running) or told.get(status) != "ok":
            raise ServiceError(
                "the Redis server did not write anew what it persists",
                where=self.place,
                found=f"{status} {told.get(status)}",
                expected=f"ok within {_PERSIST_SECONDS} s",
                fix="look into its log, then run this again",
            )

    def _erase_from_items(self, stored: RedisGeneration, user_ids: Collection[str]) -> None:
        """Store the items anew under another load, which the header names in one step."""
        from nocturne.serving.cache.erased_items import items_without
        from nocturne.serving.cache.served_items import write_items  # compiles loops, which readers do without

        with tempfile.TemporaryDirectory() as folder, errors(self.place):
            path = Path(folder, "items.arrow")
            path.write_bytes(b"".join(map(stored.item_piece, range(stored.item_pieces))))
            items = items_without(path, user_ids)
            if items is None:
                return
            content = _written(items, write_items)
            load = uuid.uuid4().hex[:8]
            key = items_key(stored.name, load)
            pieces = -(-len(content) // PIECE_BYTES)
            for number in range(pieces):
                self._redis.hset(key, str(number), content[number * PIECE_BYTES : (number + 1) * PIECE_BYTES])
            header = json.loads(cast("bytes", self._redis.hget(info_key(stored.name), "head")))
            header |= {"item_pieces": pieces, "items_load": load}
            self._redis.hset(
                info_key(stored.name), "head", json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
            )
            self._redis.unlink(items_key(stored.name, stored.items_load))
            local_copy(self.place, stored.name, stored.items_load).unlink(missing_ok=True)


def _written(items: pa.Table, write: object) -> bytes:
    buffer = io.BytesIO()
    assert callable(write)
    write(items, buffer)
    return buffer.getvalue()
