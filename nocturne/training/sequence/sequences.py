"""Sequences: rows of `interactions` -> what every listener heard last, in its order, as positions in a model."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Indexes
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
