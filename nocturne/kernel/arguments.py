"""Arguments of compiled loops: arrays that belong together, under a name each."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Floats, Indexes, Offsets


class ConfidenceRows(Protocol):
    """CSR rows of what listeners heard: positions in `columns`, and a confidence > 0 beside each of them."""

    @property
    def offsets(self) -> Offsets:
        """Where each row begins and the last one ends; shape (listeners + 1,)."""

    @property
    def columns(self) -> Indexes:
        """Positions of the items; shape (entries,)."""

    @property
    def confidences(self) -> Floats:
        """Aligned with the columns."""


class ValuedRows(NamedTuple):
    """CSR rows of positions, and a value aligned with each of them."""

    offsets: Offsets
    positions: Indexes
    values: Floats

    @classmethod
    def of_confidences(cls, rows: ConfidenceRows) -> "ValuedRows":
        """Listeners' rows, read-only."""
        return cls(*frozen(rows.offsets, rows.columns, rows.confidences))


def frozen(*arrays: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Read-only C-contiguous views, or copies: of one kind, so that everyone's call runs the same compiled code."""
    views = [np.ascontiguousarray(array).view() for array in arrays]
    for view in views:
        view.flags.writeable = False
    return views
