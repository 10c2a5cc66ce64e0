"""Memory: on how many of the last days a listener was shown an item or heard it, read from what was landed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.core.arrays import Mask
from nocturne.core.masks import mask
from nocturne.ingestion.interactions import EPOCH
from nocturne.ingestion.simulator.world import BLOCK, IntArray, Items, Listeners, Scenario

LATELY = 7
"""Days that a listener remembers."""

_ID = pa.dictionary(pa.int32(), pa.string())
MEMORIES = pa.schema({"user_id": _ID, "item_id": _ID, "night": pa.int32(), "heard": pa.bool_()})
"""One row each time that an item was shown to a listener, or heard by them; nights from the start."""

_IDS = ["user_id", "item_id"]


@dataclass(frozen=True)
class Memory:
    """Items that the listeners of a block met lately, one element a listener and item.

    Attributes:
        keys: row of the listener in the block x items of the catalogue + row of the item, ascending.
        days: days of the last LATELY on which it was shown or heard, 1 to LATELY.
        heard: True if it was heard on any of them.
        items: items of the catalogue, count.
    """

    keys: IntArray
    days: IntArray
    heard: Mask
    items: int

    @classmethod
    def of(cls, memories: pa.Table, listeners: Listeners, items: Items, night: int) -> "Memory":
        """The memory of a block on a night, from rows of MEMORIES in any order; others than of the last days are left.

        Args:
            night: the day of the next reaction, nights from the start.
        """
        listener, item = rows_of(memories["user_id"], listeners.ids), rows_of(memories["item_id"], items.ids)
        age = night - memories["night"].to_numpy()
        known = (listener >= 0) & (item >= 0) & (age >= 1) & (age <= LATELY)
        met = listener[known] * len(items.ids) + item[known]
        of_days = np.sort(met * LATELY + age[known] - 1)  # np.unique hashes, which is slow where most are different
        of_days = of_days[np.diff(of_days, prepend=-1) > 0] // LATELY
        begins = np.flatnonzero(np.diff(of_days, prepend=-1))
        keys, days = of_days[begins], np.diff(begins, append=len(of_days))
        heard = np.zeros(len(keys), bool)
        heard[np.searchsorted(keys, met[mask(memories["heard"])[known]])] = True
        return cls(keys, days, heard, len(items.ids))

    def of_pairs(self, listener: IntArray, item: IntArray) -> tuple[IntArray, Mask]:
        """Days of each pair, 0 for what was not met, and whether it was heard."""
        if not len(self.keys):
            return np.zeros(len(item), np.int64), np.zeros(len(item), bool)
        wanted = listener * self.items + item
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        met = self.keys[place] == wanted
        return np.where(met, self.days[place], 0), met & self.heard[place]


def rows_of(ids: pa.Array | pa.ChunkedArray, among: pa.Array) -> IntArray:
    """The row of each id among others; -1 where it is none of them."""
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    rows = [np.empty(0, np.int64)]
    for chunk in chunks:
        coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        of_texts = pc.fill_null(pc.index_in(coded.dictionary, value_set=among), -1).to_numpy().astype(np.int64)
        rows.append(of_texts[coded.indices.to_numpy()])
    return np.concatenate(rows)


def truth_folder(landing: Path) -> Path:
    """The folder beside a landing zone in which the truth of its simulation lies."""
    return landing.with_name(f"{landing.name}-truth")


def shown_file(landing: Path, day: date, first: int) -> Path:
    """The file of what a block was shown on a day."""
    return truth_folder(landing) / "shown" / f"date={day}" / f"{first // BLOCK:05d}.parquet"


def read_memories(landing: Path, scenario: Scenario, day: date, first: int) -> pa.Table:
    """Memories of a block of listeners of the days before a day, as far as these have landed.

    Args:
        first: number of the block's first listener.

    Returns:
        MEMORIES; rows of other blocks may be among them.
    """
    tables = [MEMORIES.empty_table()]
    block = f"{first // BLOCK:05d}.parquet"
    for age in range(1, LATELY + 1):
        before = day - timedelta(days=age)
        folder = landing / "events" / f"date={before}"
        files = (folder / f"events-{block}", folder / f"reactions-{block}", folder / "redelivered.parquet")
        for events in _read(files, [*_IDS, "listened_at"]):
            nights = pc.subtract(events["listened_at"].cast(pa.date32(), safe=False).cast(pa.int32()), _days(scenario))
            tables.append(_memories(events, nights, heard=True))
        for shown in _read([shown_file(landing, before, first)], _IDS):
            nights = pa.repeat((before - scenario.start).days, shown.num_rows)
            tables.append(_memories(shown, nights, heard=False))
    return pa.concat_tables(tables)


def _read(files: Iterable[Path], columns: list[str]) -> list[pa.Table]:
    return [
        pq.read_table(file, columns=columns, read_dictionary=_IDS, partitioning=None)  # the folder's date is no column
        for file in files
        if file.exists()
    ]


def _days(scenario: Scenario) -> int:
    """The start in days since 1970."""
    return (scenario.start - EPOCH).days


def _memories(rows: pa.Table, nights: pa.Array, *, heard: bool) -> pa.Table:
    columns = [*(rows[name] for name in _IDS), nights, pa.repeat(pa.scalar(heard), rows.num_rows)]
    return pa.table(columns, names=MEMORIES.names).cast(MEMORIES)
