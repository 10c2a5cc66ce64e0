"""Related items that were carried over, beside last night's: the same, without what may no longer be listed."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Mask, Positions
from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.history import previous_night
from nocturne.validation.profiles.known_items import KnownItems, RelatedBatch, numbers

Scores = npt.NDArray[np.float32]


def are_carried(rows: pa.RecordBatch, run_date: date) -> Mask:
    """True for rows that were computed on an earlier night."""
    return mask(pc.less(rows["computed_on"], pa.scalar(run_date, pa.date32())))


@dataclass(frozen=True)
class EarlierRows:
    """Last night's rows, by the keys of tonight's.

    Attributes:
        entries: their items, the reserve behind them; -1 where there are fewer; shape (keys, places).
        scores: aligned with them.
        computed_on: in days since 1970-01-01; -1 where there is no row; shape (keys,).
    """

    entries: Positions
    scores: Scores
    computed_on: Counts

    @classmethod
    def of(cls, night: Night, known: KnownItems) -> "EarlierRows | None":
        """The rows of the last sound night; None without one."""
        before = previous_night(night, "related_items")
        if before is None:
            return None
        batches = [RelatedBatch.of(rows, known) for rows in tables.batches(before, "related_items")]
        places = max((_longest(batch.rows) for batch in batches), default=0)
        keys = len(known.ids) * len(known.types)
        entries, scores = np.full((keys, places), -1), np.zeros((keys, places), np.float32)
        computed_on = np.full(keys, -1)
        for batch in batches:
            of_batch = _side_by_side([batch.rows["items"], batch.rows["reserve"]], known, places)
            entries[batch.keys], scores[batch.keys] = (array[batch.sound] for array in of_batch)
            computed_on[batch.keys] = _days(batch.rows)[batch.sound]
        return cls(entries, scores, computed_on)

    def count_unlike(self, batch: RelatedBatch, night: Night) -> int:
        """Rows of tonight that were carried over and are not what last night's come to."""
        known, depth = batch.known, night.settings.related.depth
        carried = np.flatnonzero(are_carried(batch.rows, night.run_date)[batch.sound])
        keys, places = batch.keys[carried], max(depth, _longest(batch.rows))
        entries, scores = (array[batch.sound][carried] for array in _side_by_side([batch.rows["items"]], known, places))
        before, their_scores = self.entries[keys], self.scores[keys]
        may = (before >= 0) & known.listable[before] & (known.type_of[before] == batch.type[batch.sound][carried, None])
        order = np.argsort(~may, axis=1, kind="stable")[:, :depth]
        stay = np.take_along_axis(may, order, axis=1)
        expected = np.where(stay, np.take_along_axis(before, order, axis=1), -1)
        expected_scores = np.where(stay, np.take_along_axis(their_scores, order, axis=1), 0)
        room = ((0, 0), (0, places - expected.shape[1]))
        same = (np.pad(expected, room, constant_values=-1) == entries).all(axis=1)
        same &= (np.pad(expected_scores, room) == scores).all(axis=1)
        same &= self.computed_on[keys] == _days(batch.rows)[batch.sound][carried]
        return int((~same).sum())


def _longest(rows: pa.RecordBatch) -> int:
    lengths = pc.add(pc.list_value_length(rows["items"]), pc.list_value_length(rows["reserve"]))
    return int(pc.max(lengths).as_py() or 0)


def _side_by_side(columns: list[pa.ListArray], known: KnownItems, places: int) -> tuple[Positions, Scores]:
    """Entries of some columns, one column behind the other, by row and place."""
    rows = len(columns[0])
    entries, scores = np.full((rows, places), -1), np.zeros((rows, places), np.float32)
    start = np.zeros(rows, np.int64)
    for lists in columns:
        lengths = pc.list_value_length(lists).to_numpy()
        row = np.repeat(np.arange(rows), lengths)
        place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths - start, lengths)
        values = lists.flatten()
        entries[row, place] = numbers(pc.struct_field(values, "item_id"), known.ids)
        scores[row, place] = pc.struct_field(values, "score").to_numpy(zero_copy_only=False)
        start += lengths
    return entries, scores


def _days(rows: pa.RecordBatch) -> Counts:
    return np.asarray(rows["computed_on"].cast(pa.int32()).to_numpy().astype(np.int64))
