"""Listeners' rows as a generation keeps them, behind their lists: all that says what comes next for them.

A row is, in units of 2 bytes, little-endian: number of the market; 1 if propensities follow, else 0; propensities of
the list's items (float32); number of factors, and these (float32); number of heard items (uint32); units of a step, 1
or 2; the heard items' numbers, ascending, as steps from each to the next; their weights (float16); 1 if days follow,
else 0; days from the last listen of each to the night. What is in reserve follows, as `values` says.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nocturne.core.arrays import Factors, Indexes, Mask
from nocturne.serving.cache.values import BYTES_PER_ITEM, HEAD_BYTES, NOWHERE, ListKind


class ServedRow(NamedTuple):
    """A listener as a generation knows them.

    Attributes:
        kind: arm, source and model of the list.
        market: None without one.
        numbers: of the list's items, best first.
        scores: aligned with them, float32.
        propensities: aligned with them; None if nothing was drawn.
        factors: float32; None of a listener without any.
        heard: numbers of the items heard, ascending.
        weights: what each heard item weighs, before the weight of the item itself; float32.
        days: days from the last listen of each to the night; None where heard items never come back.
    """

    kind: ListKind
    market: str | None
    numbers: Indexes
    scores: Factors
    propensities: Factors | None
    factors: Factors | None
    heard: Indexes
    weights: Factors
    days: npt.NDArray[np.uint16] | None

    def where(self, kept: Mask) -> "ServedRow":
        """The same with some of the list's items; shape of the mask (list's items,)."""
        if kept.all():
            return self
        drawn = None if self.propensities is None else self.propensities[kept]
        return self._replace(numbers=self.numbers[kept], scores=self.scores[kept], propensities=drawn)


def read_row(value: bytes, kinds: tuple[ListKind, ...], markets: tuple[str, ...]) -> ServedRow:
    """The list and the row of a value."""
    units = np.frombuffer(value, "<u2")
    kind, count = int(units[0]), int(units[1])
    numbers = np.frombuffer(value, "<i4", count, HEAD_BYTES)
    scores = np.frombuffer(value, "<f4", count, HEAD_BYTES + 4 * count)
    at = (HEAD_BYTES + BYTES_PER_ITEM * count) // 2
    market, drawn = int(units[at]), bool(units[at + 1])
    at += 2
    propensities, at = (_floats(value, at, count)) if drawn else (None, at)
    width = int(units[at])
    factors, at = _floats(value, at + 1, width) if width else (None, at + 1)
    heard_count, step_units = int(units[at]) | int(units[at + 1]) << 16, int(units[at + 2])
    at += 3
    steps = np.frombuffer(value, "<u2" if step_units == 1 else "<u4", heard_count, 2 * at)
    at += step_units * heard_count
    weights = np.frombuffer(value, "<f2", heard_count, 2 * at).astype(np.float32)
    at += heard_count
    days = units[at + 1 : at + 1 + heard_count] if units[at] else None
    return ServedRow(
        kinds[kind],
        None if market == NOWHERE else markets[market],
        numbers,
        scores,
        propensities,
        factors,
        np.cumsum(steps, dtype=np.int32),
        weights,
        days,
    )


def _floats(value: bytes, at: int, count: int) -> tuple[Factors, int]:
    return np.frombuffer(value, "<f4", count, 2 * at), at + 2 * count
