"""Last night's lists bound tonight's k-th scores from below, exactly."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.core.csr import CsrRows
from nocturne.kernel.layout import Eligible, lay_out_items
from nocturne.kernel.query import Query
from nocturne.kernel.warm_start import score_lower_bounds
from tests.fixtures.random_catalogues import RandomQuery, make, random_queries, rows_of


def lower_bounds(case: RandomQuery, k: int, previous: CsrRows) -> np.ndarray:
    return score_lower_bounds(case.query(k), previous)


def test_the_bound_is_the_kth_score_of_what_is_neither_heard_nor_forbidden_nor_repeated() -> None:
    items = lay_out_items(np.array([[1], [2], [3], [4], [5]], np.float32), np.ones(5), np.arange(5))
    eligible = Eligible.of(np.array([[True] * 5, [True, True, True, True, False]]), items)
    previous = rows_of([[0, 4, 1], [4, 2, 0], [4, 3, 4], [1, 0], []])
    already_heard = rows_of([[], [4, 1, 4], [], [], []])
    classes = np.array([0, 0, 0, 1, 0], np.int32)
    bounds = score_lower_bounds(Query(np.full((5, 1), 10.0), items, 2, already_heard, classes, eligible), previous)
    assert bounds.tolist() == [20, 10, 40, 10, -np.inf]
    bounds_elsewhere = score_lower_bounds(
        Query(np.full((5, 1), 10.0), items, 2, already_heard, np.ones(5, np.int32), eligible), previous
    )
    assert bounds_elsewhere.tolist() == [10, 10, -np.inf, 10, -np.inf]


@settings(max_examples=50, deadline=None)
@given(case=random_queries(), k=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
def test_a_list_of_tonight_gives_the_kth_score_itself_and_any_other_no_more(
    case: RandomQuery, k: int, seed: int
) -> None:
    top = case.top(k)
    lengths = np.diff(top.lists.offsets)
    kth = np.where(lengths == k, np.append(top.scores, 0.0)[top.lists.offsets[1:] - 1], -np.inf)
    assert lower_bounds(case, k, top.lists).tolist() == kth.tolist()
    rng = np.random.default_rng(seed)
    other = rows_of([rng.integers(0, len(case.items.order), 50).tolist() for _ in case.users])
    assert (lower_bounds(case, k, other) <= kth).all()


def test_rows_that_begin_inside_larger_arrays_are_read_where_they_are() -> None:
    case = make(1, listeners=6, items=40, width=3)
    previous = case.top(5).lists
    part = slice(2, 5)
    inside = score_lower_bounds(case.query(5).part(part), CsrRows(previous.offsets[2:6], previous.positions))
    assert inside.tolist() == lower_bounds(case, 5, previous)[part].tolist()
