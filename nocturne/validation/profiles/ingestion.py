"""Profiles of `quarantine`, `ingests` and `items`: the day's account, and the catalogue."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.night import Night
from nocturne.ingestion.cleaning import REASONS
from nocturne.storage import tables
from nocturne.storage.history import previous_night, usual
from nocturne.validation.profiles.arithmetic import Profile, counts, ratio, repeated, share, total
from nocturne.validation.profiles.catalogue_changes import catalogue_changes


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
        "rows_lost": abs(read - ingest["listens"] - ingest["duplicates"] - ingest["quarantined"] - ingest["erased"]),
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
