"""Heads by type: the best few of every type, in the order in which they come."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nocturne.kernel.by_type import Heads
from tests.fixtures.random_catalogues import rows_of

CODES = np.array([0, 1, 0, -1, 1, 0], np.int32)
"""Of six items, the types."""


def test_every_type_has_its_first_items_and_what_comes_later_goes_behind_them() -> None:
    heads = Heads.empty(4, depth=2)
    heads.append(rows_of([[5, 1, 3, 0, 2], []]), np.array([9.0, 8.0, 7.0, 6.0, 5.0]), CODES, types=2)
    heads.append(rows_of([[4], [1, 2]]), np.array([4, 3, 2], np.float32), CODES, types=2)
    assert [heads.rows(np.array([row])).positions.tolist() for row in range(4)] == [[5, 0], [1, 4], [2], [1]]
    assert heads.scores_of(np.arange(4)).tolist() == [9, 6, 8, 4, 2, 3]
    assert heads.ends(np.arange(4)).tolist() == [6, 4, 2, 3]


def test_the_end_of_an_empty_row_is_out_of_reach() -> None:
    assert Heads.empty(1, depth=3).ends(np.array([0])).tolist() == [np.inf]


def test_rows_that_are_put_take_the_place_of_others() -> None:
    heads = Heads.empty(3, depth=2)
    heads.append(rows_of([[0, 2], [0], [5]]), np.array([4.0, 3.0, 2.0, 1.0]), CODES, types=1)
    heads.put(np.array([0, 2]), rows_of([[5], [2, 0]]), np.array([9.0, 8.0, 7.0]))
    assert heads.rows(np.arange(3)).positions.tolist() == [5, 0, 2, 0]
    assert heads.lengths.tolist() == [1, 1, 2]
    assert heads.between(1, 2).tolist() == [[False, False], [False, False], [False, True]]


@given(
    rows=st.lists(st.lists(st.integers(0, 5), max_size=9), min_size=1, max_size=4),
    depth=st.integers(1, 4),
    cut=st.integers(0, 9),
)
def test_what_is_appended_in_two_parts_is_what_is_appended_at_once(rows, depth, cut) -> None:
    whole, parts = Heads.empty(2 * len(rows), depth), Heads.empty(2 * len(rows), depth)
    whole.append(rows_of(rows), np.arange(sum(map(len, rows)), dtype=float), CODES, types=2)
    firsts, others = [row[:cut] for row in rows], [row[cut:] for row in rows]
    for part in (firsts, others):
        parts.append(rows_of(part), np.zeros(sum(map(len, part))), CODES, types=2)
    for listener, row in enumerate(rows):
        for code in range(2):
            expected = [item for item in row if CODES[item] == code][:depth]
            place = np.array([2 * listener + code])
            assert whole.rows(place).positions.tolist() == parts.rows(place).positions.tolist() == expected
