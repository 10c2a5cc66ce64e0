"""How events reach the landing zone: most on time, some late, some twice, some broken."""

import gzip
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.ingestion.simulator.dirt import break_events
from nocturne.ingestion.simulator.listening import EVENTS, listen
from nocturne.ingestion.simulator.world import DELIVERY, Items, Plan, make_listeners

FATES = {"listens": 0.985, "late by one": 0.007, "late by two": 0.003, "repeated": 0.003, "resent": 0.002}
"""Shares of the people's events: on time, one or two nights late, twice in one night, and again the next night."""


class Post:
    """Events on their way to later nights."""

    def __init__(self) -> None:
        self._due: defaultdict[int, list[tuple[str, pa.Table]]] = defaultdict(list)

    def send(self, night: int, kind: str, events: pa.Table) -> None:
        """Have events delivered on a later night."""
        self._due[night].append((kind, events.cast(EVENTS)))

    def deliver(self, night: int) -> list[tuple[str, pa.Table]]:
        """What is due on that night, by kind."""
        return self._due.pop(night, [])


def write_night(
    plan: Plan, items: Items, night: int, post: Post, folder: Path, tick: Callable[[], None]
) -> Counter[str]:
    """Write the landing files of a night, block by block of listeners.

    Args:
        night: nights from the start.
        post: events held back on earlier nights; receives those held back on this one.
        folder: where to write.
        tick: called after each block.

    Returns:
        Rows by kind: listens, late, repeated, resent, bot, or the defect.
    """
    kinds: Counter[str] = Counter()
    redelivered = post.deliver(night)
    if redelivered:
        _write_events([events for _, events in redelivered], folder / "redelivered.parquet")
        for kind, events in redelivered:
            kinds[kind] += events.num_rows
    with (
        (folder / "broken.jsonl.gz").open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as broken,  # no name, no time: equal bytes
    ):
        for number, first in enumerate(plan.blocks()):
            listeners = make_listeners(plan, items, first)
            events, bot_rows = listen(plan, items, listeners, first, night)
            people = events.num_rows - bot_rows
            fate = plan.rng(DELIVERY, night, first).choice(len(FATES), size=people, p=list(FATES.values()))
            of = {name: np.flatnonzero(fate == code) for code, name in enumerate(FATES)}
            post.send(night + 1, "late", events.take(of["late by one"]))
            post.send(night + 2, "late", events.take(of["late by two"]))
            post.send(night + 1, "resent", events.take(of["resent"]))
            on_time = np.flatnonzero(~np.isin(fate, [1, 2]))
            tonight = [events.take(on_time), events.take(of["repeated"]), events.slice(people)]
            _write_events(tonight, folder / f"events-{number:05d}.parquet")
            lines, defects = break_events(plan, events.slice(0, people), first, night)
            broken.writelines(f"{line}\n".encode() for line in lines)
            kinds += Counter(listens=len(on_time), repeated=len(of["repeated"]), bot=bot_rows) + defects
            tick()
    return kinds


def _write_events(tables: list[pa.Table], path: Path) -> None:
    # Without the Arrow schema the dictionary-coded columns are plain strings to every reader.
    with pq.ParquetWriter(path, EVENTS, compression="zstd", store_schema=False) as file:
        for table in tables:
            file.write_table(table.cast(EVENTS))
