"""A simulated service that is small enough to be broken hundreds of times, and readings of its state."""

import re
import shutil
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import redis

from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.flow import NIGHTLY, PUBLICATION
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.serving.cache import Pointer, open_cache

FIRST = date(2025, 3, 1)
STAGES = tuple(stage.name for stage in NIGHTLY[: NIGHTLY.index(PUBLICATION)])
"""Stages before the refresh."""
LISTENERS, ITEMS = 150, 120
SETTINGS = """
[als]
factors = 8
iterations = 3
retrain_every_nights = {retrain_every}
[ranking]
top_k = 20
[tables]
buckets = 2
[spark]
driver_memory = "1g"
shuffle_partitions = 2
"""


@dataclass(frozen=True)
class Service:
    """A landing zone, a warehouse and a cache.

    Attributes:
        folder: of the warehouse, and of the cache if that is embedded.
        landing: may be shared with other services.
        cache: URL.
    """

    folder: Path
    landing: Path
    cache: str

    @classmethod
    def simulate(cls, folder: Path, nights: int, seed: int = 7, retrain_every: int = 1, more: str = "") -> "Service":
        """A new service; nothing of it is published."""
        folder.mkdir(parents=True, exist_ok=True)
        simulate(folder / "landing", LISTENERS, ITEMS, nights, seed=seed, start=FIRST, corruption=0.02)
        (folder / "landing.toml").write_text(SETTINGS.format(retrain_every=retrain_every) + more, encoding="utf-8")
        return cls(folder, folder / "landing", f"lmdb:{folder}/cache")

    def copy_to(self, folder: Path, cache: str = "") -> "Service":
        """A copy of warehouse and embedded cache, on the same landing zone.

        Args:
            cache: another one to go on with.
        """
        folder.mkdir(parents=True)
        for name in ("warehouse", "cache"):
            if (self.folder / name).exists():
                shutil.copytree(self.folder / name, folder / name)
        return replace(self, folder=folder, cache=cache or f"lmdb:{folder}/cache")

    @property
    def warehouse(self) -> str:
        """Folder of the tables."""
        return str(self.folder / "warehouse")

    @property
    def conf(self) -> str:
        """The settings file."""
        return str(self.landing.with_suffix(".toml"))

    def night(self, offset: int) -> Night:
        """A night by its number."""
        warehouse = Warehouse(self.warehouse, load_settings(self.conf))
        return Night(warehouse, FIRST + timedelta(days=offset), str(self.landing), self.cache)

    def options(self, offset: int, *more: str) -> list[str]:
        """The options of a command line for a night."""
        day = str(FIRST + timedelta(days=offset))
        places = ["--landing", str(self.landing), "--warehouse", self.warehouse, "--cache", self.cache]
        return ["--run-date", day, *places, "--conf", self.conf, *more]


def read_pointer(url: str) -> Pointer | None:
    """The pointer of a cache, without the place of its warehouse."""
    with open_cache(url, read_only=True) as cache:
        pointer = cache.pointer()
    return replace(pointer, warehouse="") if pointer else None


def cache_contents(url: str) -> list[str]:
    """Names of all folders or keys of a cache; what a load invents in them is `*`."""
    if url.startswith("lmdb:"):
        path = Path(url.partition(":")[2])
        return sorted(str(entry.relative_to(path)) for entry in path.glob("*/*") if entry.name != "lock.mdb")
    keys = redis.Redis.from_url(url).keys("*")
    return sorted(re.sub(r":[0-9a-f]{8}:(?=(\d+|items)$)", ":*:", key.decode()) for key in keys)  # type: ignore[union-attr]


def measure_folder(folder: Path) -> tuple[int, int]:
    """Files below a folder, and their bytes."""
    sizes: list[Any] = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)
