"""Metrics of `pools`: the scale of scores, how long pools are, and how many were carried over."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.masks import mask
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import ALL, Labels, SegmentSums, counted, quantiles, ratios

_KINDS = (ALL, "source")


def add_pools(sums: SegmentSums, batch: pa.RecordBatch, run_date: date) -> None:
    """Add some pools.

    Args:
        batch: source, scores, norm and computed_on of each pool.
    """
    lengths = pc.list_value_length(batch["scores"]).to_numpy()
    carried = mask(pc.less(batch["computed_on"], pa.scalar(run_date, pa.date32())))
    sums.add_by({"source": Labels.of(batch["source"])}, {"pools": np.ones(batch.num_rows), "carried": carried})
    personal = mask(pc.equal(batch["source"], "als"))
    scores = batch["scores"].flatten().to_numpy(zero_copy_only=False)
    some = personal & (lengths > 0)
    first = (np.cumsum(lengths) - lengths)[some]
    sums.add_numbers("top_score", scores[first])
    sums.add_numbers("last_score", scores[first + lengths[some] - 1])
    sums.add_numbers("pool_length", lengths)
    sums.add_numbers("listener_norm", batch["norm"].drop_null().to_numpy(zero_copy_only=False))


def pool_metrics(sums: SegmentSums) -> tuple[Metric, ...]:
    """The metrics of all pools of a night."""
    return (
        *counted(sums, "pools", _KINDS),
        *ratios(sums, "share_carried", "carried", "pools", _KINDS),
        *quantiles(sums, "top_score"),
        *quantiles(sums, "last_score"),
        *quantiles(sums, "pool_length"),
        *quantiles(sums, "listener_norm"),
    )
