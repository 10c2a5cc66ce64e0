"""Generations in LMDB files as readers see them: their lists, and snapshots of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb

from nocturne.serving.cache.lmdb import environments
from nocturne.serving.cache.lmdb.failures import errors, failed
from nocturne.serving.cache.open_generation import OpenGeneration
from nocturne.serving.cache.overlay import Overlay
from nocturne.serving.cache.pointer import Generation
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.values import Decoder, ServedList
from nocturne.serving.cache.withheld import bars

LISTS, INFO = b"lists", b"about"
HEADER_KEY = b"head"
ITEMS_FILE = "items.arrow"


class LmdbGeneration(OpenGeneration):
    """The files of a generation; they are not written any more, so that no locks are needed."""

    def __init__(self, folder: Path, place: str) -> None:
        self._folder = folder
        self._place = place
        self._identity = environments.identity(folder)
        self._environment: lmdb.Environment | None = None
        self._lists: Any = None
        with environments.in_use():
            header = self._info(HEADER_KEY)
        assert header, "a loader begins with it"
        super().__init__(folder.name, Decoder(header))

    def items_file(self) -> Path | None:
        """The file of its items, which can be mapped; None in a generation of lists alone."""
        path = self._folder / ITEMS_FILE
        return path if path.exists() else None

    def read(self, user_id: str) -> bytes | None:
        """The stored value of one listener; None if there is none."""
        if not user_id:
            return None  # LMDB has no empty keys
        environments.enter()
        try:  # no name for the environment or a transaction: they must be let go before `leave`
            value: bytes | None = (self._environment or self._open()).begin(self._lists).get(user_id.encode())
        except (UnicodeEncodeError, lmdb.BadValsizeError):
            return None  # no text, or longer than any key
        except (lmdb.Error, OSError) as error:
            raise failed(self._place, error) from error
        finally:
            environments.leave()
        return value

    def read_chunk(self, number: int) -> bytes | None:
        """Item ids by number."""
        with environments.in_use(), errors(self._place):
            return self._info(b"%d" % number)

    def count(self) -> int:
        """Listeners that the generation holds, counted in the store."""
        with environments.in_use(), errors(self._place):
            return int((self._environment or self._open()).begin().stat(self._lists)["entries"])

    def is_current(self) -> bool:
        """True if its files are those that were opened."""
        try:
            return environments.identity(self._folder) == self._identity
        except OSError:
            return False

    def let_go(self) -> None:
        """Forget the files: they are the parent's."""
        self._environment = self._lists = None

    def _info(self, key: bytes) -> bytes | None:
        environment = self._environment or self._open()
        value: bytes | None = environment.begin(environment.open_db(INFO, create=False)).get(key)
        return value

    def _open(self) -> lmdb.Environment:
        if not self.is_current():
            raise FileNotFoundError(self._folder)
        environment = environments.opened(self._folder, self, readonly=True, lock=False)
        self._lists = environment.open_db(LISTS, create=False)
        self._environment = environment
        return environment


class LmdbSnapshot:
    """A snapshot."""

    def __init__(
        self,
        generation: Generation,
        files: OpenGeneration,
        overlay: Callable[[], Overlay],
        withheld: Callable[[str], bytes | None],
    ) -> None:
        self.generation = generation
        self._files = files
        self._overlay = overlay
        self._withheld = withheld

    def get(self, user_id: str) -> ServedList | None:
        """The list of this listener, without what is taken down now; None if there is none."""
        if bars(self._withheld(user_id), self.generation.name):
            return None
        return self._files.get(user_id, self._overlay().takedowns)

    def row(self, user_id: str) -> ServedRow | None:
        """The list and the row of this listener, without what is taken down now; None if there is none."""
        if bars(self._withheld(user_id), self.generation.name):
            return None
        return self._files.row(user_id, self._overlay().takedowns)

    def items_file(self) -> Path | None:
        """The file of the generation's items."""
        return self._files.items_file()

    def is_current(self) -> bool:
        """True if the files are those that the cache has under this name."""
        return self._files.is_current()
