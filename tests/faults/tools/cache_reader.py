"""Readers that watch a service all the while that it is broken, and what they may have seen."""

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


def promised(night: Night) -> dict[str, Lists]:
    """The lists of every night that was validated, by generation, as a cache must serve them."""
    known = [row for row in publications.known(night) if row["generation"]]
    return {row["generation"]: _lists(night, row["run_date"], row["versions"]["ranked_lists"]) for row in known}


def _lists(night: Night, run_date: date, version: int) -> Lists:
    rows = (
        tables.opened(night, "ranked_lists", version)
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


def wrong_in(url: str, lists: dict[str, Lists]) -> list[str]:
    """What is wrong with the night that a cache serves, list by list; empty if it is whole and was validated."""
    with open_cache(url, read_only=True) as cache, cache.snapshot() as served:
        name = served.generation.name
        if name not in lists:
            return [f"{name} is served, and was never published"]
        found = {user: served.get(user) for user in lists[name]}
        count = cache.count(name)
    wrong = sum(found[user] != listed for user, listed in lists[name].items())
    sentences = [f"{wrong} of {len(found)} lists of {name} are wrong"] if wrong else []
    return [*sentences, *([f"{count} lists in {name}"] if count != len(found) else [])]


class Reader:
    """Reads the lists of random listeners, on and on, and remembers each answer once.

    Attributes:
        seen: every list that was read, with its listener.
        lost: listeners for whom there was nothing although something was served.
        failures: reads that ended with an error for people.
        reads: reads that were answered.
    """

    def __init__(self, url: str, listeners: Collection[str], seed: int = 1) -> None:
        """Args: listeners who are in every night."""
        self.seen: set[tuple[str, ServedList]] = set()
        self.lost: set[str] = set()
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

    def wrong(self, lists: Iterable[Lists]) -> list[str]:
        """What this reader should not have seen: anything but lists of validated nights, whole."""
        allowed = {(user, listed) for of_night in lists for user, listed in of_night.items()}
        told = [f"{user} was served a list of {listed.run_date} of no validated night"
                for user, listed in sorted(self.seen - allowed)]  # fmt: skip
        told += [f"{user} was served nothing" for user in sorted(self.lost)]
        return [*told, *([f"the reader crashed: {self.crash!r}"] if self.crash else [])]

    def forget(self) -> None:
        """Begin anew: retention removes what lists are held against."""
        self.seen = set()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with _opened(self._url) as cache:
                    self._read(cache)
        except BaseException as error:  # noqa: BLE001 - told by `wrong`
            self.crash = error

    def _read(self, cache: Cache) -> None:
        try:
            while not self._stop.wait(0.002):
                user = self._random.choice(self._listeners)
                found = cache.get(user)
                self.reads += 1
                if found is not None:
                    self.seen.add((user, found))
                elif cache.pointer() is not None and cache.get(user) is None and cache.pointer() is not None:
                    self.lost.add(user)
        except ServiceError:
            self.failures += 1
            self._stop.wait(0.05)


@contextmanager
def _opened(url: str) -> Iterator[Cache]:
    with open_cache(url, read_only=True) as cache:
        yield cache
