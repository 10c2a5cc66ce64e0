"""Semantic ids: unique, the same from the same inputs, and steady from model to model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.training.generative.semantic_ids import NO_CODE, Part, Vectors, fit_ids, place_ids

MARGIN = 0.1


def vectors(items: int, seed: int, *, heard: float = 0.7) -> Vectors:
    """Items of six kinds, of which some nobody has heard."""
    rng = np.random.default_rng(seed)
    kinds = np.random.default_rng(0).normal(size=(6, 12))
    values = kinds[rng.integers(0, 6, items)] + rng.normal(scale=0.4, size=(items, 12))
    everyone = np.ones(items, np.bool_)
    return Vectors.of([Part(values[:, :4], rng.random(items) < heard, 1.0), Part(values[:, 4:], everyone, 0.7)])


def together(first: Vectors, second: Vectors) -> Vectors:
    return Vectors(
        np.concatenate([first.values, second.values]), np.concatenate([first.present, second.present]), first.widths
    )


@given(items=st.integers(1, 150), levels=st.integers(1, 3), codes=st.integers(1, 8), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_ids_are_unique_and_the_same_from_the_same_inputs(items: int, levels: int, codes: int, seed: int) -> None:
    found, again = (fit_ids(vectors(items, seed), levels, codes, seed, MARGIN) for _ in range(2))
    assert len(np.unique(found.paths, axis=0)) == items
    assert found.paths.min() >= 0
    assert found.paths[:, :-1].max() < codes
    assert found.paths.tobytes() == again.paths.tobytes()
    assert found.centroids.tobytes() == again.centroids.tobytes()


@given(items=st.integers(1, 150), codes=st.integers(1, 8), seed=st.integers(0, 99), margin=st.sampled_from([0.0, 0.1]))
@settings(max_examples=60)
def test_an_unchanged_catalogue_keeps_every_id(items: int, codes: int, seed: int, margin: float) -> None:
    known = vectors(items, seed)
    found = fit_ids(known, 2, codes, seed, margin)
    again = fit_ids(known, 2, codes, seed + 1, margin, found.paths)
    assert again.paths.tobytes() == found.paths.tobytes()


@given(items=st.integers(1, 100), new=st.integers(1, 30), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_new_items_are_placed_beside_the_others_and_move_nobody(items: int, new: int, seed: int) -> None:
    known, others = vectors(items, seed), vectors(new, seed + 100)
    found = fit_ids(known, 2, 4, seed, MARGIN)
    grown = place_ids(found, others)
    assert grown.paths[:items].tobytes() == found.paths.tobytes()
    assert len(np.unique(grown.paths, axis=0)) == items + new
    one_by_one = found
    for item in range(new):
        one_by_one = place_ids(one_by_one, others.take(np.array([item])))
    assert one_by_one.paths.tobytes() == grown.paths.tobytes()


def test_the_next_model_moves_few_items_for_a_few_new_ones() -> None:
    known, others = vectors(400, 1), vectors(20, 2)
    found = fit_ids(known, 2, 8, 0, MARGIN)
    new = np.full((20, 3), NO_CODE, np.int32)
    after = fit_ids(together(known, others), 2, 8, 0, MARGIN, np.concatenate([found.paths, new]))
    assert (after.paths[:400] == found.paths).all(axis=1).mean() > 0.95


def test_factors_on_other_axes_change_no_id() -> None:
    """A model that is learned anew says the same on axes of its own."""
    rng = np.random.default_rng(4)
    values, everyone = rng.normal(size=(300, 8)), np.ones(300, np.bool_)
    turned = values @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    found, after = None, None
    found = fit_ids(Vectors.of([Part(values, everyone, 1.0)]), 3, 8, 0, MARGIN)
    after = fit_ids(Vectors.of([Part(turned, everyone, 1.0)]), 3, 8, 0, MARGIN, found.paths)
    assert after.paths.tolist() == found.paths.tolist()


def test_an_item_moves_when_another_centroid_is_nearer_by_more_than_the_margin() -> None:
    places = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.01, 1.0]])
    everyone = np.ones(4, np.bool_)
    found = fit_ids(Vectors.of([Part(places, everyone, 1.0)]), 1, 2, 0, MARGIN)
    assert found.paths[0, 0] == found.paths[1, 0] != found.paths[2, 0] == found.paths[3, 0]
    places[1] = [0.02, 1.0]
    after = fit_ids(Vectors.of([Part(places, everyone, 1.0)]), 1, 2, 0, MARGIN, found.paths)
    assert after.paths[:, 0].tolist() == found.paths[[0, 2, 2, 3], 0].tolist()
    assert len(np.unique(after.paths, axis=0)) == 4


def test_an_item_that_nobody_has_heard_is_placed_by_its_text() -> None:
    """Two kinds; factors and texts tell them apart alike, and the last item has a text alone."""
    kinds = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    heard = np.array([True, True, True, True, False])
    parts = [Part(kinds, heard, 1.0), Part(kinds, np.ones(5, np.bool_), 0.5)]
    found = fit_ids(Vectors.of(parts), 1, 2, 0, MARGIN)
    assert found.paths[4, 0] == found.paths[3, 0] != found.paths[0, 0]


def test_equal_items_are_told_apart_by_the_last_code_which_stays() -> None:
    values, everyone = np.ones((3, 2)), np.ones(3, np.bool_)
    found = fit_ids(Vectors.of([Part(values, everyone, 1.0)]), 1, 4, 0, MARGIN)
    assert found.paths.tolist() == [[0, 0], [0, 1], [0, 2]]
    before = np.array([[0, 2], [NO_CODE, NO_CODE], [0, 0]], np.int32)
    after = fit_ids(Vectors.of([Part(values, everyone, 1.0)]), 1, 4, 0, MARGIN, before)
    assert after.paths.tolist() == [[0, 2], [0, 1], [0, 0]]


def test_parts_weigh_what_they_are_given() -> None:
    found = Vectors.of(
        [Part(np.array([[3.0, 4.0]]), np.array([True]), 2.0), Part(np.ones((1, 1)), np.array([False]), 1)]
    )
    assert found.values == pytest.approx(np.array([[1.2, 1.6, 0.0]]))
