"""The cache in Redis: `nocturne:<generation>:<user_id>`, and the pointer in `nocturne:pointer`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, OutOfMemoryError, RedisError
from redis.retry import Retry

from nocturne.cache.base import Cache, batches
from nocturne.cache.pointer import Pointer, from_json, to_json
from nocturne.errors import ServiceError, SettingsError

POINTER_KEY = "nocturne:pointer"
GENERATIONS_KEY = "nocturne:generations"
SCAN_KEYS = 10_000

# a set that is already done counts as done: the connection may have broken before the answer came
COMPARE_AND_SET = """
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] and current ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class SharedCache(Cache):
    """A cache on a Redis server, read by any number of services."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        try:
            host = urlsplit(url).hostname
            client = redis.Redis.from_url(
                url,
                socket_connect_timeout=5,
                socket_timeout=30,
                retry=Retry(ExponentialBackoff(cap=2, base=0.1), retries=3),
            )
        except ValueError:  # not passed on: it may quote the password
            host = None
        if host is None:
            raise SettingsError(
                "the cache's URL is not understood",
                where="--cache",
                expected="redis://[user:password@]host:port/db",
            )
        self._redis = client
        options: dict[str, Any] = self._redis.get_connection_kwargs()
        place = f"{options['host']}:{options.get('port', 6379)}/{options.get('db', 0)}"
        super().__init__(f"{url.partition(':')[0]}://{place}", read_only=read_only)

    def pointer(self) -> Pointer | None:
        """What is served; None before the first night."""
        with self._errors():
            text = self._redis.get(POINTER_KEY)
        return from_json(text) if text else None

    def _compare_and_set(self, expected: Pointer | None, new: Pointer) -> bool:
        with self._errors():
            was = to_json(expected) if expected else b""
            return bool(self._redis.eval(COMPARE_AND_SET, 1, POINTER_KEY, was, to_json(new)))

    def _write(self, generation: str, rows: Iterable[tuple[str, bytes]]) -> int:
        self._check_policy()
        with self._errors():
            self._redis.sadd(GENERATIONS_KEY, generation)  # first, so that a dead loader's keys are found
        prefix = _prefix(generation)
        stored = 0
        for batch in batches(rows):
            with self._errors():
                pipeline = self._redis.pipeline(transaction=False)
                for key, value in batch:
                    pipeline.set(prefix + key, value)
                # raised by hand: the client's own message would quote the listener's key
                for answer in pipeline.execute(raise_on_error=False):
                    if isinstance(answer, Exception):
                        raise answer
            stored += len(batch)
        return stored

    def read(self, generation: str, user_id: str) -> bytes | None:
        """The stored value of one listener in one generation; None if either is not there."""
        with self._errors():
            return cast("bytes | None", self._redis.get(_prefix(generation) + user_id.encode()))

    def count(self, generation: str) -> int:
        """Listeners that the generation holds, counted by a scan over the server's keys."""
        # SCAN repeats a key only while the server shrinks its table, which a load does not make it do
        return sum(len(keys) for keys in self._scan(generation))

    def generations(self) -> list[str]:
        """Names of all generations in the store, half-written ones too, in ascending order."""
        with self._errors():
            return sorted(cast("bytes", name).decode() for name in self._redis.smembers(GENERATIONS_KEY))

    def _remove(self, generation: str) -> None:
        with self._errors():
            known = self._redis.sismember(GENERATIONS_KEY, generation)
        if not known:
            return  # a scan over all keys is not free
        for keys in self._scan(generation):
            with self._errors():
                self._redis.unlink(*keys)
        with self._errors():
            self._redis.srem(GENERATIONS_KEY, generation)  # last, so that an interrupted removal is taken up again

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _scan(self, generation: str) -> Iterator[list[bytes]]:
        """The keys of a generation, a batch at a time."""
        cursor = -1
        while cursor != 0:
            with self._errors():
                cursor, keys = self._redis.scan(max(cursor, 0), match=_prefix(generation) + b"*", count=SCAN_KEYS)
            if keys:
                yield cast("list[bytes]", keys)

    def _check_policy(self) -> None:
        with self._errors():
            policy = self._redis.info("memory").get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise ServiceError(
                "the Redis server may evict lists that are being served",
                where=self.place,
                found=f"maxmemory-policy {policy}",
                expected="maxmemory-policy noeviction",
                fix="`redis-cli config set maxmemory-policy noeviction`, and the same in redis.conf",
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (AuthenticationError, AuthorizationError) as error:
            raise SettingsError(
                "the Redis server refuses the user or password",
                where=self.place,
                found=str(error),
                fix="check the user and password in the cache's URL",
            ) from error
        except OutOfMemoryError as error:
            raise ServiceError(
                "the Redis server is out of memory",
                where=self.place,
                found=str(error),
                fix="raise maxmemory: two generations and the one being loaded must fit; then run again",
            ) from error
        except (RedisError, OSError) as error:
            raise ServiceError(
                "the Redis server does not serve",
                where=self.place,
                found=str(error),
                fix="check that the server runs and can be reached, then run again",
            ) from error


def _prefix(generation: str) -> bytes:
    return f"nocturne:{generation}:".encode()
