"""Listeners withheld and erased in LMDB: entries beside the pointer, and files of generations written anew."""

import os
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import lmdb

from nocturne.serving.cache.base import Cache
from nocturne.serving.cache.lmdb import environments
from nocturne.serving.cache.lmdb.failures import errors, failed, sync_folder
from nocturne.serving.cache.lmdb.generations import INFO, ITEMS_FILE, LISTS
from nocturne.serving.cache.withheld import digest_of, generations_of, value_of

DATA_FILE = "data.mdb"
LOADING = ".loading-"
ANY = b"withheld"
"""There if anybody is withheld, so that readers look no further where nobody is."""

_ROOM = 16 * 2**20


class ErasingLmdbCache(Cache):
    """The part of the embedded cache by which listeners go."""

    _generations: Path
    _pointers: Any

    def _open_pointers(self) -> bool:
        raise NotImplementedError

    def let_go(self) -> None:
        """Forget all files: they are the parent's."""
        raise NotImplementedError

    def _withheld(self, user_id: str) -> bytes | None:
        environments.enter()
        try:
            return read_withheld(self._pointers.begin(), user_id) if self._pointers or self._open_pointers() else None
        except (lmdb.Error, OSError) as error:
            raise failed(self.place, error) from error
        finally:
            environments.leave()

    def withhold(self, user_ids: Sequence[str]) -> None:
        """Have these listeners read from no generation any more."""
        self._must_write()
        self._put({digest_of(user_id): value_of(None) for user_id in user_ids})

    def erase(self, generation: str, user_ids: Collection[str]) -> None:
        """Write a generation's files anew without these listeners; whoever has the files of before open keeps them."""
        self._must_write()
        self._reading.pop(generation, None)
        folder = self._generations / generation
        with environments.in_use(), errors(self.place):
            if not folder.is_dir():
                return
            source = environments.opened(folder, self, readonly=True, lock=False)
            new = Path(tempfile.mkdtemp(prefix=f"{generation}{LOADING}", dir=self._generations))
            try:
                copy_without(source, new, {user_id.encode() for user_id in user_ids})
                (new / DATA_FILE).replace(folder / DATA_FILE)  # each in one step: readers find one of them or the other
                _copy_items(folder, new, user_ids)
            finally:
                shutil.rmtree(new)
            sync_folder(folder)

    def let_back(self, user_ids: Sequence[str]) -> None:
        """Have these listeners read again: every generation that there is now was rewritten.

        Readers may have files of before open for as long as their generation is kept: it stays withheld in these.
        """
        self._must_write()
        names = self.generations()
        self._put({digest_of(user_id): value_of(names) for user_id in user_ids})
        self._forget_what_is_gone(set(names))

    def rewrite_persisted(self) -> None:
        """Nothing: files were written anew."""

    def _put(self, values: dict[str, bytes]) -> None:
        with environments.in_use(), errors(self.place):
            if self._pointers is None and not self._open_pointers():
                raise FileNotFoundError(self.place)
            with self._pointers.begin(write=True) as transaction:
                for digest, value in values.items():
                    transaction.put(b"%s/%s" % (ANY, digest.encode()), value)
                if values:
                    transaction.put(ANY, b"")

    def _forget_what_is_gone(self, names: set[str]) -> None:
        with environments.in_use(), errors(self.place), self._pointers.begin(write=True) as transaction:
            entries = [
                (bytes(key), generations_of(bytes(value)))
                for key, value in transaction.cursor()
                if bytes(key).startswith(ANY + b"/")
            ]
            gone = [key for key, of_key in entries if of_key is not None and not of_key & names]
            for key in gone:
                transaction.delete(key)
            if len(gone) == len(entries):
                transaction.delete(ANY)


def read_withheld(transaction: Any, user_id: str) -> bytes | None:
    """The value that a listener is withheld under, in a transaction on the pointers; None if they are not."""
    if transaction.get(ANY) is None:
        return None
    value: bytes | None = transaction.get(b"%s/%s" % (ANY, digest_of(user_id).encode()))
    return value


def copy_without(source: lmdb.Environment, folder: Path, keys: Collection[bytes]) -> None:
    """Copy a generation into an empty folder, without these listeners and without a page that was freed."""
    size = source.info()["map_size"] + _ROOM
    target = lmdb.open(str(folder), map_size=size, max_dbs=2, lock=False, sync=False)
    try:
        for name in (INFO, LISTS):
            entries = source.open_db(name, create=False)
            table = target.open_db(name)
            with source.begin(entries) as reading, target.begin(table, write=True) as writing:
                kept = (
                    (key, value) for key, value in reading.cursor(entries) if name == INFO or bytes(key) not in keys
                )
                with writing.cursor(table) as cursor:
                    cursor.putmulti(kept, append=True)
        target.sync(True)
    finally:
        target.close()


def _copy_items(folder: Path, new: Path, user_ids: Collection[str]) -> None:
    from nocturne.serving.cache.erased_items import items_without
    from nocturne.serving.cache.served_items import write_items  # compiles loops, which readers do without

    path = folder / ITEMS_FILE
    items = items_without(path, user_ids) if path.exists() else None
    if items is None:
        return
    with (new / ITEMS_FILE).open("wb") as file:
        write_items(items, file)
        file.flush()
        os.fsync(file.fileno())
    (new / ITEMS_FILE).replace(path)
