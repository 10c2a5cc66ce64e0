"""Factors that collapsed, are those of other items, or are another model's."""

import numpy as np
import pytest

from nocturne.validation.metrics.factors import (
    agreement_metrics,
    alignment_metrics,
    collapse_metrics,
    heard_together,
    norm_metrics,
    rank_metrics,
)
from nocturne.validation.metrics.metric import Metric

BLOCKS, OF_A_BLOCK = 8, 25


def tastes(seed: int = 1) -> np.ndarray:
    """Items of blocks, each near the direction of its block."""
    draw = np.random.default_rng(seed)
    return np.repeat(np.eye(BLOCKS, 16), OF_A_BLOCK, axis=0) + draw.normal(0, 0.05, (BLOCKS * OF_A_BLOCK, 16))


def neighbours() -> tuple[np.ndarray, np.ndarray]:
    """Listeners who heard five items of one block, drawn so that items next to each other are of different ones."""
    draw = np.random.default_rng(2)
    rows = np.concatenate([draw.permutation(OF_A_BLOCK)[:5] + OF_A_BLOCK * (row % BLOCKS) for row in range(200)])
    return heard_together(rows, np.arange(0, 1001, 5))


def value(metrics: list[Metric], name: str) -> float:
    return next(each.value for each in metrics if each.name == name)


def test_norms_are_lengths() -> None:
    found = norm_metrics(np.array([[3.0, 4.0], [0.0, 1.0]]))

    assert [each.value for each in found] == [1, 1, 1, 5, 5]


def test_factors_that_are_all_alike_have_one_direction() -> None:
    collapsed = np.ones((50, 16)) + np.random.default_rng(1).normal(0, 1e-3, (50, 16))

    assert value(collapse_metrics(collapsed), "mean_random_cosine") == pytest.approx(1, abs=1e-3)
    assert value(collapse_metrics(collapsed), "effective_rank") == pytest.approx(1, abs=0.01)
    assert value(collapse_metrics(tastes()), "mean_random_cosine") < 0.2
    assert value(collapse_metrics(tastes()), "effective_rank") > BLOCKS * 0.9


def test_the_rank_of_equal_eigenvalues_is_their_number() -> None:
    assert rank_metrics(np.array([2.0, 2.0, 2.0, 2.0])) == [Metric("effective_rank", 4, count=4)]
    assert rank_metrics(np.zeros(3)) == []


def test_what_is_heard_together_is_near_unless_factors_are_those_of_other_items() -> None:
    one, other = neighbours()
    shuffled = tastes()[np.random.default_rng(3).permutation(BLOCKS * OF_A_BLOCK)]

    assert value(agreement_metrics(tastes(), one, other, "gain"), "gain") > 0.7
    assert abs(value(agreement_metrics(shuffled, one, other, "gain"), "gain")) < 0.1


def test_factors_moved_by_one_index_are_those_of_other_items() -> None:
    order = np.random.default_rng(6).permutation(BLOCKS * OF_A_BLOCK)
    place = np.argsort(order)
    one, other = (place[items] for items in neighbours())
    vectors = tastes()[order]

    assert value(agreement_metrics(vectors, one, other, "gain"), "gain") > 0.7
    assert abs(value(agreement_metrics(np.roll(vectors, 1, axis=0), one, other, "gain"), "gain")) < 0.2


def test_pairs_are_of_one_row_and_of_different_items() -> None:
    one, other = heard_together(np.array([1, 2, 3, 4, 4, -1]), np.array([0, 3, 6]))

    assert len(one) == 2
    assert {*one.tolist(), *other.tolist()} == {1, 2, 3}


def test_a_rotated_model_is_the_same_and_another_is_not() -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(16, 16)))
    same = alignment_metrics(tastes(), tastes() @ rotation)
    another = alignment_metrics(tastes(), np.random.default_rng(5).normal(size=(BLOCKS * OF_A_BLOCK, 16)))

    assert value(same, "cosine_to_last_model") == pytest.approx(1)
    assert value(same, "neighbours_kept") == 1
    assert value(another, "cosine_to_last_model") < 0.6
    assert value(another, "neighbours_kept") < 0.2


def test_models_of_different_width_are_compared() -> None:
    wider = np.hstack([tastes(), np.zeros((BLOCKS * OF_A_BLOCK, 4))])

    assert value(alignment_metrics(wider, tastes()), "cosine_to_last_model") == pytest.approx(1)


def test_of_a_few_items_nothing_is_said() -> None:
    few = np.ones((3, 2))

    assert collapse_metrics(few) == alignment_metrics(few, few) == []
    assert agreement_metrics(few, np.array([0]), np.array([1]), "gain") == []
