"""Sets with texts for `benchmarks.cold_items`: who heard what, and what is said of each item by whom."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from html import unescape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix

from nocturne.evaluation.splits import sort_ids
from nocturne.ingestion.importers.archive import open_source
from nocturne.ingestion.simulator.world import Scenario, catalogue, make_items, make_listeners

Taggings = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TextSet:
    """A set of items with texts.

    Attributes:
        heard: plays; shape (listeners, items).
        texts: title, creator, content_type, tags and description of each item, as `items` has them.
        tag_names: of the numbers in taggings.
        taggings: listener (-1: one without plays), item and tag of everything that listeners said; its tags are not in
            `texts`. Empty where nobody says anything.
    """

    heard: csr_matrix
    texts: pa.Table
    tag_names: Sequence[str] = ()
    taggings: Taggings = field(default_factory=lambda: np.zeros((0, 3), np.int64))

    def texts_without(self, listeners: npt.NDArray[np.int64]) -> pa.Table:
        """The texts, with all tags but those that some listeners gave, as often as they were given."""
        if not len(self.taggings):
            return self.texts
        others = self.taggings[~np.isin(self.taggings[:, 0], listeners)]
        others = others[np.lexsort((others[:, 2], others[:, 1]))]
        offsets = np.searchsorted(others[:, 1], np.arange(self.texts.num_rows + 1)).astype(np.int32)
        names = pa.array(self.tag_names).take(pa.array(others[:, 2]))
        place = self.texts.schema.get_field_index("tags")
        return self.texts.set_column(place, "tags", pa.ListArray.from_arrays(pa.array(offsets), names))


def read_lastfm(path: Path) -> TextSet:
    """Last.fm 2k: artists, their plays, and every tag that a listener gave."""
    with open_source(path) as files:
        plays, taggings = (_rows(files.find(name)) for name in ("user_artists.dat", "user_taggedartists.dat"))
        names = {row[0]: row[1] for row in _rows(files.find("artists.dat"))}
        tags = {row[0]: row[1] for row in _rows(files.find("tags.dat"), "latin-1")}
    users, items = ({id_: place for place, id_ in enumerate(sort_ids({row[at] for row in plays}))} for at in (0, 1))
    numbers = {tag: place for place, tag in enumerate(tags)}
    said = [(users.get(user, -1), items[item], numbers[tag]) for user, item, tag, *_ in taggings if item in items]
    titles = [names[item] for item in items]
    return TextSet(
        _matrix([(users[user], items[item], float(count)) for user, item, count in plays], len(users), len(items)),
        _texts(titles, titles, "other"),
        list(tags.values()),
        np.array(said, np.int64),
    )


def read_bookcrossing(path: Path) -> TextSet:
    """BookCrossing: books with title, author, year and publisher, and who had them. Some rows hold a stray tab."""
    with open_source(path) as files:
        pairs = _rows(files.find("book_history.dat"))
        described = {row[0]: row for row in map(_book, files.find("items_info.dat").read_bytes().split(b"\n")[1:])}
    users, items = ({id_: place for place, id_ in enumerate(sort_ids({row[at] for row in pairs}))} for at in (0, 1))
    rows = [(described.get(item) or [item]) for item in items]
    rows = [row + [""] * (6 - len(row)) for row in rows]
    tags = [[part for part in row[4:6] if part] for row in rows]
    return TextSet(
        _matrix([(users[row[0]], items[row[1]], 1.0) for row in pairs], len(users), len(items)),
        _texts([row[2] or None for row in rows], [row[3] or None for row in rows], "audiobook", tags),
    )


def simulate_texts(listeners: int, items: int, plays: int, seed: int) -> TextSet:
    """A simulated service, whose listeners play so many items on average, by tastes that are known."""
    scenario = Scenario(listeners, items, seed, date(2025, 1, 1), 0.0)
    world = make_items(scenario)
    people = make_listeners(scenario, world, 0)
    rng = scenario.rng(99)
    of = np.repeat(np.arange(len(people.ids)), rng.poisson(plays, len(people.ids)))
    topics = (people.tastes.cumsum(axis=1)[of] < rng.random(len(of))[:, None]).sum(axis=1)
    drawn = world.draw(np.minimum(topics, people.tastes.shape[1] - 1), rng)
    columns = catalogue(scenario, world).append_column("description", pa.nulls(items, pa.string()))
    heard = csr_matrix((np.ones(len(of)), (of, drawn)), (len(people.ids), items))
    heard.sum_duplicates()
    return TextSet(heard, columns.select(["title", "creator", "content_type", "tags", "description"]))


def _rows(path: Path, encoding: str = "utf-8") -> list[list[str]]:
    lines = path.read_bytes().decode(encoding).replace("\r\n", "\n").split("\n")[1:]
    return [line.split("\t") for line in lines if line.strip()]


def _book(line: bytes) -> list[str]:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    # An entity whose semicolon became a tab.
    return re.sub(r"&(#?\w+)\t", lambda entity: unescape(f"&{entity[1]};"), text.rstrip("\r")).split("\t")


def _matrix(entries: Sequence[tuple[int, int, float]], listeners: int, items: int) -> csr_matrix:
    rows, columns, values = zip(*entries, strict=True)
    matrix = csr_matrix((values, (rows, columns)), (listeners, items), dtype=np.float64)
    matrix.sum_duplicates()
    return matrix


def _texts(
    titles: Sequence[str | None], creators: Sequence[str | None], kind: str, tags: Sequence[list[str]] | None = None
) -> pa.Table:
    kinds = pa.list_(pa.string())
    return pa.table(
        {
            "title": pa.array(titles, pa.string()),
            "creator": pa.array(creators, pa.string()),
            "content_type": pa.repeat(kind, len(titles)),
            "tags": pa.nulls(len(titles), kinds) if tags is None else pa.array(tags, kinds),
            "description": pa.nulls(len(titles), pa.string()),
        }
    )
