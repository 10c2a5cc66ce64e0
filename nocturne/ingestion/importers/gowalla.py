"""Gowalla, LightGCN's split: the places that each user visited. Without dates, counts or names."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from nocturne.ingestion.importers.archive import open_source
from nocturne.ingestion.importers.landing_writer import ImportSummary, Record, claim_landing, event_id, publish_rows


def import_gowalla(source: Path, landing: Path, default_date: date) -> ImportSummary:
    """Land train.txt and valid.txt as the events of one day; test.txt is kept for evaluation and never read.

    Args:
        source: gowalla-lightgcn.tar.xz or the unpacked folder.
        landing: landing zone to write.
        default_date: day of every event.

    Raises:
        UsageError: no such source, or a landing zone of another producer.
        InputError: a file is missing.
    """
    with open_source(source) as files:
        pairs = [files.find(name) for name in ("train.txt", "valid.txt")]
        claim_landing(landing, "gowalla")
        rows = publish_rows(landing, default_date, (event for file in pairs for event in _events(file, default_date)))
    note = f"the source has no dates and no catalogue: every event lands on {default_date}, 00:00 UTC"
    return ImportSummary((default_date, default_date), rows, 0, note)


def _events(path: Path, day: date) -> Iterator[Record]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            user, *items = line.split() or [""]
            for item in items:
                yield {
                    "event_id": event_id(user, item),
                    "user_id": user,
                    "item_id": item,
                    "listened_at": f"{day}T00:00:00Z",
                }
