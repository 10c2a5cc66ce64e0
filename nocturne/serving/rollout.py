"""The refresh and the rollback, and the one place where the pointer that readers follow moves."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from nocturne.core.errors import ServiceError, SettingsError
from nocturne.core.night import Night
from nocturne.serving import manifest, publications
from nocturne.serving.cache import About, Cache, Each, Generation, Part, Pointer, Progress
from nocturne.serving.cache import pointer as moves
from nocturne.serving.manifest import Row
from nocturne.storage import tables
from nocturne.storage.warehouse import settled
from nocturne.validation.suites import expected

LISTS = ("user_id", "arm", "source", "model_version", "items")
"""What the cache takes of `ranked_lists`."""

SAMPLED_BUCKETS = 16
SAMPLED_LISTS = 64
"""Of a bucket: read back and compared before the pointer moves."""


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


def refresh(
    night: Night,
    row: Row,
    about: About,
    lists: Sequence[Part],
    cache: Cache,
    each: Each = map,
    progress: Progress = lambda _loaded: None,
) -> Refreshed:
    """Load a night whose gate is open beside what is served, publish it, then serve it.

    Nothing is loaded of lists that the cache holds already, of a night older than the one served, and while the
    pointer is held; the night is published all the same.

    Args:
        night: the night of the lists.
        row: its manifest.
        about: what its lists share.
        lists: rows of `ranked_lists` of the night, a part a bucket, each in the order of user_id.
        cache: where to load them, opened for writing.
        each: how parts are loaded at once, where the store takes them so.
        progress: told how many lists are loaded.

    Raises:
        InputError: a list cannot be stored, or the manifest does not hold.
        ServiceError: the cache failed, did not read back what was loaded, or its pointer moved meanwhile
            (PointerMoved); what was served is still served.
    """
    new = Generation(row["generation"], night.run_date)
    pointer, known = _caught_up(night, cache, new)
    reason = None if known and new in known.kept else moves.refusal(known, new)
    # A generation without lists cannot be told from none by their number.
    if not reason and (not row["listeners"] or cache.count(new.name) != row["listeners"]):
        loaded = cache.load(new.name, about, lists, each, progress)
        _keep_if_whole(cache, new.name, loaded, row["listeners"])
    publications.publish(night, row, reason, held=known is not None and known.held is not None)
    if reason:
        return Refreshed(None, moved=False, reason=reason, listeners=0)
    keep, last = night.settings.cache.generations, publications.recorded_pointer(night, cache.place)
    advanced = moves.advance(known, new, tables.root(night), keep, last.move if last else 0)
    target = known if known and new in known.kept else advanced
    moved = target != pointer
    if moved:
        _move_pointer(night, cache, pointer, target)
    publications.record_pointer(night, cache.place, target)
    _tidy(cache, target)
    return Refreshed(new.name, moved=moved, reason=None, listeners=row["listeners"])


def rollback(night: Night, cache: Cache, why: str, to: str | None = None) -> Pointer:
    """Serve an earlier generation and hold it until `release`; returns the new pointer.

    Args:
        night: any night of the warehouse whose lists the cache serves.
        to: the generation; by default the one before.

    Raises:
        SettingsError: there is no such generation, the pointer is held already, or no reason is given.
        InputError: the manifest of that generation does not hold.
        ServiceError: the cache failed, or has lost that generation.
    """
    pointer = cache.pointer()
    target = moves.roll_back(pointer, why, to)
    _move_pointer(night, cache, pointer, target)
    _record(night, cache, target)
    return target


def release(night: Night, cache: Cache) -> Pointer:
    """Let the next refresh move the pointer again; returns the new pointer. Without a hold it does nothing.

    Raises:
        SettingsError: the cache serves nothing.
        InputError: the manifest of what is served does not hold.
        ServiceError: the cache failed.
    """
    pointer = cache.pointer()
    target = moves.release(pointer)
    if target != pointer:
        _move_pointer(night, cache, pointer, target)
        publications.record_pointer(night, cache.place, target)
    return target


def require_recorded(night: Night, cache: Cache) -> None:
    """Prove that the cache serves what the last move on record left it with, as after a failover.

    Raises:
        ServiceError: the cache has lost a move.
    """
    pointer, recorded = cache.pointer(), publications.recorded_pointer(night, cache.place)
    if recorded and (pointer is None or pointer.move < recorded.move):
        raise ServiceError(
            "the cache went back behind the last move on record",
            where=cache.place,
            found=f"{pointer.served.name}, move {pointer.move}" if pointer else "nothing served",
            expected=f"{recorded.served.name}, move {recorded.move}",
            fix=f"run refresh_cache for night {recorded.served.run_date}: it puts the pointer right",
        )


def of_warehouse(night: Night, cache: Cache) -> Night:
    """The night in the warehouse whose nights the cache serves, unless one is named, with its fixed settings.

    Raises:
        SettingsError: none is named and the cache names none either, or it is not there.
    """
    pointer = cache.pointer()
    place = night.warehouse or (pointer.warehouse if pointer else "")
    if not place:
        raise SettingsError("the cache names no warehouse", where=cache.place, fix="name it with --warehouse")
    return settled(replace(night, warehouse=place))


def _caught_up(night: Night, cache: Cache, new: Generation) -> tuple[Pointer | None, Pointer | None]:
    """The pointer as the cache has it, and as it should be by the last move on record.

    A cache that failed over, or was restored, may have lost the last moves. What it lost is put right here, if it
    still has those lists or is about to get them. An emptied cache starts afresh, unless it was held.
    """
    pointer, recorded = cache.pointer(), publications.recorded_pointer(night, cache.place)
    if pointer and (recorded is None or pointer.move > recorded.move):
        _record(night, cache, pointer)  # whoever moved it died before that was on record
    if recorded is None or (pointer and pointer.move >= recorded.move):
        return pointer, pointer
    there = set(cache.generations()) | {new.name}
    lost = replace(recorded, earlier=tuple(each for each in recorded.earlier if each.name in there))
    if pointer is None and not lost.held:
        return None, None
    if lost.served != new and _is_whole(night, cache, lost.served):
        _move_pointer(night, cache, pointer, lost)
        return lost, lost
    return pointer, lost


def _record(night: Night, cache: Cache, pointer: Pointer) -> None:
    """Record where the pointer came to; if it was rolled back, what was served of later nights is withdrawn."""
    if pointer.held:
        later = [row for row in publications.known(night) if row["run_date"] > pointer.served.run_date]
        served = [row["generation"] for row in later if cache.place in row["pointers"]]
        publications.withdraw(night, served, pointer.held)
    publications.record_pointer(night, cache.place, pointer)


def _move_pointer(night: Night, cache: Cache, expected_pointer: Pointer | None, target: Pointer) -> None:
    """Move the pointer: the only function that does, forwards and back.

    By compare-and-set against the pointer that was decided on, after the manifest of the generation was proved
    again and a sample of its lists, read back from the cache, is byte for byte what the table says.
    """
    of_target = replace(night, run_date=target.served.run_date)
    row = manifest.require_sound(of_target, publications.of_generation(night, target.served.name), expected())
    _require_whole(cache, target.served.name, row["listeners"], row["listeners"])
    _require_sample(of_target, cache, row)
    cache.swap_pointer(expected_pointer, target)


def _require_whole(cache: Cache, generation: str, loaded: int, listeners: int) -> None:
    """Raise ServiceError unless the generation holds every list."""
    found = cache.count(generation)
    if not found == loaded == listeners:
        raise ServiceError(
            "the cache does not hold every list of the generation",
            where=f"{cache.place}, generation {generation}",
            found=f"{found:,} lists" + (f", {loaded:,} loaded" if loaded != listeners else ""),
            expected=f"{listeners:,}, as in ranked_lists",
            fix="run refresh_cache for that night again; if it stays, look for listeners with two rows",
        )


def _keep_if_whole(cache: Cache, generation: str, loaded: int, listeners: int) -> None:
    try:
        _require_whole(cache, generation, loaded, listeners)
    except ServiceError:
        cache.drop(generation)
        raise


def _is_whole(night: Night, cache: Cache, generation: Generation) -> bool:
    row = publications.of_generation(night, generation.name)
    return row is not None and cache.count(generation.name) == row["listeners"]


def _require_sample(night: Night, cache: Cache, row: Row) -> None:
    """Raise ServiceError unless a sample of lists reads back from the cache as the table has it."""
    generation, version = row["generation"], row["versions"]["ranked_lists"]
    wrong = compared = 0
    for batch in _sample(night, generation, version):
        for user_id, value in cache.encode(generation, batch):
            compared += 1
            wrong += cache.read(generation, user_id) != value
    if wrong or (row["listeners"] and not compared):
        raise ServiceError(
            "the cache does not read back what the table holds",
            where=f"{cache.place}, generation {generation}",
            found=f"{wrong} of {compared} sampled lists differ",
            expected=f"every list as in ranked_lists at version {version}",
            fix=f"run refresh_cache for night {night.run_date} again",
        )


def _sample(night: Night, generation: str, version: int) -> Iterable[pa.RecordBatch]:
    """Some lists of some buckets: the same ones for the same generation, wherever this runs."""
    buckets = night.settings.tables.buckets
    path = tables.table_path(night, "ranked_lists")
    for bucket in range(0, buckets, -(-buckets // SAMPLED_BUCKETS)):
        stored = tables.StoredRows(path, version, night.run_date, LISTS, bucket)
        yield from stored.some(SAMPLED_LISTS, zlib.crc32(f"{generation}/{bucket}".encode()))


def _tidy(cache: Cache, pointer: Pointer) -> None:
    """Remove what is neither served nor kept; what a reader holds stays until the next refresh."""
    kept = {generation.name for generation in pointer.kept}
    for name in cache.generations():
        if name not in kept:
            cache.drop(name)
