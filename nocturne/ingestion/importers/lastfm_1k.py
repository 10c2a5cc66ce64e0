"""Single listens of Last.fm with their times: `user-last song, song-artist, label, epoch milliseconds`."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from nocturne.ingestion.importers.archive import open_source, read_table
from nocturne.ingestion.importers.landing_writer import (
    ImportSummary,
    Record,
    claim_landing,
    event_id,
    publish_calendar,
    publish_catalogue,
)

COLUMNS = 4


def import_lastfm_1k(source: Path, landing: Path, default_date: date) -> ImportSummary:
    """Land the listens on their days, UTC, and the songs as the catalogue.

    The first pair is the listener and the song heard before, the second the song and its artist. The same listen
    (listener, song, artist, time) stands in several rows that differ in the song before; they share an event_id.
    Rows of another label than 1 are no listens and are left out. Days without a listen become empty complete days;
    a row whose time cannot be read lands on the first day.

    Args:
        source: lastfm-1k-listens.tar.xz or the unpacked folder.
        landing: landing zone to write.
        default_date: day to land on if no time at all can be read.

    Raises:
        UsageError: no such source, or a landing zone of another producer.
        InputError: listens.csv is missing or not text.
    """
    with open_source(source) as files:
        rows = [row + [""] * (COLUMNS - len(row)) for row in read_table(files.find("listens.csv"), (), delimiter=",")]
    listens = [row for row in rows if row[2] == "1"]
    claim_landing(landing, "lastfm-1k")

    times = [_time(row[3]) for row in listens]
    dates = [time.date() for time in times if time]
    first, last = min(dates, default=default_date), max(dates, default=default_date)
    days: defaultdict[date, list[Record]] = defaultdict(list)
    for row, time in zip(listens, times, strict=True):
        days[time.date() if time else first].append(_event(row, time))

    items = publish_catalogue(landing, _catalogue(listens))
    count = publish_calendar(landing, first, last, lambda day: days.get(day, ()))
    note = (
        f"{len(days)} days have listens, the others from {first} to {last} are empty complete days; "
        f"{len(rows) - len(listens)} rows with another label than 1 are no listens and were left out"
    )
    return ImportSummary((first, last), count, items, note)


def _time(epoch_ms: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(epoch_ms) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _event(row: list[str], time: datetime | None) -> Record:
    listener, song = row[0].partition("-")[0], row[1].partition("-")[0]
    return {
        "event_id": event_id(listener, row[1], row[3]),
        "user_id": listener,
        "item_id": song,
        "listened_at": f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z" if time else row[3],
    }


def _catalogue(listens: list[list[str]]) -> Iterator[Record]:
    """One row per song; the source knows its artist by number only, and no titles."""
    artists: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in listens:
        song, _, artist = row[1].partition("-")
        artists[song][artist] += 1
    for song in sorted(filter(None, artists)):
        creator = min(artists[song], key=lambda artist: (-artists[song][artist], artist))
        yield {"item_id": song, "content_type": "track", "creator": creator}
