"""Local ridge regression: every column explained by a few others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from nocturne.kernel.local_ridge import fit_weights

HEARD = csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]], float))


def fit(matrix, predictors, ridge=1.0, threads=1, memory_mb=1):
    return fit_weights(matrix, np.array(predictors, np.int32), ridge, threads=threads, memory_mb=memory_mb)


def test_a_column_is_explained_by_its_predictor_as_far_as_the_ridge_lets():
    # Column 1 by 0: 2 / (2 + 1); 0 by 1: 2 / (3 + 1); 2 by 1: 1 / (3 + 1).
    np.testing.assert_allclose(fit(HEARD, [[1], [0], [1]]), [[2 / 4], [2 / 3], [1 / 4]])


def test_two_predictors_share_what_they_both_explain():
    # Column 1 by 0 and 2, which share no row: 2 / 3 and 1 / 2. Without a predictor there is no weight.
    np.testing.assert_allclose(fit(HEARD, [[-1, -1], [0, 2], [-1, -1]]), [[0, 0], [2 / 3, 1 / 2], [0, 0]])


@st.composite
def worlds(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns, width = draw(st.integers(1, 12)), draw(st.integers(2, 9)), draw(st.integers(1, 4))
    matrix = rng.random((rows, columns)) * (rng.random((rows, columns)) < 0.5)
    predictors = np.full((columns, width), -1, np.int32)
    for column in range(columns):
        others = rng.permutation(np.delete(np.arange(columns), column))[: rng.integers(0, width + 1)]
        predictors[column, : len(others)] = np.sort(others)
    return matrix, predictors, draw(st.sampled_from([0.5, 3.0]))


@pytest.mark.search
@given(worlds())
def test_weights_are_those_of_each_columns_own_dense_regression(world):
    matrix, predictors, ridge = world
    weights = fit(csr_matrix(matrix), predictors, ridge)
    for column, places in enumerate(predictors):
        some = matrix[:, places[places >= 0]]
        expected = np.linalg.solve(some.T @ some + ridge * np.eye(some.shape[1]), some.T @ matrix[:, column])
        # Products are kept as float32.
        np.testing.assert_allclose(weights[column, places >= 0], expected, atol=1e-5)
        assert not weights[column, places < 0].any()


def test_weights_do_not_depend_on_threads_or_memory():
    rng = np.random.default_rng(1)
    columns, width = 700, 30
    matrix = csr_matrix((rng.random((90, columns)) < 0.2).astype(float))
    predictors = (np.arange(columns)[:, None] + np.arange(1, width + 1)).astype(np.int32) % columns
    alone = fit(matrix, predictors, 5.0, threads=1, memory_mb=64)
    assert alone.tobytes() == fit(matrix, predictors, 5.0, threads=3, memory_mb=1).tobytes()
    assert alone.any()
