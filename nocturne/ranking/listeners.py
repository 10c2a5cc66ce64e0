"""Listeners of a night: their rows of `interactions` in the terms of a model."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Floats, Mask
from nocturne.core.csr import CsrRows
from nocturne.ingestion.interactions import EPOCH
from nocturne.ranking.eligibility import Classes, Markets
from nocturne.training.confidences import Confidences, columns_of, heard_items
from nocturne.training.model import Model


@dataclass(frozen=True)
class Listeners:
    """Some listeners, in the order of their rows.

    Attributes:
        rows: their rows of `interactions`.
        entries: confidences in the model's items.
        recent: positions of the items heard last, oldest first, as the model's encoder reads them; none without one.
        already_heard: positions of items that they heard and may not get tonight.
        classes: class of their market.
        candidates: items that they may get; shape (listeners,).
        valid_until: first night on which a heard item may be listed again; null without one.
    """

    rows: pa.RecordBatch
    entries: Confidences
    recent: CsrRows
    already_heard: CsrRows
    classes: Classes
    candidates: Counts
    valid_until: pa.Array

    @property
    def in_model(self) -> Mask:
        """True for listeners who heard an item of the model; shape (listeners,)."""
        return np.diff(self.entries.offsets) > 0

    @classmethod
    def of(
        cls, rows: pa.RecordBatch, model: Model, markets: Markets, let_back_after_days: int, run_date: date
    ) -> "Listeners":
        """Read rows with positions in a model.

        Args:
            let_back_after_days: days after which a heard item may be listed again; 0: never.
        """
        offsets, item_indexes = heard_items(rows)
        heard = CsrRows(offsets, columns_of(item_indexes, model.position))
        filtered, valid_until = heard.positions >= 0, pa.nulls(rows.num_rows, pa.date32())
        if let_back_after_days:
            last_heard = rows.column("last_heard").flatten().cast(pa.int32()).to_numpy()
            let_back = last_heard + let_back_after_days
            filtered &= let_back > (run_date - EPOCH).days
            valid_until = _earliest(heard.where(filtered).offsets, let_back[filtered])
        already_heard = heard.where(filtered)
        classes = markets.of_listeners(rows.column("user_id"), rows.column("market"))
        of_heard = markets.masks[np.repeat(classes, already_heard.lengths), already_heard.positions]
        heard_eligible = np.concatenate([[0], np.cumsum(of_heard)])[already_heard.offsets]
        candidates = markets.sizes[classes] - np.diff(heard_eligible)
        recent = model.sequence_rows(rows) if model.encoder else CsrRows.empty(rows.num_rows)
        return cls(rows, model.confidence_rows(rows), recent, already_heard, classes, candidates, valid_until)


class ListenerFactors:
    """Exact factors of some listeners, each solved once, when first asked for.

    Args:
        listeners: count.
        width: factors of each.
        solve: gives the factors of some listeners.
    """

    def __init__(self, listeners: int, width: int, solve: Callable[[Counts], Floats]) -> None:
        self._factors = np.zeros((listeners, width))
        self._known = np.zeros(listeners, dtype=np.bool_)
        self._solve = solve

    def of(self, some: Counts) -> Floats:
        """The factors of some listeners; shape (some, factors)."""
        unknown = np.unique(some[~self._known[some]])
        if len(unknown):
            self._factors[unknown], self._known[unknown] = self._solve(unknown), True
        return self._factors[some]


def _earliest(offsets: Counts, days: Counts) -> pa.Array:
    """The earliest day of each row as a date; null for an empty row."""
    nonempty = np.diff(offsets) > 0
    earliest = np.zeros(len(nonempty), dtype=np.int32)
    if len(days):
        earliest[nonempty] = np.minimum.reduceat(days, offsets[:-1][nonempty])
    return pc.if_else(pa.array(nonempty), pa.array(earliest), None).cast(pa.date32())
