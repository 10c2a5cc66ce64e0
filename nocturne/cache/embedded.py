"""The cache in LMDB files: PATH/generations/<name>/, one immutable environment each, and PATH/pointer/."""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from nocturne.cache.base import Cache, batches
from nocturne.cache.pointer import Pointer, from_json, to_json
from nocturne.errors import InputError, ServiceError

POINTER_KEY = b"pointer"
LOADING = ".loading-"
FIRST_MAP_BYTES = 64 * 2**20
LONGEST_KEY = 511

# LMDB allows one open environment per file and process; it closes when the last cache lets go of it.
_open_environments: WeakValueDictionary[tuple[int, int], lmdb.Environment] = WeakValueDictionary()
_opening = threading.Lock()


class EmbeddedCache(Cache):
    """A cache on the local disk, read in-process. Any number of readers; one loader at a time."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__(f"lmdb:{path}", read_only=read_only)
        self._generations = path / "generations"
        self._pointer_folder = path / "pointer"
        self._pointer_environment: lmdb.Environment | None = None
        self._reading: dict[str, lmdb.Environment] = {}
        if not read_only:
            with self._errors():
                self._generations.mkdir(parents=True, exist_ok=True)
                self._pointer_folder.mkdir(exist_ok=True)

    def pointer(self) -> Pointer | None:
        """What is served; None before the first night."""
        with self._errors():
            environment = self._pointers()
            if environment is None:
                return None
            with environment.begin() as transaction:
                text = transaction.get(POINTER_KEY)
        return from_json(text) if text else None

    def _compare_and_set(self, expected: Pointer | None, new: Pointer) -> bool:
        with self._errors():
            environment = self._pointers()
            if environment is None:
                raise FileNotFoundError(self._pointer_folder)
            with environment.begin(write=True) as transaction:
                text = transaction.get(POINTER_KEY)
                current = from_json(text) if text else None
                if current == new:
                    return True
                return current == expected and transaction.put(POINTER_KEY, to_json(new))

    def _write(self, generation: str, rows: Iterable[tuple[str, bytes]]) -> int:
        with self._errors():
            # a folder of its own for each loader: two at once cannot finish each other's work
            loading = Path(tempfile.mkdtemp(prefix=f"{generation}{LOADING}", dir=self._generations))
            loading.chmod(0o755)
            environment = lmdb.open(str(loading), map_size=FIRST_MAP_BYTES, lock=False, sync=False)
        stored = 0
        try:
            for batch in batches(rows):
                self._check_keys(batch)
                with self._errors():
                    _put(environment, batch)
                stored += len(batch)
            with self._errors():
                environment.sync(True)
        finally:
            environment.close()
        with self._errors():
            _sync_folder(loading)
            loading.rename(self._generations / generation)
            _sync_folder(self._generations)
        return stored

    def read(self, generation: str, user_id: str) -> bytes | None:
        """The stored value of one listener in one generation; None if either is not there."""
        if not user_id:
            return None  # LMDB has no empty keys
        with self._errors():
            environment = self._generation(generation)
            if environment is None:
                return None
            with environment.begin() as transaction:
                return transaction.get(user_id.encode())

    def count(self, generation: str) -> int:
        """Listeners that the generation holds; 0 if it is not there."""
        with self._errors():
            environment = self._generation(generation)
            return environment.stat()["entries"] if environment else 0

    def generations(self) -> list[str]:
        """Names of all generations in the store, half-written ones too, in ascending order."""
        with self._errors():
            if not self._generations.is_dir():
                return []
            return sorted({folder.name.partition(LOADING)[0] for folder in self._generations.iterdir()})

    def _remove(self, generation: str) -> None:
        self._reading.pop(generation, None)
        with self._errors():
            for folder in [self._generations / generation, *self._generations.glob(f"{generation}{LOADING}*")]:
                if folder.is_dir():
                    shutil.rmtree(folder)

    def close(self) -> None:
        """Let go of the files; they close when no other cache of this process reads them."""
        self._pointer_environment = None
        self._reading.clear()

    def _pointers(self) -> lmdb.Environment | None:
        if self._pointer_environment is None:
            # writable also for readers, where the disk lets them: a process has one environment for both
            writable = os.access(self._pointer_folder, os.W_OK)
            written = (self._pointer_folder / "data.mdb").exists()
            if written or (writable and not self._read_only):
                self._pointer_environment = _opened(self._pointer_folder, readonly=not writable, lock=writable)
        return self._pointer_environment

    def _generation(self, name: str) -> lmdb.Environment | None:
        environment = self._reading.get(name)
        folder = self._generations / name
        if environment is None and folder.is_dir():
            pointer = self.pointer()
            kept = {generation.name for generation in pointer.kept} if pointer else set()
            self._reading = {old: held for old, held in self._reading.items() if old in kept}
            try:
                environment = self._reading[name] = _opened(folder, readonly=True, lock=False)
            except (FileNotFoundError, lmdb.Error):
                if folder.is_dir():
                    raise
                return None  # dropped since we looked
        return environment

    def _check_keys(self, batch: list[tuple[bytes, bytes]]) -> None:
        length = max(len(key) for key, _ in batch)
        if length > LONGEST_KEY or not all(key for key, _ in batch):
            raise InputError(
                "a user_id cannot be a key of the embedded cache",
                where=self.place,
                found=f"{length} bytes" if length > LONGEST_KEY else "an empty user_id",
                expected=f"1 to {LONGEST_KEY} bytes of UTF-8",
                fix="land shorter ids, or serve from Redis",
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (lmdb.Error, OSError) as error:
            raise ServiceError(
                "the serving cache failed",
                where=self.place,
                found=str(error),
                fix="check the disk's free space and the folder's permissions, then run again",
            ) from error


def _opened(folder: Path, *, readonly: bool, lock: bool) -> lmdb.Environment:
    """The environment of that folder, shared by all caches of the process."""
    with _opening:
        environment = None
        if (folder / "data.mdb").exists():
            environment = _open_environments.get(_identity(folder))
        if environment is None:
            # immutable generations need no locks, and random reads no readahead
            environment = lmdb.open(
                str(folder), readonly=readonly, create=not readonly, lock=lock, readahead=False, max_readers=1024
            )
            _open_environments[_identity(folder)] = environment
            if lock:
                environment.reader_check()  # slots of readers that died
        return environment


def _identity(folder: Path) -> tuple[int, int]:
    status = (folder / "data.mdb").stat()
    return status.st_dev, status.st_ino


def _put(environment: lmdb.Environment, batch: list[tuple[bytes, bytes]]) -> None:
    while True:
        try:
            with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
                cursor.putmulti(batch)
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])
        else:
            return


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
