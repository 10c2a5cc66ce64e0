"""Carry-over of related items: rows of the night before that need not be computed again. Pure.

Within a model a row can only change by what may be listed. What may no longer be listed leaves it, and what is left is
the exact top of the rest, for its reserve lies behind. What may be listed again matters to a row that it would be in.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Floats, Mask
from nocturne.core.csr import CsrRows
from nocturne.ranking.related import SOURCES, RelatedRows, Relations


@dataclass(frozen=True)
class CarryOver:
    """The rows of a model's items that stand, and when they were computed.

    Attributes:
        stands: whose row stands; shape (items,).
        rows: of all items, best first, with their reserve; empty where the row does not stand.
        computed_on: in days since 1970-01-01; 0 where the row does not stand; shape (items,).
    """

    stands: Mask
    rows: RelatedRows
    computed_on: Counts

    @classmethod
    def nothing(cls, items: int) -> "CarryOver":
        """Every row is computed."""
        rows = RelatedRows(CsrRows.empty(items), np.zeros(0), np.zeros(0, np.int8))
        return cls(np.zeros(items, np.bool_), rows, np.zeros(items, np.int64))


def plan_carry_over(
    previous: pa.Table, item_ids: pa.Array, relations: Relations, listable_then: Mask, listable: Mask, depth: int
) -> CarryOver:
    """Decide for every item of a model whether its row of an earlier night stands.

    Args:
        previous: rows of `related_items` of one content type, of the same model, build and catalogue as is said here.
        item_ids: of the model's items.
        listable_then: what of that type might be listed that night; shape (items,).
        listable: what of it may be listed tonight; shape (items,).
        depth: items of a full row, without its reserve.
    """
    aligned = previous.take(pc.index_in(item_ids, value_set=previous["item_id"].combine_chunks())).combine_chunks()
    stored = _rows(aligned, item_ids)
    # The place of an item that the model lacks is -1, which is the end of the mask.
    rows = stored.where(np.append(listable, False)[stored.items.positions])
    lengths, ends = rows.items.lengths, rows.items.offsets[1:]
    last = np.full(len(lengths), np.inf)
    # As it was before it was rounded, or lower.
    last[lengths > 0] = np.nextafter(rows.scores[ends[lengths > 0] - 1].astype(np.float32), np.float32(-np.inf))
    there_are = int(listable.sum()) - listable
    stands = pc.is_valid(aligned["item_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    stands = stands & (relations.norms > 0) & ((lengths >= depth) | (lengths == there_are))
    stands &= _best_added(relations, listable & ~listable_then) < last
    computed_on = pc.fill_null(aligned["computed_on"].combine_chunks().cast(pa.int32()), 0).to_numpy()
    return CarryOver(stands, rows.where(np.repeat(stands, lengths)), np.where(stands, computed_on, 0))


def _best_added(relations: Relations, added: Mask) -> Floats:
    """The best score for each item of what was added; -inf if nothing was; shape (items,)."""
    best = np.full(len(added), -np.inf)
    if added.any():
        found = relations.best(np.arange(len(added)), added, 1)
        best[found.items.lengths > 0] = found.scores
    return best


def _rows(stored: pa.Table, item_ids: pa.Array) -> RelatedRows:
    """Rows with their reserve behind them, as positions; -1 for items that the model lacks."""
    parts = [_entries(stored[name].combine_chunks(), item_ids) for name in ("items", "reserve")]
    alternating = np.arange(2 * stored.num_rows).reshape(2, -1).T.ravel()
    together = RelatedRows.concatenated(parts).take(alternating)
    return RelatedRows(
        CsrRows(together.items.offsets[::2], together.items.positions), together.scores, together.sources
    )


def _entries(lists: pa.ListArray, item_ids: pa.Array) -> RelatedRows:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    ids, scores, sources = lists.flatten().flatten()
    positions = pc.fill_null(pc.index_in(ids, value_set=item_ids), -1).to_numpy()
    codes = pc.fill_null(pc.index_in(sources, value_set=pa.array(SOURCES)), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return RelatedRows(CsrRows(offsets, positions), scores.to_numpy().astype(np.float64), codes.astype(np.int8))
