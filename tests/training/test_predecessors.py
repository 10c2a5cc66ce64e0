"""Predecessors: the items that an item is heard after."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from nocturne.core.sections import AlsSettings
from nocturne.core.settings import load_settings
from nocturne.training.confidences import positions
from nocturne.training.predecessors import predecessors


def settings(**changes: object) -> AlsSettings:
    return load_settings().als.model_copy(update={"neighbours": 2, "neighbour_exponent": 0.0} | changes)


def rows(*recent: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "user_id": pa.array([f"u{number}" for number in range(len(recent))]),
            "recent_items": pa.array(recent, pa.list_(pa.int32())),
        }
    )


def found(*recent: list[int], items: int = 3, **changes: object) -> tuple[list[list[int]], np.ndarray]:
    before, weights = predecessors([rows(*recent)], positions(np.arange(items), items), items, settings(**changes))
    return before.tolist(), weights


def test_a_listen_counts_for_those_before_it_one_over_the_distance() -> None:
    before, weights = found([0, 1, 2], [0, 1])
    # 1 after 0: twice; 2 after 1: once; 2 after 0, two listens apart: one half.
    assert before == [[-1, -1], [0, -1], [0, 1]]
    np.testing.assert_allclose(weights, [[0, 0], [1, 0], [1 / 4, 1 / 2]])


def test_order_tells_what_comes_next_from_what_came_before() -> None:
    before, _ = found([0, 1], [0, 1], [2, 0])
    assert before == [[2, -1], [0, -1], [-1, -1]]


def test_only_those_that_it_is_heard_after_most_are_kept_and_never_itself() -> None:
    before, _ = found([1, 2, 2], [1, 2], [0, 2], neighbours=1)
    assert before == [[-1], [-1], [1]]


def test_listens_of_different_listeners_and_more_than_ten_apart_are_no_pairs() -> None:
    before, _ = found([0], [1], [0, *[2] * 10, 1])
    assert 0 not in before[1]


def test_items_heard_often_are_held_back() -> None:
    _, weights = found([0, 1, 2], [0, 1], neighbour_exponent=1.0)
    # 1 after 0: 2 by 2 x 2 listens; 2 after 1: 1 by 2; 2 after 0: 1/2 by 2.
    np.testing.assert_allclose(weights, [[0, 0], [1, 0], [1 / 2, 1]])


def test_items_that_the_model_lacks_stand_between_listens_and_count_for_none() -> None:
    before, weights = predecessors([rows([0, 1, 2])], positions(np.array([0, 2]), 3), 2, settings())
    assert before.tolist() == [[-1, -1], [0, -1]]
    assert weights[1, 0] == 1


@pytest.mark.parametrize("batches", [1, 3, 40])
def test_pairs_do_not_depend_on_batches(batches: int) -> None:
    rng = np.random.default_rng(1)
    recent = [rng.integers(0, 9, rng.integers(0, 30)).tolist() for _ in range(40)]
    whole, cut = rows(*recent), np.linspace(0, 40, batches + 1).astype(int)
    parts = [whole.slice(start, end - start) for start, end in itertools.pairwise(cut)]
    position = positions(np.arange(9), 9)
    before, weights = predecessors(parts, position, 9, settings())
    expected = predecessors([whole], position, 9, settings())
    assert before.tolist() == expected[0].tolist()
    np.testing.assert_allclose(weights, expected[1], rtol=1e-6)


def test_with_little_memory_some_listeners_are_counted() -> None:
    alike = [[0, 1, 2] * 20] * 500
    everyone, weights = found(*alike)
    some, fewer = found(*alike, matrix_memory_mb=1)
    assert some == everyone
    np.testing.assert_allclose(fewer, weights, rtol=1e-6)
