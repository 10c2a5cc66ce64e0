"""Last night's lists bound tonight's k-th scores from below, exactly."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.core.csr import Rows
from nocturne.kernel.layout import Eligible, lay_out
from nocturne.kernel.query import Query
from nocturne.kernel.warm_start import floors
from tests.fixtures.random_catalogues import World, make, rows_of, worlds


def floors_of(world: World, k: int, previous: Rows) -> np.ndarray:
    return floors(world.query(k), previous)


def test_the_floor_is_the_kth_score_of_what_is_neither_seen_nor_barred_nor_repeated() -> None:
    items = lay_out(np.array([[1], [2], [3], [4], [5]], np.float32), np.ones(5), np.arange(5))
    eligible = Eligible.of(np.array([[True] * 5, [True, True, True, True, False]]), items)
    previous = rows_of([[0, 4, 1], [4, 2, 0], [4, 3, 4], [1, 0], []])
    seen = rows_of([[], [4, 1, 4], [], [], []])
    classes = np.array([0, 0, 0, 1, 0], np.int32)
    found = floors(Query(np.full((5, 1), 10.0), items, 2, seen, classes, eligible), previous)
    assert found.tolist() == [20, 10, 40, 10, -np.inf]
    barred = floors(Query(np.full((5, 1), 10.0), items, 2, seen, np.ones(5, np.int32), eligible), previous)
    assert barred.tolist() == [10, 10, -np.inf, 10, -np.inf]


@settings(max_examples=50, deadline=None)
@given(world=worlds(), k=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
def test_a_list_of_tonight_gives_the_kth_score_itself_and_any_other_no_more(world: World, k: int, seed: int) -> None:
    top = world.top(k)
    lengths = np.diff(top.lists.offsets)
    kth = np.where(lengths == k, np.append(top.scores, 0.0)[top.lists.offsets[1:] - 1], -np.inf)
    assert floors_of(world, k, top.lists).tolist() == kth.tolist()
    rng = np.random.default_rng(seed)
    other = rows_of([rng.integers(0, len(world.items.order), 50).tolist() for _ in world.users])
    assert (floors_of(world, k, other) <= kth).all()


def test_rows_that_begin_inside_larger_arrays_are_read_where_they_are() -> None:
    world = make(1, listeners=6, items=40, width=3)
    previous = world.top(5).lists
    part = slice(2, 5)
    inside = floors(world.query(5).part(part), Rows(previous.offsets[2:6], previous.positions))
    assert inside.tolist() == floors_of(world, 5, previous)[part].tolist()
