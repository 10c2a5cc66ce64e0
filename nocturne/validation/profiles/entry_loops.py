"""Loops over the entries of rows, one after another in memory: compiled, since tables have hundreds of millions."""

import sys
from typing import NamedTuple

import numpy as np
from numba import njit

from nocturne.core.arrays import Mask

_ALL = sys.maxsize


class Shapes(NamedTuple):
    """The shapes of some rows of numbers; each attribute of shape (rows,).

    Attributes:
        rising: some number is above the one before it.
        level: all numbers are the same.
        finite: all numbers are finite.
    """

    rising: Mask
    level: Mask
    finite: Mask


def shapes(rows: np.ndarray, numbers: np.ndarray, count: int) -> Shapes:
    """The shapes of so many rows.

    Args:
        rows: number of the row of each number, ascending from 0.
    """
    arguments = _read_only(rows), _read_only(numbers), count
    return Shapes(*_shapes(*arguments))


def count_outside(items: np.ndarray, known: Mask) -> int:
    """Number of items that are not known.

    Args:
        known: of items from 0 on; none beyond is.
    """
    arguments = _read_only(items), _read_only(known)
    return int(_count_outside(*arguments))


def count_repeating(rows: np.ndarray, items: np.ndarray) -> int:
    """Number of rows that have an item twice.

    Args:
        rows: number of the row of each item, ascending.
        items: numbers from -1 on.
    """
    arguments = _read_only(rows), _read_only(items), int(items.max(initial=-1)) + 2
    return int(_count_repeating(*arguments))


def are_among(
    rows: np.ndarray, items: np.ndarray, of_rows: np.ndarray, of_items: np.ndarray, considered: int = _ALL
) -> Mask:
    """True for every pair of row and item that is one of the others, too; both in the order of rows, from 0.

    Items are numbers from 0 on; a negative one is among none. A mask of all items is set and cleared again for each
    row, which takes no sorting.

    Args:
        considered: how many of a row's others count, from the first on.
    """
    width = int(max(items.max(initial=-1), of_items.max(initial=-1))) + 1
    arguments = *map(_read_only, (rows, items, of_rows, of_items)), considered, width
    return np.asarray(_are_among(*arguments))


def _read_only(array: np.ndarray) -> np.ndarray:
    """The array as Arrow hands out its own, for which loops are compiled once."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True, nogil=True)
def _shapes(rows, numbers, count):
    rising, level, finite = np.zeros(count, np.bool_), np.ones(count, np.bool_), np.ones(count, np.bool_)
    for place in range(len(rows)):
        row = rows[place]
        if not np.isfinite(numbers[place]):
            finite[row] = False
        if place and rows[place - 1] == row:
            if numbers[place] > numbers[place - 1]:
                rising[row] = True
            if numbers[place] != numbers[place - 1]:
                level[row] = False
    return rising, level, finite


@njit(cache=True, nogil=True)
def _count_outside(items, known):
    outside = 0
    for place in range(len(items)):
        item = items[place]
        outside += item < 0 or item >= len(known) or not known[item]
    return outside


@njit(cache=True, nogil=True)
def _count_repeating(rows, items, width):
    last_row, repeating, counted = np.full(width, -1, np.int64), 0, -1
    for place in range(len(rows)):
        row, item = rows[place], items[place] + 1
        if last_row[item] == row and counted != row:
            repeating += 1
            counted = row
        last_row[item] = row
    return repeating


@njit(cache=True, nogil=True)
def _are_among(rows, items, of_rows, of_items, considered, width):
    answers, marks = np.zeros(len(rows), np.bool_), np.zeros(width, np.bool_)
    asked = other = 0
    while asked < len(rows):
        row = rows[asked]
        while other < len(of_rows) and of_rows[other] < row:
            other += 1
        first = other
        while other < len(of_rows) and of_rows[other] == row:
            if other - first < considered and of_items[other] >= 0:
                marks[of_items[other]] = True
            other += 1
        while asked < len(rows) and rows[asked] == row:
            answers[asked] = items[asked] >= 0 and marks[items[asked]]
            asked += 1
        for place in range(first, other):
            if of_items[place] >= 0:
                marks[of_items[place]] = False
    return answers
