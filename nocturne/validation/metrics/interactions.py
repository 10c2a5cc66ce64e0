"""Metrics of `interactions`: how long listeners' rows are, what they weigh, and what tonight's listens added."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Mask
from nocturne.core.masks import mask
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import ALL, Labels, SegmentSums, counted, quantiles, ratios, shares

_UNIT = 2**20
_KINDS = (ALL, "market")


def add_rows(
    sums: SegmentSums,
    batch: pa.RecordBatch,
    changed: Mask,
    known: Mask,
    gains: Floats,
    familiar: Floats,
    previous_market: pa.Array,
) -> None:
    """Add some rows.

    Args:
        batch: market, item_indexes and play_sums of each row.
        changed: rows that tonight's listens changed; shape (rows,).
        known: rows of listeners who had one last night; shape (rows,).
        gains: decayed plays that each row gained since last night, in units of 2^-20 plays; shape (rows,).
        familiar: of these, plays of items that it had already; shape (rows,).
        previous_market: market of each row last night; null of none.
    """
    market = Labels.of(batch["market"])
    lengths = pc.list_value_length(batch["item_indexes"]).to_numpy()
    both = mask(pc.and_(pc.is_valid(batch["market"]), pc.is_valid(previous_market)))
    moved = both & mask(pc.not_equal(batch["market"], previous_market))
    amounts: dict[str, np.ndarray] = {
        "listeners": np.ones(batch.num_rows),
        "changed": changed,
        "new": ~known,
        "entries": lengths,
        "gains": np.where(changed & known, gains / _UNIT, 0.0),
        "familiar": np.where(changed & known, familiar / _UNIT, 0.0),
        "changed_in_market": both & changed,
        "moved": moved & changed,
    }
    sums.add_by({"market": market}, amounts)
    sums.add_numbers("items_per_listener", lengths)
    row, units = pc.list_parent_indices(batch["play_sums"]).to_numpy(), batch["play_sums"].flatten().to_numpy()
    sums.add_numbers("plays_per_listener", np.bincount(row, units, minlength=len(lengths)) / _UNIT)


def interaction_metrics(sums: SegmentSums) -> tuple[Metric, ...]:
    """The metrics of all rows of a night."""
    return (
        *counted(sums, "listeners", _KINDS),
        *shares(sums, "listeners", ("market",)),
        *ratios(sums, "share_changed", "changed", "listeners", _KINDS),
        *ratios(sums, "share_new", "new", "listeners", _KINDS),
        *ratios(sums, "items_per_row", "entries", "listeners", _KINDS),
        *ratios(sums, "share_familiar", "familiar", "gains", _KINDS),
        *ratios(sums, "share_moved", "moved", "changed_in_market", _KINDS),
        *quantiles(sums, "items_per_listener"),
        *quantiles(sums, "plays_per_listener"),
    )
