"""Tables keyed by listener, summed up bucket by bucket.

A bucket is opened by one task with delta-rs, at the version that the driver saw, and measured as NumPy
arrays: no shuffle, no Python object per listener, and both tables of a comparison lie side by side.
"""

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

Sums = dict[tuple[str, str | None], float]
"""Value by metric, and by item where the metric is kept per item."""


def sum_over_buckets(spark: SparkSession, buckets: int, measure: Callable[[Iterable[int]], Iterator[pa.Table]]) -> Sums:
    """Measure every bucket on the executors and add the measures up.

    Args:
        measure: gives tables of metric, item and value for the buckets of one task.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for measures in measure(bucket for batch in batches for bucket in batch["id"].to_pylist()):
            yield from measures.to_batches()

    tasks = min(buckets, spark.sparkContext.defaultParallelism)
    measures = spark.range(0, buckets, 1, tasks).mapInArrow(run, "metric string, item string, value double")
    sums = measures.groupBy("metric", "item").agg(F.sum("value").alias("value")).toArrow()
    return {(row["metric"], row["item"]): row["value"] for row in sums.to_pylist()}


def metrics_table(metrics: dict[str, float]) -> pa.Table:
    """Metrics as a task hands them back."""
    return pa.table(
        {
            "metric": pa.array(metrics.keys(), pa.string()),
            "item": pa.nulls(len(metrics), pa.string()),
            "value": pa.array(map(float, metrics.values()), pa.float64()),
        }
    )
