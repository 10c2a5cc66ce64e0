"""The stage `relate_items` on an invented catalogue: everything new, carried over, and with some items withdrawn.

    .venv/bin/python -m benchmarks.related [--items 100000] [--factors 64] [--json]

Three nights in a row under one model: the first computes every row, the second none, and on the third one item in a
hundred is withdrawn and one in a thousand comes back. For each: seconds of the stage, wall and processor, and of its
validation, memory that the process took at most, and bytes written.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from benchmarks.load import tell_load
from benchmarks.memory import watching
from nocturne.core.console import print_rows
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.pipeline.stages import STAGES
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.warehouse import create_missing
from nocturne.training import registry
from nocturne.training.als import Training
from nocturne.training.model import Model
from nocturne.training.principal_axes import principal_axes
from nocturne.validation.profiles.related_items import related_items

FIRST = date(2025, 1, 1)
NIGHTS = {"all new": (), "nothing changed": (), "some withdrawn": (0.01, 0.001)}
TYPES = (("track", 0.6), ("podcast_episode", 0.3), ("audiobook", 0.1))
NEIGHBOURS = 50


def invent_model(items: int, factors: int) -> Model:
    """Items in groups of taste, and for each the items that it is heard after, popular ones most."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(max(1, items // 200), factors))
    noisy = centres[rng.integers(0, len(centres), items)] + 0.7 * rng.normal(size=(items, factors))
    rotated, spectrum = principal_axes(noisy.astype(np.float32))
    listeners = np.ceil(rng.pareto(1.1, items)).astype(np.int64) + 1
    before = np.sort((items * rng.random((items, NEIGHBOURS)) ** 3).astype(np.int32), axis=1)
    before[:, 1:][before[:, 1:] == before[:, :-1]] = -1
    settings = load_settings(overrides=[f"als.factors={factors}", f"als.neighbours={NEIGHBOURS}"]).als
    return Model(
        "invented", settings, FIRST, 90.0, np.arange(items, dtype=np.int32), item_ids(items), rotated, spectrum,
        np.ones(items), np.ones(items), listeners, {}, before[:, :0], np.zeros((items, 0), np.float32),
        before, rng.random((items, NEIGHBOURS), dtype=np.float32), np.zeros(items, np.int64),
    )  # fmt: skip


def item_ids(items: int) -> pa.Array:
    """Ids of seven digits."""
    return pa.array([f"t{item:07d}" for item in range(items)])


def catalogue(items: int, night: Night, withdrawn: float, back: float) -> pa.Table:
    """The night's catalogue, in which shares of the items are withdrawn, or no longer so."""
    rng = np.random.default_rng(2)
    kinds = rng.choice([name for name, _ in TYPES], items, p=[share for _, share in TYPES])
    chance = rng.random(items)
    absent = np.where(chance < 0.005, chance >= back, chance >= 1 - withdrawn)
    columns = {
        "run_date": pa.repeat(pa.scalar(night.run_date), items),
        "item_id": item_ids(items),
        "content_type": pa.array(kinds),
        "creator": pa.array([f"c{number}" for number in rng.integers(0, max(1, items // 10), items)]),
        "absent": pa.array(absent),
    }
    schema = contract("items").arrow_schema
    return pa.table([columns.get(each.name, pa.nulls(items, each.type)) for each in schema], schema=schema)


def run(folder: str, items: int, factors: int) -> Iterator[dict[str, object]]:
    """The nights, one after another."""
    settings = load_settings(overrides=[f"als.factors={factors}", "tables.buckets=1"])
    night = Night(Warehouse(folder, settings), FIRST)
    create_missing(night.warehouse)
    index = {"first_night": pa.repeat(pa.scalar(FIRST), items), "item_index": np.arange(items, dtype=np.int32)}
    writing.replace_night(pa.table(index | {"item_id": item_ids(items)}), "item_index", night)
    training = Training(invent_model(items, factors), None, 1.0, 1.0, 1, 1, (1.0,))
    registry.add_live(night, registry.Trained(training, {}, 0.0), "invented")
    for offset, (name, changes) in enumerate(NIGHTS.items()):
        night = night.on(FIRST + timedelta(days=offset))
        writing.replace_night(catalogue(items, night, *(changes or (0.0, 0.0))), "items", night)
        with watching() as peak:
            started, worked = time.perf_counter(), time.process_time()
            done = STAGES["relate_items"](None, night, lambda *_: None)
            seconds, processor = time.perf_counter() - started, time.process_time() - worked
        started = time.perf_counter()
        profile = related_items(night)
        yield {
            "night": name,
            "seconds": round(seconds, 1),
            "processor_seconds": round(processor, 1),
            "validation_seconds": round(time.perf_counter() - started, 1),
            "peak_mib": round(peak.total),
            "bytes_written": sum(tables.files(night, "related_items")["size_bytes"].to_pylist()),
            "rows": tables.count(night, "related_items"),
            "remark": done.remark,
            "unlike_recomputed": profile["unlike_recomputed"],
        }


def main(argv: list[str] | None = None) -> None:
    """Run the nights in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.related", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    tell_load()
    with tempfile.TemporaryDirectory() as folder:
        lines = list(run(folder, arguments.items, arguments.factors))
    if arguments.json:
        for line in lines:
            sys.stdout.write(json.dumps(line) + "\n")
    else:
        print_rows(lines, "nights")


if __name__ == "__main__":
    main()
