"""A real daily log with real dirt: every file through `ingest_events`, recounted from the raw rows; nights in a row.

    .venv/bin/python -m benchmarks.retail data/sets/online-retail [--days 374] [--nights 30] [--json]

The recount reads the archive with the standard library alone and applies the checks of docs/landing.md in their order.
Exit status 1 if a count differs, the conservation law breaks, or a night does not publish.
"""

import argparse
import csv
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path

from rich.progress import track

from nocturne.core.night import Night, Warehouse
from nocturne.core.sections import ListenSettings
from nocturne.core.settings import Settings, load_settings
from nocturne.ingestion.importers import IMPORTERS
from nocturne.ingestion.importers.archive import open_source
from nocturne.pipeline.runner import run_nights, working_on
from nocturne.pipeline.stages import STAGES
from nocturne.storage import tables

FIRST = date(2010, 12, 1)
Row = tuple[str, ...]


def raw_days(source: Path) -> dict[date, list[Row]]:
    """The rows of every file, as they came."""
    days = {}
    with open_source(source) as files:
        for path in files.find_all("????-??-??.csv"):
            with path.open(encoding="utf-8", newline="") as file:
                _header, *rows = csv.reader(file)
            days[date.fromisoformat(path.stem)] = [tuple(row) for row in rows]
    return days


def recount(
    day: date, rows: list[Row], recent: list[set[Row]], settings: ListenSettings
) -> tuple[Counter[str], set[Row]]:
    """Expected outcomes of a day's rows: counts by outcome, and the rows that are listens."""
    outcomes: Counter[str] = Counter()
    accepted: list[Row] = []
    seen = set().union(*recent)
    for row in rows:
        _, product, _, quantity, at, _, customer, _ = row
        plays = int(quantity)
        if not customer.strip():
            outcomes["missing_user_id"] += 1
        elif not product.strip():
            outcomes["missing_item_id"] += 1
        elif not 1 <= plays <= settings.max_plays:
            outcomes["invalid_plays"] += 1
        elif datetime.fromisoformat(at).date() > day:
            outcomes["after_day"] += 1
        elif datetime.fromisoformat(at).date() < day - timedelta(days=settings.late_days):
            outcomes["too_late"] += 1
        elif row in seen:
            outcomes["duplicate"] += 1
        else:
            seen.add(row)
            accepted.append(row)
    minutes = Counter((row[6], row[4][:16]) for row in accepted)
    rates: defaultdict[tuple[str, str], int] = defaultdict(int)
    for (customer, minute), count in minutes.items():
        rates[customer, minute[:10]] += min(count, settings.basket_rows)
    listens = [row for row in accepted if rates[row[6], row[4][:10]] <= settings.bot_rows]
    outcomes["bot"] += len(accepted) - len(listens)
    outcomes["listen"] += len(listens)
    return +outcomes, set(listens)


def found(night: Night) -> Counter[str]:
    """Outcomes of a day's rows, from `ingests`; also checks the conservation law."""
    (row,) = tables.night_rows(night, "ingests").to_pylist()
    assert row["rows_read"] == row["listens"] + row["duplicates"] + row["quarantined"], row
    assert row["quarantined"] == tables.count(night, "quarantine"), row
    return +Counter({**dict(row["reasons"]), "listen": row["listens"], "duplicate": row["duplicates"]})


def compare(nights: list[Night], raw: dict[date, list[Row]]) -> dict[str, object]:
    """Hold every ingested day against its recount."""
    totals: Counter[str] = Counter()
    different = []
    recent: list[set[Row]] = []
    for night in nights:
        listens = night.settings.listens
        expected, accepted = recount(night.run_date, raw.get(night.run_date, []), recent, listens)
        recent = [*recent, accepted][-listens.dedup_nights :]
        totals += expected
        if found(night) != expected:
            different.append(f"{night.run_date}: found {dict(found(night))}, recounted {dict(expected)}")
    return {
        "days": len(nights),
        "files": sum(night.run_date in raw for night in nights),
        "rows": sum(len(raw.get(night.run_date, [])) for night in nights),
        **dict(sorted(totals.items())),
        "days_that_differ": different,
    }


def ingest(nights: list[Night]) -> None:
    """Run `ingest_events` for every night, in one session."""
    with working_on(nights, "ingest_events") as (spark, leased):
        for night in track(leased, "ingest_events", disable=not sys.stderr.isatty()):
            STAGES["ingest_events"](spark, night, lambda *_: None)


def states(nights: list[Night]) -> dict[str, object]:
    """Number of nights in each state, and of the warnings by expectation."""
    counts = Counter(tables.rows(nights[0].warehouse, "nights")["state"].to_pylist())
    rows = tables.rows(nights[0].warehouse, "validations").to_pylist()
    warned = Counter(f"{row['table']}.{row['expectation']}" for row in rows if row["outcome"] == "failed")
    return {**counts, "warnings": dict(warned.most_common())}


def make_night(folder: Path, name: str, day: date, settings: Settings) -> Night:
    """A night of one of the warehouses in the folder."""
    return Night(Warehouse(str(folder / name), settings), day, str(folder / "landing"), f"lmdb:{folder / name}-cache")


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", default=Path("data/sets/online-retail"))
    parser.add_argument("--days", type=int, default=374, help="days of the calendar to ingest; 374 is all")
    parser.add_argument("--nights", type=int, default=30, help="nights to run whole")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    settings = load_settings(overrides=["als.retrain_every_nights=1", *options.overrides])
    raw = raw_days(options.source)
    results: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        IMPORTERS["online-retail"](options.source, folder / "landing", FIRST)
        for count, run, report in ((options.days, ingest, lambda _: {}), (options.nights, run_nights, states)):
            if count:
                days = (FIRST + timedelta(days=offset) for offset in range(count))
                nights = [make_night(folder, run.__name__, day, settings) for day in days]
                started = time.monotonic()
                run(nights)
                seconds = round(time.monotonic() - started, 1)
                results.append({**compare(nights, raw), **report(nights), "seconds": seconds})
    for result in results:
        print(json.dumps(result), file=sys.stdout if options.json else sys.stderr)
    published = not options.nights or results[-1].get("published") == options.nights
    return int(any(result["days_that_differ"] for result in results) or not published)


if __name__ == "__main__":
    sys.exit(main())
