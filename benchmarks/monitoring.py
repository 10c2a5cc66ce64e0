"""Cost of the further metrics of a night: validating its tables with and without them, beside the whole night.

    .venv/bin/python -m benchmarks.monitoring --listeners 100000 [--items 10000] [--repeats 3] [--json]

Simulates two days of a service and runs both nights, validated. Then each table of the second night that has further
metrics is measured in this process, with them and without them in turn, and the least processor time of each counts.
The share is of the processor time of the second night, Java and workers included: unlike wall time, little of it is due
to what else the machine does. The table goes to stderr; with --json, a line per table to stdout.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date, timedelta
from pathlib import Path
from unittest.mock import patch

from pyspark.sql import SparkSession

from benchmarks.load import tell_load
from benchmarks.memory import watching
from nocturne.core.console import print_rows, say
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.flow import GATED_TABLES, NIGHTLY
from nocturne.ingestion.simulator.simulate import simulate
from nocturne.pipeline.stages import STAGES
from nocturne.storage import tables, writing
from nocturne.storage.warehouse import create_missing
from nocturne.validation import profiles
from nocturne.validation.profiles import interactions, list_contents, listens, ranked_lists
from nocturne.validation.profiles import pools as pool_profile
from nocturne.validation.validate_table import validate

FIRST = date(2025, 1, 1)
TABLES = (
    *("listens", "quarantine", "ingests", "items", "interactions", "item_texts", "models", "item_factors"),
    *("cold_factors", "pools", "ranked_lists"),
)
MOST_SHARE = 0.03
Line = dict[str, object]


class NoTally:
    """Nothing in the place of what tallies listens."""

    COLUMNS = ("item_id",)

    def __init__(self, *_: object) -> None: ...

    def add(self, *_: object) -> None:
        """Add nothing."""

    close = add


@contextmanager
def without_metrics() -> Iterator[None]:
    """Tables are measured as if there were no further metrics, columns that they alone need included."""
    with (
        patch.object(listens, "ListenTally", NoTally),
        patch.object(listens, "tally_metrics", lambda *_: ()),
        patch.object(interactions, "add_rows", lambda *_: None),
        patch.object(pool_profile, "add_pools", lambda *_: None),
        patch.object(ranked_lists.ListComparison, "of", lambda *_: None),
        patch.object(list_contents, "PREVIOUS", [name for name in list_contents.PREVIOUS if name != "items"]),
        patch.dict(profiles._FURTHER, clear=True),  # noqa: SLF001 - the switch is nobody else's
    ):
        yield


def run(spark: SparkSession, night: Night) -> float:
    """One whole night, validated; returns its processor seconds."""
    with watching() as used:
        for stage in NIGHTLY:
            STAGES[stage.name](spark, night, lambda *_: None)
            written = [table for table in stage.writes if table in GATED_TABLES]
            closed = [each.failures for each in validate(spark, night, written) if each.closed] if written else []
            if closed:
                raise SystemExit(f"{stage.name} closed the gate: {closed}")
    return used.processor_seconds


def measure(spark: SparkSession, night: Night, table: str, repeats: int) -> Line:
    """Processor seconds of measuring a table in this process, with further metrics and without them."""
    least = {"with": float("inf"), "without": float("inf")}
    metrics = 0
    # The first time compiles loops and warms the disk up.
    for repeat in range(-1, repeats):
        for kind, context in (("with", nullcontext), ("without", without_metrics)):
            started = time.process_time()
            with context():
                metrics = max(metrics, len(profiles.measure(spark, night, table).metrics))
            if repeat >= 0:
                least[kind] = min(least[kind], time.process_time() - started)
    return {"table": table, "rows": tables.count(night, table), "metrics": metrics, **least}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, required=True)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tell_load()
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder / "landing", arguments.listeners, arguments.items, 2, seed=1, start=FIRST)
        settings = load_settings(overrides=arguments.overrides)
        warehouse = Warehouse(str(folder / "warehouse"), settings)
        nights = [
            Night(warehouse, FIRST + timedelta(days=day), str(folder / "landing"), f"lmdb:{folder / 'cache'}")
            for day in range(2)
        ]
        with spark_session(settings.spark, "benchmark") as spark:
            create_missing(warehouse)
            run(spark, nights[0])
            whole = run(spark, nights[1])
            with patch.object(writing, "FEW_ROWS", sys.maxsize):
                for table in TABLES:
                    lines.append(measure(spark, nights[1], table, arguments.repeats))
                    if arguments.json:
                        sys.stdout.write(json.dumps(lines[-1]) + "\n")
    rows = [line | {kind: round(float(str(line[kind])), 2) for kind in ("with", "without")} for line in lines]
    print_rows(rows, f"{arguments.listeners:,} listeners, {arguments.items:,} items", stream=sys.stderr)
    more = sum(float(str(line["with"])) - float(str(line["without"])) for line in lines)
    say(f"metrics take {more:.2f} of the {whole:.0f} processor s of the night: {more / whole:.2%}")
    if more > MOST_SHARE * whole:
        raise SystemExit(f"expected at most {MOST_SHARE:.0%}: see which table's metrics take most")


if __name__ == "__main__":
    main()
