"""Listeners' factors: implicit's own solution, whatever batch a listener is in."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from nocturne.core.errors import InputError
from nocturne.kernel.solve import solve_users
from nocturne.training.model import Confidences
from nocturne.training.principal_axes import principal_axes


@cache
def catalogue(seed: int, items: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors on their principal axes, of which the last is a tenth of the first; and their spectrum."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(rng.normal(size=(width, width)))[0]
    return principal_axes((rng.normal(size=(items, width)) * np.geomspace(1, 0.1, width) @ mixing).astype(np.float32))


def heard(seed: int, lengths: list[int], items: int) -> csr_matrix:
    """Rows of these lengths, with confidences from 0.1 to 100."""
    rng = np.random.default_rng(seed)
    columns = [np.sort(rng.choice(items, length, replace=False)) for length in lengths]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    confidences = (10 ** rng.uniform(-1, 2, offsets[-1])).astype(np.float32)
    return csr_matrix((confidences, np.concatenate(columns), offsets), (len(lengths), items))


def solve(factors: np.ndarray, spectrum: np.ndarray, rows: csr_matrix, *ridge: float) -> np.ndarray:
    offsets, confidences = rows.indptr.astype(np.int64), rows.data.astype(np.float64)
    return solve_users(factors, spectrum, ridge[0], Confidences(offsets, rows.indices, confidences), *ridge[1:])


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Of the furthest listener, relative to their factors' norm."""
    norms = np.maximum(np.linalg.norm(theirs, axis=1), 1e-30)
    return float((np.linalg.norm(ours - theirs, axis=1) / norms).max())


LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=8)
SEED = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(seed=SEED, lengths=LENGTHS, width=st.integers(1, 40), regularization=st.floats(0.5, 100))
def test_factors_are_those_that_implicit_recalculates(
    seed: int, lengths: list[int], width: int, regularization: float
) -> None:
    factors, spectrum = catalogue(seed, 60, width)
    rows = heard(seed, lengths, 60)
    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(factors=width, regularization=regularization, alpha=1, num_threads=1)
        model.item_factors = factors
        expected = model.recalculate_user(np.arange(len(lengths)), rows)
    assert distance(solve(factors, spectrum, rows, regularization), expected) < 2e-3


@settings(max_examples=60, deadline=None)
@given(
    seed=SEED,
    lengths=LENGTHS,
    width=st.integers(1, 40),
    regularization=st.floats(1e-3, 100),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_factors_solve_the_normal_equations_with_a_ridge_that_grows_with_the_row(
    seed: int, lengths: list[int], width: int, regularization: float, exponent: float
) -> None:
    factors, spectrum = catalogue(seed, 60, width)
    rows = heard(seed, lengths, 60)
    weights, exact = rows.toarray().astype(np.float64), factors.astype(np.float64)
    expected = [
        np.linalg.solve(
            np.diag(spectrum + regularization * max(length, 1) ** exponent)
            + exact.T @ ((weight - (weight > 0))[:, None] * exact),
            weight @ exact,
        )
        for weight, length in zip(weights, lengths, strict=True)
    ]
    assert distance(solve(factors, spectrum, rows, regularization, exponent), np.array(expected)) < 1e-7


@settings(max_examples=40, deadline=None)
@given(seed=SEED, lengths=LENGTHS, width=st.integers(1, 40), cut=st.integers(0, 8))
def test_factors_do_not_depend_on_the_batch_or_its_order_to_the_last_bit(
    seed: int, lengths: list[int], width: int, cut: int
) -> None:
    factors, spectrum = catalogue(seed, 60, width)
    rows = heard(seed, lengths, 60)
    together = solve(factors, spectrum, rows, 0.5)
    order = np.random.default_rng(seed).permutation(len(lengths))
    for batch in (order[:cut], order[cut:]):
        assert solve(factors, spectrum, rows[batch], 0.5).tobytes() == together[batch].tobytes()


def test_a_listener_who_heard_nothing_has_zero_factors() -> None:
    factors, spectrum = catalogue(0, 30, 6)
    assert not solve(factors, spectrum, heard(0, [0, 0], 30), 0.5).any()
    assert solve(factors, spectrum, csr_matrix((0, 30), dtype=np.float32), 0.5).shape == (0, 6)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 4095, 4096, 4097, 100_000])
def test_a_row_of_any_length_is_solved(length: int) -> None:
    factors, spectrum = catalogue(3, 100_000, 32)
    rows = heard(4, [length], 100_000)
    exact, weight = factors[rows.indices].astype(np.float64), rows.data.astype(np.float64)
    expected = np.linalg.solve(np.diag(spectrum + 0.5) + exact.T @ ((weight - 1)[:, None] * exact), weight @ exact)
    assert distance(solve(factors, spectrum, rows, 0.5), expected[None]) < 1e-9


def test_read_only_and_mapped_arrays_are_solved_to_the_same_bits(tmp_path) -> None:
    factors, spectrum = catalogue(5, 60, 8)
    rows = heard(6, [5, 0, 40], 60)
    expected = solve(factors, spectrum, rows, 0.5)
    np.save(tmp_path / "factors.npy", factors)
    for mode in ("c", "r"):
        mapped = np.load(tmp_path / "factors.npy", mmap_mode=mode)
        rows.data.flags.writeable = rows.indices.flags.writeable = False
        assert solve(mapped, spectrum, rows, 0.5).tobytes() == expected.tobytes()


def test_a_spectrum_of_other_factors_is_told() -> None:
    factors = np.eye(2, dtype=np.float32)
    # With spectrum -1 and ridge .5 the normal equations of one listener are diag(-.5 + 0, -.5): not positive definite.
    rows = csr_matrix(([1.0, 1.0], ([0, 0], [0, 1])), (1, 2))
    with pytest.raises(InputError, match="cannot be solved"):
        solve(factors, np.array([-1.0, -1.0]), rows, 0.5)
