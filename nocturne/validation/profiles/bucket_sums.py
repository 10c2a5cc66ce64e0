"""Tables keyed by listener, summed up bucket by bucket.

A bucket is opened by one task with delta-rs, at the version that the driver saw, and measured as NumPy
arrays: no shuffle, no Python object per listener, and both tables of a comparison lie side by side.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

import pyarrow as pa
from pyspark import RDD
from pyspark.sql import SparkSession

from nocturne.core.arrays import Floats
from nocturne.core.night import Night
from nocturne.storage import fingerprints, tables, writing
from nocturne.validation.metrics.sums import SegmentSums

Part = TypeVar("Part")

_HALVES = ("row_hash_low", "row_hash_high")


class Addable(Protocol):
    """Sums that tasks hand back."""

    def plus(self, other: Self) -> Self:
        """Add the other's."""


Total = TypeVar("Total", bound=Addable)


@dataclass(frozen=True)
class Sums:
    """Measures, added up so far.

    Attributes:
        totals: by metric.
        of_names: by metric and market, or other name.
        of_items: by metric; aligned with item indexes, or whatever else numbers items.
        segments: what further metrics are made of.
    """

    totals: dict[str, float] = field(default_factory=dict)
    of_names: dict[tuple[str, str], float] = field(default_factory=dict)
    of_items: dict[str, Floats] = field(default_factory=dict)
    segments: SegmentSums = field(default_factory=SegmentSums)

    def add(self, totals: Mapping[str, float]) -> None:
        """Add metrics over everything."""
        for metric, value in totals.items():
            self.totals[metric] = self.totals.get(metric, 0.0) + float(value)

    def add_of_names(self, metric: str, names: Iterable[str], values: Iterable[float]) -> None:
        """Add a metric of several markets, or other names."""
        for name, value in zip(names, values, strict=True):
            self.of_names[metric, name] = self.of_names.get((metric, name), 0.0) + float(value)

    def add_of_items(self, metric: str, values: Floats) -> None:
        """Add a metric of all items; the array is not kept if there is one already."""
        if metric in self.of_items:
            self.of_items[metric] += values
        else:
            self.of_items[metric] = values

    def add_rows(self, rows: pa.RecordBatch, table: str) -> None:
        """Add the rows to the hash of their table, of which they have all columns that count."""
        total = fingerprints.sum_of_hashes(rows.select(fingerprints.hashed_columns(table)))
        # Halves, since a sum of them is exact as a float.
        self.add(dict(zip(_HALVES, (total % 2**32, total // 2**32), strict=True)))

    def plus(self, other: "Sums") -> "Sums":
        """Add the other's."""
        self.add(other.totals)
        for (metric, name), value in other.of_names.items():
            self.add_of_names(metric, [name], [value])
        for metric, values in other.of_items.items():
            self.add_of_items(metric, values)
        self.segments.plus(other.segments)
        return self

    def row_hash(self, spark: SparkSession, night: Night, table: str, rows: float) -> str:
        """Hash over the rows of the table, of which so many were added: `fingerprints.row_hashes`.

        Where others lie in buckets that were not measured, it is taken afresh.
        """
        if rows != tables.count(night, table):
            return fingerprints.row_hashes(spark, night, [table])[table]
        low, high = (int(self.totals.get(half, 0.0)) for half in _HALVES)
        return fingerprints.as_text(low + high * 2**32)


def sum_over_buckets(spark: SparkSession, night: Night, table: str, measure: Callable[[Iterable[int]], Sums]) -> Sums:
    """Measure every bucket of a night's table and add the measures up.

    Args:
        measure: gives the sums over some buckets.
    """
    return sum_over(spark, range(night.settings.tables.buckets), tables.count(night, table), measure)


def sum_over(
    spark: SparkSession, parts: Sequence[Part], rows: int, measure: Callable[[Iterable[Part]], Total]
) -> Total:
    """Measure all parts, at least one, in a task a core, and add the measures up; where tasks are many, on executors.

    Args:
        rows: of all parts: few are measured here, since tasks take longer to begin.
        measure: gives the sums over some parts.
    """
    if rows <= writing.FEW_ROWS:
        return measure(parts)
    return deal(spark, parts).map(measure).treeReduce(lambda one, other: one.plus(other))


def deal(spark: SparkSession, parts: Sequence[Part]) -> RDD[Sequence[Part]]:
    """The parts dealt out in turn, at least one to a task, in a task a core: each task costs a tenth of a second."""
    tasks = min(len(parts), spark.sparkContext.defaultParallelism)
    return spark.sparkContext.parallelize([parts[task::tasks] for task in range(tasks)], tasks)
