"""Quality of the lists of rolling nights on a real, dated log: Online Retail, beside every baseline.

    .venv/bin/python -m benchmarks.rolling_retail [data/sets/online-retail] [--from 2011-01-31] [--to 2011-03-28]
                                        [--every 7] [--days 7] [--report FILE.html] [--set section.key=value] [--json]

Every day up to the end is landed and ingested by the pipeline's own stages; on every evaluated night the matrix is
built, a model is trained as settings say, and everyone is ranked. Relevant is what a customer bought in the days
after, and never before. Intervals: bootstrap over customers of the paired difference to ours, a customer's nights
averaged first. The table goes to stderr; with --json, a line per system to stdout.
"""

import argparse
import json
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

from nocturne.core.console import print_rows
from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import Settings, load_settings
from nocturne.evaluation.backtest import Backtest, run_backtest, summary
from nocturne.evaluation.held_out import ListeningHistory
from nocturne.evaluation.report import backtest_page
from nocturne.evaluation.systems import BASELINES, baseline_system, recipe_system
from nocturne.flow import stage
from nocturne.ingestion.importers import IMPORTERS
from nocturne.pipeline.runner import run_stage, working_on

FIRST = date(2010, 12, 1)
SOURCE = Path("data/sets/online-retail")
INGEST, BUILD = stage("ingest_events"), stage("build_interactions")


def measure(source: Path, folder: Path, evaluated: list[date], days: int, settings: Settings) -> Backtest:
    """Land, ingest, build, and score ours and every baseline."""
    warehouse = Warehouse(str(folder / "warehouse"), settings)
    places = str(folder / "landing"), f"lmdb:{folder / 'cache'}"
    IMPORTERS["online-retail"](source, folder / "landing", FIRST)
    last = evaluated[-1] + timedelta(days=days)
    nights = [Night(warehouse, FIRST + timedelta(days=day), *places) for day in range((last - FIRST).days + 1)]
    with working_on(nights, "night") as (spark, nights):
        for night in nights:
            run_stage(spark, night, INGEST)
            if night.run_date in evaluated:
                run_stage(spark, night, BUILD)
        scored = [night for night in nights if night.run_date in evaluated]
        history = ListeningHistory.read(scored[-1])
        systems = [recipe_system("nocturne", settings), *(baseline_system(name, history, spark) for name in BASELINES)]
        return run_backtest(scored, systems, "nocturne", history, days, top_k=20)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", default=SOURCE)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2011, 1, 31))
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date(2011, 3, 28))
    parser.add_argument("--every", type=int, default=7)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--report", type=Path, help="write the page of the backtest here")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    span = (options.last - options.first).days + 1
    evaluated = [options.first + timedelta(days=offset) for offset in range(0, span, options.every)]
    settings = load_settings(overrides=["spark.shuffle_partitions=2", "tables.buckets=2", *options.overrides])
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.source, Path(folder), evaluated, options.days, settings)
        if options.report:
            options.report.write_text(backtest_page(found), encoding="utf-8")
    rows = summary(found)
    for row in rows if options.json else ():
        print(json.dumps(row))
    title = f"Online Retail, {len(evaluated)} nights, {options.days} days after each"
    print_rows(rows, title, stream=sys.stderr)
    print(f"the best baseline by NDCG: {found.best_baseline}", file=sys.stderr)


if __name__ == "__main__":
    main()
