"""Cost of a day of reactions to lists, when listeners remember seven days of them.

    .venv/bin/python -m benchmarks.reactions [--listeners 100000] [--items 20000] [--length 50] [--days 8] [--json]

Everybody has popular items in an order of their own, anew each day. Printed of each day: seconds in all, those of
processors, and those until the organic events were written; lists that were opened, plays that they caused; peak
memory of the process.
"""

import argparse
import resource
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.console import print_rows
from nocturne.ingestion.simulator.reacted_day import ServedNight, react, read_scenario
from nocturne.ingestion.simulator.reactions import World
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.ingestion.simulator.world import make_listeners

START = date(2025, 1, 1)
POPULAR = 4
"""Popular items that lists are drawn from, in lengths of a list."""


def draw_lists(world: World, length: int, day: int) -> pa.Table:
    """A list for each listener."""
    rng = np.random.default_rng(day)
    blocks = [make_listeners(world.scenario, world.items, first).ids for first in world.scenario.blocks()]
    users = pa.concat_arrays(blocks)
    popular = np.argsort(-world.items.popularity)[: POPULAR * length]
    chosen = rng.permuted(np.tile(popular, (len(users), 1)), axis=1)[:, :length]
    items = world.items.ids.take(pa.array(chosen.ravel()))
    structs = pa.StructArray.from_arrays([items, pa.array(np.ones(chosen.size))], ["item_id", "score"])
    offsets = pa.array(np.arange(len(users) + 1, dtype=np.int32) * chosen.shape[1])
    texts = {name: pa.repeat(text, len(users)) for name, text in (("arm", "control"), ("source", "als"))}
    nothing = {
        "market": pa.nulls(len(users), pa.string()),
        "propensities": pa.nulls(len(users), pa.list_(pa.float64())),
    }
    model = {"model_version": pa.repeat("als-1", len(users))}
    return pa.table({"user_id": users, "items": pa.ListArray.from_arrays(offsets, structs)} | texts | nothing | model)


def measure(world: World, landing: Path, length: int, day: int) -> dict[str, Any]:
    """A day of reactions, landed."""
    lists = draw_lists(world, length, day)

    def between(first: str, last: str) -> pa.Table:
        users = lists["user_id"]
        return lists.filter(pc.and_(pc.greater_equal(users, first), pc.less_equal(users, last)))

    run_date = START + timedelta(days=day)
    organic: list[float] = []
    began, processor_began = time.perf_counter(), time.process_time()
    night = ServedNight(run_date, f"{run_date}-00000000", between)
    summary = react(landing, night, progress=lambda *_: organic.append(time.perf_counter() - began))
    seconds = time.perf_counter() - began
    return {
        "day": day + 1,
        "seconds": seconds,
        "processor_seconds": time.process_time() - processor_began,
        "organic": organic[len(world.scenario.blocks()) - 1],
        "opened": summary.opened,
        "plays": summary.plays,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        landing = Path(folder) / "landing"
        simulate(landing, options.listeners, options.items, 1, seed=1, start=START)
        world = World.of(read_scenario(landing))
        rows = [measure(world, landing, options.length, day) for day in range(options.days)]
    print_rows(rows, "days of reactions", as_json=options.json)


if __name__ == "__main__":
    main()
