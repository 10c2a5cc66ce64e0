"""Next items given what plays, beside each of its parts alone: on a simulated service, or on real sessions of Last.fm.

    .venv/bin/python -m benchmarks.now_playing [data/sets/lastfm-1k] [--night 2009-05-04] [--days 46] [--seed 4]
                                        [--listeners 3000] [--items 2000] [--set section.key=value] [--json]

Days with events up to the night are landed and ingested by the pipeline's own stages, the night is run whole, and so
is its gate; the days after it are ingested too, and their sessions asked, as `nocturne evaluate now-playing` does.
Without a folder a service is simulated: two weeks, and one day after them, whose truth is known. The tables go to
stderr; with --json, a line a block to stdout.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

from nocturne.core.console import print_rows
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import Settings, load_settings
from nocturne.evaluation.now_playing import Block, evaluate_now_playing
from nocturne.evaluation.now_playing_systems import OURS
from nocturne.evaluation.significance import summary_rows
from nocturne.flow import stage
from nocturne.ingestion.importers import IMPORTERS
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.pipeline.runner import run_night, run_stage, working_on

START = date(2025, 1, 1)
TRAINED = 14
"""Simulated days up to the night."""

LAST_FM = "2009-05-04"
TOP_K = 20


def days_with_events(landing: Path) -> list[date]:
    """The days of a landing zone that are not empty."""
    folders = sorted((landing / "events").glob("date=*"))
    return [date.fromisoformat(folder.name[5:]) for folder in folders if (folder / "_SUCCESS").read_text() != "0"]


def measure(landing: Path, folder: Path, run_date: date, days: int, settings: Settings) -> list[Block]:
    """Ingest every day, run the night, and ask."""
    places = str(landing), f"lmdb:{folder / 'cache'}"
    warehouse, last = Warehouse(str(folder / "warehouse"), settings), run_date + timedelta(days=days)
    nights = [Night(warehouse, day, *places) for day in days_with_events(landing) if day <= last]
    with working_on(nights, "night") as (spark, leased):
        for night in leased:
            if night.run_date == run_date:
                run_night(spark, night)
            else:
                run_stage(spark, night, stage("ingest_events"))
    truth = landing.with_name(f"{landing.name}-truth")
    return evaluate_now_playing(Night(warehouse, run_date), days, TOP_K, truth if truth.is_dir() else None)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", help="Last.fm 1k; without it a service is simulated")
    parser.add_argument("--night", type=date.fromisoformat, default=date.fromisoformat(LAST_FM))
    parser.add_argument("--days", type=int, default=46)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--listeners", type=int, default=3_000)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    settings = load_settings(overrides=["spark.shuffle_partitions=2", "tables.buckets=2", *options.overrides])
    with tempfile.TemporaryDirectory() as name:
        folder, landing = Path(name), Path(name) / "landing"
        if options.source:
            IMPORTERS["lastfm-1k"](options.source, landing, options.night)
            blocks = measure(landing, folder, options.night, options.days, settings)
        else:
            simulate(landing, options.listeners, options.items, TRAINED + 1, options.seed, START, corruption=0.0)
            blocks = measure(landing, folder, START + timedelta(days=TRAINED - 1), 1, settings)
    for block in blocks:
        if options.json:
            print(json.dumps(asdict(block)))
        title = f"{block.name}: {block.questions:,} questions of {block.listeners:,} listeners; differences to {OURS}"
        print_rows(summary_rows(block.means, block.differences), title, stream=sys.stderr)


if __name__ == "__main__":
    main()
