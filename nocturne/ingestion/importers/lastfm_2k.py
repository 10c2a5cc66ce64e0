"""Last.fm, HetRec 2011: play counts of artists by 1,892 listeners. Without dates."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from nocturne.ingestion.importers.archive import open_source, read_table
from nocturne.ingestion.importers.landing_writer import (
    ImportSummary,
    Record,
    claim_landing,
    event_id,
    publish_catalogue,
    publish_rows,
)

TAGS = 10
"""Tags of an artist in the catalogue: those given by most listeners."""


def import_lastfm_2k(source: Path, landing: Path, default_date: date) -> ImportSummary:
    """Land user_artists.dat as the events of one day, and artists.dat with its tags as the catalogue.

    Args:
        source: lastfm-2k.tar.xz or the unpacked folder.
        landing: landing zone to write.
        default_date: day of every event.

    Raises:
        UsageError: no such source, or a landing zone of another producer.
        InputError: files are missing or not what the data set holds.
    """
    with open_source(source) as files:
        plays, artists = files.find("user_artists.dat"), files.find("artists.dat")
        tags = _artist_tags(files.find("tags.dat"), files.find("user_taggedartists.dat"))
        claim_landing(landing, "lastfm-2k")
        items = publish_catalogue(landing, _catalogue(artists, tags))
        rows = publish_rows(landing, default_date, _events(plays, default_date))
    note = f"the source has no dates: every event lands on {default_date}, 00:00 UTC"
    return ImportSummary((default_date, default_date), rows, items, note)


def _events(path: Path, day: date) -> Iterator[Record]:
    for row in read_table(path, ("userID", "artistID", "weight"), delimiter="\t"):
        user, artist, weight = row[:3]
        yield {
            "event_id": event_id(*row),
            "user_id": user,
            "item_id": artist,
            "listened_at": f"{day}T00:00:00Z",
            "plays": weight,
        }


def _catalogue(path: Path, tags: dict[str, list[str]]) -> Iterator[Record]:
    """An item is an artist, so none of the other content types would be true."""
    for artist, name, *_ in read_table(path, ("id", "name", "url", "pictureURL"), delimiter="\t"):
        yield {
            "item_id": artist,
            "content_type": "other",
            "title": name,
            "creator": name,
            "tags": tags.get(artist, []),
        }


def _artist_tags(names: Path, taggings: Path) -> dict[str, list[str]]:
    """Each artist's tags, given by most listeners first, ties by alphabet."""
    tag_rows = read_table(names, ("tagID", "tagValue"), delimiter="\t", encoding="latin-1")
    tag_names = {tag: name for tag, name, *_ in tag_rows}
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    header = ("userID", "artistID", "tagID", "day", "month", "year")
    for _, artist, tag, *_ in read_table(taggings, header, delimiter="\t"):
        counts[artist][tag_names.get(tag, tag)] += 1
    return {artist: sorted(tags, key=lambda tag: (-tags[tag], tag))[:TAGS] for artist, tags in counts.items()}
