"""The gate and the refresh: the one place where the pointer that readers follow moves."""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from nocturne.cache import Cache, Generation, Pointer
from nocturne.cache import pointer as moves
from nocturne.cache.served import encode, served_lists
from nocturne.errors import ServiceError
from nocturne.night import Night

SAMPLE_LISTENERS = 1_000


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did.

    Attributes:
        generation: generation of the cache that holds the night's lists; None if none does.
        moved: True if this refresh moved the pointer.
        reason: why the pointer was not moved; None if it was, or had been before.
        listeners: lists in that generation; 0 without one.
    """

    generation: str | None
    moved: bool
    reason: str | None
    listeners: int


def gate(validations: pa.Table, expected: Mapping[str, Collection[str]], files: Mapping[str, str | None]) -> list[str]:
    """Why nothing of a night may be served; empty when the gate is open.

    Args:
        validations: the rows of `validations` of the night.
        expected: names of the critical expectations of every gated table, by table.
        files: hash of each table's data files of the night as they are now, by table.

    Returns:
        One sentence per reason, by table and expectation. Warnings and skipped expectations are none.
    """
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in sorted(expected)}
    for row in validations.to_pylist():
        found.setdefault(row["table"], []).append(row)
    return [
        reason
        for table, rows in found.items()
        for reason in _reasons(table, rows, expected.get(table, ()), files.get(table))
    ]


def _reasons(table: str, rows: list[dict[str, Any]], expected: Collection[str], files: str | None) -> Iterator[str]:
    if not rows:
        yield f"{table} was not validated"
        return
    if any(row["files"] != files for row in rows):
        yield f"{table} changed after it was validated"
    for name in sorted(set(expected) - {row["expectation"] for row in rows}):
        yield f"{table}: {name} was not checked"
    for row in sorted(rows, key=lambda row: str(row["expectation"])):
        if row["severity"] == "critical" and row["outcome"] not in {"success", "skipped"}:
            yield f"{table}: {row['expectation']} is {row['observed']}, expected {row['limit']}"


def refresh(night: Night, lists: Iterable[pa.RecordBatch], lists_digest: str, cache: Cache) -> Refreshed:
    """Load a night whose gate is open beside what is served, read it back, then serve it.

    Does nothing for lists that are served or kept already, for a night older than the one served,
    and while the pointer is held.

    Args:
        night: the night of the lists.
        lists: rows of `ranked_lists` of the night, each listener once, in any order.
        lists_digest: digest over all lists of the night: the same lists make the same generation.
        cache: where to load them, opened for writing.

    Raises:
        InputError: a list cannot be stored.
        ServiceError: the cache failed, did not read back what was loaded, or its pointer moved meanwhile
            (PointerMoved); what was served is still served.
    """
    new = Generation(f"{night.run_date}-{lists_digest[:8]}", night.run_date)
    pointer = cache.pointer()
    if pointer and new in pointer.kept:
        return Refreshed(new.name, moved=False, reason=None, listeners=cache.count(new.name))
    reason = moves.refusal(pointer, new)
    if reason:
        return Refreshed(None, moved=False, reason=reason, listeners=0)
    listeners = _load_verified(new.name, lists, cache)
    target = moves.advance(pointer, new)
    cache.swap_pointer(pointer, target)
    kept = {generation.name for generation in target.kept}
    for name in cache.generations():
        if name not in kept:
            cache.drop(name)
    return Refreshed(new.name, moved=True, reason=None, listeners=listeners)


def rollback(cache: Cache, why: str) -> Pointer:
    """Serve the previous generation and hold it until `release`; returns the new pointer.

    Raises:
        SettingsError: there is no previous generation, the pointer is held already, or no reason is given.
        ServiceError: the cache failed, or has lost the previous generation.
    """
    pointer = cache.pointer()
    target = moves.roll_back(pointer, why)
    if target.served.name not in cache.generations():
        raise ServiceError(
            "the previous generation is no longer in the cache",
            where=cache.place,
            expected=target.served.name,
            fix="run refresh_cache for a sound night",
        )
    cache.swap_pointer(pointer, target)
    return target


def release(cache: Cache) -> Pointer:
    """Let the next refresh move the pointer again; returns the new pointer. Without a hold it does nothing.

    Raises:
        SettingsError: the cache serves nothing.
        ServiceError: the cache failed.
    """
    pointer = cache.pointer()
    target = moves.release(pointer)
    cache.swap_pointer(pointer, target)
    return target


def _load_verified(generation: str, lists: Iterable[pa.RecordBatch], cache: Cache) -> int:
    """Load the lists and read them back: all by number, a sample of listeners byte for byte."""
    sample = _Sample()
    loaded = cache.load(generation, sample.of(_encoded(lists)))
    found = cache.count(generation)
    wrong = sum(cache.read(generation, user_id) != value for user_id, value in sample.rows())
    if found != loaded or wrong:
        cache.drop(generation)
        raise ServiceError(
            "the cache does not read back what was loaded",
            where=f"{cache.place}, generation {generation}",
            found=f"{found} listeners; {wrong} of {len(sample.rows())} sampled lists differ",
            expected=f"{loaded} listeners, each list as in ranked_lists",
            fix="run refresh_cache again; if it stays, check ranked_lists for listeners with two rows",
        )
    return loaded


def _encoded(lists: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, bytes]]:
    for batch in lists:
        for user_id, served in served_lists(batch):
            yield user_id, encode(served)


class _Sample:
    """The listeners with the smallest hashes: the same ones on every run, in whatever order they come."""

    def __init__(self) -> None:
        self._largest_first: list[tuple[int, str, bytes]] = []

    def of(self, rows: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        """Pass the rows on, remembering the sample."""
        for user_id, value in rows:
            key = -int.from_bytes(blake2b(user_id.encode(), digest_size=8).digest())
            if len(self._largest_first) < SAMPLE_LISTENERS:
                heapq.heappush(self._largest_first, (key, user_id, value))
            elif key > self._largest_first[0][0]:
                heapq.heapreplace(self._largest_first, (key, user_id, value))
            yield user_id, value

    def rows(self) -> list[tuple[str, bytes]]:
        """The sampled (user_id, value)."""
        return [(user_id, value) for _, user_id, value in self._largest_first]
