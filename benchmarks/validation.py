"""Cost of validating each table, beside that of making it.

    .venv/bin/python -m benchmarks.validation --listeners 100000 [--items 10000] [--json]

Simulates one day of a service, runs the stages of its night in one Spark session, started before the clock,
and validates what each of them wrote: tables of a stage side by side, so that their seconds overlap. The table goes to
stderr; with --json, a line per stage and table to stdout.
"""

import argparse
import json
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from benchmarks.load import tell_load
from nocturne.core.console import print_rows, say
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.flow import GATED_TABLES, NIGHTLY
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.pipeline.stages import STAGES
from nocturne.storage import tables
from nocturne.storage.warehouse import create_missing
from nocturne.validation.validate_table import validate

DAY = date(2025, 1, 1)


def measure(listeners: int, items: int, folder: Path, overrides: list[str]) -> list[dict[str, float | str]]:
    """Seconds of every stage, and of validating every table that it wrote."""
    simulate(folder / "landing", listeners, items, 1, seed=1, start=DAY)
    settings = load_settings(overrides=overrides)
    night = Night(
        Warehouse(str(folder / "warehouse"), settings), DAY, str(folder / "landing"), f"lmdb:{folder / 'cache'}"
    )
    measured: list[dict[str, float | str]] = []
    with spark_session(settings.spark, "benchmark") as spark:
        create_missing(night.warehouse)
        spark.range(1).count()
        for stage in NIGHTLY:
            started = time.monotonic()
            STAGES[stage.name](spark, night, lambda *_: None)
            measured.append({"stage": stage.name, "seconds": time.monotonic() - started})
            written = [table for table in stage.writes if table in GATED_TABLES]
            started = time.monotonic()
            for verdict in validate(spark, night, written) if written else []:
                rows = tables.count(night, verdict.table)
                measured.append({"table": verdict.table, "rows": rows, "seconds": verdict.seconds})
            measured.append({"validation of": stage.name, "seconds": time.monotonic() - started})
    return measured


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, required=True)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tell_load()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(arguments.listeners, arguments.items, Path(folder), arguments.overrides)
    rows: list[dict[str, object]] = []
    for line in measured:
        if "validation of" not in line:
            name = line.get("stage") or f"  {line['table']}"
            rows.append({"stage or table": name, "rows": line.get("rows"), "seconds": round(float(line["seconds"]), 1)})
        if arguments.json:
            sys.stdout.write(json.dumps(line) + "\n")
    made = sum(float(line["seconds"]) for line in measured if "stage" in line)
    validated = sum(float(line["seconds"]) for line in measured if "validation of" in line)
    share = validated / (made + validated)
    whole = {
        "stage or table": "validation of the night, records and Data Docs included",
        "seconds": round(validated, 1),
    }
    print_rows([*rows, whole], f"{arguments.listeners:,} listeners, {arguments.items:,} items", stream=sys.stderr)
    say(f"validation is {share:.1%} of the {made + validated:.0f} s of the night")


if __name__ == "__main__":
    main()
