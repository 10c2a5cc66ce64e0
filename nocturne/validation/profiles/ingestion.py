"""Profiles of `listens`, `quarantine`, `ingests` and `items`: the day, whole and clean."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nocturne.core.night import Night
from nocturne.ingestion.cleaning import REASONS
from nocturne.storage import tables
from nocturne.storage.history import previous_night, usual
from nocturne.validation.profiles.arithmetic import Profile, counts, ratio, repeated, share, total
from nocturne.validation.profiles.catalogue_changes import catalogue_changes


def listens(spark: SparkSession, night: Night) -> Profile:
    """Of the night's accepted events."""
    limits, day = night.settings.listens, F.lit(night.run_date).cast("timestamp")
    earliest = F.lit(night.run_date - timedelta(days=limits.late_days)).cast("timestamp")
    end = F.lit(night.run_date + timedelta(days=1)).cast("timestamp")
    wrong = {
        "empty_keys": " OR ".join(f"{key} IS NULL OR trim({key}) = ''" for key in ("event_id", "user_id", "item_id")),
        "impossible_values": f"plays NOT BETWEEN 1 AND {limits.max_plays} "
        f"OR coalesce(ms_played, 0) NOT BETWEEN 0 AND {limits.max_ms_played}",
    }
    rows = tables.read_night(spark, night, "listens")
    sums = rows.agg(
        F.count("*").alias("rows"),
        *(F.count_if(F.expr(check)).alias(name) for name, check in wrong.items()),
        F.count_if((F.col("listened_at") < earliest) | (F.col("listened_at") >= end)).alias("outside_day"),
        F.count_if(F.col("late") != (F.col("listened_at") < day)).alias("mislabelled_late"),
        F.count_if("late").alias("late"),
    ).first()
    assert sums is not None
    count = sums["rows"]
    distinct = rows.agg(F.count_distinct(F.xxhash64("event_id"))).first()
    assert distinct is not None
    if distinct[0] != count:
        # Two ids of one hash are no duplicates: of 10^9 events such a pair is met in one night of 40.
        distinct = rows.agg(F.count_distinct("event_id")).first()
        assert distinct is not None
    return {
        "listens_vs_recent": ratio(count, usual(night, "listens")) if count else None,
        "empty_day": float(count == 0),
        "empty_keys": sums["empty_keys"],
        "duplicate_events": count - distinct[0],
        "outside_day": sums["outside_day"],
        "mislabelled_late": sums["mislabelled_late"],
        "impossible_values": sums["impossible_values"],
        "share_late": share(sums["late"], count),
    }


def quarantine(night: Night) -> Profile:
    """Of the night's rejected events, against what `ingests` says about them."""
    rows = tables.night_rows(night, "quarantine", ["reason", "file"])
    rejected = counts(rows["reason"])
    recorded = dict(_ingest(night).get("reasons", []))
    return {
        "unknown_reasons": sum(count for reason, count in rejected.items() if reason not in REASONS),
        "unlike_ingests": sum(
            abs(rejected.get(reason, 0) - recorded.get(reason, 0)) for reason in rejected.keys() | recorded.keys()
        ),
        "unknown_files": total(pc.equal(rows["file"], "")),
    }


def ingests(night: Night) -> Profile:
    """Of the night's row of `ingests`."""
    ingest = _ingest(night)
    count = tables.night_rows(night, "ingests", ["run_date"]).num_rows
    if count != 1:
        names = ("rows_lost", "unlike_listens", "unlike_quarantine", "share_unusable", "share_unparsable")
        more = ("share_duplicates", "share_bots", "listeners_vs_recent")
        return {"accounts": count, **dict.fromkeys((*names, *more))}
    read, reasons = ingest["rows_read"], dict(ingest["reasons"])
    bots = reasons.get("bot", 0)
    return {
        "accounts": count,
        "rows_lost": abs(read - ingest["listens"] - ingest["duplicates"] - ingest["quarantined"]),
        "unlike_listens": abs(ingest["listens"] - tables.count(night, "listens")),
        "unlike_quarantine": abs(ingest["quarantined"] - tables.count(night, "quarantine")),
        "share_unusable": share(ingest["quarantined"] - bots, read - bots),
        "share_unparsable": share(reasons.get("unparsable", 0), read),
        "share_duplicates": share(ingest["duplicates"], read),
        "share_bots": share(bots, read),
        "listeners_vs_recent": ratio(ingest["listeners"], usual(night, "listeners")) if ingest["listeners"] else None,
    }


def items(night: Night) -> Profile:
    """Of the night's catalogue."""
    columns = ["item_id", "title", "markets", "available_from", "available_until", "absent"]
    all_rows = tables.night_rows(night, "items", columns)
    rows = all_rows.filter(pc.invert(all_rows["absent"]))
    begins, ends = rows["available_from"], rows["available_until"]
    tonight = pa.scalar(night.run_date, pa.date32())
    off = pc.or_(pc.fill_null(pc.greater(begins, tonight), False), pc.fill_null(pc.less(ends, tonight), False))
    nowhere = pc.fill_null(pc.equal(pc.list_value_length(rows["markets"]), 0), False)
    previous = previous_night(night, "items")
    untitled = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(rows["title"], "")), "")
    return {
        "items_vs_last_night": ratio(rows.num_rows, _named_items(previous)) if previous else None,
        "duplicate_items": repeated(all_rows["item_id"]),
        "share_untitled": share(total(untitled), rows.num_rows),
        "share_unavailable": share(total(pc.or_(off, nowhere)), rows.num_rows),
        "share_never_available": share(total(pc.fill_null(pc.greater(begins, ends), False)), rows.num_rows),
        **catalogue_changes(night, previous),
    }


def _named_items(night: Night) -> int:
    """Items that the landed catalogue named on a night, count."""
    return int(total(pc.invert(tables.night_rows(night, "items", ["absent"])["absent"])))


def _ingest(night: Night) -> dict[str, Any]:
    """The night's row of `ingests`; empty if there is none."""
    rows = tables.night_rows(night, "ingests").to_pylist()
    return dict(rows[0]) if rows else {}
