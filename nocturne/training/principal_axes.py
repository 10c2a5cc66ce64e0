"""Item factors on their principal axes.

Alternating least squares determines factors only up to a rotation, so a model publishes the rotation in which its
Gram matrix is diagonal: a solve then needs the diagonal alone, and the first coordinates bound what the rest can add.
"""

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Floats

_BLOCK_ROWS = 8192
"""Rows held in float64 at once."""


def axes_of(factors: npt.NDArray[np.float32]) -> Floats:
    """The principal axes of factors, as columns, that of the largest eigenvalue first; shape (factors, factors).

    Each points so that its component of largest magnitude is positive: the same factors give the same bytes on one
    kind of machine, with one BLAS thread.
    """
    width = factors.shape[1]
    gram = np.zeros((width, width))
    for start in range(0, len(factors), _BLOCK_ROWS):
        exact = factors[start : start + _BLOCK_ROWS].astype(np.float64)
        gram += exact.T @ exact
    axes = np.linalg.eigh(gram).eigenvectors[:, ::-1]
    return np.asarray(axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(width)]))


def principal_axes(factors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], Floats]:
    """Rotate factors so that their Gram matrix is diagonal, the largest eigenvalue first.

    Args:
        factors: finite; shape (items, factors).

    Returns:
        The factors on `axes_of` them, float32, and the diagonal of their own Gram matrix (factors,), of what float32
        holds. It descends but for rounding, and what rounding leaves beside the diagonal is within 2^-23 of its trace.

    Source: principal component analysis without centring; the inner products, and so the scores, stay.
    """
    axes = axes_of(factors)
    rotated = np.empty_like(factors, order="C")
    spectrum = np.zeros(factors.shape[1])
    for start in range(0, len(factors), _BLOCK_ROWS):
        block = rotated[start : start + _BLOCK_ROWS]
        block[:] = factors[start : start + _BLOCK_ROWS].astype(np.float64) @ axes
        spectrum += (block.astype(np.float64) ** 2).sum(axis=0)
    return rotated, spectrum
