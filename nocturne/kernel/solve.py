"""A listener's factors, solved exactly against the item factors."""

import numpy as np
import numpy.typing as npt
from numba import njit

from nocturne.core.arrays import Floats
from nocturne.core.errors import InputError
from nocturne.kernel.arguments import ConfidenceRows, ValuedRows, frozen

_ROWS_AT_ONCE = 4096


def solve_users(
    factors: npt.NDArray[np.float32],
    spectrum: Floats,
    regularization: float,
    rows: ConfidenceRows,
    regularization_exponent: float = 0.0,
) -> Floats:
    """Solve the ridge regression of every listener's confidences on the item factors.

    Each listener is solved alone, in float64, in an order of operations that their own row fixes. A row shorter
    than the factors are wide is solved in its own dimension, which the diagonal Gram matrix makes cheap.

    Args:
        factors: on their principal axes; shape (items, factors).
        spectrum: diagonal of factors.T @ factors, which has nothing else; shape (factors,).
        regularization: ridge term of a listener, > 0.
        rows: of the listeners.
        regularization_exponent: the ridge term is multiplied by the length of the row ^ this.

    Returns:
        Shape (listeners, factors); zeros for an empty row.

    Raises:
        InputError: a system has no solution, as where the spectrum is that of other factors.

    Source: Hu, Koren and Volinsky (2008), equation 4, the same solution as implicit's `recalculate_user`;
        short rows by the Woodbury identity (Golub and Van Loan, Matrix Computations (2013), section 2.1.4).
    """
    ridges = regularization * np.maximum(np.diff(rows.offsets), 1).astype(np.float64) ** regularization_exponent
    try:
        return np.asarray(_solve(ValuedRows.of_confidences(rows), *frozen(factors, spectrum, ridges)))
    except np.linalg.LinAlgError as error:
        raise InputError(
            "the factors of a listener cannot be solved",
            found=str(error),
            expected="item factors with the spectrum of their own Gram matrix",
            fix="train the model again, or reject it: `nocturne models reject`",
        ) from error


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True)
def _solve(rows, factors, spectrum, ridges):
    width, offsets = factors.shape[1], rows.offsets
    solved = np.zeros((len(offsets) - 1, width))
    for listener in range(len(solved)):
        row = rows.positions[offsets[listener] : offsets[listener + 1]]
        confidence = rows.values[offsets[listener] : offsets[listener + 1]]
        if len(row) == 0:
            continue
        diagonal = spectrum + ridges[listener]
        if len(row) < width:
            solved[listener] = _solve_in_row(factors, diagonal, row, confidence)
        else:
            solved[listener] = _solve_in_factors(factors, diagonal, row, confidence)
    return solved


@njit(cache=True)
def _solve_in_row(factors, diagonal, row, confidence):
    """(G + W'(C-I)W)^-1 W'c as G^-1/2 V'(I + (C-I)VV')^-1 c, where V = W G^-1/2: a system as large as the row."""
    scale = 1 / np.sqrt(diagonal)
    heard = np.empty((len(row), len(diagonal)))
    for place in range(len(row)):
        for factor in range(len(diagonal)):
            heard[place, factor] = factors[row[place], factor] * scale[factor]
    system = np.dot(heard, heard.T)
    for place in range(len(row)):
        system[place] *= confidence[place] - 1
        system[place, place] += 1
    return np.dot(np.linalg.solve(system, confidence), heard) * scale


@njit(cache=True)
def _solve_in_factors(factors, diagonal, row, confidence):
    """The normal equations as they stand, a few thousand items at a time."""
    width = len(diagonal)
    normal = np.diag(diagonal)
    target = np.zeros(width)
    for first in range(0, len(row), _ROWS_AT_ONCE):
        part = row[first : first + _ROWS_AT_ONCE]
        heard, weighted = np.empty((len(part), width)), np.empty((len(part), width))
        for place in range(len(part)):
            for factor in range(width):
                heard[place, factor] = factors[part[place], factor]
                weighted[place, factor] = heard[place, factor] * (confidence[first + place] - 1)
        normal += np.dot(heard.T, weighted)
        target += np.dot(confidence[first : first + len(part)], heard)
    lower = np.linalg.cholesky(normal)
    for i in range(width):
        target[i] = (target[i] - np.dot(lower[i, :i], target[:i])) / lower[i, i]
    for i in range(width - 1, -1, -1):
        target[i] = (target[i] - np.dot(np.ascontiguousarray(lower[i + 1 :, i]), target[i + 1 :])) / lower[i, i]
    return target
