"""Delivery of events to the landing zone: most on time, some late, some twice, some corrupted."""

import gzip
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.ingestion.simulator.corruption import corrupt_events
from nocturne.ingestion.simulator.listening import EVENTS, listen
from nocturne.ingestion.simulator.world import DELIVERY, Items, Scenario, make_listeners

DELIVERIES = {"listens": 0.985, "late by one": 0.007, "late by two": 0.003, "repeated": 0.003, "resent": 0.002}
"""Shares of the people's events: on time, one or two nights late, twice in one night, and again the next night."""

LATEST = 2
"""Nights that an event is late, at most."""


class DelayedEvents:
    """Events that reach the landing zone on a later night than they were heard."""

    def __init__(self) -> None:
        self._events_by_night: defaultdict[int, list[tuple[str, pa.Table]]] = defaultdict(list)

    def send(self, night: int, kind: str, events: pa.Table) -> None:
        """Have events delivered on a later night."""
        self._events_by_night[night].append((kind, events.cast(EVENTS)))

    def deliver(self, night: int) -> list[tuple[str, pa.Table]]:
        """The events due on that night with their kinds; they are forgotten."""
        return self._events_by_night.pop(night, [])


def write_night(
    scenario: Scenario, items: Items, night: int, delayed: DelayedEvents, folder: Path, tick: Callable[[], None]
) -> Counter[str]:
    """Write the landing files of a night, block by block of listeners.

    Args:
        night: nights from the start.
        delayed: events of earlier nights; receives those that this one delays.
        folder: where to write.
        tick: called after each block.

    Returns:
        Rows by kind: listens, late, repeated, resent, bot, or the defect.
    """
    kinds: Counter[str] = Counter()
    redelivered = delayed.deliver(night)
    if redelivered:
        write_events([events for _, events in redelivered], folder / "redelivered.parquet")
        for kind, events in redelivered:
            kinds[kind] += events.num_rows
    with (
        (folder / "broken.jsonl.gz").open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as broken,  # no name, no time: equal bytes
    ):
        for number, first in enumerate(scenario.blocks()):
            sent = _send(scenario, items, first, night, delayed)
            write_events([sent.on_time, sent.repeated, sent.of_bots], folder / f"events-{number:05d}.parquet")
            lines, defects = corrupt_events(scenario, sent.of_people, first, night)
            broken.writelines(f"{line}\n".encode() for line in lines)
            rows = {"listens": sent.on_time, "repeated": sent.repeated, "bot": sent.of_bots}
            kinds += Counter({kind: events.num_rows for kind, events in rows.items()}) + defects
            tick()
    return kinds


def delayed_until(scenario: Scenario, items: Items, night: int) -> DelayedEvents:
    """The events of earlier nights that are delivered on a night, or later, when those nights are not written."""
    delayed = DelayedEvents()
    for earlier in range(max(0, night - LATEST), night):
        for first in scenario.blocks():
            _send(scenario, items, first, earlier, delayed)
    return delayed


class _Sent(NamedTuple):
    """The events of a block and night: those of people in all, and what is delivered at once."""

    of_people: pa.Table
    on_time: pa.Table
    repeated: pa.Table
    of_bots: pa.Table


def _send(scenario: Scenario, items: Items, first: int, night: int, delayed: DelayedEvents) -> _Sent:
    """Have the block's events delivered, those that are delayed through `delayed`."""
    listeners = make_listeners(scenario, items, first)
    events, bot_rows = listen(scenario, items, listeners, first, night)
    people = events.num_rows - bot_rows
    rng = scenario.rng(DELIVERY, night, first)
    delivery = rng.choice(len(DELIVERIES), size=people, p=list(DELIVERIES.values()))
    rows = {name: np.flatnonzero(delivery == code) for code, name in enumerate(DELIVERIES)}
    delayed.send(night + 1, "late", events.take(rows["late by one"]))
    delayed.send(night + 2, "late", events.take(rows["late by two"]))
    delayed.send(night + 1, "resent", events.take(rows["resent"]))
    on_time = events.take(np.flatnonzero(~np.isin(delivery, [1, 2])))
    return _Sent(events.slice(0, people), on_time, events.take(rows["repeated"]), events.slice(people))


def write_events(tables: list[pa.Table], path: Path) -> None:
    """Write tables of events to one file, in the columns of EVENTS."""
    # Without the Arrow schema the dictionary-coded columns are plain strings to every reader.
    with pq.ParquetWriter(path, EVENTS, compression="zstd", store_schema=False) as file:
        for table in tables:
            file.write_table(table.cast(EVENTS))
