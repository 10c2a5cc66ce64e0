"""The bridge into a content type: who is alike elsewhere tells what is heard here; else popularity is what is said."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from nocturne.training import bridge
from nocturne.training.bridge import Bridge, choose_bridge, fit_bridge, listener_vectors, taste_axes

LISTENERS = 200
SECOND_PLACE = 1 / np.log2(3)
"""NDCG of the only relevant item in second place."""


def ids(count: int) -> pa.Array:
    return pa.array([f"u{number}" for number in range(count)])


def one_each(items: np.ndarray, width: int) -> csr_matrix:
    """One item heard by each listener."""
    return csr_matrix((np.ones(len(items)), (np.arange(len(items)), items)), (len(items), width))


def unrelated(seed: int, listeners: int = 300, items: int = 40) -> tuple[np.ndarray, csr_matrix]:
    """Listeners anywhere on three axes, and three items of each by chance, the first items more often."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(listeners, 3))
    shares = 1 / np.arange(2, items + 2)
    heard = np.zeros((listeners, items))
    for row in heard:
        row[rng.choice(items, 3, replace=False, p=shares / shares.sum())] = 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), csr_matrix(heard)


def related(seed: int) -> tuple[np.ndarray, csr_matrix]:
    """The same, but for items 10, 11 and 12, which everyone hears who points along the first axis."""
    vectors, heard = unrelated(seed)
    dense = heard.toarray()
    dense[vectors[:, 0] > 0, 10:13] = 1
    return vectors, csr_matrix(dense)


def test_listeners_of_one_taste_have_one_vector_and_those_of_another_a_right_angle_to_it() -> None:
    music = csr_matrix([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]])
    axes = taste_axes(music, 2)
    vectors = listener_vectors(music, axes)
    alike = [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]
    assert axes.shape == (4, 2)
    np.testing.assert_allclose(vectors @ vectors.T, alike, atol=1e-9)


def test_an_item_that_nobody_heard_has_no_place_and_no_axis() -> None:
    axes = taste_axes(csr_matrix([[1, 0], [1, 0], [1, 0]]))
    np.testing.assert_allclose(np.abs(axes), [[3**-0.5], [0]])


def test_few_axes_of_many_items_are_those_of_most_listeners() -> None:
    """Four tastes of five items, all heard by their 40, 30, 20 or 10 listeners: items lie at 1 / sqrt(5 n)."""
    sizes = (40, 30, 20, 10)
    taste = np.repeat(np.arange(4), sizes)
    music = csr_matrix(np.repeat(np.eye(4), 5, axis=1)[taste])
    expected = np.zeros((20, 3))
    for axis, size in enumerate(sizes[:3]):
        expected[5 * axis : 5 * axis + 5, axis] = (5 * size) ** -0.5
    np.testing.assert_allclose(np.abs(taste_axes(music, 3)), expected, atol=1e-9)
    np.testing.assert_allclose(np.abs(taste_axes(music)[:, :3]), expected, atol=1e-9)


@pytest.mark.parametrize(("penalty", "coefficient"), [(1.0, 0.5), (3.0, 0.25)])
def test_each_taste_hears_its_own_book(penalty: float, coefficient: float) -> None:
    """Half of n listeners at (1, 0) hear book 0, half at (0, 1) book 1.

    Less their mean, the vectors are (1, -1) / 2 and its opposite: a Gram matrix with n / 2 along (1, -1). The excess
    of book 0 is n / 4 (1, -1), and as much again along the item axes, which are all there are; the ridge is
    penalty * n / 2. So its coefficients are (1, -1) / (1 + penalty).
    """
    taste = np.arange(10) % 2
    factors = fit_bridge(np.eye(2)[taste], one_each(taste, 2), penalty)
    np.testing.assert_allclose(factors, [[coefficient, -coefficient, 0.5], [-coefficient, coefficient, 0.5]], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), penalty=st.floats(0.1, 100))
def test_a_listener_at_the_mean_gets_popularity(seed: int, penalty: float) -> None:
    vectors, heard = unrelated(seed, listeners=30, items=8)
    factors = fit_bridge(vectors, heard, penalty)
    expected = heard.toarray().mean(axis=0)
    np.testing.assert_allclose(factors @ np.append(vectors.mean(axis=0), 1), expected, atol=1e-5)


def test_what_one_item_says_counts_for_those_heard_with_it(monkeypatch) -> None:
    """Book 1's own listeners lie between (1, 0) and (0, 1); all of them heard book 0, as all those at (1, 0) did."""
    monkeypatch.setattr(bridge, "ITEM_AXES", 2)
    heard = np.array([[1, 0, 0]] * 20 + [[0, 0, 1]] * 20 + [[1, 1, 0]] * 4)
    vectors = np.array([[1.0, 0]] * 20 + [[0, 1.0]] * 20 + [[0.5**0.5, 0.5**0.5]] * 4)
    together = fit_bridge(vectors, csr_matrix(heard), 1.0)
    alone = fit_bridge(vectors, csr_matrix(heard[:, 1:2]), 1.0)
    assert alone[0, 0] == pytest.approx(alone[0, 1])
    assert together[1, 0] > together[1, 1] + 0.01


def test_held_out_listeners_prove_the_bridge() -> None:
    """Of 200 listeners 120 hear book 0, the popular one, and 80 book 1, as their music says."""
    taste = (np.arange(LISTENERS) % 5 >= 3).astype(np.int64)
    found = choose_bridge(np.eye(2)[taste], one_each(taste, 2), ids(LISTENERS))
    assert found.listeners == LISTENERS
    assert found.ndcg == 1
    assert found.popularity_ndcg == pytest.approx(0.6 + 0.4 * SECOND_PLACE)
    assert found.difference == pytest.approx(0.4 - 0.4 * SECOND_PLACE)
    deviation = (1 - SECOND_PLACE) * (0.4 * 0.6 * LISTENERS / (LISTENERS - 1)) ** 0.5
    margin = 1.96 * deviation / LISTENERS**0.5
    assert (found.low, found.high) == pytest.approx((found.difference - margin, found.difference + margin))
    assert found.beats_popularity
    np.testing.assert_array_equal(found.factors, fit_bridge(np.eye(2)[taste], one_each(taste, 2), found.penalty))


def test_types_that_share_nothing_are_left_to_popularity() -> None:
    vectors, heard = unrelated(1)
    found = choose_bridge(vectors, heard, ids(len(vectors)))
    assert found.low <= 0 < found.listeners
    assert not found.beats_popularity
    assert not found.factors[:, :-1].any()
    np.testing.assert_allclose(found.factors[:, -1], heard.toarray().mean(axis=0), rtol=1e-6)


def test_too_few_listeners_are_left_to_popularity() -> None:
    few = bridge.FEWEST_LISTENERS - 1
    taste = np.arange(few) % 2
    found = choose_bridge(np.eye(2)[taste], one_each(taste, 2), ids(few))
    assert (found.listeners, found.beats_popularity) == (0, False)
    np.testing.assert_allclose(found.factors, [[0, 0, (few + 1) / 2 / few], [0, 0, (few - 1) / 2 / few]], rtol=1e-6)


def test_of_many_listeners_some_are_asked(monkeypatch) -> None:
    monkeypatch.setattr(bridge, "MOST_ASKED", 50)
    taste = np.arange(LISTENERS) % 2
    found = choose_bridge(np.eye(2)[taste], one_each(taste, 2), ids(LISTENERS))
    assert (found.listeners, found.ndcg) == (50, 1)


def parts(found: Bridge) -> tuple[object, ...]:
    return found.factors.tobytes(), found.penalty, found.ndcg, found.popularity_ndcg, found.low, found.high


def test_the_same_listeners_give_the_same_bytes() -> None:
    vectors, heard = related(2)
    first = choose_bridge(vectors, heard, ids(len(vectors)))
    assert first.beats_popularity
    assert parts(first) == parts(choose_bridge(vectors.copy(), heard.copy(), ids(len(vectors))))


def test_the_order_of_listeners_does_not_matter() -> None:
    vectors, heard = related(2)
    order = np.random.default_rng(3).permutation(len(vectors))
    one = choose_bridge(vectors, heard, ids(len(vectors)))
    other = choose_bridge(vectors[order], heard[order], ids(len(vectors)).take(pa.array(order)))
    np.testing.assert_allclose(one.factors, other.factors, atol=1e-5)
    assert one.penalty == other.penalty
    assert (one.ndcg, one.low, one.high) == pytest.approx((other.ndcg, other.low, other.high))


def test_blocks_of_items_and_of_scores_add_up(monkeypatch) -> None:
    vectors, heard = related(2)
    whole = choose_bridge(vectors, heard, ids(len(vectors)))
    monkeypatch.setattr(bridge, "_ITEMS_AT_ONCE", 7)
    monkeypatch.setattr(bridge, "_SCORES_AT_ONCE", 90)
    in_blocks = choose_bridge(vectors, heard, ids(len(vectors)))
    np.testing.assert_allclose(in_blocks.factors, whole.factors, atol=1e-5)
    assert in_blocks.ndcg == pytest.approx(whole.ndcg)
