"""Gowalla, LightGCN's split: the places that each user visited. Without dates, counts or names."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from nocturne.core.errors import InputError
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
        InputError: a file is missing, or of another form.
    """
    with open_source(source) as files:
        pairs = [files.find(name) for name in ("train.txt", "valid.txt")]
        claim_landing(landing, "gowalla")
        rows = publish_rows(landing, default_date, (event for file in pairs for event in _events(file, default_date)))
    note = f"the source has no dates and no catalogue: every event lands on {default_date}, 00:00 UTC"
    return ImportSummary((default_date, default_date), rows, 0, note)


def read_part(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The lines of a part of a split in LightGCN's form: a user, and the items that they have in it, or none.

    Raises:
        InputError: a line holds something else than numbers, or is its user's second.
    """
    line_of_user: dict[bytes, int] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            ids = line.split()
            if strange := next((id_ for id_ in ids if not id_.isdigit()), None):
                shown = strange[:50].decode(errors="backslashreplace")
                raise _other_form(path, number, f"{shown!r}, which is no number")
            if ids and (first := line_of_user.setdefault(ids[0], number)) != number:
                raise _other_form(path, number, f"user {ids[0].decode()} a second time, after line {first}")
            if ids:
                yield ids[0].decode(), [id_.decode() for id_ in ids[1:]]


def _other_form(path: Path, line: int, found: str) -> InputError:
    return InputError(
        "a part of the split is of another form",
        where=f"{path.name}, line {line}",
        found=found,
        expected="one line a user: their number, then the numbers of all their items, as in `7 12 30`",
        fix="of a file with an event or rating a line, such as `user item rating`, write each user's items in one line",
    )


def _events(path: Path, day: date) -> Iterator[Record]:
    for user, items in read_part(path):
        for item in items:
            yield {
                "event_id": event_id(user, item),
                "user_id": user,
                "item_id": item,
                "listened_at": f"{day}T00:00:00Z",
            }
