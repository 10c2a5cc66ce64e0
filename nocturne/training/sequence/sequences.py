"""Sequences: rows of `interactions` -> what every listener heard last, in its order, as positions in a model."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Indexes, Positions
from nocturne.core.csr import CsrRows
from nocturne.training.confidences import columns_of, listed


def sequence_rows(rows: pa.RecordBatch, position: Indexes) -> CsrRows:
    """Positions of the items of each listener's last listens, oldest first, without items that the model lacks.

    Args:
        rows: recent_items of `interactions`.
        position: of each item index; -1 for items that the model lacks.
    """
    offsets, recent = listed(rows.column("recent_items"))
    columns = columns_of(recent, position)
    return CsrRows(offsets, columns).where(columns >= 0)


def sequences_of(batches: Iterable[pa.RecordBatch], position: Indexes) -> CsrRows:
    """The same of many batches, laid end to end."""
    parts = [sequence_rows(batch, position) for batch in batches]
    lengths = np.concatenate([np.zeros(0, np.int64), *(part.lengths for part in parts)])
    positions = np.concatenate([np.zeros(0, np.int32), *(part.positions for part in parts)])
    return CsrRows(np.concatenate([[0], np.cumsum(lengths)]), positions)


class Withheld(NamedTuple):
    """The last items of some listeners, which are not learned from.

    Attributes:
        listeners: ascending; shape (listeners,).
        items: positions, aligned with them.
    """

    listeners: Positions
    items: Positions


def withhold_last(sequences: CsrRows, listeners: int, seed: int) -> tuple[CsrRows, Withheld]:
    """The sequences without the last item of some listeners of three and more, and what was withheld.

    Args:
        listeners: at most, and no more than half of those who have as much.
        seed: of the draw of listeners.
    """
    eligible = np.flatnonzero(sequences.lengths > 2)
    count = min(listeners, len(eligible) // 2)
    drawn = np.sort(np.random.default_rng((seed, 1)).permutation(eligible)[:count])
    kept = np.ones(len(sequences.positions), np.bool_)
    last = sequences.offsets[drawn + 1] - 1
    kept[last] = False
    return sequences.where(kept), Withheld(drawn, sequences.positions[last].astype(np.int64))
