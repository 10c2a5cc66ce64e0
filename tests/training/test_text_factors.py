"""Factors by text: cold items come out as learned ones of the same text, each for itself."""

import numpy as np
import pytest

from nocturne.training.text_factors import TextMap, fit_text_map

WORDS, EACH = 6, 40
RNG = np.random.default_rng(3)
DIRECTIONS = np.linalg.qr(RNG.normal(size=(8, WORDS)))[0].T
EMBEDDINGS = np.repeat(np.eye(WORDS, 16, dtype=np.float32), EACH, axis=0)
FACTORS = (np.repeat(DIRECTIONS, EACH, axis=0) * 2).astype(np.float32)
LISTENERS = np.full(WORDS * EACH, 1_000)


def text_map(factors: np.ndarray = FACTORS, listeners: np.ndarray = LISTENERS) -> TextMap:
    return fit_text_map(EMBEDDINGS, factors, listeners, np.full((len(factors), 4), 0.25, np.float32))


def test_an_item_of_a_known_text_gets_the_factors_of_those_that_have_it() -> None:
    found = text_map().factors(np.eye(WORDS, 16, dtype=np.float32))
    cosines = (found * DIRECTIONS).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert (cosines > 0.99).all()
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.full(WORDS, 2.0), rel=0.05)


def test_lengths_are_those_of_learned_items_where_directions_differ_within_a_text() -> None:
    """A mean of directions is shorter than they are; cold items must not be ranked below all learned ones."""
    noisy = FACTORS + RNG.normal(scale=0.5, size=FACTORS.shape).astype(np.float32)
    found = np.linalg.norm(text_map(noisy).factors(np.eye(WORDS, 16, dtype=np.float32)), axis=1)
    assert found.mean() == pytest.approx(np.linalg.norm(noisy, axis=1).mean(), rel=0.1)


def test_items_that_few_have_heard_say_less() -> None:
    """Half of the items of a text, of one listener each, point elsewhere."""
    factors, listeners = FACTORS.copy(), LISTENERS.copy()
    factors[: EACH // 2], listeners[: EACH // 2] = 2 * DIRECTIONS[1], 1
    (found,) = text_map(factors, listeners).factors(EMBEDDINGS[:1])
    assert found @ DIRECTIONS[0] > 4 * abs(found @ DIRECTIONS[1])


def test_the_bits_of_an_item_do_not_depend_on_what_comes_with_it() -> None:
    embeddings = RNG.normal(size=(150, 16)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    fitted = text_map()
    alone = np.concatenate([fitted.factors(embeddings[row : row + 1]) for row in range(150)])
    assert fitted.factors(embeddings).tobytes() == alone.tobytes()
    together, weights = fitted.neighbours(embeddings, 7)
    for row in (0, 63, 64, 149):
        places, own = fitted.neighbours(embeddings[row : row + 1], 7)
        assert places[0].tolist() == together[row].tolist()
        assert own[0].tobytes() == weights[row].tobytes()


def test_neighbours_are_of_the_same_text_and_weigh_twice_what_a_learned_items_do() -> None:
    places, weights = text_map().neighbours(np.eye(WORDS, 16, dtype=np.float32)[2:3], 10)
    assert set(places[0].tolist()) <= set(range(2 * EACH, 3 * EACH))
    assert places[0].tolist() == sorted(places[0].tolist())
    assert weights.sum() == pytest.approx(2.0)


def test_a_text_without_a_word_in_common_has_no_neighbours() -> None:
    lonely = np.zeros((1, 16), np.float32)
    lonely[0, 15] = 1
    places, weights = text_map().neighbours(lonely, 3)
    assert places.tolist() == [[-1, -1, -1]]
    assert not weights.any()


def test_one_learned_item_is_enough() -> None:
    fitted = fit_text_map(EMBEDDINGS[:1], FACTORS[:1], LISTENERS[:1], np.zeros((1, 0), np.float32))
    (found,) = fitted.factors(EMBEDDINGS[:1])
    assert found == pytest.approx(FACTORS[0], rel=1e-5)
