"""Rows of a night's tables as arrays."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Positions
from nocturne.core.csr import entries_of
from nocturne.ingestion.interactions import UNIT
from nocturne.validation.metrics.lists import Rows

_EPOCH = 719_163
"""Of date.toordinal()."""


class Cells(NamedTuple):
    """The entries of rows of `interactions`.

    Attributes:
        row, item: of each entry, ascending.
        plays: decayed, as of the row's period.
        last: day on which it was last heard, since 1970-01-01.
        offsets: where each row begins, and the last one ends.
    """

    row: Positions
    item: Positions
    plays: np.ndarray
    last: Positions
    offsets: Positions

    @property
    def keys(self) -> Positions:
        """Row and item in one number, ascending."""
        return self.row << 32 | self.item

    def heard_by(self, rows: Positions, day: int) -> tuple[Rows, Rows]:
        """Items that some rows have, none of row -1, and those that were last heard on a day."""
        offsets = np.append(self.offsets, self.offsets[-1])
        ends, entries = entries_of(offsets, np.where(rows < 0, len(offsets) - 2, rows))
        heard = Rows(self.item[entries], ends)
        return heard, heard.where(self.last[entries] == day)


def cells(rows: pa.Table) -> Cells:
    """The entries of rows of `interactions`; of null none."""
    rows = rows.combine_chunks()
    lists = rows["item_indexes"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    numbers = {name: rows[name].combine_chunks().flatten() for name in ("item_indexes", "play_sums", "last_heard")}
    return Cells(
        row=np.repeat(np.arange(rows.num_rows), lengths),
        item=numbers["item_indexes"].to_numpy().astype(np.int64),
        plays=numbers["play_sums"].to_numpy() / UNIT,
        last=numbers["last_heard"].cast(pa.int32()).to_numpy().astype(np.int64),
        offsets=np.append(0, np.cumsum(lengths)).astype(np.int64),
    )


def places(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> Positions:
    """The place of each value among others; -1 where it is none of them."""
    if isinstance(among, pa.ChunkedArray):
        among = among.combine_chunks()
    place = pc.fill_null(pc.index_in(values, value_set=among), -1)
    return np.asarray(place.to_numpy()).astype(np.int64)


def beside(table: pa.Table, users: pa.ChunkedArray) -> pa.Table:
    """The row of a table of each listener; null where it has none."""
    place = places(users, table["user_id"])
    return table.take(pa.array(place, mask=place < 0)).combine_chunks()


def list_rows(table: pa.Table, ids: pa.Array) -> Rows:
    """The items of lists or exposures, by index; empty of null."""
    items = table["items"].combine_chunks()
    return Rows.of_lists(items, places(pc.struct_field(items.flatten(), "item_id"), ids))


def day_number(run_date: object) -> int:
    """Days since 1970-01-01."""
    return run_date.toordinal() - _EPOCH  # type: ignore[attr-defined]
