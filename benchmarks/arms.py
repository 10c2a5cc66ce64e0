"""Costs of an experiment: a night ranked and validated with one running, beside the same night without.

    .venv/bin/python -m benchmarks.arms [--simulated 200000 40000] [--slots 100] [--factors 64] [--json]

An experiment on --slots thousandths of the listeners, whose treatment is another recipe, runs on two nights. On the
first everything is computed; on the second nobody's row has changed, so that everything is carried over. Each night
runs with and without it in turn, a first run of each warms up, and the median of the others counts. The model of the
treatment is trained beforehand. The table goes to stderr; with --json, a line per night to stdout.
"""

import argparse
import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix

from benchmarks.load import tell_load
from benchmarks.spark_rank import DAY, ROUNDS, simulated, write_index, write_matrix
from nocturne.core.console import print_rows
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.flow import stage
from nocturne.pipeline.stages import STAGES
from nocturne.storage import tables
from nocturne.storage.warehouse import create_missing
from nocturne.validation.validate_table import validate

EXPERIMENT = """
hypothesis = "What does it cost?"
start = {start}
end = {end}
salt = "arms"
first_slot = 0
slots = {slots}
looks = [2]
[arms.control]
weight = 1
[arms.other]
weight = 1
recipe = {{ regularization = 50.0 }}
[metrics.plays]
role = "success"
measure = "plays"
minimum_effect = 0.01
"""


def rank(spark: SparkSession, night: Night) -> tuple[float, float]:
    """Seconds of ranking, and of validating what it wrote."""
    started = time.perf_counter()
    STAGES["rank_users"](spark, night, lambda *_: None)
    ranked = time.perf_counter()
    validate(spark, night, stage("rank_users").writes)
    return ranked - started, time.perf_counter() - ranked


def measure(spark: SparkSession, name: str, nights: dict[str, Night]) -> dict[str, object]:
    """One night with and without an experiment."""
    runs: dict[str, list[tuple[float, float]]] = {way: [] for way in nights}
    for _ in range(ROUNDS):
        for way, night in nights.items():
            runs[way].append(rank(spark, night))
    without, running = (np.median(np.array(runs[way][1:]), axis=0) for way in ("without", "running"))
    night = nights["running"]
    written = {way: _bytes(each) for way, each in nights.items()}
    return {
        "night": name,
        "listeners": tables.count(night, "interactions"),
        "members": tables.count(night, "assignments"),
        "rank_seconds": round(float(without[0]), 2),
        "with_experiment": round(float(running[0]), 2),
        "more": f"{running[0] / without[0] - 1:+.1%}",
        "validation_seconds": round(float(without[1]), 2),
        "validation_with_experiment": round(float(running[1]), 2),
        "more_bytes": f"{written['running'] / written['without'] - 1:+.1%}",
    }


def _bytes(night: Night) -> int:
    files = [tables.files(night, table)["size_bytes"].to_pylist() for table in stage("rank_users").writes]
    return sum(sum(sizes) for sizes in files)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=int, nargs=2, metavar=("LISTENERS", "ITEMS"), default=[200_000, 40_000])
    parser.add_argument("--slots", type=int, default=100, help="of 1,000")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tell_load()
    heard = simulated(*options.simulated)
    heard.sort_indices()
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for line in _nights(Path(scratch), heard, options):
            lines.append(line)
            if options.json:
                print(json.dumps(line), flush=True)
    print_rows(lines, f"an experiment on {options.slots / 10:g} % of the listeners", stream=sys.stderr)


def _nights(folder: Path, heard: csr_matrix, options: argparse.Namespace) -> list[dict[str, object]]:
    experiments = folder / "experiments"
    experiments.mkdir()
    definition = EXPERIMENT.format(start=DAY, end=DAY + timedelta(days=1), slots=options.slots)
    (experiments / "costs.toml").write_text(definition, encoding="utf-8")
    services = {way: _service(folder, way, options.factors) for way in ("without", "running")}
    lines = []
    with spark_session(services["running"].settings.spark, "benchmark") as spark:
        for night in services.values():
            create_missing(night.warehouse)
            write_index(night, heard.shape[1])
            for day in (DAY, DAY + timedelta(days=1)):
                write_matrix(spark, night.on(day), heard)
            STAGES["train_als"](spark, night, lambda *_: None)
        lines.append(measure(spark, "computed in full", services))
        second = {way: night.on(DAY + timedelta(days=1)) for way, night in services.items()}
        lines.append(measure(spark, "carried over", second))
    return lines


def _service(folder: Path, way: str, factors: int) -> Night:
    experiments = folder / ("experiments" if way == "running" else "none")
    settings = load_settings(
        overrides=[f"als.factors={factors}", 'als.recipe="settings"', f'experiments.folder="{experiments}"']
    )
    return Night(Warehouse(str(folder / way), settings), DAY, str(folder / "landing"), f"lmdb:{folder / way}-cache")


if __name__ == "__main__":
    main()
