"""Tables keyed by listener, summed up bucket by bucket.

A bucket is opened by one task with delta-rs, at the version that the driver saw, and measured as NumPy
arrays: no shuffle, no Python object per listener, and both tables of a comparison lie side by side.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nocturne.core.arrays import Mask

_SCRATCH_CELLS = 2**25

Sums = dict[tuple[str, str | None], float]
"""Value by metric, and by item or market where the metric is kept of each."""


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


def metrics_table(metrics: Mapping[str, float]) -> pa.Table:
    """Metrics over everything, as a task hands them back."""
    return pa.table(
        {
            "metric": pa.array(metrics.keys(), pa.string()),
            "item": pa.nulls(len(metrics), pa.string()),
            "value": pa.array(map(float, metrics.values()), pa.float64()),
        }
    )


def metrics_by_item(metric: str, items: Iterable[str], values: Iterable[float]) -> pa.Table:
    """A metric of several items, or markets, as a task hands it back."""
    names, numbers = pa.array(items, pa.string()), pa.array(values, pa.float64())
    return pa.table({"metric": pa.repeat(metric, len(names)).cast(pa.string()), "item": names, "value": numbers})


def are_level(rows: np.ndarray, scores: np.ndarray, count: int) -> Mask:
    """True for every row whose scores are all the same; shape (count,).

    Args:
        rows: number of the row of each score, ascending.
    """
    level = np.ones(count, dtype=bool)
    level[rows[1:][(rows[1:] == rows[:-1]) & (scores[1:] != scores[:-1])]] = False
    return level


def are_among(rows: np.ndarray, items: np.ndarray, of_rows: np.ndarray, of_items: np.ndarray) -> Mask:
    """True for every pair of row and item that is one of the others, too; both in the order of rows, from 0.

    Items are numbers from 0 on; a negative one is among none. A mask of some rows by all items is set and cleared
    again, which takes no sorting.
    """
    answers = np.zeros(len(rows), dtype=bool)
    if not len(rows) or not len(of_rows):
        return answers
    width = int(max(items.max(), of_items.max(), 0)) + 2
    step = max(1, _SCRATCH_CELLS // width)
    scratch = np.zeros((step, width), dtype=bool)
    for first in range(int(rows[0]), int(rows[-1]) + 1, step):
        asked, known = (slice(*np.searchsorted(which, (first, first + step))) for which in (rows, of_rows))
        cells = of_rows[known] - first, np.maximum(of_items[known], -1)
        scratch[cells] = True
        scratch[:, -1] = False
        answers[asked] = scratch[rows[asked] - first, np.maximum(items[asked], -1)]
        scratch[cells] = False
    return answers
