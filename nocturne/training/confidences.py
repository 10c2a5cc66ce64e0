"""Confidence rows: listeners' rows of `interactions` as a model weighs them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nocturne.core.arrays import Counts, Floats, Indexes
from nocturne.core.csr import entries_of
from nocturne.core.sections import AlsSettings
from nocturne.ingestion.interactions import strength_scale

_TRANSFORMS: dict[str, Callable[[Floats], Floats]] = {
    "linear": lambda amount: amount,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "binary": lambda amount: (amount > 0).astype(np.float64),
}


@dataclass(frozen=True)
class Confidences:
    """Listeners' rows as the model sees them: a CSR matrix.

    Attributes:
        offsets: where each row begins and the last one ends, int64; shape (rows + 1,).
        columns: positions in the model, ascending within a row; shape (entries,).
        confidences: > 0, aligned with the columns.
    """

    offsets: Counts
    columns: Indexes
    confidences: Floats

    def take(self, listeners: npt.NDArray[np.intp]) -> "Confidences":
        """The rows of some listeners."""
        offsets, entries = entries_of(self.offsets, listeners)
        return Confidences(offsets, self.columns[entries], self.confidences[entries])


def strengths(
    rows: pa.RecordBatch, anchor_date: date, half_life_days: float, settings: AlsSettings
) -> tuple[Counts, Indexes, Floats]:
    """Rows of `interactions` as CSR arrays of listening strength.

    Returns:
        row offsets (rows + 1,), item indexes and strengths (entries,): decayed plays and minutes, weighted.
    """
    offsets, item_indexes = heard_items(rows)
    periods, of_row = np.unique(rows.column("period").to_numpy(), return_inverse=True)
    scales = np.array([strength_scale(int(period), anchor_date, half_life_days) for period in periods])
    plays = rows.column("play_sums").flatten().to_numpy().astype(np.float64)
    seconds = rows.column("second_sums").flatten().to_numpy().astype(np.float64)
    amount = settings.play_weight * plays + settings.minute_weight / 60 * seconds
    return offsets, item_indexes, amount * np.repeat(scales[of_row], np.diff(offsets))


def confidences(amounts: Floats, weights: Floats, items_heard: Counts, settings: AlsSettings) -> Floats:
    """Confidence of each entry, all arguments aligned with the entries.

    Args:
        amounts: strengths, in plays as worth on the anchor date.
        weights: the item's confidence weight.
        items_heard: number of items in the listener's row.

    Source: Hu, Koren and Volinsky (2008), section 4, with weights against popular items and active listeners.
    """
    transformed = _TRANSFORMS[settings.transform](amounts)
    return settings.alpha * transformed * weights * items_heard.astype(np.float64) ** -settings.activity_exponent


def confidence_rows(
    rows: pa.RecordBatch,
    position: Indexes,
    weights: Floats,
    anchor_date: date,
    half_life_days: float,
    settings: AlsSettings,
    recency: float = 1.0,
) -> Confidences:
    """Rows of `interactions` as confidences in the items of a model.

    Items that the model lacks are left out, and so is what has faded to nothing.

    Args:
        rows: period, item_indexes (ascending in each row), play_sums and second_sums of some listeners, and
            recent_items if recency is below 1.
        recency: what confidence in an item is multiplied by for each listen after its last one.
        position: column in the model of each item index, ascending; -1, or beyond its end, for items it lacks.
        weights: confidence weight of each of the model's items; 0 for those that do not count; shape (items,).
    """
    offsets, item_indexes, amounts = strengths(rows, anchor_date, half_life_days, settings)
    columns = columns_of(item_indexes, position)
    used = (columns >= 0) & (amounts > 0) & (weights[columns] > 0)
    heard = np.diff(offsets)
    columns = columns[used]
    values = confidences(amounts[used], weights[columns], np.repeat(heard, heard)[used], settings)
    if recency < 1:
        values *= recency ** ages(rows)[used]
    return Confidences(np.concatenate([[0], np.cumsum(used)])[offsets], columns, values)


def ages(rows: pa.RecordBatch) -> Counts:
    """Listens of the same listener after the last one of each item; shape (entries,).

    Items that are not among a listener's last listens are as old as the first of these.
    """
    starts, listener, entry = recent_listens(rows)
    aged = np.repeat(np.diff(starts), np.diff(heard_items(rows)[0]))
    np.minimum.at(aged, entry, starts[1:][listener] - 1 - np.arange(len(entry)))
    return aged


def recent_listens(rows: pa.RecordBatch) -> tuple[Counts, Counts, Counts]:
    """Last listens of some rows of `interactions`, oldest first.

    Returns:
        row offsets, from 0 (rows + 1,), row of each listen, and place of its item among the entries (listens,).
    """
    (offsets, items), (starts, recent) = heard_items(rows), listed(rows.column("recent_items"))
    row_of_entry, row_of_listen = (np.repeat(np.arange(rows.num_rows), np.diff(ends)) for ends in (offsets, starts))
    return starts, row_of_listen, np.searchsorted(row_of_entry << 32 | items, row_of_listen << 32 | recent)


def columns_of(item_indexes: Indexes, position: Indexes) -> Indexes:
    """Column in a model of each item index: -1 for items it lacks, those beyond the end of `position` among them."""
    columns = position.take(item_indexes, mode="clip")
    columns[item_indexes >= len(position)] = -1
    return columns


def heard_items(rows: pa.RecordBatch) -> tuple[Counts, Indexes]:
    """Row offsets, from 0, and item indexes of some rows of `interactions`, which may be a slice of a batch."""
    return listed(rows.column("item_indexes"))


def listed(lists: pa.ListArray) -> tuple[Counts, Indexes]:
    """Offsets, from 0, and values of lists, which may be a slice."""
    offsets = lists.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], lists.flatten().to_numpy()


def positions(item_indexes: Indexes, length: int) -> Indexes:
    """Place of each item index below `length` among those given; -1 elsewhere."""
    position = np.full(length, -1, dtype=np.int32)
    position[item_indexes] = np.arange(len(item_indexes), dtype=np.int32)
    return position
