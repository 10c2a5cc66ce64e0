"""A warehouse and a night of it: all that a stage is told. Nothing comes from globals or the clock."""

from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from nocturne.core.errors import UsageError
from nocturne.core.settings import Settings
from nocturne.core.stage import Access

_UNSAFE = frozenset("[]{}*?\\^|%")
"""Characters that Delta's libraries take for a pattern or an escape, or give up on, in the path of a table."""


@dataclass(frozen=True)
class Warehouse:
    """Delta tables in one folder.

    Attributes:
        path: the folder, path or URI.
        settings: every setting.
        token: of the lease under which tables are written; None: without one, as readers are.
        access: what the stage at work may open; None: every table, as people and tests may.
        opened: tables that were opened, by name, to be read as they were then; None: each is opened anew.
    """

    path: str
    settings: Settings
    token: int | None = None
    access: Access | None = None
    opened: dict[str, Any] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        unsafe = sorted(character for character in _UNSAFE.intersection(self.folder) if "://" not in self.path)
        if unsafe or not self.path.isprintable():
            raise UsageError(
                "a warehouse cannot lie in a folder of this name",
                where=self.folder,
                found=" ".join(unsafe) or "a character that cannot be printed",
                expected=f"a path without {' '.join(sorted(_UNSAFE))}",
                fix="give another --warehouse; landing zone and cache may stay where they are",
            )

    @property
    def folder(self) -> str:
        """The folder, absolute where it is a local one."""
        return self.path if "://" in self.path else str(Path(self.path).absolute())

    def at_one_time(self) -> "Warehouse":
        """The same for one operation of one thread: it reads every table as it was when it first opened it.

        It also changes it on top of that: whatever others changed of the same rows since then is a conflict.
        """
        return replace(self, opened={})

    def table_path(self, table: str) -> str:
        """Folder of a table."""
        return f"{self.folder}/{table}"


@dataclass(frozen=True)
class Night:
    """A day of a warehouse's service.

    Attributes:
        warehouse: where its tables are read and written.
        run_date: day whose listens the night ingests, UTC.
        landing: folder of the landing zone, path or URI; "" where nothing is ingested.
        cache: serving cache, `lmdb:PATH` or `redis://...`; "" where nothing is served.
    """

    warehouse: Warehouse
    run_date: date
    landing: str = ""
    cache: str = ""

    @property
    def settings(self) -> Settings:
        """Every setting, as the warehouse has them."""
        return self.warehouse.settings

    def on(self, run_date: date) -> "Night":
        """Another night of the same service."""
        return replace(self, run_date=run_date)

    def at_one_time(self) -> "Night":
        """The same night, in its warehouse at one time."""
        return replace(self, warehouse=self.warehouse.at_one_time())

    def with_settings(self, settings: Settings) -> "Night":
        """The same night with other settings."""
        return replace(self, warehouse=replace(self.warehouse, settings=settings))

    def under(self, access: Access) -> "Night":
        """The same night, for a stage that may open its declared tables alone."""
        return replace(self, warehouse=replace(self.warehouse, access=access))
