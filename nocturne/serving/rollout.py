"""The refresh and the rollback, and the one place where the pointer that readers follow moves."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from nocturne.core.errors import ServiceError, UsageError
from nocturne.core.night import Night, Warehouse
from nocturne.serving import publications
from nocturne.serving.cache import Cache, Generation, GenerationInfo, ParallelMap, Pointer, Progress, RowBatches
from nocturne.serving.cache.pointer import advance, refusal, roll_back, unfreeze
from nocturne.serving.manifest import verify
from nocturne.serving.night_record import Manifest, NightRecord
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.suites import critical_expectations

LISTS = ("user_id", "arm", "source", "model_version", "items")
"""Columns of `ranked_lists` that the cache takes."""

SAMPLED_BUCKETS = 16
SAMPLED_LISTS = 64
"""Of a bucket: read back and compared before the pointer moves."""


@dataclass(frozen=True)
class Refreshed:
    """Outcome of a refresh.

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
    record: NightRecord,
    info: GenerationInfo,
    lists: Sequence[RowBatches],
    cache: Cache,
    map_parts: ParallelMap = map,
    progress: Progress = lambda _loaded: None,
) -> Refreshed:
    """Load a night whose gate is open beside what is served, publish it, then serve it.

    Nothing is loaded of lists that the cache holds already, of a night older than the one served, and while the
    pointer is held; the night is published all the same.

    Args:
        night: the night of the lists.
        record: its manifest, and nothing served yet.
        info: what its lists share.
        lists: rows of `ranked_lists` of the night, a part a bucket, each in the order of user_id.
        cache: where to load them, opened for writing.
        map_parts: how parts are loaded at once, where the store takes them so.
        progress: told how many lists are loaded.

    Raises:
        InputError: a list cannot be stored, or the manifest does not hold.
        ServiceError: the cache failed, did not read back what was loaded, or its pointer moved meanwhile
            (PointerMoved); what was served is still served.
    """
    assert record.generation
    new, listeners = Generation(record.generation, night.run_date), record.manifest.listeners
    pointer, recovered = _recover_pointer(night.warehouse, cache, new)
    reason = None if recovered and new in recovered.retained else refusal(recovered, new)
    # A generation without lists cannot be told from none by their number.
    if not reason and (not listeners or cache.count(new.name) != listeners):
        loaded = cache.load(new.name, info, lists, map_parts, progress)
        _keep_if_whole(cache, new.name, loaded, listeners)
    publications.publish(night, record, reason, frozen=recovered is not None and recovered.frozen_reason is not None)
    if reason:
        return Refreshed(None, moved=False, reason=reason, listeners=0)
    keep, last = night.settings.cache.generations, publications.recorded_pointer(night.warehouse, cache.place)
    advanced = advance(recovered, new, night.warehouse.folder, keep, last.version if last else 0)
    target = recovered if recovered and new in recovered.retained else advanced
    moved = target != pointer
    if moved:
        _move_pointer(night.warehouse, cache, pointer, target)
    publications.record_pointer(night.warehouse, cache.place, target)
    _tidy(cache, target)
    return Refreshed(new.name, moved=moved, reason=None, listeners=listeners)


def rollback(warehouse: Warehouse, cache: Cache, why: str, to: str | None = None) -> Pointer:
    """Serve an earlier generation and hold it until `release`; returns the new pointer.

    Args:
        warehouse: whose nights the cache serves.
        to: the generation; by default the one before.

    Raises:
        UsageError: there is no such generation, the pointer is held already, or no reason is given.
        InputError: the manifest of that generation does not hold.
        ServiceError: the cache failed, or has lost that generation.
    """
    pointer = cache.pointer()
    target = roll_back(pointer, why, to)
    _move_pointer(warehouse, cache, pointer, target)
    _record(warehouse, cache, target)
    return target


def release(warehouse: Warehouse, cache: Cache) -> Pointer:
    """Let the next refresh move the pointer again; returns the new pointer. Without a hold it does nothing.

    Raises:
        UsageError: the cache serves nothing.
        InputError: the manifest of what is served does not hold.
        ServiceError: the cache failed.
    """
    pointer = cache.pointer()
    target = unfreeze(pointer)
    if target != pointer:
        _move_pointer(warehouse, cache, pointer, target)
        publications.record_pointer(warehouse, cache.place, target)
    return target


def require_recorded(warehouse: Warehouse, cache: Cache) -> None:
    """Prove that the cache serves what the last move on record left it with, as after a failover.

    Raises:
        ServiceError: the cache has lost a move.
    """
    pointer, recorded = cache.pointer(), publications.recorded_pointer(warehouse, cache.place)
    if recorded and (pointer is None or pointer.version < recorded.version):
        raise ServiceError(
            "the cache went back behind the last move on record",
            where=cache.place,
            found=f"{pointer.served.name}, move {pointer.version}" if pointer else "nothing served",
            expected=f"{recorded.served.name}, move {recorded.version}",
            fix=f"run refresh_cache for night {recorded.served.run_date}: it puts the pointer right",
        )


def warehouse_of(cache: Cache, path: str) -> str:
    """Folder of the warehouse whose nights the cache serves, unless one is named.

    Raises:
        UsageError: none is named and the cache names none either.
    """
    pointer = cache.pointer()
    folder = path or (pointer.warehouse if pointer else "")
    if not folder:
        raise UsageError("the cache names no warehouse", where=cache.place, fix="name it with --warehouse")
    return folder


def _recover_pointer(warehouse: Warehouse, cache: Cache, new: Generation) -> tuple[Pointer | None, Pointer | None]:
    """The pointer as the cache has it, and as it should be by the last move on record.

    A cache that failed over, or was restored, may have lost the last moves. What it lost is put right here, if it
    still has those lists or is about to get them. An emptied cache starts afresh, unless it was held.
    """
    pointer, recorded = cache.pointer(), publications.recorded_pointer(warehouse, cache.place)
    if pointer and (recorded is None or pointer.version > recorded.version):
        _record(warehouse, cache, pointer)  # whoever moved it died before that was on record
    if recorded is None or (pointer and pointer.version >= recorded.version):
        return pointer, pointer
    available = set(cache.generations()) | {new.name}
    lost = replace(recorded, earlier=tuple(each for each in recorded.earlier if each.name in available))
    if pointer is None and not lost.frozen_reason:
        return None, None
    if lost.served != new and _is_whole(warehouse, cache, lost.served):
        _move_pointer(warehouse, cache, pointer, lost)
        return lost, lost
    return pointer, lost


def _record(warehouse: Warehouse, cache: Cache, pointer: Pointer) -> None:
    """Record where the pointer came to; if it was rolled back, what was served of later nights is withdrawn."""
    if pointer.frozen_reason:
        later = [each for each in publications.all_records(warehouse) if each.run_date > pointer.served.run_date]
        served = [each.generation for each in later if each.generation and cache.place in each.pointers]
        publications.mark_rolled_back(warehouse, served, pointer.frozen_reason)
    publications.record_pointer(warehouse, cache.place, pointer)


def _move_pointer(warehouse: Warehouse, cache: Cache, expected_pointer: Pointer | None, target: Pointer) -> None:
    """Move the pointer: the only function that does, forwards and back.

    By compare-and-set against the pointer that was decided on, after the manifest of the generation was proved
    again and a sample of its lists, read back from the cache, is byte for byte what the table says.
    """
    night = Night(warehouse, target.served.run_date)
    record = publications.find_generation(warehouse, target.served.name)
    manifest = verify(night, record, critical_expectations())
    _require_whole(cache, target.served.name, manifest.listeners, manifest.listeners)
    _require_sample(night, cache, manifest)
    cache.swap_pointer(expected_pointer, target)


def _require_whole(cache: Cache, generation: str, loaded: int, listeners: int) -> None:
    """Raise ServiceError unless the generation holds every list."""
    stored = cache.count(generation)
    if not stored == loaded == listeners:
        raise ServiceError(
            "the cache does not hold every list of the generation",
            where=f"{cache.place}, generation {generation}",
            found=f"{stored:,} lists" + (f", {loaded:,} loaded" if loaded != listeners else ""),
            expected=f"{listeners:,}, as in ranked_lists",
            fix="run refresh_cache for that night again; if it stays, look for listeners with two rows",
        )


def _keep_if_whole(cache: Cache, generation: str, loaded: int, listeners: int) -> None:
    try:
        _require_whole(cache, generation, loaded, listeners)
    except ServiceError:
        cache.drop(generation)
        raise


def _is_whole(warehouse: Warehouse, cache: Cache, generation: Generation) -> bool:
    record = publications.find_generation(warehouse, generation.name)
    return record is not None and cache.count(generation.name) == record.manifest.listeners


def _require_sample(night: Night, cache: Cache, manifest: Manifest) -> None:
    """Raise ServiceError unless a sample of lists reads back from the cache as the table has it."""
    version = manifest.versions["ranked_lists"]
    assert manifest.generation
    wrong = compared = 0
    for batch in _sample(night, manifest.generation, version):
        for user_id, value in cache.encode(manifest.generation, batch):
            compared += 1
            wrong += cache.read(manifest.generation, user_id) != value
    if wrong or (manifest.listeners and not compared):
        raise ServiceError(
            "the cache does not read back what the table holds",
            where=f"{cache.place}, generation {manifest.generation}",
            found=f"{wrong} of {compared} sampled lists differ",
            expected=f"every list as in ranked_lists at version {version}",
            fix=f"run refresh_cache for night {night.run_date} again",
        )


def _sample(night: Night, generation: str, version: int) -> Iterable[pa.RecordBatch]:
    """Some lists of some buckets: the same ones for the same generation, wherever this runs."""
    buckets = night.settings.tables.buckets
    lists = replace(StoredRows.at(night, "ranked_lists", LISTS), version=version)
    for bucket in range(0, buckets, -(-buckets // SAMPLED_BUCKETS)):
        yield from lists.in_bucket(bucket).sample(SAMPLED_LISTS, zlib.crc32(f"{generation}/{bucket}".encode()))


def _tidy(cache: Cache, pointer: Pointer) -> None:
    """Remove what is neither served nor kept; what a reader holds stays until the next refresh."""
    names = {generation.name for generation in pointer.retained}
    for name in cache.generations():
        if name not in names:
            cache.drop(name)
