"""Rows of `interactions` as ranking sees them."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.csr import Rows
from nocturne.ingestion.interactions import EPOCH
from nocturne.ranking.eligibility import Classes, Markets, Mask
from nocturne.training.model import Confidences, Counts, Model, columns_of, heard_items


@dataclass(frozen=True)
class Listeners:
    """Some listeners, in the order of their rows.

    Attributes:
        rows: their rows of `interactions`.
        entries: confidences in the model's items.
        seen: positions of what they have heard and may not get tonight.
        classes: class of their market.
        candidates: items that they may get; shape (listeners,).
        valid_until: first night on which something is let back to them; null if nothing will be.
    """

    rows: pa.RecordBatch
    entries: Confidences
    seen: Rows
    classes: Classes
    candidates: Counts
    valid_until: pa.Array

    @property
    def known(self) -> Mask:
        """Who has heard something that the model knows."""
        return np.diff(self.entries.offsets) > 0

    @classmethod
    def of(
        cls, rows: pa.RecordBatch, model: Model, markets: Markets, let_back_after_days: int, run_date: date
    ) -> "Listeners":
        """See rows through a model.

        Args:
            let_back_after_days: days after which a heard item may be listed again; 0: never.
        """
        offsets, item_indexes = heard_items(rows)
        heard = Rows(offsets, columns_of(item_indexes, model.position))
        filtered, valid_until = heard.positions >= 0, pa.nulls(rows.num_rows, pa.date32())
        if let_back_after_days:
            last_heard = rows.column("last_heard").flatten().cast(pa.int32()).to_numpy()
            let_back = last_heard + let_back_after_days
            filtered &= let_back > (run_date - EPOCH).days
            valid_until = _earliest(heard.where(filtered).offsets, let_back[filtered])
        seen = heard.where(filtered)
        classes = markets.of(rows.column("market"))
        of_seen = markets.masks[np.repeat(classes, seen.lengths), seen.positions]
        seen_eligible = np.concatenate([[0], np.cumsum(of_seen)])[seen.offsets]
        candidates = markets.sizes[classes] - np.diff(seen_eligible)
        return cls(rows, model.confidence_rows(rows), seen, classes, candidates, valid_until)


def _earliest(offsets: Counts, days: Counts) -> pa.Array:
    """The earliest day of each row as a date; null for an empty row."""
    filled = np.diff(offsets) > 0
    earliest = np.zeros(len(filled), dtype=np.int32)
    if len(days):
        earliest[filled] = np.minimum.reduceat(days, offsets[:-1][filled])
    return pc.if_else(pa.array(filled), pa.array(earliest), None).cast(pa.date32())
