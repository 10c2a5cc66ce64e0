"""Listeners' rows packed into the bytes that `rows` reads, many at once."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from nocturne.serving.cache.values import NOWHERE

Units = npt.NDArray[np.uint16]

_LONGEST_STEP = 0xFFFF
_HEAVIEST = float(np.finfo(np.float16).max)


class Lists(NamedTuple):
    """Lists of some length laid end to end: where each begins and the last one ends, and the values."""

    offsets: npt.NDArray[np.int64]
    values: npt.NDArray[Any]

    @classmethod
    def of(cls, column: pa.ListArray, kind: type[np.generic]) -> "Lists":
        """Lists of a column that may be a slice; null is an empty one."""
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        values = column.flatten().to_numpy(zero_copy_only=False).astype(kind)
        return cls(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), values)

    @classmethod
    def empty(cls, rows: int) -> "Lists":
        """Lists of nothing, numbers."""
        return cls(np.zeros(rows + 1, np.int64), np.zeros(0, np.uint32))


def pack_rows(rows: pa.RecordBatch, markets: pa.Array) -> tuple[npt.NDArray[np.int64], Units]:
    """Rows of listeners, without their lists: where each begins and the last one ends, and their units.

    Args:
        rows: market, propensities, factors, heard, weights, days, and reserve where anything is, as `ServedRows` puts
            them beside lists.
        markets: every market, in the order of their numbers.
    """
    numbers = pc.fill_null(pc.index_in(rows["market"], value_set=markets), NOWHERE)
    propensities, factors = Lists.of(rows["propensities"], np.float32), Lists.of(rows["factors"], np.float32)
    heard = Lists.of(rows["heard"], np.uint32)
    weights = np.minimum(Lists.of(rows["weights"], np.float32).values, _HEAVIEST).astype(np.float16)
    days = Lists.of(rows["days"], np.uint16)
    reserve = Lists.of(rows["reserve"], np.uint32) if "reserve" in rows.schema.names else Lists.empty(rows.num_rows)
    bounds = (propensities.offsets, factors.offsets, heard.offsets, days.offsets, reserve.offsets)
    ends: npt.NDArray[np.int64] = _ends(bounds, heard.values)
    units: Units = _pack(
        ends,
        numbers.to_numpy(zero_copy_only=False).astype(np.uint16),
        bounds,
        propensities.values.view(np.uint16),
        factors.values.view(np.uint16),
        heard.values,
        weights.view(np.uint16),
        days.values,
        reserve.values.view(np.uint16),
    )
    return ends, units


# What follows is compiled: plain loops over arrays, without types of their own.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN202


@njit(cache=True, nogil=True)
def _ends(bounds, heard):
    drawn_at, factors_at, heard_at, days_at, reserve_at = bounds
    ends = np.zeros(len(heard_at), np.int64)
    for row in range(len(ends) - 1):
        floats = drawn_at[row + 1] - drawn_at[row] + factors_at[row + 1] - factors_at[row]
        entries = heard_at[row + 1] - heard_at[row]
        units = _step_units(heard[heard_at[row] : heard_at[row + 1]])
        days, reserved = days_at[row + 1] - days_at[row], reserve_at[row + 1] - reserve_at[row]
        ends[row + 1] = ends[row] + 8 + 2 * (floats + reserved) + (units + 1) * entries + days
    return ends


@njit(cache=True, nogil=True)
def _step_units(heard):
    """Units of 2 bytes that the largest step from one number to the next takes."""
    previous = np.int64(0)
    for number in heard:
        if np.int64(number) - previous > _LONGEST_STEP:
            return 2
        previous = np.int64(number)
    return 1


@njit(cache=True, nogil=True)
def _pack(ends, markets, bounds, drawn, factors, heard, weights, days, reserve):
    drawn_at, factors_at, heard_at, days_at, reserve_at = bounds
    packed = np.empty(ends[-1], np.uint16)
    for row in range(len(markets)):
        at = ends[row]
        packed[at], packed[at + 1] = markets[row], drawn_at[row + 1] > drawn_at[row]
        at = _copy(drawn, 2 * drawn_at[row], 2 * drawn_at[row + 1], packed, at + 2)
        packed[at] = factors_at[row + 1] - factors_at[row]
        at = _copy(factors, 2 * factors_at[row], 2 * factors_at[row + 1], packed, at + 1)
        first, last = heard_at[row], heard_at[row + 1]
        units = _step_units(heard[first:last])
        packed[at], packed[at + 1], packed[at + 2] = (last - first) & 0xFFFF, (last - first) >> 16, units
        at += 3
        previous = np.int64(0)
        for entry in range(first, last):
            step = np.int64(heard[entry]) - previous
            previous = np.int64(heard[entry])
            packed[at] = step & 0xFFFF
            if units == 2:
                packed[at + 1] = step >> 16
            at += units
        at = _copy(weights, first, last, packed, at)
        packed[at] = days_at[row + 1] > days_at[row]
        at = _copy(days, days_at[row], days_at[row + 1], packed, at + 1)
        at = _copy(reserve, 2 * reserve_at[row], 2 * reserve_at[row + 1], packed, at)
        packed[at] = reserve_at[row + 1] - reserve_at[row]
    return packed


@njit(cache=True, nogil=True)
def _copy(values, first, last, packed, at):
    """Copy some values, and say where they end."""
    for entry in range(first, last):
        packed[at] = values[entry]
        at += 1
    return at
