"""Heads by type: the best few of every type among a listener's positions, best first."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from nocturne.core.arrays import Codes, Counts, Floats, Mask
from nocturne.core.csr import CsrRows
from nocturne.kernel.arguments import frozen


@dataclass(frozen=True)
class Heads:
    """Rows of a few positions in a matrix: a row for each listener and type, those of a listener side by side.

    Attributes:
        positions: the first `lengths` of a row are set; shape (rows, depth).
        scores: aligned with them, in single precision where they are to be stored.
        lengths: shape (rows,).
    """

    positions: npt.NDArray[np.int32]
    scores: npt.NDArray[np.floating]
    lengths: Counts

    @classmethod
    def empty(cls, rows: int, depth: int, scores: type[np.floating] = np.float32) -> "Heads":
        """Rows without a position, for scores of a type."""
        shape = (rows, depth)
        return cls(np.zeros(shape, np.int32), np.zeros(shape, scores), np.zeros(rows, np.int64))

    def append(self, rows: CsrRows, scores: npt.NDArray[np.floating], codes: Codes, types: int) -> None:
        """Put positions of listeners behind what there is of their type, while there is room.

        Args:
            rows: of listeners, best first, what is behind what there is.
            scores: aligned with the positions.
            codes: type of each position, from 0; -1 for those that count nowhere.
        """
        arrays = frozen(rows.offsets, rows.positions, scores, codes)
        _append(self.positions, self.scores, self.lengths, types, *arrays)

    def put(self, places: Counts, rows: CsrRows, scores: Floats) -> None:
        """Replace some rows by others, of at most as many positions."""
        self.lengths[places] = rows.lengths
        row = np.repeat(places, rows.lengths)
        column = np.arange(len(row)) - np.repeat(rows.offsets[:-1] - rows.offsets[0], rows.lengths)
        self.positions[row, column], self.scores[row, column] = rows.positions, scores

    def between(self, first: Counts | int, last: Counts | int) -> Mask:
        """True from one place of each row to before another, as far as it reaches; shape (rows, depth)."""
        column = np.arange(self.positions.shape[1])
        ends = np.minimum(self.lengths, last)
        mask: Mask = (column >= np.broadcast_to(first, len(ends))[:, None]) & (column < ends[:, None])
        return mask

    def ends(self, places: Counts) -> Floats:
        """The last score of some rows; infinity for empty ones."""
        last = self.scores[places, self.lengths[places] - 1].astype(np.float64)
        return np.where(self.lengths[places] > 0, last, np.inf)

    def rows(self, places: Counts) -> CsrRows:
        """The positions of some rows."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths[places])])
        return CsrRows(offsets, self.positions[places][self._filled(places)])

    def scores_of(self, places: Counts) -> npt.NDArray[np.floating]:
        """The scores of some rows, aligned with their positions."""
        return self.scores[places][self._filled(places)]

    def _filled(self, places: Counts) -> Mask:
        filled: Mask = np.arange(self.positions.shape[1]) < self.lengths[places, None]
        return filled


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _append(heads, head_scores, lengths, types, offsets, positions, scores, codes):
    depth = heads.shape[1]
    for listener in range(len(offsets) - 1):
        for entry in range(offsets[listener], offsets[listener + 1]):
            code = codes[positions[entry]]
            row = listener * types + code
            if code < 0 or lengths[row] == depth:
                continue
            heads[row, lengths[row]], head_scores[row, lengths[row]] = positions[entry], scores[entry]
            lengths[row] += 1
