"""Rows of `shelf_lists`: what each listener gets of each content type, best first."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Floats, Indexes, Mask
from nocturne.core.csr import CsrRows, fill_empty_rows
from nocturne.core.hashing import Hashes
from nocturne.kernel.blend import neighbourhoods, order_by_both
from nocturne.kernel.by_type import Heads
from nocturne.ranking.fallbacks import Fallbacks
from nocturne.ranking.listeners import Listeners
from nocturne.ranking.lists import Lists, SecondStage, digests, list_entries
from nocturne.ranking.pools import ALS
from nocturne.ranking.shelves import ShelfRanker, Shelves
from nocturne.training.confidences import Confidences

BRIDGE = "bridge"
"""Source of lists of a type that their listeners have heard nothing of, by the model's bridge into it."""


def shelf_rows(
    ranker: ShelfRanker,
    listeners: Listeners,
    personal: Mask,
    shelves: Shelves,
    second_stage: SecondStage,
    item_hashes: Hashes,
) -> pa.Table:
    """Rows of `shelf_lists` of some listeners, without run_date and bucket, a listener's in the order of types.

    Args:
        personal: who has a pool; the others get what is popular of each type; shape (listeners,).
        second_stage: of the heads of pools.
        item_hashes: 64 bits of the id of each position.
    """
    types, lists = shelves.types, _lists(ranker, listeners, personal, shelves, second_stage)
    count, sources = len(personal) * types, pa.array(lists.sources, pa.string())
    columns = {
        "user_id": listeners.rows.column("user_id").take(pa.array(np.repeat(np.arange(len(personal)), types))),
        "content_type": pa.array(ranker.content_types * len(personal), pa.string()),
        "items": list_entries(ranker.model.item_ids, lists.items, pa.array(lists.scores).cast(pa.float32())),
        "propensities": lists.propensities,
        "source": sources,
        "model_version": pa.repeat(ranker.model.version, count),
        "candidates": pa.array(shelves.candidates.astype(np.int32)),
        "digest": digests(item_hashes, lists.items, lists.scores, sources),
    }
    return pa.table(columns)


def _neighbourhoods(ranker: ShelfRanker, listeners: Listeners, shelves: Shelves, second_stage: SecondStage) -> Floats:
    """The neighbourhood score of all that is listed by the factors; most of it is known, from the head of the pool."""
    types, k, model = shelves.types, ranker.settings.shelf_items, ranker.model
    near = Heads.empty(len(shelves.candidates), k, np.float64)
    near.append(second_stage.candidates, second_stage.near, ranker.codes, types)
    beyond = shelves.by_factors(near.lengths, k)
    unknown = shelves.of_listeners(beyond)
    near.scores[beyond] = neighbourhoods(unknown, listeners.entries, model.neighbours, model.similarities)
    return np.asarray(near.scores[shelves.by_factors(0, k)], np.float64)


def _lists(
    ranker: ShelfRanker, listeners: Listeners, personal: Mask, shelves: Shelves, second_stage: SecondStage
) -> Lists:
    """The list of every listener and type, with scores rounded to single precision."""
    k, weight = ranker.settings.shelf_items, second_stage.weight
    best, scores = shelves.best(k)
    if weight:
        best, scores = order_by_both(best, scores, _neighbourhoods(ranker, listeners, shelves, second_stage), weight)
    sources, new = np.full(len(best.lengths), ALS, object), shelves.new_types.rows
    popular, of_new = np.repeat(~personal, shelves.types), _of_new_types(ranker, listeners, shelves)
    for rows, made in ((popular, _popular(ranker.fallbacks, listeners, np.flatnonzero(popular))), (new, of_new)):
        places = np.flatnonzero(rows)
        best, scores = fill_empty_rows(best, scores, places, made.items, made.scores)
        sources[places] = made.sources
    propensities = of_new.propensities.take(pa.array(np.cumsum(new) - 1, mask=~new))
    return Lists(best, scores.astype(np.float32).astype(np.float64), sources.tolist(), propensities)


def _of_new_types(ranker: ShelfRanker, listeners: Listeners, shelves: Shelves) -> Lists:
    """Lists of the types that listeners have heard nothing of, some places of them drawn."""
    new = shelves.new_types
    places = np.flatnonzero(new.rows)
    popular = _popular(ranker.new_fallbacks, listeners, np.flatnonzero(new.rows & ~new.by_bridge))
    by_bridge = shelves.heads.between(0, ranker.depth) & new.by_bridge[:, None]
    lengths = by_bridge.sum(axis=1)[places]
    crossing = CsrRows(np.concatenate([[0], np.cumsum(lengths)]), shelves.heads.positions[by_bridge])
    scores, of_popular = shelves.heads.scores[by_bridge].astype(np.float64), np.flatnonzero(~new.by_bridge[places])
    candidates, scores = fill_empty_rows(crossing, scores, of_popular, popular.items, popular.scores)
    sources = np.full(len(places), BRIDGE, object)
    sources[of_popular] = popular.sources
    k = ranker.settings.shelf_items
    if ranker.drawing is None:
        items, scores = candidates.heads(scores, k)
        return Lists(items, scores, sources.tolist(), pa.nulls(len(places), pa.list_(pa.float64())))
    keys = _keys(ranker, listeners, places)
    nothing = Confidences(np.zeros(len(places) + 1, np.int64), np.zeros(0, np.int32), np.zeros(0))
    items, scores, chances = ranker.drawing.rerank(keys, candidates, scores, nothing, k)
    drawn = ranker.drawing.were_explored(items)
    entries = np.repeat(drawn, items.lengths)
    offsets = np.concatenate([[0], np.cumsum(entries)])[items.offsets].astype(np.int32)
    listed = pa.ListArray.from_arrays(pa.array(offsets), pa.array(chances[entries]), mask=pa.array(~drawn))
    return Lists(items, scores, sources.tolist(), listed)


def _popular(fallbacks: Sequence[Fallbacks], listeners: Listeners, rows: Counts) -> Lists:
    """The popular items of a type, for some rows of listeners and types."""
    types, markets, codes = len(fallbacks), listeners.rows.column("market").to_pylist(), rows % len(fallbacks)
    made: dict[tuple[object, ...], tuple[Indexes, Floats, str]] = {}
    lists = []
    for listener, code in zip((rows // types).tolist(), codes.tolist(), strict=True):
        heard, market_class = listeners.already_heard.row(listener), int(listeners.classes[listener])
        of_type = fallbacks[code]
        heard = heard[of_type.markets.masks[market_class][heard]]
        key = (markets[listener], market_class, code, heard.tobytes())
        if key not in made:
            made[key] = of_type.list_for(markets[listener], market_class, heard, heard[:0])
        lists.append(made[key])
    offsets = np.concatenate([[0], np.cumsum([len(positions) for positions, _, _ in lists], dtype=np.int64)])
    items = np.concatenate([np.zeros(0, np.int32), *(positions for positions, _, _ in lists)])
    scores = np.concatenate([np.zeros(0), *(values for _, values, _ in lists)])
    sources = [source for _, _, source in lists]
    return Lists(CsrRows(offsets, items), scores, sources, pa.nulls(len(rows), pa.list_(pa.float64())))


def _keys(ranker: ShelfRanker, listeners: Listeners, rows: Counts) -> pa.Array:
    """A name of each listener and type, by which is drawn."""
    types = pa.array(ranker.content_types).take(pa.array(rows % len(ranker.content_types)))
    users = listeners.rows.column("user_id").take(pa.array(rows // len(ranker.content_types)))
    return pc.binary_join_element_wise(types, users, "\x1f")
