"""Simulation of a service: its landing zone, and beside it the truth that its events were drawn from."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.core.atomic_write import open_atomically
from nocturne.core.errors import UsageError
from nocturne.ingestion.importers.landing_writer import claim_landing, publish_day
from nocturne.ingestion.simulator.delivery import DelayedEvents, write_night
from nocturne.ingestion.simulator.memory import truth_folder
from nocturne.ingestion.simulator.names import TOPICS
from nocturne.ingestion.simulator.sessions import END, STAY
from nocturne.ingestion.simulator.world import FACTORS, Items, Scenario, catalogue, make_items, make_listeners

__all__ = ["SimulationSummary", "simulate"]


@dataclass(frozen=True)
class SimulationSummary:
    """The counts of a simulation, and where its truth lies.

    Attributes:
        days: first and last landing day.
        rows: rows landed, corrupted ones included.
        items: rows of the catalogue.
        listeners: listeners, those included who join later.
        kinds: rows by kind, over all nights.
        truth: folder of the truth, Parquet.
    """

    days: tuple[date, date]
    rows: int
    items: int
    listeners: int
    kinds: dict[str, int]
    truth: Path


def simulate(
    landing: Path,
    listeners: int,
    items: int,
    nights: int,
    seed: int,
    start: date,
    corruption: float = 0.01,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationSummary:
    """Simulate a service night by night; memory depends on the items, not on the listeners.

    The same arguments write the same bytes; more nights leave the earlier ones as they were.

    Args:
        landing: landing zone to write; the truth goes to the folder `<landing>-truth` beside it.
        listeners: listeners, a tenth of whom join over the nights.
        items: items, a tenth of which appear over the nights.
        nights: nights to simulate.
        seed: of every random number.
        start: first night.
        corruption: corrupted events per sound one, 0 to 1; `--dirt` of the command.
        progress: called with the blocks of listeners done and their total, after each.

    Raises:
        UsageError: a number is out of range, or the landing zone is another producer's.
    """
    _require_between("listeners", listeners, 1, 10**8)
    _require_between("items", items, 1, 10**7)
    _require_between("nights", nights, 1, 10**4)
    _require_between("seed", seed, 0, 2**63)
    _require_between("dirt", corruption, 0, 1)
    scenario = Scenario(listeners, items, seed, start, corruption)
    landing = landing.absolute()
    claim_landing(landing, f"simulate {scenario.arguments}")
    world = make_items(scenario)
    _write(landing / "items" / "items.parquet", [catalogue(scenario, world)])
    truth = truth_folder(landing)
    _write_truth(scenario, world, truth)

    steps = len(scenario.blocks()) * nights
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, steps)

    delayed = DelayedEvents()
    counts: list[Counter[str]] = []
    for night in range(nights):

        def write(folder: Path, night: int = night) -> int:
            counts.append(write_night(scenario, world, night, delayed, folder, tick))
            return counts[-1].total()

        publish_day(landing, start + timedelta(days=night), write)
    _write(truth / "nights.parquet", [_count_table(start, counts)])
    kinds = dict(sum(counts, Counter[str]()))
    days = start, start + timedelta(days=nights - 1)
    return SimulationSummary(days, sum(kinds.values()), items, listeners, kinds, truth)


def _require_between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise UsageError(
            "the simulation is out of range", where=name, found=str(value), expected=f"{least:g} to {most:g}"
        )


def _write_truth(scenario: Scenario, world: Items, truth: Path) -> None:
    truth.mkdir(parents=True, exist_ok=True)
    names = [*(topic.name for topic in TOPICS), "mainstream"]
    _write(truth / "topics.parquet", [pa.table({"factor": np.arange(FACTORS), "name": names})])
    items = pa.table(
        {
            "item_id": world.ids,
            "popularity": world.popularity,
            "first_night": world.first_night,
            "factors": _vectors(world.factors()),
        }
    )
    _write(truth / "items.parquet", [items])
    _write(truth / "listeners.parquet", _listener_tables(scenario, world))
    _write(truth / "sessions.parquet", [pa.table({"stay": [STAY], "end": [END]})])


def _listener_tables(scenario: Scenario, world: Items) -> Iterator[pa.Table]:
    for first in scenario.blocks():
        block = make_listeners(scenario, world, first)
        yield pa.table(
            {
                "user_id": block.ids,
                "rate": block.rate,
                "first_night": block.first_night,
                "bot": block.bot,
                "factors": _vectors(block.tastes),
            }
        )


def _vectors(matrix: np.ndarray) -> pa.Array:
    """One list of float32 for each row."""
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.astype(np.float32).ravel()))


def _count_table(start: date, counts: list[Counter[str]]) -> pa.Table:
    rows = [
        {"run_date": start + timedelta(days=night), "kind": kind, "rows": count}
        for night, kinds in enumerate(counts)
        for kind, count in sorted(kinds.items())
    ]
    return pa.Table.from_pylist(rows, pa.schema({"run_date": pa.date32(), "kind": pa.string(), "rows": pa.int64()}))


def _write(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema to one file, which appears when it is whole."""
    remaining = iter(tables)
    first = next(remaining)
    part = path.with_name(f".{path.name}.partial")
    with open_atomically(path, part) as file, pq.ParquetWriter(file, first.schema, compression="zstd") as parquet:
        parquet.write_table(first)
        for table in remaining:
            parquet.write_table(table)
