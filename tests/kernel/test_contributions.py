"""Scores as sums over heard items: by hand, and equal to the scores of solved listeners."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.csr import CsrRows
from nocturne.kernel.blend import neighbourhoods
from nocturne.kernel.contributions import contributions, neighbour_contributions
from nocturne.kernel.solve import solve_users
from nocturne.training.confidences import Confidences


def test_two_items_on_one_axis_share_the_score_by_their_confidence():
    # One factor: G = 1 + 4 = 5, A = 5 + (3 - 1) 1 + (2 - 1) 4 + 1 = 12. An item z scores z (3 x 1 + 2 x 2) / 12.
    factors = np.array([[1], [2]], np.float32)
    parts = contributions(
        factors, np.array([5.0]), 1.0, np.array([0, 1], np.int32), np.array([3.0, 2.0]), np.array([1, 0], np.int32)
    )
    np.testing.assert_allclose(parts, [[2 * 3 / 12, 2 * 4 / 12], [3 / 12, 4 / 12]])


def test_a_neighbour_carries_its_weight_times_the_confidence_in_it():
    neighbours = np.array([[1, 2, -1], [0, -1, -1], [1, 0, -1]], np.int32)
    similarities = np.array([[0.5, 0.25, 0], [1, 0, 0], [0.125, -1, 0]], np.float32)
    parts = neighbour_contributions(
        neighbours, similarities, np.array([1, 2], np.int32), np.array([4.0, 8.0]), np.array([0, 1, 2], np.int32)
    )
    assert parts.tolist() == [[2.0, 2.0], [0.0, 0.0], [0.5, 0.0]]


def row_of(rng: np.random.Generator, items: int, heard: int) -> Confidences:
    columns = np.sort(rng.choice(items, heard, replace=False)).astype(np.int32)
    return Confidences(np.array([0, heard]), columns, rng.uniform(0.5, 9, heard))


@given(
    seed=st.integers(0, 2**32 - 1),
    items=st.integers(2, 80),
    width=st.integers(1, 12),
    share=st.floats(0, 1),
    exponent=st.sampled_from([0.0, 0.7]),
)
def test_the_parts_of_a_score_add_up_to_it(seed: int, items: int, width: int, share: float, exponent: float):
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(items, width))
    factors = (raw @ np.linalg.svd(raw, full_matrices=True)[2].T).astype(np.float32)
    spectrum = np.einsum("if,if->f", factors, factors, dtype=np.float64)
    row = row_of(rng, items, int(share * items))
    listener = solve_users(factors, spectrum, 2.0, row, exponent)[0]
    everything = np.arange(items, dtype=np.int32)
    ridge = 2.0 * max(1, len(row.columns)) ** exponent
    parts = contributions(factors, spectrum, ridge, row.columns, row.confidences, everything)
    assert parts.shape == (items, len(row.columns))
    np.testing.assert_allclose(parts.sum(axis=1), factors.astype(np.float64) @ listener, atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1), items=st.integers(2, 40), width=st.integers(1, 5), share=st.floats(0, 1))
def test_the_parts_of_a_neighbourhood_score_add_up_to_it(seed: int, items: int, width: int, share: float):
    rng = np.random.default_rng(seed)
    neighbours = np.array([rng.choice(items, min(width, items), replace=False) for _ in range(items)], np.int32)
    similarities = rng.normal(size=neighbours.shape).astype(np.float32)
    row = row_of(rng, items, int(share * items))
    everything = np.arange(items, dtype=np.int32)
    near = neighbourhoods(CsrRows(np.array([0, items]), everything), row, neighbours, similarities)
    parts = neighbour_contributions(neighbours, similarities, row.columns, row.confidences, everything)
    np.testing.assert_allclose(parts.sum(axis=1), near, atol=1e-9)
