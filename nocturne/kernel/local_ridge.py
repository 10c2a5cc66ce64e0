"""Local ridge regression: every column of a matrix explained by a few others, each column by itself."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Floats, Indexes
from nocturne.kernel.arguments import frozen

_SOLVED_BYTES = 2**25
"""Of the normal equations that are solved at one time."""


def fit_weights(matrix: csr_matrix, predictors: Indexes, ridge: float, *, threads: int, memory_mb: int) -> Floats:
    """Weights of the columns that predict each column, with the least squared error under a ridge term.

    Weights of one column do not depend on how the work is cut.

    Args:
        matrix: float64; shape (rows, columns).
        predictors: columns that explain each column, never itself, -1 where there are fewer; shape (columns, width).
        ridge: > 0, of each weight squared.
        memory_mb: memory of the inner products at one time, MiB; with less they are computed more often.

    Returns:
        Aligned with the predictors, 0 where there is none; float64.

    Source: EASE (Steck 2019, section 3.1) without its constraint, with each regression cut to a few predictors as in
    SLIM with feature selection (Ning and Karypis 2011, section 3.3).
    """
    columns, width = predictors.shape
    by_column, by_row = (tuple(frozen(side.indptr, side.indices, side.data)) for side in (matrix.tocsc(), matrix))
    weights = np.zeros((columns, width))
    at_once = max(1, (memory_mb << 20) // (4 * width * (width + 1)))
    with ThreadPoolExecutor(threads) as workers:
        for first in range(0, columns, at_once):
            part = predictors[first : first + at_once]
            products = np.zeros((len(part), width, width + 1), np.float32)
            uses = _uses(part, columns)
            cuts = np.linspace(0, columns, 8 * threads + 1).astype(np.int64)
            done = [
                workers.submit(_multiply, int(start), int(end), by_column, by_row, uses, first, predictors, products)
                for start, end in itertools.pairwise(cuts)
            ]
            for each in done:
                each.result()
            solved = max(1, _SOLVED_BYTES // (8 * width * (width + 1)))
            for start in range(0, len(part), solved):
                some = products[start : start + solved].astype(np.float64)
                normal, target = some[:, :, :width], some[:, :, width:]
                normal[:, np.arange(width), np.arange(width)] += ridge
                weights[first + start : first + start + len(some)] = np.linalg.solve(normal, target)[..., 0]
    return weights


def _uses(predictors: Indexes, columns: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Where each column is a predictor: offsets by column, rows of `predictors` and places in them."""
    row, place = np.nonzero(predictors >= 0)
    predictor = predictors[row, place]
    order = np.argsort(predictor, kind="stable")
    starts = np.searchsorted(predictor[order], np.arange(columns + 1))
    return starts, row[order], place[order]


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True, nogil=True)
def _multiply(start, end, by_column, by_row, uses, first, predictors, products):
    """Inner products of columns from `start` to `end` with the other predictors, and the target, wherever used."""
    column_starts, column_rows, column_values = by_column
    row_starts, row_columns, row_values = by_row
    use_starts, targets, places = uses
    width = predictors.shape[1]
    product = np.zeros(len(column_starts) - 1)
    for column in range(start, end):
        if use_starts[column] == use_starts[column + 1]:
            continue
        for entry in range(column_starts[column], column_starts[column + 1]):
            row, value = column_rows[entry], column_values[entry]
            for other in range(row_starts[row], row_starts[row + 1]):
                product[row_columns[other]] += value * row_values[other]
        for use in range(use_starts[column], use_starts[column + 1]):
            target, place = targets[use], places[use]
            for predictor in range(width):
                if predictors[first + target, predictor] < 0:
                    break
                products[target, place, predictor] = product[predictors[first + target, predictor]]
            products[target, place, width] = product[first + target]
        for entry in range(column_starts[column], column_starts[column + 1]):
            row = column_rows[entry]
            for other in range(row_starts[row], row_starts[row + 1]):
                product[row_columns[other]] = 0.0
