"""Tables keyed by listener, summed up bucket by bucket.

A bucket is opened by one task with delta-rs, at the version that the driver saw, and measured as NumPy
arrays: no shuffle, no Python object per listener, and both tables of a comparison lie side by side.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nocturne.core.night import Night
from nocturne.storage import tables

Sums = dict[tuple[str, str | None], float]
"""Value by metric, and by item where the metric is kept per item."""


@dataclass(frozen=True)
class Snapshot:
    """One night of a table, at one version, that any process can open."""

    path: str
    version: int
    run_date: date

    def rows(self) -> ds.Dataset:
        """All rows of the night."""
        return self._open([("run_date", "=", str(self.run_date))])

    def bucket(self, bucket: int) -> ds.Dataset:
        """The night's rows of one bucket."""
        return self._open([("run_date", "=", str(self.run_date)), ("bucket", "=", str(bucket))])

    def _open(self, partitions: list[tuple[str, str, str]]) -> ds.Dataset:
        return DeltaTable(self.path, self.version).to_pyarrow_dataset(partitions)


def snapshot(night: Night, table: str) -> Snapshot:
    """The night's rows of a table as they are now."""
    path = tables.table_path(night, table)
    return Snapshot(path, DeltaTable(path).version(), night.run_date)


def sum_over_buckets(spark: SparkSession, buckets: int, measure: Callable[[Iterable[int]], Iterator[pa.Table]]) -> Sums:
    """Measure every bucket on the executors and add up what was found.

    Args:
        measure: gives tables of metric, item and value for the buckets of one task.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for found in measure(bucket for batch in batches for bucket in batch["id"].to_pylist()):
            yield from found.to_batches()

    tasks = min(buckets, spark.sparkContext.defaultParallelism)
    found = spark.range(0, buckets, 1, tasks).mapInArrow(run, "metric string, item string, value double")
    sums = found.groupBy("metric", "item").agg(F.sum("value").alias("value")).toArrow()
    return {(row["metric"], row["item"]): row["value"] for row in sums.to_pylist()}


def found(metrics: dict[str, float]) -> pa.Table:
    """Metrics as a task hands them back."""
    return pa.table(
        {
            "metric": pa.array(metrics.keys(), pa.string()),
            "item": pa.nulls(len(metrics), pa.string()),
            "value": pa.array(map(float, metrics.values()), pa.float64()),
        }
    )
