"""The refresh and the rollback, and the one place where the pointer that readers follow moves."""

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryFile

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.errors import ServiceError, UsageError
from nocturne.core.night import Night, Warehouse
from nocturne.serving import publications, takedowns
from nocturne.serving.cache import (
    Cache,
    Generation,
    GenerationInfo,
    ListKind,
    ParallelMap,
    Pointer,
    Progress,
    RowBatches,
    ServedList,
)
from nocturne.serving.cache.pointer import advance, refusal, roll_back, unfreeze
from nocturne.serving.manifest import verify
from nocturne.serving.night_record import ROLLED_BACK, Manifest, NightRecord
from nocturne.serving.publications import Nights
from nocturne.storage.stored_rows import StoredRows
from nocturne.storage.takedowns import stored_takedowns
from nocturne.validation.suites import critical_expectations

SAMPLED_BUCKETS = 16
SAMPLED_LISTS = 64
"""Of a bucket: read back and compared before the pointer moves."""


OF_ITS_TIME: Mapping[str, Collection[str]] = {}
"""No names of critical expectations: a manifest of before is held to those that it was written with."""


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
        UsageError: the cache serves another warehouse.
        InputError: a list cannot be stored, or the manifest does not hold.
        ServiceError: the cache failed, did not read back what was loaded, or its pointer moved meanwhile
            (PointerMoved); what was served is still served.
    """
    assert record.generation
    new, listeners = Generation(record.generation, night.run_date), record.manifest.listeners
    nights = Nights(night.warehouse)
    _require_same_service(nights, cache)
    pointer, recovered, moves = _recover_pointer(nights, cache, new)
    kept = recovered is not None and new in recovered.retained
    stays = refusal(recovered, new) or _withdrawal(nights.records(), new)
    reason = None if kept else stays
    if not reason and not _holds(cache, new.name, listeners):
        loaded = cache.load(new.name, info, lists, map_parts, progress)
        _keep_if_whole(cache, new.name, loaded, listeners)
    publications.publish(nights, night, record, reason)
    if reason:
        return Refreshed(None, moved=False, reason=reason, listeners=0)
    advanced = advance(recovered, new, night.warehouse.folder, night.settings.cache.generations, moves)
    target = recovered if recovered and stays else advanced
    moved = target != pointer
    if target.served == new:
        takedowns.obey(cache, stored_takedowns(night).words)  # what producers landed, and what an emptied cache lost
    if moved:
        names = critical_expectations() if target.served == new else OF_ITS_TIME
        puts_back = recovered is not None and recovered.served == target.served
        _move_pointer(night.warehouse, cache, pointer, target, names, puts_back=puts_back)
    publications.record_pointer(nights, cache.place, target)
    _tidy(cache, target)
    return Refreshed(new.name, moved=moved, reason=None, listeners=listeners)


def rollback(warehouse: Warehouse, cache: Cache, why: str, to: str | None = None) -> Pointer:
    """Serve an earlier generation and hold it until `release`; returns the new pointer.

    Args:
        warehouse: whose nights the cache serves.
        to: the generation; by default the one before.

    Raises:
        UsageError: there is no such generation, the pointer is held already, no reason is given, or the move could
            not be recorded.
        InputError: the manifest of that generation does not hold.
        ServiceError: the cache failed, or has lost that generation.
    """
    pointer = cache.pointer()
    target = roll_back(pointer, why, to)
    assert pointer
    _require_recordable(warehouse)
    _move_pointer(warehouse, cache, pointer, target)
    passed_over = [each.name for each in pointer.retained[: pointer.retained.index(target.served)]]
    _record(Nights(warehouse), cache, target, passed_over)
    return target


def release(warehouse: Warehouse, cache: Cache) -> Pointer:
    """Let the next refresh move the pointer again; returns the new pointer. Without a hold it does nothing.

    Raises:
        UsageError: the cache serves nothing, or the move could not be recorded.
        InputError: the manifest of what is served does not hold.
        ServiceError: the cache failed.
    """
    pointer = cache.pointer()
    target = unfreeze(pointer)
    if target != pointer:
        _require_recordable(warehouse)
        _move_pointer(warehouse, cache, pointer, target, puts_back=True)
        publications.record_pointer(Nights(warehouse), cache.place, target)
    return target


def require_recorded(warehouse: Warehouse, cache: Cache) -> None:
    """Prove that the cache serves what the last move on record left it with, as after a failover.

    Raises:
        ServiceError: the cache has lost a move.
    """
    recorded = publications.recorded_pointers(publications.all_records(warehouse)).get(cache.place)
    pointer = cache.pointer()
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


def _require_same_service(nights: Nights, cache: Cache) -> None:
    """Raise UsageError if the cache serves lists of another warehouse; one that was mounted elsewhere knows them."""
    pointer, folder = cache.pointer(), nights.warehouse.folder
    if not pointer or pointer.warehouse in {"", folder}:
        return
    if not publications.among(nights.records(), pointer.served.name):
        raise UsageError(
            "the cache serves another warehouse",
            where=cache.place,
            found=f"{pointer.served.name} of {pointer.warehouse}",
            expected=f"a generation of {folder}",
            fix="name a cache of this warehouse's own, or an empty one",
        )


def _require_recordable(warehouse: Warehouse) -> None:
    """Raise UsageError unless this user may write `nights`: a move that is not on record may be undone."""
    log = Path(warehouse.table_path("nights"), "_delta_log")
    try:
        with TemporaryFile(dir=log):
            pass
    except OSError as error:
        raise UsageError(
            "the move could not be recorded, and is not made",
            where=str(log),
            found=error.strerror or str(error),
            expected="a folder that this user may write",
            fix="run it as whoever runs the nights",
        ) from error


def _withdrawal(records: Sequence[NightRecord], new: Generation) -> str | None:
    """Why a generation stays withdrawn while a rollback holds a cache; None if it does not."""
    record = publications.among(records, new.name)
    withdrawn = record and record.state == ROLLED_BACK and publications.is_held(records)
    return f"withdrawn: {record.reason}" if record and withdrawn else None


def _recover_pointer(nights: Nights, cache: Cache, new: Generation) -> tuple[Pointer | None, Pointer | None, int]:
    """The pointer as the cache has it, as it should be by the last move on record, and how many moves there were.

    A cache that failed over, or was restored, may have lost the last moves. What it lost is put right here, if it
    still has those lists or is about to get them. An emptied cache starts afresh, unless it was held: then it is
    loaded again with what it was held on.
    """
    pointer, recorded = cache.pointer(), publications.recorded_pointers(nights.records()).get(cache.place)
    if pointer and (recorded is None or pointer.version > recorded.version):
        _record(nights, cache, pointer)  # whoever moved it died before that was on record
    if recorded is None or (pointer and pointer.version >= recorded.version):
        return pointer, pointer, pointer.version if pointer else 0
    available = set(cache.generations()) | {new.name}
    lost = replace(recorded, earlier=tuple(each for each in recorded.earlier if each.name in available))
    if pointer is None and not lost.frozen_reason:
        return None, None, recorded.version
    if lost.served == new:
        return pointer, lost, recorded.version
    record = publications.among(nights.records(), lost.served.name)
    whole = record is not None and _holds(cache, lost.served.name, record.manifest.listeners)
    if record and lost.frozen_reason and not whole:
        _load_again(nights.warehouse, cache, lost.served, record)
        whole = True
    if not whole:
        return pointer, lost, recorded.version
    _move_pointer(nights.warehouse, cache, pointer, lost, puts_back=True)
    publications.record_pointer(nights, cache.place, lost)  # an emptied cache has fewer earlier ones
    return lost, lost, recorded.version


def _load_again(warehouse: Warehouse, cache: Cache, generation: Generation, record: NightRecord) -> None:
    """Load a generation that was published from its tables, as they were then."""
    from nocturne.serving.generation import generation_of  # reads models, which a rollback does without

    info, parts = generation_of(Night(warehouse, generation.run_date), record)
    loaded = cache.load(generation.name, info, parts)
    _keep_if_whole(cache, generation.name, loaded, record.manifest.listeners)


def _record(nights: Nights, cache: Cache, pointer: Pointer, passed_over: Sequence[str] = ()) -> None:
    """Record where the pointer came to; if it was rolled back, what was served after that is withdrawn.

    Args:
        passed_over: generations that the move passed over, where it was just made.
    """
    if pointer.frozen_reason:
        since = publications.served_since(nights.records(), cache.place, pointer.served.name)
        publications.mark_rolled_back(nights, [*dict.fromkeys([*passed_over, *since])], pointer.frozen_reason)
    publications.record_pointer(nights, cache.place, pointer)


def _move_pointer(
    warehouse: Warehouse,
    cache: Cache,
    expected_pointer: Pointer | None,
    target: Pointer,
    names: Mapping[str, Collection[str]] = OF_ITS_TIME,
    *,
    puts_back: bool = False,
) -> None:
    """Move the pointer: the only function that does, forwards and back.

    By compare-and-set against the pointer that was decided on, after the manifest of the generation was proved
    again and a sample of its lists, read back from the cache, is byte for byte what the table says.

    Args:
        names: names of critical expectations that the manifest must hold.
        puts_back: whether the cache served the generation until now, and may go on although another withdrew it.
    """
    night = Night(warehouse, target.served.run_date)
    record = publications.find_generation(warehouse, target.served.name)
    manifest = verify(night, record, names, withdrawn_too=puts_back)
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


def _holds(cache: Cache, generation: str, listeners: int) -> bool:
    """True if the generation is there and whole; one without lists cannot be told from none by their number."""
    return 0 < listeners == cache.count(generation)


def _require_sample(night: Night, cache: Cache, manifest: Manifest) -> None:
    """Raise ServiceError unless a sample of lists reads back from the cache as the table has it."""
    version = manifest.versions["ranked_lists"]
    assert manifest.generation
    wrong = compared = 0
    for batch in _sample(night, manifest.generation, version):
        for user_id, expected in _lists_of(batch, night.run_date):
            compared += 1
            wrong += cache.decode(manifest.generation, user_id) != expected
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
    columns = ("user_id", *ListKind._fields, "items")
    lists = StoredRows.at(night, "ranked_lists", columns, version)
    seeds = {
        bucket: zlib.crc32(f"{generation}/{bucket}".encode())
        for bucket in range(0, buckets, -(-buckets // SAMPLED_BUCKETS))
    }
    yield from lists.sample_buckets(SAMPLED_LISTS, seeds)


def _lists_of(rows: pa.RecordBatch, run_date: date) -> Iterator[tuple[str, ServedList]]:
    """(user_id, list) of rows of `ranked_lists`, as a cache must serve them."""
    listed = rows["items"].flatten()
    item_ids, scores = listed.field("item_id").to_pylist(), listed.field("score").cast(pa.float32()).to_pylist()
    kinds = zip(*(rows[name].to_pylist() for name in ListKind._fields), strict=True)
    ends = accumulate(pc.list_value_length(rows["items"]).to_pylist(), initial=0)
    for user_id, kind, (start, end) in zip(rows["user_id"].to_pylist(), kinds, pairwise(ends), strict=True):
        arm, source, model_version = kind
        yield (
            user_id,
            ServedList(run_date, arm, source, model_version, tuple(item_ids[start:end]), tuple(scores[start:end])),
        )


def _tidy(cache: Cache, pointer: Pointer) -> None:
    """Remove what is neither served nor kept; what a reader holds stays until the next refresh."""
    names = {generation.name for generation in pointer.retained}
    for name in cache.generations():
        if name not in names:
            cache.drop(name)
