"""Time of one answer of what comes next, for listeners beside an experiment on it and for those in it.

    .venv/bin/python -m benchmarks.playing_arms [--items 20000] [--requests 3000] [--seed 4] [--json]

A generation is invented as `benchmarks.serve` does, and read with an experiment of three treatments, and without it.
Each request, an item that plays and two before it, is answered once for nothing, so that its items are near, and then
for a listener of each kind, in an order that rotates; in this process, without a service around it. The table goes to
stderr; with --json, a line per row to stdout.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.serve import GENERATION, KIND, Rows, invent_items
from nocturne.core.console import print_rows
from nocturne.serving.cache import GenerationInfo, Pointer, open_cache
from nocturne.serving.cache.items_info import ItemsInfo
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ServedItems, write_items
from nocturne.serving.now_playing import Filters, now_playing
from nocturne.serving.reader import Reader

LISTENERS = 500
TREATMENTS = ("one", "two", "three")
KINDS = {
    "no experiment runs": ("without", "control"),
    "an experiment runs, the listener is in none": ("with", "control"),
    "in a treatment: answered twice": ("with", "mix/one"),
    "in control of three treatments: answered four times": ("with", "mix/control"),
}
"""By what the table calls them, the generation and the label of the listeners."""


class Request(NamedTuple):
    """Who asks, and what they hear."""

    row: ServedRow
    playing: str
    recent: list[str]


def with_experiment(info: ItemsInfo) -> ItemsInfo:
    """The same with an experiment of some treatments."""
    labels = {name: f"mix/{name}" for name in TREATMENTS}
    weights = {
        label: {**info.now_playing, "popularity_weight": 0.1 * number}
        for number, label in enumerate(labels.values(), start=1)
    }
    counterparts = {label: {name: "mix/control"} for name, label in labels.items()}
    return replace(
        info,
        arm_weights={"mix/control": info.now_playing, **weights},
        counterparts={"mix/control": labels, **counterparts},
    )


def invent(folder: Path, items: int, requests: int, seed: int) -> tuple[dict[str, ServedItems], list[Request]]:
    """Both generations, and requests of listeners who are in no experiment."""
    table = invent_items(items, seed)
    write_items(table, str(folder / "items"))
    served = {name: ServedItems(folder / "items") for name in ("without", "with")}
    served["with"].info = with_experiment(served["with"].info)
    with open_cache(f"lmdb:{folder / 'cache'}") as cache:
        info = GenerationInfo(GENERATION.run_date, LISTENERS, (KIND,), table["item_id"], ("SE",), table)
        cache.load(GENERATION.name, info, [Rows(LISTENERS, table["item_id"].combine_chunks(), seed)])
        cache.swap_pointer(None, Pointer(GENERATION))
        reader = Reader(cache)
        rows = [reader.served().row(f"u{number:08d}") for number in range(LISTENERS)]
        reader.close()
    played = np.random.default_rng(seed).integers(0, items, (requests, 3))
    ids = [[f"t{number:07d}" for number in numbers] for numbers in played.tolist()]
    known = [row for row in rows if row is not None]
    return served, [Request(known[at % len(known)], *_split(names)) for at, names in enumerate(ids)]


def _split(names: list[str]) -> tuple[str, list[str]]:
    return names[0], names[1:]


def measure(served: dict[str, ServedItems], requests: list[Request]) -> list[dict[str, object]]:
    """Microseconds of an answer, by kind of listener; the first tenth of the requests is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in KINDS}
    for number, request in enumerate(requests):
        for items in served.values():
            now_playing(items, request.row, request.playing, request.recent, Filters())
        for name in np.roll(list(KINDS), number).tolist():
            generation, label = KINDS[name]
            row = request.row._replace(kind=KIND._replace(arm=label))
            started = time.perf_counter()
            now_playing(served[generation], row, request.playing, request.recent, Filters())
            taken[name].append(time.perf_counter() - started)
    counted = {name: 1e6 * np.array(seconds[len(seconds) // 10 :]) for name, seconds in taken.items()}
    return [
        {"listener": name, "median µs": round(float(np.median(each)), 1), "fastest µs": round(float(each.min()), 1)}
        for name, each in counted.items()
    ]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(*invent(Path(folder), options.items, options.requests, options.seed))
    for row in rows:
        if options.json:
            print(json.dumps(row))
    print_rows(rows, "An answer of 20 items, what plays and two before it", stream=sys.stderr)


if __name__ == "__main__":
    main()
