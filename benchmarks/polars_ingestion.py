"""Ingestion as a script in Polars does it: the same Parquet files read, cleaned and written, in this process.

    .venv/bin/python -m benchmarks.polars_ingestion LANDING/events/date=2025-01-31 OUT [--seen LISTENS]

Rules of `ingest_events`, with its default settings: broken rows, duplicates within the day and against the listens of
the night before, bots. Without its proofs: rows are not counted apart, text is taken for what it says it is, of
duplicates any one stays, and the order of rows is left to chance. Prints a line of JSON to stdout.
"""

import argparse
import json
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from pathlib import Path

import polars as pl

from nocturne.core.settings import load_settings

IDS = ("event_id", "user_id", "item_id")


def checked(day: Path) -> pl.LazyFrame:
    """The day's events with the first reason that speaks against each."""
    settings, run_date = load_settings().listens, date.fromisoformat(day.name.removeprefix("date="))
    begin = datetime.combine(run_date, clock(), UTC)
    events = pl.scan_parquet(day / "*.parquet", include_file_paths="file").with_columns(plays=pl.lit(1))
    reasons = {
        **{f"missing_{name}": pl.col(name).is_null() | (pl.col(name).str.strip_chars() == "") for name in IDS},
        "long_id": pl.max_horizontal(pl.col(name).str.len_bytes() for name in IDS) > settings.max_id_bytes,
        "invalid_time": pl.col("listened_at").is_null(),
        "invalid_ms_played": ~pl.col("ms_played").is_between(0, settings.max_ms_played),
        "invalid_plays": ~pl.col("plays").is_between(1, settings.max_plays),
        "after_day": pl.col("listened_at") >= begin + timedelta(days=1),
        "too_late": pl.col("listened_at") < begin - timedelta(days=settings.late_days),
    }
    reason = pl.coalesce(pl.when(failed).then(pl.lit(name)) for name, failed in reasons.items())
    return events.with_columns(reason.alias("reason"), (pl.col("listened_at") < begin).alias("late"))


def ingest(day: Path, seen: Path | None, out: Path) -> dict[str, float]:
    """Clean and write a landed day; the listens that stayed, and seconds."""
    settings = load_settings().listens
    started = time.perf_counter()
    events = checked(day).collect(engine="streaming")
    valid = events.lazy().filter(pl.col("reason").is_null()).unique("event_id", keep="any")
    if seen:
        valid = valid.join(pl.scan_parquet(seen / "**/*.parquet").select("event_id"), on="event_id", how="anti")
    rows = valid.collect(engine="streaming").lazy()
    in_minutes = rows.group_by("user_id", pl.col("listened_at").dt.truncate("1m").alias("minute")).len()
    in_days = in_minutes.group_by("user_id", pl.col("minute").dt.date().alias("day")).agg(
        pl.col("len").clip(upper_bound=settings.basket_rows).sum()
    )
    bots = in_days.filter(pl.col("len") > settings.bot_rows).select("user_id", "day")
    by_day = rows.with_columns(pl.col("listened_at").dt.date().alias("day"))
    out.mkdir(parents=True, exist_ok=True)
    keys = ["user_id", "day"]
    listens = by_day.join(bots, on=keys, how="anti").drop("day", "file", "reason").collect(engine="streaming")
    listens.write_parquet(out / "listens.parquet", compression="zstd")
    marked = by_day.join(bots, on=keys, how="semi").drop("day").with_columns(pl.lit("bot").alias("reason"))
    rejected = pl.concat([events.lazy().filter(pl.col("reason").is_not_null()), marked])
    rejected.collect(engine="streaming").write_parquet(out / "quarantine.parquet", compression="zstd")
    return {"listens": listens.height, "seconds": round(time.perf_counter() - started, 2)}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("day", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seen", type=Path, help="listens of the night before, Parquet files in folders")
    options = parser.parse_args()
    print(json.dumps(ingest(options.day, options.seen, options.out)))


if __name__ == "__main__":
    main()
