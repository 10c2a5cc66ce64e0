"""SNIPS and CLINC150, utterances with intents and slots, as they are published."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from nocturne.ingestion.importers.archive import open_source

NAMES: Mapping[str, str] = {
    "artist": "creators",
    "track": "titles",
    "album": "albums",
    "genre": "tags",
    "playlist": "playlists",
}
"""Slots that are names, and the field of a catalogue that has them."""

SLOTS = ("artist", "track", "album", "genre", "year", "sort", "playlist", "music_item")
"""Slot types that are scored."""

IN_SCOPE = ("PlayMusic", "AddToPlaylist", "SearchCreativeWork", "RateBook")
OUT_OF_SCOPE = ("SearchScreeningEvent", "BookRestaurant", "GetWeather")


INTENT_OF: Mapping[str, str] = {
    "PlayMusic": "steer", "AddToPlaylist": "add_to_playlist", "SearchCreativeWork": "search", "RateBook": "rate",
}  # fmt: skip
"""Intents of SNIPS as ours; the other ones are out of scope."""

CLINC_INTENT_OF: Mapping[str, str] = {"play_music": "steer", "update_playlist": "add_to_playlist"}
CLINC_EITHER = ("next_song", "what_song")
"""Intents of CLINC150 about listening that no plan stands for: neither answer is wrong."""


class Slot(NamedTuple):
    """A part of an utterance and its type; start and end are characters."""

    type: str
    start: int
    end: int


class Utterance(NamedTuple):
    """A sentence as somebody said it."""

    text: str
    intent: str
    slots: tuple[Slot, ...] = ()


def read_snips(path: Path, intent: str, part: str) -> list[Utterance]:
    """Utterances of an intent; part is `train` or `validate`. Bytes that are not UTF-8 are replaced."""
    name = f"train_{intent}_full.json" if part == "train" else f"validate_{intent}.json"
    with open_source(path, folders_below=2) as files:
        (file,) = files.folder.rglob(name)
        document = json.loads(file.read_bytes().decode("utf-8", "replace"))
    return [_utterance(row["data"], intent) for row in document[intent]]


def read_clinc(path: Path, part: str) -> list[Utterance]:
    """Utterances of every intent; those of no intent are of intent `oos`."""
    with open_source(path, folders_below=3) as files:
        (root,) = {
            found.parent.parent for found in files.folder.rglob(f"{part}/seq.in") if found.parent.parent.name != "oos"
        }
        return [
            Utterance(text, label)
            for folder in (root / part, root / "oos" / part)
            for text, label in zip(_lines(folder / "seq.in"), _lines(folder / "label"), strict=True)
        ]


def names_of(utterances: Iterable[Utterance]) -> dict[str, list[str]]:
    """Names in the slots of sentences, by field."""
    names: dict[str, list[str]] = defaultdict(list)
    for utterance in utterances:
        for slot in utterance.slots:
            if slot.type in NAMES:
                names[NAMES[slot.type]].append(utterance.text[slot.start : slot.end])
    return names


def _lines(path: Path) -> Iterator[str]:
    return iter(path.read_text(encoding="utf-8").splitlines())


def _utterance(parts: list[dict[str, str]], intent: str) -> Utterance:
    text, slots = "", []
    for part in parts:
        said = part["text"]
        bare = said.strip()
        if "entity" in part and bare:
            start = len(text) + len(said) - len(said.lstrip())
            slots.append(Slot(part["entity"], start, start + len(bare)))
        text += said
    return Utterance(text, intent, tuple(slots))
