"""The audit passes what is exact, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from nocturne.kernel.audit import audit
from nocturne.kernel.layout import Eligible
from nocturne.kernel.top_k import Top, top_k
from tests.fixtures.random_catalogues import LENGTHS, RandomQuery, make, random_queries, rows_of


def audited(case: RandomQuery, k: int, top: Top) -> list[bool]:
    return audit(case.query(k), top).tolist()


@settings(max_examples=50, deadline=None)
@given(case=random_queries(), k=LENGTHS)
def test_what_was_ranked_passes(case: RandomQuery, k: int) -> None:
    assert all(audited(case, k, case.top(k)))


@pytest.fixture(scope="module")
def case() -> RandomQuery:
    return make(22, listeners=3, items=700, width=6)


def changed(top: Top, name: str, place: int, value: float) -> Top:
    """With one entry of one array changed."""
    array = (top.lists.positions if name == "positions" else getattr(top, name)).copy()
    array[place] = value
    return (
        replace(top, lists=replace(top.lists, positions=array))
        if name == "positions"
        else replace(top, **{name: array})
    )


def test_another_item_another_bit_and_a_bound_that_is_not_true_fail(case: RandomQuery) -> None:
    top = case.top(10)
    unlisted = case.top(11)
    last, next_best = top.scores[19], unlisted.scores[21]
    assert next_best < last
    stranger = unlisted.lists.positions[21]
    passes = [True, True, True]
    assert audited(case, 10, changed(top, "bounds", 1, next_best)) == passes
    assert audited(case, 10, changed(top, "bounds", 1, last)) == passes
    for wrong in (
        changed(top, "positions", 19, stranger),
        changed(top, "positions", 18, top.lists.positions[19]),
        changed(top, "scores", 15, np.nextafter(top.scores[15], np.inf)),
        changed(top, "bounds", 1, np.nextafter(next_best, -np.inf)),
        changed(top, "bounds", 1, np.nextafter(last, np.inf)),
        changed(top, "bounds", 1, -np.inf),
    ):
        assert audited(case, 10, wrong) == [True, False, True]


def test_a_list_longer_than_asked_for_fails(case: RandomQuery) -> None:
    assert audited(case, 9, case.top(10)) == [False] * 3


def test_a_shrunken_list_passes_while_it_is_the_head_and_its_bound_covers_the_rest(case: RandomQuery) -> None:
    whole = case.top(10)
    lists = [whole.lists.positions[:4].tolist(), [], whole.lists.positions[20:30].tolist()]
    scores = np.concatenate([whole.scores[:4], whole.scores[20:]])
    shrunken = Top(rows_of(lists), scores, np.array([whole.scores[4], whole.scores[10], whole.bounds[2]]))
    assert audited(case, 10, shrunken) == [True] * 3
    assert audited(case, 10, replace(shrunken, bounds=whole.bounds)) == [False, False, True]


def test_a_list_of_a_type_must_be_the_head_of_that_type(case: RandomQuery) -> None:
    query, whole = case.query(10), case.top(10)
    odd = np.arange(700) % 2 == 1
    masks = Eligible.of(case.eligible.masks & odd, case.items)
    of_type = top_k(replace(query, eligible=masks))
    assert audit(query, whole, [(odd, of_type)]).tolist() == [True] * 3
    assert audit(query, whole, [(odd, of_type), (odd, changed(of_type, "scores", 5, 0.0))]).tolist() == [
        *(False, True, True)
    ]
    assert audit(query, whole, [(~odd, of_type)]).tolist() == [False] * 3
    assert audit(query, whole, [(odd, whole)]).tolist() == [False] * 3
