"""Costs of lists of content types: listeners ranked with shelves of three types, beside the same without.

    .venv/bin/python -m benchmarks.shelves [--simulated 200000 40000] [--factors 64] [--json]

Three quarters of the items are tracks, a fifth podcast episodes, a twentieth audiobooks, drawn at random. On the first
night everything is computed; on the second nobody's row has changed, so that everything is carried over; on the third a
hundredth of the items may be listed for the first time. Each night runs with and without shelves in turn, a first run
of each warms up, and the median of the others counts: processor time of the tasks, wall time of the stage. Bytes are
those of `pools`, `ranked_lists` and `shelf_lists`. The table goes to stderr; with --json, a line per night to stdout.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix

from benchmarks.load import tell_load
from benchmarks.spark_rank import DAY, ROUNDS, simulated, write_index, write_matrix
from nocturne.core.console import print_rows
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.pipeline.stages import STAGES
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.warehouse import create_missing

WAYS = {"without": "[]", "with": '["track", "podcast_episode", "audiobook"]'}
NIGHTS = ("computed in full", "carried over", "1 % of the items merged")
SHARES = {"track": 0.75, "podcast_episode": 0.2, "audiobook": 0.05}
OF_SHELVES = ("shelve", "list shelves")
"""Steps of ranking that there are with shelves alone."""


def write_items(night: Night, items: int) -> None:
    """Write a catalogue in which a hundredth of the items begins on the third night."""
    rng = np.random.default_rng(1)
    types = rng.choice(list(SHARES), items, p=list(SHARES.values()))
    late = rng.random(items) < 0.01
    rows = [
        {"run_date": night.run_date, "item_id": f"i{item:05d}", "content_type": kind, "absent": False}
        | {"available_from": DAY + timedelta(days=2) if new else None}
        for item, (kind, new) in enumerate(zip(types.tolist(), late.tolist(), strict=True))
    ]
    writing.replace_night(pa.Table.from_pylist(rows, schema=contract("items").arrow_schema), "items", night)


def rank(spark: SparkSession, night: Night) -> tuple[dict[str, float], float]:
    """Processor seconds of ranking, by step, and the wall time of the whole stage."""
    started = time.perf_counter()
    STAGES["rank_users"](spark, night, lambda *_: None)
    wall = time.perf_counter() - started
    (row,) = tables.night_rows(night, "rankings", ["seconds"]).to_pylist()
    return dict(row["seconds"]), wall


def measure(spark: SparkSession, name: str, nights: dict[str, Night]) -> dict[str, object]:
    """One night with and without shelves."""
    runs: dict[str, list[tuple[dict[str, float], float]]] = {way: [] for way in nights}
    for _ in range(ROUNDS):
        for way, night in nights.items():
            runs[way].append(rank(spark, night))
    seconds = {
        way: float(np.median([sum(steps.values()) for steps, _ in counted[1:]])) for way, counted in runs.items()
    }
    wall = {way: float(np.median([wall for _, wall in counted[1:]])) for way, counted in runs.items()}
    sizes = {way: _bytes(night) for way, night in nights.items()}
    steps = {
        step: round(float(np.median([by_step[step] for by_step, _ in runs["with"][1:]])), 2) for step in OF_SHELVES
    }
    return {
        "night": name,
        "listeners": tables.count(nights["with"], "interactions"),
        "without": round(seconds["without"], 2),
        "with": round(seconds["with"], 2),
        "more": f"{seconds['with'] / seconds['without'] - 1:+.1%}",
        **steps,
        "wall_without": round(wall["without"], 2),
        "wall_with": round(wall["with"], 2),
        "bytes_without": sizes["without"],
        "bytes_with": sizes["with"],
        "more_bytes": f"{sizes['with'] / sizes['without'] - 1:+.1%}",
        "of_lists": _bytes(nights["with"], ["shelf_lists"]),
    }


def _bytes(night: Night, names: Sequence[str] = ("pools", "ranked_lists", "shelf_lists")) -> int:
    return sum(sum(tables.files(night, table)["size_bytes"].to_pylist()) for table in names)


def _nights(folder: Path, heard: csr_matrix, factors: int) -> Iterator[dict[str, object]]:
    services = {way: _service(folder, way, types, factors) for way, types in WAYS.items()}
    days = [DAY + timedelta(days=offset) for offset in range(len(NIGHTS))]
    with spark_session(services["with"].settings.spark, "benchmark") as spark:
        for night in services.values():
            create_missing(night.warehouse)
            write_index(night, heard.shape[1])
            for day in days:
                write_items(night.on(day), heard.shape[1])
                write_matrix(spark, night.on(day), heard)
            STAGES["train_als"](spark, night, lambda *_: None)
        for name, day in zip(NIGHTS, days, strict=True):
            yield measure(spark, name, {way: night.on(day) for way, night in services.items()})


def _service(folder: Path, way: str, types: str, factors: int) -> Night:
    settings = load_settings(
        overrides=[f"als.factors={factors}", 'als.recipe="settings"', f"ranking.shelf_types={types}"]
    )
    return Night(Warehouse(str(folder / way), settings), DAY, str(folder / "landing"), f"lmdb:{folder / way}-cache")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=int, nargs=2, metavar=("LISTENERS", "ITEMS"), default=[200_000, 40_000])
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    heard = simulated(*options.simulated)
    heard.sort_indices()
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for line in _nights(Path(scratch), heard, options.factors):
            lines.append(line)
            if options.json:
                print(json.dumps(line), flush=True)
    print_rows(lines, "lists of three content types", stream=sys.stderr)


if __name__ == "__main__":
    main()
