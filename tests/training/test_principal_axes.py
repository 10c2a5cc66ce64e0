"""Principal axes: the same inner products, a diagonal Gram matrix, the largest axis first, the same bytes again."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.training import principal_axes as axes
from nocturne.training.principal_axes import principal_axes


def some_factors(seed: int, items: int, width: int) -> np.ndarray:
    """Correlated factors whose axes differ a hundredfold."""
    rng = np.random.default_rng(seed)
    stretched = rng.normal(size=(items, width)) * np.geomspace(1, 0.01, width)
    return (stretched @ rng.normal(size=(width, width))).astype(np.float32)


SOME = {"seed": st.integers(0, 2**32 - 1), "items": st.integers(1, 60), "width": st.integers(1, 9)}


@settings(max_examples=50, deadline=None)
@given(**SOME)
def test_inner_products_stay(seed: int, items: int, width: int) -> None:
    factors = some_factors(seed, items, width).astype(np.float64)
    rotated = principal_axes(factors.astype(np.float32))[0].astype(np.float64)
    norms = np.linalg.norm(factors, axis=1)
    assert (np.abs(rotated @ rotated.T - factors @ factors.T) <= 4 * 2.0**-23 * np.outer(norms, norms)).all()


@settings(max_examples=50, deadline=None)
@given(**SOME)
def test_the_gram_matrix_is_the_descending_spectrum_and_zeros_beside_it(seed: int, items: int, width: int) -> None:
    rotated, spectrum = principal_axes(some_factors(seed, items, width))
    exact = rotated.astype(np.float64)
    gram = exact.T @ exact
    np.testing.assert_allclose(spectrum, np.diag(gram), rtol=1e-12)
    assert np.abs(gram - np.diag(np.diag(gram))).max() <= 2.0**-23 * gram.trace()
    assert (np.diff(spectrum) <= 2.0**-23 * gram.trace()).all()


@settings(max_examples=20, deadline=None)
@given(**SOME)
def test_the_same_factors_give_the_same_bytes(seed: int, items: int, width: int) -> None:
    factors = some_factors(seed, items, width)
    first, second = principal_axes(factors), principal_axes(factors.copy())
    assert [part.tobytes() for part in first] == [part.tobytes() for part in second]


def test_the_line_of_all_items_becomes_the_first_axis() -> None:
    rotated, spectrum = principal_axes(np.array([[3.0, 4.0], [6.0, 8.0]], np.float32))
    np.testing.assert_allclose(rotated, [[5, 0], [10, 0]], atol=1e-6)
    np.testing.assert_allclose(spectrum, [125, 0], atol=1e-9)


def test_blocks_of_rows_add_up(monkeypatch) -> None:
    factors = some_factors(7, 50, 6)
    whole = principal_axes(factors)
    monkeypatch.setattr(axes, "_BLOCK_ROWS", 7)
    in_blocks = principal_axes(factors)
    np.testing.assert_allclose(in_blocks[0], whole[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(in_blocks[1], whole[1], rtol=1e-5, atol=1e-9)


def test_items_without_factors_stay_at_zero() -> None:
    rotated, _ = principal_axes(np.array([[1.0, 2.0], [0.0, 0.0]], np.float32))
    assert not rotated[1].any()
