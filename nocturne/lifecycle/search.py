"""Search for listeners in everything that a service keeps: decoded, and byte by byte where bytes are not compressed.

It reads the folders, not the logs of tables: a file that no version names any more is looked at as well.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.core.night import Warehouse
from nocturne.flow import TABLES
from nocturne.lifecycle.inventory import (
    LISTENER_TABLES,
    SIDE_FOLDERS,
    unknown_files,
    unknown_in_landing,
    unknown_in_warehouse,
    unknown_keys,
)
from nocturne.lifecycle.landing_erasure import names_listener, own_files
from nocturne.lifecycle.requests import FOLDER, Leaving
from nocturne.serving.cache import Cache
from nocturne.serving.cache.erased_items import listeners_of
from nocturne.storage.contracts import contract

SHORTEST_FOR_BYTES = 8
"""Bytes of an id below which it stands among compressed bytes by chance."""

_PIECE = 16 * 2**20


@dataclass
class Searched:
    """The outcome of a search.

    Attributes:
        looked_at: things decoded or searched, count, by kind.
        found: places where a listener stands, without the listener.
        unknown: things of which erasure does not know whether one may.
    """

    looked_at: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def search(warehouse: Warehouse, landing: str, caches: Sequence[Cache], leaving: Leaving) -> Searched:
    """Look for listeners in a warehouse, in what Nocturne owns of a landing zone, and in caches."""
    searched, folder = Searched(), Path(warehouse.folder)
    searched.unknown += map(str, unknown_in_warehouse(folder))
    for table in TABLES:
        _search_table(folder / table, table, leaving, searched)
    for name in SIDE_FOLDERS:
        pending = folder / FOLDER / "pending"
        files = [path for path in sorted((folder / name).rglob("*")) if path.is_file() and pending not in path.parents]
        _search_bytes(files, "files beside tables", leaving, searched)
    if landing and "://" not in landing:
        searched.unknown += map(str, unknown_in_landing(Path(landing)))
        for path, _ in own_files(landing):
            searched.looked_at["files of the landing zone, decoded"] += 1
            if names_listener(path, leaving):
                searched.found.append(str(path))
        _search_bytes(sorted(Path(landing, "erasures").glob("*")), "landed requests", leaving, searched)
    for cache in caches:
        _search_cache(cache, leaving, searched)
    return searched


def _search_table(folder: Path, table: str, leaving: Leaving, searched: Searched) -> None:
    promised = contract(table)
    log = folder / "_delta_log"
    data = [path for path in sorted(folder.rglob("*.parquet")) if log not in path.parents]
    columns = [*promised.listener_columns, *promised.listener_texts]
    for path in data if table in LISTENER_TABLES else ():
        searched.looked_at[f"data files of {table}, decoded"] += 1
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=columns):
                rows = int(leaving.are_of(batch, promised).sum())
                if rows:
                    searched.found.append(f"{path}: {rows} rows")
                    break
    for path in sorted(log.glob("*.parquet")):
        searched.looked_at["checkpoints, decoded"] += 1
        texts = [text for text in _texts(pq.read_table(path).to_pylist()) if text]
        if bool(leaving.are_named_in(pa.array(texts, pa.large_string())).any()):
            searched.found.append(str(path))
    others = [path for path in sorted(log.iterdir()) if path.is_file() and path.suffix != ".parquet"]
    _search_bytes(others, "entries of logs", leaving, searched)
    _search_bytes(data, "data files, as bytes", leaving, searched, compressed=True)


def _search_cache(cache: Cache, leaving: Leaving, searched: Searched) -> None:
    for generation in cache.generations():
        searched.looked_at["generations of caches, decoded"] += 1
        if any(cache.read(generation, user_id) is not None for user_id in leaving.user_ids):
            searched.found.append(f"{cache.place}, generation {generation}: a list")
        items = cache.items_of(generation)
        if items and listeners_of(items) & leaving.user_ids:
            searched.found.append(f"{cache.place}, generation {generation}: a plan")
    scheme, _, place = cache.place.partition(":")
    if scheme == "lmdb":
        searched.unknown += map(str, unknown_files(Path(place)))
        files = [path for path in sorted(Path(place).rglob("*")) if path.is_file()]
        _search_bytes(files, "files of caches, as bytes", leaving, searched, compressed=True)
    else:
        searched.unknown += map(str, unknown_keys(cache.keys()))


def _search_bytes(
    files: Iterable[Path], kind: str, leaving: Leaving, searched: Searched, *, compressed: bool = False
) -> None:
    """Search files for ids that stand alone; short ones not among bytes that may be compressed."""
    ids = [each.encode() for each in leaving.user_ids if not compressed or len(each.encode()) >= SHORTEST_FOR_BYTES]
    longest = max(map(len, ids), default=0)
    pattern = re.compile(b"|".join(rb"(?<!\w)" + re.escape(each) + rb"(?!\w)" for each in sorted(ids))) if ids else None
    for path in files:
        searched.looked_at[kind] += 1
        if pattern and any(pattern.search(piece) for piece in _pieces(path, longest + 1)):
            searched.found.append(str(path))


def _pieces(path: Path, overlap: int) -> Iterator[bytes]:
    """A file in pieces, each with the end of the one before."""
    end = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield end + piece
            end = piece[-overlap:]


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value of lists and dicts; a JSON text is one of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, bytes):
        yield value.decode(errors="backslashreplace")
