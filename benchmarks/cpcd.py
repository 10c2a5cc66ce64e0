"""CPCD, conversations in which people build a playlist, as it is published."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from nocturne.ingestion.importers.archive import open_source


class Track(NamedTuple):
    """A track that somebody liked or disliked."""

    id: str
    title: str
    artists: tuple[str, ...]
    album: str


class Turn(NamedTuple):
    """A turn: what is said, and what is liked and disliked of what comes back."""

    said: str
    liked: tuple[str, ...]
    disliked: tuple[str, ...]


class Conversations(NamedTuple):
    """Conversations, and the tracks that they name by id."""

    turns: list[list[Turn]]
    tracks: dict[str, Track]

    def names(self) -> dict[str, list[str]]:
        """Titles and creators of the tracks."""
        tracks = self.tracks.values()
        return {
            "titles": [track.title for track in tracks],
            "creators": [artist for track in tracks for artist in track.artists],
        }


def read_cpcd(path: Path) -> Conversations:
    """The conversations of a folder or archive."""
    with open_source(path) as files:
        lines = files.find("cpcd_v1.dialogs.dev.train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return Conversations([[_turn(turn) for turn in row["turns"]] for row in rows], _tracks(rows))


def _turn(row: dict[str, Any]) -> Turn:
    return Turn(row["user_query"], tuple(row["liked_results"]), tuple(row["disliked_results"]))


def _tracks(rows: list[dict[str, Any]]) -> dict[str, Track]:
    tracks = {}
    for row in rows:
        for name, said in row["tracks"].items():
            albums = said["track_release_titles"]
            album = albums if isinstance(albums, str) else "; ".join(albums or ())
            tracks[name] = Track(name, said["track_titles"], tuple(said["track_artists"]), album)
    return tracks
