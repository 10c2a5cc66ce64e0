"""Neighbours: the items that resemble each other, as a model remembers them."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from nocturne.core.sections import AlsSettings
from nocturne.core.settings import load_settings
from nocturne.training.neighbours import nearest


def settings(**changes: object) -> AlsSettings:
    return load_settings().als.model_copy(
        update={"neighbours": 2, "neighbour_exponent": 0.0, "neighbour_weights": "similarity"} | changes
    )


HEARD = csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 2, 0], [0, 0, 0, 1]], np.float32))
LISTENERS = np.array([2, 3, 2, 1])


def test_items_heard_together_resemble_each_other_by_the_product_of_their_columns():
    positions, similarities = nearest(HEARD.copy(), LISTENERS, settings())
    # Columns 0 and 1 share two listeners: 2; 1 and 2: 1 + 2 = 3; 0 and 2: 1. The largest counts as 1.
    assert positions.tolist() == [[1, 2], [0, 2], [0, 1], [-1, -1]]
    np.testing.assert_allclose(similarities, [[2 / 3, 1 / 3], [2 / 3, 1], [1 / 3, 1], [0, 0]], rtol=1e-6)


def test_only_the_most_similar_are_kept_and_never_the_item_itself():
    positions, similarities = nearest(HEARD.copy(), LISTENERS, settings(neighbours=1))
    assert positions.tolist() == [[1], [2], [1], [-1]]
    np.testing.assert_allclose(similarities, [[2 / 3], [1], [1], [0]], rtol=1e-6)


def test_popular_items_are_held_back_by_their_listeners():
    _, similarities = nearest(HEARD.copy(), LISTENERS, settings(neighbour_exponent=1.0))
    # Items 0 and 1: 2 by 2 x 3 listeners; 0 and 2: 1 by 2 x 2; 1 and 2: 3 by 3 x 2, the largest.
    np.testing.assert_allclose(similarities[:2], [[2 / 3, 1 / 2], [2 / 3, 1]], rtol=1e-6)


def test_no_neighbours_are_kept_where_none_are_asked_for():
    positions, similarities = nearest(HEARD.copy(), LISTENERS, settings(neighbours=0))
    assert positions.shape == similarities.shape == (4, 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_neighbours_do_not_depend_on_threads(threads):
    heard = csr_matrix(np.random.default_rng(1).integers(0, 3, (40, 12)).astype(np.float32))
    counts = np.asarray((heard > 0).sum(axis=0)).ravel()
    found = nearest(heard.copy(), counts, settings(threads=threads))
    again = nearest(heard.copy(), counts, settings(threads=1))
    assert found[0].tolist() == again[0].tolist()
    assert found[1].tobytes() == again[1].tobytes()


def test_a_listener_of_almost_everything_says_nothing_of_what_resembles_what():
    few = np.zeros((3, 2_001), np.float32)
    few[:2, :2] = 1
    few[2] = 1
    positions, _ = nearest(csr_matrix(few), np.full(2_001, 3), settings())
    assert positions[:2].tolist() == [[1, -1], [0, -1]]
    assert (positions[2:] == -1).all()


def test_neighbours_are_weighed_by_the_regression_of_who_heard_the_item_on_who_heard_them():
    positions, weights = nearest(
        HEARD.copy(), LISTENERS, settings(neighbour_weights="regression", neighbour_ridge=1.0, activity_exponent=0.0)
    )
    # Who heard them, not how often. Item 0 by 1 and 2: (3 + 1) a + 2 b = 2 and 2 a + (2 + 1) b = 1, so 1/2 and 0;
    # item 1 by 0 and 2: 3 a + b = 2 and a + 3 b = 2, so 1/2 and 1/2; item 2 by 0 and 1: 0 and 1/2.
    assert positions.tolist() == [[1, 2], [0, 2], [0, 1], [-1, -1]]
    np.testing.assert_allclose(weights, [[1, 0], [1, 1], [0, 1], [0, 0]], atol=1e-6)
