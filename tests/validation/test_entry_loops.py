"""Loops over the entries of rows, beside what NumPy and Python make of them."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nocturne.validation.profiles.entry_loops import are_among, count_outside, count_repeating, shapes

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 8)), max_size=30).map(sorted)
NUMBERS = st.sampled_from([0.0, 0.5, 1.0, math.inf, math.nan])
ROWS = st.lists(st.lists(NUMBERS, max_size=4), min_size=1, max_size=6)


def columns(pairs: list[tuple[int, int]]) -> list[np.ndarray]:
    return [np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1)]


@given(PAIRS, PAIRS)
def test_a_pair_is_among_others_if_it_is_one_of_them_and_its_item_is_one(
    asked: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    expected = [pair in others and pair[1] >= 0 for pair in asked]

    assert are_among(*columns(asked), *columns(others)).tolist() == expected


@given(PAIRS, PAIRS, st.integers(0, 3))
def test_a_pair_is_among_the_first_others_of_its_row(
    asked: list[tuple[int, int]], others: list[tuple[int, int]], considered: int
) -> None:
    first = [pair for row in range(6) for pair in [each for each in others if each[0] == row][:considered]]
    expected = [pair in first and pair[1] >= 0 for pair in asked]

    assert are_among(*columns(asked), *columns(others), considered).tolist() == expected


@given(PAIRS)
def test_a_row_repeats_if_any_of_its_items_is_there_twice(pairs: list[tuple[int, int]]) -> None:
    repeated = {row for row, item in pairs if pairs.count((row, item)) > 1}

    assert count_repeating(*columns(pairs)) == len(repeated)


@given(ROWS)
def test_a_row_rises_is_level_and_is_finite_as_its_numbers_say(rows: list[list[float]]) -> None:
    row = np.repeat(np.arange(len(rows)), [len(numbers) for numbers in rows])

    shape = shapes(row, np.array([number for numbers in rows for number in numbers], float), len(rows))

    neighbours = [list(zip(numbers[1:], numbers[:-1], strict=True)) for numbers in rows]
    assert shape.rising.tolist() == [any(now > before for now, before in pairs) for pairs in neighbours]
    assert shape.level.tolist() == [all(now == before for now, before in pairs) for pairs in neighbours]
    assert shape.finite.tolist() == [all(map(math.isfinite, numbers)) for numbers in rows]


def test_items_outside_are_those_that_are_negative_not_known_or_beyond() -> None:
    items = np.array([-1, 0, 1, 1, 2, 3], np.int32)

    assert count_outside(items, np.array([True, False, True])) == 4
