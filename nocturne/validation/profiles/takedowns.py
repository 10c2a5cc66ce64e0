"""Profile of `takedowns`: one word on each item and market, and none of the night before is lost."""

from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.history import previous_night
from nocturne.validation.profiles.arithmetic import Profile

_KEY = ("item_id", "market")


def takedowns(night: Night) -> Profile:
    """Of what may not be listed on the night."""
    tonight, before = _last_words(night), previous_night(night, "takedowns")
    rows = tables.count(night, "takedowns")
    lost = [key for key, asked in _last_words(before).items() if tonight.get(key, "") < asked] if before else []
    return {"duplicate_words": rows - len(tonight), "words_lost": len(lost)}


def _last_words(night: Night) -> dict[tuple[str, str | None], str]:
    """When the last word on each item and market was said, as text that sorts."""
    rows = tables.night_rows(night, "takedowns", [*_KEY, "asked_at", "takedown_id"]).to_pylist()
    said: dict[tuple[str, str | None], str] = {}
    for row in rows:
        key = row["item_id"], row["market"]
        said[key] = max(said.get(key, ""), f"{row['asked_at'].isoformat(timespec='microseconds')} {row['takedown_id']}")
    return said
