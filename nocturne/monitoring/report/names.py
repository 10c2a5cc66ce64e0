"""Names on a page: listeners without their ids, items by their titles, numbers as people read them."""

from bisect import bisect_left
from math import isfinite

import pyarrow as pa

from nocturne.core.pseudonyms import pseudonym

LONGEST = 120
"""Letters of a text of strangers that a page shows."""


class Listeners:
    """Names of listeners: the pseudonym that the service's log has, or without a key the number of appearance."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self._numbers: dict[str, int] = {}

    def name(self, user_id: str) -> str:
        """The name of a listener, the same all over the page."""
        if self._key:
            return pseudonym(user_id, self._key)
        return f"listener {self._numbers.setdefault(user_id, len(self._numbers) + 1)}"


class Titles:
    """Titles of the items of a catalogue; an item without one is told by its id."""

    def __init__(self, item_ids: pa.Array, catalogue: pa.Table) -> None:
        """Args: item_ids: in order; catalogue: title and creator of each."""
        self._item_ids = item_ids
        self._catalogue = catalogue.select(["title", "creator"])

    def of(self, item_id: str) -> dict[str, str]:
        """Title and creator."""
        place = bisect_left(self._item_ids, item_id, key=lambda each: each.as_py())
        row: dict[str, str | None] = {"title": None, "creator": None}
        if place < len(self._item_ids) and self._item_ids[place].as_py() == item_id:
            (row,) = self._catalogue.slice(place, 1).to_pylist()
        return {"title": shorten(row["title"] or item_id), "creator": shorten(row["creator"] or "")}


def shorten(text: str) -> str:
    """A text of strangers in one line, not too long, without what cannot be printed."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def number(value: float | None) -> str:
    """A number to read: whole with separators, else of three digits; "" for none."""
    if value is None or not isfinite(value):
        return ""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share in percent."""
    return "" if share is None else f"{100 * share:.1f} %"


def size(count: float | None) -> str:
    """Bytes in the unit that fits."""
    if count is None:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def change(now: float | None, usual: float | None) -> str:
    """Difference to what is usual, in percent; "" where that says nothing."""
    if now is None or not usual or not isfinite(now):
        return ""
    return f"{100 * (now / usual - 1):+.0f} %"
