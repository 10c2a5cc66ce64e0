"""Listeners' factors: implicit's own solution, whatever batch a listener is in."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix, random_array
from threadpoolctl import threadpool_limits

from nocturne.ranking.solve import solve_users


def world(seed: int, listeners: int = 7, items: int = 30, width: int = 6) -> tuple[np.ndarray, csr_matrix]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(items, width)).astype(np.float32)
    heard = random_array((listeners, items), density=0.3, rng=rng, format="csr")
    heard.data = (1 + 9 * heard.data).astype(np.float32)
    return factors, csr_matrix(heard)


def solve(factors: np.ndarray, heard: csr_matrix, regularization: float = 0.5) -> np.ndarray:
    exact = factors.astype(np.float64)
    return solve_users(
        factors, exact.T @ exact, regularization, heard.indptr.astype(np.int64), heard.indices, heard.data.astype(float)
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), regularization=st.floats(0.1, 100))
def test_factors_are_those_that_implicit_recalculates(seed: int, regularization: float) -> None:
    factors, heard = world(seed)
    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(factors=factors.shape[1], regularization=regularization, alpha=1, num_threads=1)
        model.item_factors = factors
        expected = model.recalculate_user(np.arange(heard.shape[0]), heard)
    np.testing.assert_allclose(solve(factors, heard, regularization), expected, rtol=5e-3, atol=5e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 6))
def test_factors_do_not_depend_on_the_batch_to_the_last_bit(seed: int, cut: int) -> None:
    factors, heard = world(seed)
    together = solve(factors, heard)
    apart = np.vstack([solve(factors, heard[:cut]), solve(factors, heard[cut:])])
    assert together.tobytes() == apart.tobytes()


def test_a_listener_who_heard_nothing_has_zero_factors() -> None:
    factors, _ = world(0)
    assert not solve(factors, csr_matrix((1, len(factors)), dtype=np.float32)).any()


def test_a_listener_who_heard_a_hundred_thousand_items_is_solved() -> None:
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(100_000, 8)).astype(np.float32)
    everything = csr_matrix(np.full((1, 100_000), 2.0, dtype=np.float32))
    exact = factors.astype(np.float64)
    gram = exact.T @ exact
    expected = np.linalg.solve(2 * gram + 0.5 * np.eye(8), 2 * exact.sum(axis=0))
    np.testing.assert_allclose(solve(factors, everything)[0], expected, rtol=1e-9)
