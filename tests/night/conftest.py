"""What tests of whole nights share: a simulated service, three nights of it published, copies of them to spoil."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nocturne.night import Night
from nocturne.runner import run_nights
from nocturne.settings import load_settings
from nocturne.simulate import simulate

FIRST = date(2025, 3, 1)
NIGHTS = 3
SMALL = ("als.factors=16", "als.retrain_every_nights=1", "ranking.top_k=20", "tables.buckets=2")


@dataclass(frozen=True)
class Service:
    """A landing zone, a warehouse and a cache in one folder."""

    folder: Path

    def night(self, offset: int, *overrides: str) -> Night:
        places = [str(self.folder / name) for name in ("landing", "warehouse")]
        settings = load_settings(overrides=(*SMALL, *overrides))
        return Night(FIRST + timedelta(days=offset), *places, self.cache, settings)

    @property
    def cache(self) -> str:
        return f"lmdb:{self.folder / 'cache'}"

    @property
    def warehouse(self) -> str:
        return str(self.folder / "warehouse")


@pytest.fixture(scope="session")
def published(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Three nights of a simulated service, published. Shared: read it, or copy it."""
    service = Service(tmp_path_factory.mktemp("service"))
    simulate(service.folder / "landing", 300, 250, NIGHTS, seed=7, start=FIRST, dirt=0.02)
    run_nights([service.night(offset) for offset in range(NIGHTS)])
    return service


@pytest.fixture
def copied(published: Service, tmp_path: Path) -> Service:
    """The published service, to be changed."""
    for name in ("landing", "warehouse", "cache"):
        shutil.copytree(published.folder / name, tmp_path / name)
    return replace(published, folder=tmp_path)


@pytest.fixture
def land(tmp_path: Path) -> Callable[..., Service]:
    """A service whose days are written by hand: `land({offset: [event, ...]}, catalogue=[...])`."""
    import json

    def write(days: dict[int, list[dict[str, object]]], catalogue: list[dict[str, object]] | None = None) -> Service:
        for offset, events in days.items():
            folder = tmp_path / "landing" / "events" / f"date={FIRST + timedelta(days=offset)}"
            folder.mkdir(parents=True)
            (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
            (folder / "_SUCCESS").touch()
        items = tmp_path / "landing" / "items"
        items.mkdir(exist_ok=True)
        (items / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in catalogue or []))
        return Service(tmp_path)

    return write


def event(number: int, user: str, item: str, offset: int = 0, minute: int = 0) -> dict[str, object]:
    """An event that is right."""
    at = f"{FIRST + timedelta(days=offset)}T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z"
    return {"event_id": f"{offset}-{number}", "user_id": user, "item_id": item, "listened_at": at}
