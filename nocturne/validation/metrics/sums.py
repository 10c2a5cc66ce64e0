"""Sums by metric and segment, of which those of parts add up to those of the whole, and the metrics made of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Positions
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sketches import quantile, sketch

ALL = "all"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_DIGITS = 9
"""Significant digits of a metric: sums of fractions may differ beyond them by the order in which parts are added."""


class Key(NamedTuple):
    """The metric and the segment that a sum is of."""

    metric: str
    kind: str = ALL
    segment: str = ""


class Labels(NamedTuple):
    """The segment of each row.

    Attributes:
        codes: places in the names; shape (rows,).
        names: of the segments of one kind.
    """

    codes: Positions
    names: Sequence[str]

    @classmethod
    def of(cls, names: pa.Array | pa.ChunkedArray) -> "Labels":
        """Of texts, which may be stored as a dictionary; of null the empty name."""
        encoded = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode()
        known = [name or "" for name in encoded.dictionary.to_pylist()]
        codes = pc.fill_null(encoded.indices.cast(pa.int64()), len(known)).to_numpy(zero_copy_only=False)
        return cls(codes, [*known, ""])

    @classmethod
    def of_numbers(cls, numbers: Positions) -> "Labels":
        """Of whole numbers from 0 on, by their digits."""
        return cls(numbers, [str(number) for number in range(int(numbers.max(initial=-1)) + 1)])

    def take(self, rows: Positions) -> "Labels":
        """The segments of some rows, or of what belongs to them."""
        return Labels(self.codes[rows], self.names)


Segments = Mapping[str, Labels]
"""The segment of each row, by kind."""


@dataclass(frozen=True)
class SegmentSums:
    """Sums over some rows.

    Attributes:
        amounts: numbers.
        sketches: see `sketches`; shape (2, BINS).
        of_items: aligned with numbers of items, or of whatever else.
    """

    amounts: dict[Key, float] = field(default_factory=dict)
    sketches: dict[Key, Floats] = field(default_factory=dict)
    of_items: dict[Key, Floats] = field(default_factory=dict)

    def add(self, metric: str, amount: float, kind: str = ALL, segment: str = "") -> None:
        """Add a number."""
        key = Key(metric, kind, segment)
        self.amounts[key] = self.amounts.get(key, 0.0) + float(amount)

    def add_by(self, segments: Segments, amounts: Mapping[str, np.ndarray]) -> None:
        """Add numbers of rows, by metric: over all rows, and by every kind of segment.

        Args:
            amounts: numbers or booleans; each of shape (rows,).
        """
        for metric, values in amounts.items():
            self.add(metric, values.sum())
            for kind, labels in segments.items():
                sums = np.bincount(labels.codes, values, minlength=len(labels.names))
                for place in np.flatnonzero(sums).tolist():
                    self.add(metric, sums[place], kind, labels.names[place])

    def add_numbers(self, metric: str, numbers: np.ndarray, segments: Segments | None = None) -> None:
        """Add numbers to the sketches of a metric: of all, and by every kind of segment."""
        self._add_array(self.sketches, Key(metric), sketch(numbers))
        for kind, labels in (segments or {}).items():
            for place in np.unique(labels.codes).tolist():
                some = sketch(numbers[labels.codes == place])
                self._add_array(self.sketches, Key(metric, kind, labels.names[place]), some)

    def add_of_items(self, metric: str, values: np.ndarray, kind: str = ALL, segment: str = "") -> None:
        """Add a number of every item; the array is not kept if there is one already."""
        self._add_array(self.of_items, Key(metric, kind, segment), values.astype(np.float64, copy=False))

    @staticmethod
    def _add_array(arrays: dict[Key, Floats], key: Key, values: Floats) -> None:
        if key in arrays:
            arrays[key] += values
        else:
            arrays[key] = values

    def plus(self, other: "SegmentSums") -> "SegmentSums":
        """Add the other's."""
        for key, amount in other.amounts.items():
            self.add(key.metric, amount, key.kind, key.segment)
        for mine, theirs in ((self.sketches, other.sketches), (self.of_items, other.of_items)):
            for key, values in theirs.items():
                self._add_array(mine, key, values)
        return self

    def amount(self, metric: str, kind: str = ALL, segment: str = "") -> float:
        """A sum; 0 of nothing."""
        return self.amounts.get(Key(metric, kind, segment), 0.0)

    def segments_of(self, metric: str) -> list[Key]:
        """Keys of the sums of a metric, that of all rows first, then by kind and name."""
        return sorted((key for key in self.amounts if key.metric == metric), key=lambda key: (key.kind != ALL, key))


def metric(name: str, value: float, kind: str = ALL, segment: str = "", count: float | None = None) -> Metric:
    """A metric, to 9 significant digits."""
    return Metric(name, float(f"{value:.{_DIGITS}g}"), kind, segment, count)


def counted(sums: SegmentSums, name: str, kinds: Iterable[str]) -> list[Metric]:
    """A sum of every segment of some kinds."""
    wanted = {*kinds}
    return [metric(name, sums.amounts[key], *key[1:]) for key in sums.segments_of(name) if key.kind in wanted]


def shares(sums: SegmentSums, of: str, kinds: Iterable[str], name: str = "share") -> list[Metric]:
    """The share of every segment of some kinds in a sum over all segments of the kind; the count is that of all."""
    metrics = []
    for kind in kinds:
        keys = [key for key in sums.segments_of(of) if key.kind == kind]
        whole = sum(sums.amounts[key] for key in keys)
        metrics += [metric(name, sums.amounts[key] / whole, *key[1:], whole) for key in keys if whole]
    return metrics


def ratios(sums: SegmentSums, name: str, part: str, whole: str, kinds: Iterable[str] = (ALL,)) -> list[Metric]:
    """One sum divided by another, of every segment of some kinds where that is not 0; the count is the other."""
    wanted = {*kinds}
    return [
        metric(name, sums.amount(part, *key[1:]) / sums.amounts[key], *key[1:], sums.amounts[key])
        for key in sums.segments_of(whole)
        if key.kind in wanted and sums.amounts[key]
    ]


def quantiles(sums: SegmentSums, name: str, stored: str | None = None) -> list[Metric]:
    """The quantiles of all numbers of a sketch; none of no numbers."""
    of = sums.sketches.get(Key(stored or name))
    if of is None or not of[0].sum():
        return []
    count = float(of[0].sum())
    return [metric(name, quantile(of, share), "quantile", f"{share:g}", count) for share in QUANTILES]


def by_segment(
    sums: SegmentSums, name: str, stored: str, of_sketch: Callable[[Floats], float], kinds: Iterable[str]
) -> list[Metric]:
    """A number made of the sketch of every segment of some kinds."""
    wanted = {*kinds}
    return [
        metric(name, of_sketch(of), *key[1:], float(of[0].sum()))
        for key, of in sorted(sums.sketches.items())
        if key.metric == stored and key.kind in wanted and of[0].sum()
    ]


def median(of: Floats) -> float:
    """The median of a sketch."""
    return quantile(of, 0.5)
