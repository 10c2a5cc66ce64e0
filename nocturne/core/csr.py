"""Rows of different lengths laid end to end: CSR without a width."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Floats, Indexes, Offsets


@dataclass(frozen=True)
class CsrRows:
    """CSR rows of positions: those of listener i are positions[offsets[i]:offsets[i + 1]].

    Example: the rows [4], [] and [2, 9] have offsets [0, 1, 1, 3] and positions [4, 2, 9].
    """

    offsets: Offsets
    positions: Indexes

    @classmethod
    def empty(cls, listeners: int) -> "CsrRows":
        """No position for anyone."""
        return cls(np.zeros(listeners + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))

    @property
    def lengths(self) -> Offsets:
        """Positions of each row; shape (rows,)."""
        return np.diff(self.offsets)

    def row(self, listener: int) -> Indexes:
        """The positions of one listener."""
        return self.positions[self.offsets[listener] : self.offsets[listener + 1]]

    def take(self, listeners: npt.NDArray[np.intp]) -> "CsrRows":
        """The rows of some listeners."""
        offsets, entries = entries_of(self.offsets, listeners)
        return CsrRows(offsets, self.positions[entries])

    def heads(self, values: Floats, k: int) -> tuple["CsrRows", Floats]:
        """The first k positions of every row, and the values aligned with them."""
        first = np.arange(len(values)) - np.repeat(self.offsets[:-1], self.lengths) < k
        return self.where(first), values[first]

    def where(self, mask: npt.NDArray[np.bool_]) -> "CsrRows":
        """The same rows with some of the positions; the mask is aligned with them."""
        return CsrRows(np.concatenate([[0], np.cumsum(mask)])[self.offsets - self.offsets[0]], self.positions[mask])


def entries_of(offsets: Offsets, listeners: npt.NDArray[np.intp]) -> tuple[Offsets, Offsets]:
    """Offsets of some rows laid end to end, and the place of each of their entries among those of all rows."""
    lengths = np.diff(offsets)[listeners]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return ends, np.arange(ends[-1]) + np.repeat(offsets[listeners] - ends[:-1], lengths)


def fill_empty_rows(
    rows: CsrRows, values: Floats, places: npt.NDArray[np.intp], others: CsrRows, other_values: Floats
) -> tuple[CsrRows, Floats]:
    """Put other rows, and values aligned with their positions, in the place of empty ones.

    Args:
        places: where the others go, ascending; shape (others,).
    """
    lengths = rows.lengths
    lengths[places] = others.lengths
    is_other = np.zeros(len(lengths), dtype=np.bool_)
    is_other[places] = True
    of_other = np.repeat(is_other, lengths)
    positions, together = np.empty(len(of_other), np.int32), np.empty(len(of_other))
    positions[of_other], positions[~of_other] = others.positions, rows.positions
    together[of_other], together[~of_other] = other_values, values
    return CsrRows(np.concatenate([[0], np.cumsum(lengths)]), positions), together
