"""The cache in LMDB files: PATH/generations/<name>/, one immutable environment each, and PATH/pointer/."""

import heapq
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from nocturne.core.errors import InputError
from nocturne.serving.cache.base import ParallelMap, Progress, RowBatches
from nocturne.serving.cache.lmdb import environments
from nocturne.serving.cache.lmdb.erasing import LOADING, ErasingLmdbCache, read_withheld
from nocturne.serving.cache.lmdb.failures import errors, failed, sync_folder
from nocturne.serving.cache.lmdb.generations import (
    HEADER_KEY,
    INFO,
    ITEMS_FILE,
    LISTS,
    LmdbGeneration,
    LmdbSnapshot,
)
from nocturne.serving.cache.open_generation import OpenGeneration
from nocturne.serving.cache.overlay import Overlay
from nocturne.serving.cache.pointer import Generation, Pointer, from_json, to_json
from nocturne.serving.cache.snapshot import Snapshot
from nocturne.serving.cache.values import GenerationInfo

POINTER_KEY, STAMP_KEY, OVERLAY_KEY = b"pointer", b"takedowns-stamp", b"takedowns"
LEAST_MAP_BYTES = 2**20
POINTER_MAP_BYTES = 2**30
"""Room for the pointer and millions of takedowns; the file is as large as what is in it."""

BATCH_BYTES = 4 * 2**20
PAGE_BYTES = 4096
LONGEST_KEY = 511


class LmdbCache(ErasingLmdbCache):
    """A cache on the local disk, read in-process. Any number of readers; one loader at a time."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__(f"lmdb:{path.absolute()}", read_only=read_only)
        self._generations = path / "generations"
        self._pointer_folder = path / "pointer"
        self._pointers: Any = None  # an environment, once it is open
        if not read_only:
            with errors(self.place):
                self._generations.mkdir(parents=True, exist_ok=True)
                self._pointer_folder.mkdir(exist_ok=True)

    def head(self) -> tuple[Pointer | None, bytes]:
        """The pointer, and the stamp of the takedowns, in one transaction."""
        environments.enter()
        try:  # not `with errors`: entering it takes longer than reading; no name for the transaction, as in `read`
            there = self._pointers or self._open_pointers()
            read = dict(self._pointers.begin().cursor().getmulti((POINTER_KEY, STAMP_KEY))) if there else {}
        except (lmdb.Error, OSError) as error:
            raise failed(self.place, error) from error
        finally:
            environments.leave()
        text = read.get(POINTER_KEY)
        return from_json(text) if text else None, read.get(STAMP_KEY, b"")

    def _overlay_content(self) -> bytes | None:
        with environments.in_use(), errors(self.place):
            if self._pointers is None and not self._open_pointers():
                return None
            content: bytes | None = self._pointers.begin().get(OVERLAY_KEY)
            return content

    def _compare_and_set_overlay(self, expected: bytes, new: Overlay) -> bool:
        with environments.in_use(), errors(self.place):
            if self._pointers is None and not self._open_pointers():
                raise FileNotFoundError(self._pointer_folder)
            with self._pointers.begin(write=True) as transaction:
                stamp = transaction.get(STAMP_KEY) or b""
                if stamp != expected:
                    return bool(stamp == new.stamp)
                transaction.put(OVERLAY_KEY, new.content)
                return bool(transaction.put(STAMP_KEY, new.stamp))

    def _look(self, user_id: str) -> tuple[Pointer | None, bytes, bytes | None]:
        environments.enter()
        try:
            if not (self._pointers or self._open_pointers()):
                return None, b"", None
            transaction = self._pointers.begin()
            read = dict(transaction.cursor().getmulti((POINTER_KEY, STAMP_KEY)))
            withheld = read_withheld(transaction, user_id)
            del transaction  # before `leave`
        except (lmdb.Error, OSError) as error:
            raise failed(self.place, error) from error
        finally:
            environments.leave()
        text = read.get(POINTER_KEY)
        return from_json(text) if text else None, read.get(STAMP_KEY, b""), withheld

    def generations(self) -> list[str]:
        """Names of all generations in the store, half-written ones too, in ascending order."""
        with errors(self.place):
            if not self._generations.is_dir():
                return []
            return sorted({folder.name.partition(LOADING)[0] for folder in self._generations.iterdir()})

    def close(self) -> None:
        """Let go of the files; they close when nobody else in this process reads them."""
        self._pointers = None
        self._reading.clear()

    def let_go(self) -> None:
        """Forget all files: they are the parent's."""
        self._pointers = None
        self._reading.clear()

    def _open_pointers(self) -> bool:
        # writable also for readers, where the disk lets them: a process has one environment for both
        writable = os.access(self._pointer_folder, os.W_OK)
        written = (self._pointer_folder / "data.mdb").exists()
        if written or (writable and not self._read_only):
            self._pointers = environments.opened(
                self._pointer_folder, self, readonly=not writable, lock=writable, map_bytes=POINTER_MAP_BYTES
            )
        return self._pointers is not None

    def _compare_and_set(self, expected: Pointer | None, new: Pointer) -> bool:
        with environments.in_use(), errors(self.place):
            if self._pointers is None and not self._open_pointers():
                raise FileNotFoundError(self._pointer_folder)
            # what is removed is removed under the same lock
            with self._pointers.begin(write=True) as transaction:
                text = transaction.get(POINTER_KEY)
                current = from_json(text) if text else None
                if current == new:
                    return True
                if not (self._generations / new.served.name).is_dir():
                    raise self._lost(new.served.name)
                return current == expected and bool(transaction.put(POINTER_KEY, to_json(new)))

    def _open(self, generation: str) -> OpenGeneration | None:
        folder = self._generations / generation
        with errors(self.place):
            if not folder.is_dir():
                return None
            try:
                return LmdbGeneration(folder, self.place)
            except (FileNotFoundError, lmdb.Error):
                if folder.is_dir():
                    raise
                return None  # dropped since we looked

    @contextmanager
    def _held(self, generation: Generation) -> Iterator[Snapshot | None]:
        open_generation = self._current(generation.name)  # files that are open stay whole when their names are removed
        yield LmdbSnapshot(generation, open_generation, self.overlay, self._withheld) if open_generation else None

    def _write(
        self,
        generation: str,
        info: GenerationInfo,
        parts: Sequence[RowBatches],
        map_parts: ParallelMap,  # noqa: ARG002
        progress: Progress,
    ) -> int:
        # all parts at once and here: LMDB has one writer, and appending in order fills its pages whole
        from nocturne.serving.cache.encoding import Encoder  # compile loops, which readers do without
        from nocturne.serving.cache.served_items import write_items

        encoder = Encoder(info)
        with errors(self.place):
            # a folder of its own for each loader: two at once cannot finish each other's work
            loading = Path(tempfile.mkdtemp(prefix=f"{generation}{LOADING}", dir=self._generations))
            loading.chmod(0o755)
        with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1) or 1) as pool:
            rows = heapq.merge(*[_rows_ahead(pool, encoder.batches(part)) for part in parts])
            stored = _write_files(loading, info, rows, self.place, progress)
        with errors(self.place):
            if info.items is not None:
                with (loading / ITEMS_FILE).open("wb") as file:
                    write_items(info.items, file)
                    file.flush()
                    os.fsync(file.fileno())
            sync_folder(loading)
            self._set_aside(generation)  # a generation that is kept, but was not whole
            loading.rename(self._generations / generation)
            sync_folder(self._generations)
            self._remove_left_overs(generation)
        return stored

    def _remove(self, generation: str) -> bool:
        with environments.in_use(), errors(self.place):
            self._remove_left_overs(generation)
            if self._pointers is None and not self._open_pointers():
                raise FileNotFoundError(self._pointer_folder)
            with self._pointers.begin(write=True) as transaction:
                text = transaction.get(POINTER_KEY)
                if text and generation in {retained.name for retained in from_json(text).retained}:
                    return False
                self._set_aside(generation)
            self._remove_left_overs(generation)
        return True

    def _set_aside(self, generation: str) -> None:
        """Out of readers' sight in one step; what an interrupted removal leaves looks like a dead loader's."""
        whole = self._generations / generation
        if whole.is_dir():
            whole.rename(whole.with_name(f"{generation}{LOADING}removed-{uuid.uuid4().hex[:8]}"))

    def _remove_left_overs(self, generation: str) -> None:
        for folder in self._generations.glob(f"{generation}{LOADING}*"):
            shutil.rmtree(folder)


def _write_files(
    folder: Path, info: GenerationInfo, rows: Iterable[tuple[bytes, bytes]], place: str, progress: Progress
) -> int:
    stored = 0
    with errors(place):
        environment = lmdb.open(str(folder), map_size=LEAST_MAP_BYTES, max_dbs=2, lock=False, sync=False)
    try:
        with errors(place):
            _put_info(environment, info)
            lists = environment.open_db(LISTS)
        for batch in _batches(rows):
            _check_keys(batch, place)
            with errors(place):
                if not stored:
                    _choose_map_size(environment, info, batch)
                added = _append(environment, lists, batch)
            if added < len(batch):
                raise InputError("a listener has two lists, in different parts", where="ranked_lists")
            stored += added
            progress(stored)
        with errors(place):
            environment.sync(True)
    finally:
        environment.close()
    return stored


def _put_info(environment: lmdb.Environment, info: GenerationInfo) -> None:
    table = environment.open_db(INFO)
    _append(environment, table, [(HEADER_KEY, info.to_json())], ordered=False)
    for number, chunk in enumerate(info.chunks()):
        _append(environment, table, [(b"%d" % number, chunk)], ordered=False)


def _choose_map_size(environment: lmdb.Environment, info: GenerationInfo, batch: Sequence[tuple[bytes, bytes]]) -> None:
    """Room for all lists, judged by the first ones; it grows all the same if they are larger, or more."""
    weight = sum(len(key) + len(value) + 16 for key, value in batch) / len(batch)
    fit = max(1, int(PAGE_BYTES // weight))
    pages = info.lists / fit * max(1, weight / PAGE_BYTES) * 1.05
    now = environment.info()
    used = (now["last_pgno"] + 1) * PAGE_BYTES
    map_size = used + int(pages) * PAGE_BYTES + 4 * BATCH_BYTES
    if map_size > now["map_size"]:
        environment.set_mapsize(map_size)


def _append(
    environment: lmdb.Environment, table: Any, batch: Sequence[tuple[bytes, bytes]], *, ordered: bool = True
) -> int:
    """Store the rows, and say how many are new."""
    while True:
        try:
            with environment.begin(table, write=True) as transaction, transaction.cursor() as cursor:
                _, added = cursor.putmulti(batch, append=ordered, overwrite=not ordered)
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])
        else:
            return int(added)


def _rows_ahead(pool: Executor, batches: Iterator[list[tuple[bytes, bytes]]]) -> Iterator[tuple[bytes, bytes]]:
    """The rows of batches, of which one is worked out in the pool while that before it is taken; the first at once."""
    coming = pool.submit(next, batches, None)

    def rows() -> Iterator[tuple[bytes, bytes]]:
        following = coming
        while (batch := following.result()) is not None:
            following = pool.submit(next, batches, None)
            yield from batch

    return rows()


def _batches(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Rows in batches of about 4 MiB, so that memory stays flat whatever the lists weigh."""
    batch: list[tuple[bytes, bytes]] = []
    weight = 0
    for row in rows:
        batch.append(row)
        weight += len(row[0]) + len(row[1])
        if weight >= BATCH_BYTES:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _check_keys(batch: Sequence[tuple[bytes, bytes]], place: str) -> None:
    length = max(len(key) for key, _ in batch)
    if length > LONGEST_KEY or not batch[0][0]:
        raise InputError(
            "a user_id cannot be a key of the embedded cache",
            where=place,
            found=f"{length} bytes" if length > LONGEST_KEY else "an empty user_id",
            expected=f"1 to {LONGEST_KEY} bytes of UTF-8",
            fix="land shorter ids, or serve from Redis",
        )
