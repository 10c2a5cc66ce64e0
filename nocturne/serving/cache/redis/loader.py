"""Loading lists into Redis: what every task does with its part, wherever it runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING, cast

import redis

from nocturne.core.errors import ServiceError
from nocturne.core.service_sections import CacheSettings
from nocturne.serving.cache.base import RowBatches
from nocturne.serving.cache.redis import scripts
from nocturne.serving.cache.redis.connection import LOST, connect, errors
from nocturne.serving.cache.redis.generations import HashBuckets, RedisGeneration, info_key

if TYPE_CHECKING:
    from nocturne.serving.cache.encoding import Encoder

PIECE_BYTES = 16 * 2**20
PIECE_SECONDS = 0.25
ARGUMENTS = 4000
"""Of one call: Lua takes fewer than 8000."""

_encoders: "dict[str, Encoder]" = {}
"""By load: a process that loads several parts hashes the items once."""


@dataclass(frozen=True)
class BatchesLoader:
    """Loads the lists of one part; can be pickled, and run any number of times.

    Attributes:
        url: the server, with whatever password it came with: never printed.
        settings: how to reach it, and how many lists a second all tasks together may load.
        generation: what to load.
        load: the load of it that the server must still know.
    """

    url: str = field(repr=False)
    settings: CacheSettings
    generation: str
    load: str

    def __call__(self, part: RowBatches) -> int:
        """Store the lists of a part, and say how many they are."""
        client, place = connect(self.url, self.settings, read_only=False)
        try:
            opened = RedisGeneration.open(client, place, self.generation)
            if opened is None or not opened.is_current():
                raise lost(place, self.generation)
            if self.load not in _encoders:
                _encoders.clear()
                _encoders[self.load] = opened.encoder()
            stored = 0
            rate = self.settings.lists_per_second
            for piece in _pieces(_encoders[self.load].part(part), int(rate * PIECE_SECONDS) if rate else None):
                with errors(place):
                    if rate:
                        sleep(self._turn(client, len(piece)))
                    store(client, self.generation, self.load, _by_bucket(opened.buckets, piece))
                stored += len(piece)
            return stored
        finally:
            client.close()

    def _turn(self, client: redis.Redis, lists: int) -> float:
        """Seconds to wait until so many lists may be loaded, by the server's account of all tasks."""
        rate = self.settings.lists_per_second
        return float(cast("bytes", client.eval(scripts.TURN, 1, info_key(self.generation), self.load, lists, rate)))


def store(client: redis.Redis, generation: str, load: str, hashes: Mapping[bytes, list[bytes]]) -> None:
    """Set fields of hashes of a generation, in one pipeline; doing it again changes nothing.

    Args:
        hashes: fields and values in turn, by key.
    """
    pipeline = client.pipeline(transaction=False)
    for key, arguments in hashes.items():
        for start in range(0, len(arguments), ARGUMENTS):
            some = cast("list[str]", arguments[start : start + ARGUMENTS])
            pipeline.eval(scripts.STORE, 2, info_key(generation), cast("str", key), load, *some)
    # raised by hand: the client's own message would quote the command, with listeners in it
    for answer in pipeline.execute(raise_on_error=False):
        if isinstance(answer, Exception):
            raise answer


def lost(place: str, generation: str) -> ServiceError:
    """The error that says that a generation vanished while it was loaded."""
    return ServiceError(
        "the Redis server has lost what was being loaded",
        where=f"{place}, generation {generation}",
        found=LOST,
        fix="it was restarted, or somebody dropped the generation: run again",
    )


def _pieces(rows: Iterator[tuple[bytes, bytes]], most: int | None) -> Iterator[list[tuple[bytes, bytes]]]:
    """Rows in pieces of about 16 MiB, or of so many lists if that is less."""
    piece: list[tuple[bytes, bytes]] = []
    weight = 0
    for row in rows:
        piece.append(row)
        weight += len(row[1])
        if weight >= PIECE_BYTES or (most is not None and len(piece) >= most):
            yield piece
            piece, weight = [], 0
    if piece:
        yield piece


def _by_bucket(buckets: HashBuckets, rows: list[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    hashes: dict[bytes, list[bytes]] = {}
    for row in rows:
        hashes.setdefault(buckets.key(row[0]), []).extend(row)
    return hashes
