"""Carry-over of related items: rows of the night before that need not be computed again. Pure.

Within a model a row can only change by what may be listed. What may no longer be listed leaves it, and what is left is
the exact top of the rest, for its reserve lies behind. What may be listed again matters to a row if its score reaches
the row's end. What lies outside a row has lower scores than all that it holds, its reserve included, and so it stays
where items of the reserve may be listed no longer, and even where they may be again.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Floats, Mask, Positions
from nocturne.core.csr import CsrRows
from nocturne.ranking.related import SOURCES, RelatedRows, Relations


@dataclass(frozen=True)
class CarryOver:
    """The rows of a model's items that stand.

    Attributes:
        kept: positions of items whose row stands as it is.
        stored: `items`, `reserve` and `computed_on` of these rows.
        trimmed: positions of items whose row stands without what may no longer be listed.
        rows: of these items, best first, what is left of their reserve behind.
        computed_on: the night on which each of them was computed.
    """

    kept: Positions
    stored: pa.Table
    trimmed: Positions
    rows: RelatedRows
    computed_on: pa.Array

    @property
    def standing(self) -> Positions:
        """Positions of all items whose rows stand."""
        return np.concatenate([self.kept, self.trimmed])


@dataclass(frozen=True)
class ListableItems:
    """The model's items of one content type that may be listed, on two nights.

    Attributes:
        then, tonight: shape (items,).
    """

    then: Mask
    tonight: Mask

    @property
    def added(self) -> Mask:
        """Items that may be listed tonight and might not then."""
        return self.tonight & ~self.then

    @property
    def removed(self) -> Mask:
        """Items that might be listed then and may not tonight."""
        return self.then & ~self.tonight


def plan_carry_over(
    previous: pa.Table, item_ids: pa.Array, relations: Relations, listable: ListableItems, depth: int
) -> CarryOver:
    """Choose the rows of an earlier night that stand.

    Args:
        previous: rows of `related_items` of one content type, of the same model, build and catalogue as is said here.
        item_ids: of the model's items.
        depth: items of a full row, without its reserve.
    """
    position = pc.index_in(previous["item_id"].combine_chunks(), value_set=item_ids)
    if position.null_count:
        previous = previous.filter(pc.is_valid(position)).combine_chunks()
    items = position.drop_null().to_numpy().astype(np.int64)
    lists = previous["items"].combine_chunks()
    lost = _count_among(lists, item_ids.filter(pa.array(listable.removed)))
    stands = relations.norms[items] > 0
    if listable.added.any():
        stands &= _best_added(relations, items, listable.added) < _last(previous)
    there_are = int(listable.tonight.sum()) - listable.tonight[items]
    lengths = pc.list_value_length(lists).to_numpy()
    kept = stands & (lost == 0) & ((lengths >= depth) | (lengths == there_are))
    some = np.flatnonzero(stands & (lost > 0))
    rows = _rows(previous.take(pa.array(some)), item_ids)
    # The place of an item that the model lacks is -1, which is the end of the mask.
    rows = rows.where(np.append(listable.tonight, False)[rows.items.positions])
    enough = (rows.items.lengths >= depth) | (rows.items.lengths == there_are[some])
    trimmed = some[enough]
    return CarryOver(
        items[kept],
        previous.select(["items", "reserve", "computed_on"]).filter(pa.array(kept)),
        items[trimmed],
        rows.take(np.flatnonzero(enough)),
        previous["computed_on"].combine_chunks().take(pa.array(trimmed)),
    )


def _best_added(relations: Relations, items: Positions, added: Mask) -> Floats:
    """The best score of what was added for each item; -inf for what is alone added itself; shape (items,)."""
    best, found = np.full(len(items), -np.inf), relations.best(items, added, 1)
    best[found.items.lengths > 0] = found.scores
    return best


def _last(rows: pa.Table) -> Floats:
    """Lower bound of the last score of each row, as it was before it was rounded; inf for an empty one."""
    last = np.full(rows.num_rows, np.inf)
    for name in ("items", "reserve"):
        lists = rows[name].combine_chunks()
        offsets = lists.offsets.to_numpy().astype(np.int64)
        filled = np.flatnonzero(np.diff(offsets))
        scores = pc.struct_field(lists.values, "score").to_numpy(zero_copy_only=False)
        last[filled] = np.nextafter(scores[offsets[filled + 1] - 1], np.float32(-np.inf))
    return last


def _count_among(lists: pa.ListArray, ids: pa.Array) -> Counts:
    """Entries of each list that are among some items."""
    if not len(ids):
        return np.zeros(len(lists), np.int64)
    among = pc.is_in(pc.struct_field(lists.flatten(), "item_id"), value_set=ids).to_numpy(zero_copy_only=False)
    row = pc.list_parent_indices(lists).to_numpy()[among]
    return np.bincount(row, minlength=len(lists))


def _rows(stored: pa.Table, item_ids: pa.Array) -> RelatedRows:
    """Rows with their reserve behind them, as positions; -1 for items that the model lacks."""
    parts = [_entries(stored[name].combine_chunks(), item_ids) for name in ("items", "reserve")]
    alternating = np.arange(2 * stored.num_rows).reshape(2, -1).T.ravel()
    together = RelatedRows.concatenated(parts).take(alternating)
    rows = CsrRows(together.items.offsets[::2], together.items.positions)
    return RelatedRows(rows, together.scores, together.sources)


def _entries(lists: pa.ListArray, item_ids: pa.Array) -> RelatedRows:
    ids, scores, sources = lists.flatten().flatten()
    positions = pc.fill_null(pc.index_in(ids, value_set=item_ids), -1).to_numpy()
    codes = pc.fill_null(pc.index_in(sources, value_set=pa.array(SOURCES)), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy())]).astype(np.int64)
    return RelatedRows(CsrRows(offsets, positions), scores.to_numpy().astype(np.float64), codes.astype(np.int8))
