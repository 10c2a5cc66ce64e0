"""Readers that watch a cache while faults are injected, and the check of what they saw."""

import random
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow.compute as pc

from nocturne.core.errors import ServiceError
from nocturne.core.night import Night
from nocturne.serving import publications
from nocturne.serving.cache import Cache, ServedList, open_cache
from nocturne.storage import tables

Lists = dict[str, ServedList]
"""The lists of one night, by listener."""


def validated_lists(night: Night) -> dict[str, Lists]:
    """The lists of every night that was validated, by generation, as a cache must serve them."""
    return {
        record.generation: _lists(night, record.run_date, record.manifest.versions["ranked_lists"])
        for record in publications.all_records(night.warehouse)
        if record.generation
    }


def _lists(night: Night, run_date: date, version: int) -> Lists:
    rows = (
        tables.open_table(night.warehouse, "ranked_lists", version)
        .to_pyarrow_dataset()
        .to_table(filter=pc.field("run_date") == run_date)
    )
    return {
        row["user_id"]: ServedList(
            run_date,
            row["arm"],
            row["source"],
            row["model_version"],
            tuple(item["item_id"] for item in row["items"]),
            tuple(float(np.float32(item["score"])) for item in row["items"]),
        )
        for row in rows.to_pylist()
    }


def check_cache(url: str, lists: dict[str, Lists]) -> list[str]:
    """Sentences on the night that a cache serves, held against its lists; empty if it is whole and was validated."""
    with open_cache(url, read_only=True) as cache, cache.snapshot() as served:
        name = served.generation.name
        if name not in lists:
            return [f"{name} is served, and was never published"]
        served_lists = {user: served.get(user) for user in lists[name]}
        count = cache.count(name)
    wrong = sum(served_lists[user] != expected for user, expected in lists[name].items())
    sentences = [f"{wrong} of {len(served_lists)} lists of {name} are wrong"] if wrong else []
    return [*sentences, *([f"{count} lists in {name}"] if count != len(served_lists) else [])]


class Reader:
    """A thread that reads the lists of random listeners, on and on, and remembers each answer once.

    Attributes:
        seen: every list that was read, with its listener.
        unserved: listeners for whom there was nothing although something was served.
        failures: reads that ended with an error for people.
        reads: reads that were answered.
    """

    def __init__(self, url: str, listeners: Collection[str], seed: int = 1) -> None:
        """Args: listeners who are in every night."""
        self.seen: set[tuple[str, ServedList]] = set()
        self.unserved: set[str] = set()
        self.failures = self.reads = 0
        self.crash: BaseException | None = None
        self._url, self._listeners = url, sorted(listeners)
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def check(self, lists: Iterable[Lists]) -> list[str]:
        """Sentences on what this reader saw other than whole lists of validated nights; empty if nothing."""
        allowed = {(user, listed) for night_lists in lists for user, listed in night_lists.items()}
        errors = [f"{user} was served a list of {listed.run_date} of no validated night"
                for user, listed in sorted(self.seen - allowed)]  # fmt: skip
        errors += [f"{user} was served nothing" for user in sorted(self.unserved)]
        return [*errors, *([f"the reader crashed: {self.crash!r}"] if self.crash else [])]

    def forget(self) -> None:
        """Begin anew: retention removes what lists are held against."""
        self.seen = set()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with _opened(self._url) as cache:
                    self._read(cache)
        except BaseException as error:  # noqa: BLE001 - reported by `check`
            self.crash = error

    def _read(self, cache: Cache) -> None:
        try:
            while not self._stop.wait(0.002):
                user = self._random.choice(self._listeners)
                served_list = cache.get(user)
                self.reads += 1
                if served_list is not None:
                    self.seen.add((user, served_list))
                elif cache.pointer() is not None and cache.get(user) is None and cache.pointer() is not None:
                    self.unserved.add(user)
        except ServiceError:
            self.failures += 1
            self._stop.wait(0.05)


@contextmanager
def _opened(url: str) -> Iterator[Cache]:
    with open_cache(url, read_only=True) as cache:
        yield cache
