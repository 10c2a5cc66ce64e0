"""Loops over the items of lists, beside what else belongs to the same listener: compiled, since lists have many."""

import numpy as np
from numba import njit

from nocturne.core.arrays import Floats, Offsets, Positions


def places_among(items: Positions, offsets: Offsets, others: Positions, other_offsets: Offsets) -> Positions:
    """Place of each item among the others of the same row, from 0; -1 where it is not among them.

    Args:
        items, others: numbers from 0 on; a negative one is among none.
        offsets, other_offsets: of the rows, as many of both.
    """
    width = int(max(items.max(initial=-1), others.max(initial=-1))) + 1
    arguments = *map(_as_compiled, (items, offsets, others, other_offsets)), width
    return np.asarray(_places_among(*arguments))


def divergences(labels: Positions, offsets: Offsets, others: Positions, other_offsets: Offsets) -> Floats:
    """Jensen-Shannon divergence between the labels of each row and the other ones, in bits; NaN where a side has none.

    Args:
        labels, others: numbers from 0 on; a negative one counts nothing.
        offsets, other_offsets: of the rows, as many of both.
    """
    width = int(max(labels.max(initial=-1), others.max(initial=-1))) + 1
    arguments = *map(_as_compiled, (labels, offsets, others, other_offsets)), width
    return np.asarray(_divergences(*arguments))


def _as_compiled(array: np.ndarray) -> np.ndarray:
    """The array as loops were compiled for."""
    view = np.ascontiguousarray(array, np.int64).view()
    view.flags.writeable = False
    return view


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True, nogil=True)
def _places_among(items, offsets, others, other_offsets, width):
    places, marks = np.full(len(items), -1, np.int64), np.full(width, -1, np.int64)
    for row in range(len(offsets) - 1):
        first = other_offsets[row]
        for place in range(first, other_offsets[row + 1]):
            if others[place] >= 0 and marks[others[place]] < 0:
                marks[others[place]] = place - first
        for place in range(offsets[row], offsets[row + 1]):
            if items[place] >= 0:
                places[place] = marks[items[place]]
        for place in range(first, other_offsets[row + 1]):
            if others[place] >= 0:
                marks[others[place]] = -1
    return places


@njit(cache=True, nogil=True)
def _divergences(labels, offsets, others, other_offsets, width):
    rows = len(offsets) - 1
    result, one, other = np.full(rows, np.nan), np.zeros(width), np.zeros(width)
    for row in range(rows):
        first, end, other_first, other_end = offsets[row], offsets[row + 1], other_offsets[row], other_offsets[row + 1]
        count = _count(labels, first, end, one)
        other_count = _count(others, other_first, other_end, other)
        if count and other_count:
            result[row] = _half(labels, first, end, one, count, other, other_count)
            result[row] += _half(others, other_first, other_end, other, other_count, one, count)
        _clear(labels, first, end, one)
        _clear(others, other_first, other_end, other)
    return result


@njit(cache=True, nogil=True)
def _count(labels, first, end, counts):
    count = 0.0
    for place in range(first, end):
        if labels[place] >= 0:
            counts[labels[place]] += 1
            count += 1
    return count


@njit(cache=True, nogil=True)
def _clear(labels, first, end, counts):
    for place in range(first, end):
        if labels[place] >= 0:
            counts[labels[place]] = 0


@njit(cache=True, nogil=True)
def _half(labels, first, end, counts, count, others, other_count):
    total = 0.0
    for place in range(first, end):
        label = labels[place]
        if label >= 0:
            share = counts[label] / count
            total += np.log2(2 * share / (share + others[label] / other_count))
    return total / count / 2
