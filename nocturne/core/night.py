"""A night: the date and the places that every stage works with."""

from dataclasses import dataclass
from datetime import date

from nocturne.core.settings import Settings


@dataclass(frozen=True)
class Night:
    """What a stage is told. Nothing of a night comes from globals or the clock.

    Attributes:
        run_date: day whose listens the night ingests, UTC.
        landing: folder of the landing zone, path or URI.
        warehouse: folder of the Delta tables, path or URI.
        cache: serving cache, `lmdb:PATH` or `redis://...`.
        settings: every setting.
        token: of the lease under which tables are written; None: without one, as readers are.
    """

    run_date: date
    landing: str
    warehouse: str
    cache: str
    settings: Settings
    token: int | None = None
