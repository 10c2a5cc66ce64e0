"""Rows of different lengths laid end to end: CSR without a width."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """CSR rows of positions: those of listener i are positions[offsets[i]:offsets[i + 1]]."""

    offsets: Offsets
    positions: Positions

    @classmethod
    def empty(cls, listeners: int) -> "Rows":
        """No position for anyone."""
        return cls(np.zeros(listeners + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))

    @property
    def lengths(self) -> Offsets:
        """Positions of each row; shape (rows,)."""
        return np.diff(self.offsets)

    def row(self, listener: int) -> Positions:
        """The positions of one listener."""
        return self.positions[self.offsets[listener] : self.offsets[listener + 1]]

    def take(self, listeners: npt.NDArray[np.intp]) -> "Rows":
        """The rows of some listeners."""
        offsets, entries = entries_of(self.offsets, listeners)
        return Rows(offsets, self.positions[entries])

    def heads(self, values: Floats, k: int) -> tuple["Rows", Floats]:
        """The first k positions of every row, and the values aligned with them."""
        first = np.arange(len(values)) - np.repeat(self.offsets[:-1], self.lengths) < k
        return self.where(first), values[first]

    def where(self, kept: npt.NDArray[np.bool_]) -> "Rows":
        """The same rows with some of the positions; `kept` is aligned with them."""
        return Rows(np.concatenate([[0], np.cumsum(kept)])[self.offsets - self.offsets[0]], self.positions[kept])


def entries_of(offsets: Offsets, listeners: npt.NDArray[np.intp]) -> tuple[Offsets, Offsets]:
    """Where the entries of some rows lie: the offsets of those rows alone, and the place of every entry."""
    lengths = np.diff(offsets)[listeners]
    taken = np.concatenate([[0], np.cumsum(lengths)])
    return taken, np.arange(taken[-1]) + np.repeat(offsets[listeners] - taken[:-1], lengths)


def filled(
    rows: Rows, values: Floats, places: npt.NDArray[np.intp], others: Rows, other_values: Floats
) -> tuple[Rows, Floats]:
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
    return Rows(np.concatenate([[0], np.cumsum(lengths)]), positions), together
