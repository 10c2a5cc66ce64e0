"""A catalogue of a few names, as a generation has them."""

from datetime import date
from typing import NamedTuple

from nocturne.steering.words.parser import words_parser


class Item(NamedTuple):
    item_id: str
    title: str | None
    creator: str | None


class Names:
    """Names of a catalogue: by field, and of items."""

    def __init__(self, fields, items=()):
        self._fields, self._items = fields, items

    available = frozenset({"years", "energy", "tags", "creators"})

    def names(self):
        return self._fields

    def titles(self):
        return self._items


TAGS = (
    "jazz", "rap", "pop", "rock", "metal", "country", "blues", "ambient", "dark", "techno", "party", "christmas",
    "calm",    "piano", "vocals", "80s", "hip hop", "classical", "female vocalists",
)  # fmt: skip
CREATORS = ("Eminem", "Radiohead", "The Beatles", "Miles Davis", "Kenny G", "Beyoncé", "Parade Tower")
ITEMS = (
    Item("t1", "Bohemian Rhapsody", "Queen"),
    Item("t2", "Something", "The Beatles"),
    Item("t3", "Here Comes the Sun", "The Beatles"),
)
SATURDAY = date(2026, 11, 28)


def small_parser(tags=TAGS, creators=CREATORS, items=ITEMS, languages=("en", "es"), content_types=(), **options):
    fields = {"tags": tags, "creators": creators, "languages": languages, "content_types": content_types}
    counted = {field: dict.fromkeys(values, 3) for field, values in fields.items()}
    return words_parser(Names(counted, items), today=lambda: SATURDAY, **options)
