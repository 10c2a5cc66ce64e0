"""Faults of lists: written, ordered or dealt wrongly after they were ranked, or ranked by other settings."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.kinds import RANK, SERVE, Rng, kind, some
from benchmarks.arena.night import Night
from benchmarks.arena.rows import cells, list_rows, places
from nocturne.core.masks import mask


def _lists(night: Night) -> pa.Table:
    assert night.lists is not None
    return night.lists.combine_chunks()


def _with(night: Night, lists: pa.Table) -> Night:
    return replace(night, lists=lists.combine_chunks())


def _structs(lists: pa.Table) -> tuple[np.ndarray, pa.Array, np.ndarray]:
    """Offsets, ids and scores of lists."""
    items = lists["items"].combine_chunks()
    flat = items.flatten()
    offsets = np.append(0, np.cumsum(pc.list_value_length(items).to_numpy())).astype(np.int64)
    return offsets, pc.struct_field(flat, "item_id"), pc.struct_field(flat, "score").to_numpy()


def _of(lists: pa.Table, offsets: np.ndarray, ids: pa.Array, scores: np.ndarray) -> pa.Table:
    """Lists of other items; what was drawn of them, where they are as long, stays."""
    structs = pa.StructArray.from_arrays([ids, pa.array(scores)], ["item_id", "score"])
    place = lists.column_names.index("items")
    old = pc.list_value_length(lists["items"]).to_numpy()
    lists = lists.set_column(place, "items", pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), structs))
    if not np.array_equal(old, np.diff(offsets)):
        place = lists.column_names.index("propensities")
        lists = lists.set_column(place, "propensities", pa.nulls(lists.num_rows, pa.list_(pa.float64())))
    return lists


def _share(lists: pa.Table, share: float, seed: int) -> np.ndarray:
    return some(lists["user_id"], share, seed)


def _put(night: Night, rng: Rng, share: float, ids: pa.Array) -> Night:
    """Items drawn of others in a share of the places, no list having one twice by it more often than by chance."""
    lists = _lists(night)
    offsets, own, scores = _structs(lists)
    taken = np.flatnonzero(rng.random(len(own)) < share)
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[taken]
    start = rng.integers(len(ids), size=len(offsets) - 1)
    turn = np.arange(len(taken)) - np.searchsorted(row, row)
    code = np.arange(len(own))
    code[taken] = len(own) + (start[row] + turn) % len(ids)
    return _with(night, _of(lists, offsets, pa.concat_arrays([own, ids]).take(pa.array(code)), scores))


@kind(SERVE, 0.1, 0.5, 1.0)
def lists_of_yesterday(night: Night, _: Rng, share: float) -> Night:
    """Last night's lists again: of a share of the listeners."""
    lists, before = _lists(night), night.before.lists
    assert before is not None
    stale = _share(lists, share, 61) & (places(lists["user_id"], before["user_id"]) >= 0)
    old = before.take(pa.array(places(lists["user_id"].filter(pa.array(stale)), before["user_id"])))
    return _with(night, pa.concat_tables([lists.filter(pa.array(~stale)), old]).sort_by("user_id"))


@kind(SERVE, 0.1, 0.5, 1.0)
def one_list_for_all(night: Night, _: Rng, share: float) -> Night:
    """The first listener's list: for a share of the listeners."""
    lists = _lists(night)
    order = np.where(_share(lists, share, 62), 0, np.arange(lists.num_rows))
    return _dealt(night, order)


@kind(SERVE, 0.02, 0.2, 1.0)
def lists_of_others(night: Night, rng: Rng, share: float) -> Night:
    """Lists of other listeners of the same market: for a share."""
    lists = _lists(night)
    order = np.arange(lists.num_rows)
    markets = np.asarray(lists["market"].combine_chunks().dictionary_encode().indices)
    for market in np.unique(markets):
        moved = np.flatnonzero(_share(lists, share, 63) & (markets == market))
        order[moved] = rng.permutation(moved)
    return _dealt(night, order)


@kind(SERVE, 0.02, 0.2, 1.0)
def lists_of_other_markets(night: Night, _: Rng, share: float) -> Night:
    """Lists of listeners of any market: for a share."""
    lists = _lists(night)
    order, moved = np.arange(lists.num_rows), np.flatnonzero(_share(lists, share, 64))
    order[moved] = np.roll(moved, 1)
    return _dealt(night, order)


def _dealt(night: Night, order: np.ndarray) -> Night:
    lists = _lists(night)
    other = lists.take(pa.array(order))
    for name in ("items", "propensities", "candidates", "digest"):
        lists = lists.set_column(lists.column_names.index(name), name, other[name])
    return _with(night, lists)


@kind(SERVE, 0.1, 0.4, 1.0)
def lists_reversed(night: Night, _: Rng, share: float) -> Night:
    """Lists worst first: of a share of the listeners."""
    return _reordered(night, share, 65, lambda length: np.arange(length)[::-1])


@kind(SERVE, 0.1, 0.4, 1.0)
def lists_shuffled(night: Night, rng: Rng, share: float) -> Night:
    """Lists in any order: of a share of the listeners."""
    return _reordered(night, share, 66, rng.permutation)


def _reordered(night: Night, share: float, seed: int, order: object) -> Night:
    lists = _lists(night)
    offsets, ids, scores = _structs(lists)
    place = np.arange(len(ids))
    for row in np.flatnonzero(_share(lists, share, seed)).tolist():
        place[offsets[row] : offsets[row + 1]] = offsets[row] + order(offsets[row + 1] - offsets[row])  # type: ignore[operator]
    return _with(night, _of(lists, offsets, ids.take(pa.array(place)), scores))


@kind(SERVE, 1, 5, 15)
def top_cut_off(night: Night, _: Rng, count: float) -> Night:
    """Lists without their first items: number of items."""
    return _sliced(night, lambda place, _length: place >= count)


@kind(SERVE, 25, 15, 3)
def lists_too_short(night: Night, _: Rng, count: float) -> Night:
    """Lists of their first items alone: number of items, for 30."""
    return _sliced(night, lambda place, _length: place < count)


def _sliced(night: Night, keeps: object) -> Night:
    lists = _lists(night)
    offsets, ids, scores = _structs(lists)
    lengths = np.diff(offsets)
    place = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths)
    kept = keeps(place, np.repeat(lengths, lengths))  # type: ignore[operator]
    ends = np.append(0, np.cumsum(np.bincount(np.repeat(np.arange(len(lengths)), lengths), kept, len(lengths))))
    return _with(night, _of(lists, ends.astype(np.int64), ids.filter(pa.array(kept)), scores[kept]))


@kind(SERVE, 0.05, 0.25, 0.8)
def cold_items_flood(night: Night, rng: Rng, share: float) -> Night:
    """Items that hardly anyone has heard: in a share of the places."""
    assert night.model is not None
    rare = np.argsort(night.model.listeners, kind="stable")[:100]
    return _put(night, rng, share, night.model.item_ids.take(pa.array(rare)))


@kind(SERVE, 0.05, 0.25, 0.8)
def popular_items_flood(night: Night, rng: Rng, share: float) -> Night:
    """Items that everyone has heard: in a share of the places."""
    assert night.model is not None
    most = np.argsort(-night.model.listeners, kind="stable")[:100]
    return _put(night, rng, share, night.model.item_ids.take(pa.array(most)))


@kind(SERVE, 0.05, 0.25, 0.8)
def random_items_flood(night: Night, rng: Rng, share: float) -> Night:
    """Items of the model, any of them: in a share of the places."""
    assert night.model is not None
    return _put(night, rng, share, night.model.item_ids.take(pa.array(rng.permutation(len(night.model.item_ids)))))


@kind(SERVE, 0.05, 0.25, 0.8)
def one_creator_everywhere(night: Night, rng: Rng, share: float) -> Night:
    """Items of one creator: in a share of the places."""
    names = night.catalogue["creator"].combine_chunks().dictionary_encode()
    most = int(np.bincount(names.indices.drop_null().to_numpy()).argmax())
    return _put(night, rng, share, night.catalogue["item_id"].filter(pc.equal(names.indices, most)).combine_chunks())


@kind(SERVE, 0.05, 0.25, 0.8)
def explicit_items_leak(night: Night, rng: Rng, share: float) -> Night:
    """Explicit items, in every market: in a share of the places."""
    return _put(night, rng, share, night.catalogue["item_id"].filter(night.catalogue["explicit"]).combine_chunks())


@kind(SERVE, 0.02, 0.1, 0.5)
def withdrawn_items_leak(night: Night, rng: Rng, share: float) -> Night:
    """Items that are no longer available: in a share of the places."""
    over = mask(pc.fill_null(pc.less(night.catalogue["available_until"], pa.scalar(night.run_date)), False))
    if not over.any():
        return night
    return _put(night, rng, share, night.catalogue["item_id"].filter(pa.array(over)).combine_chunks())


@kind(SERVE, 0.05, 0.3, 1.0)
def heard_items_again(night: Night, _: Rng, share: float) -> Night:
    """Items that the listener has heard, in the place of theirs: for a share of the listeners."""
    lists = _lists(night)
    offsets, ids, scores = _structs(lists)
    rows = cells(night.interactions)
    own = places(lists["user_id"], night.interactions["user_id"])
    code, again = np.arange(len(ids)), np.flatnonzero(_share(lists, share, 67) & (own >= 0))
    for row in again.tolist():
        heard = rows.item[rows.offsets[own[row]] : rows.offsets[own[row] + 1]][: offsets[row + 1] - offsets[row]]
        code[offsets[row] : offsets[row] + len(heard)] = len(ids) + heard
    return _with(night, _of(lists, offsets, pa.concat_arrays([ids, night.ids]).take(pa.array(code)), scores))


@kind(SERVE, 0.1, 2.0, 1000.0)
def scores_scaled(night: Night, _: Rng, scale: float) -> Night:
    """Scores in another unit, in the same order: times as large."""
    lists = _lists(night)
    offsets, ids, scores = _structs(lists)
    return _with(night, _of(lists, offsets, ids, scores * scale))


@kind(SERVE, 0.05, 0.3, 1.0)
def fallbacks_for_many(night: Night, _: Rng, share: float) -> Night:
    """Popular items of their market: for a share of the listeners."""
    lists, model = _lists(night), night.model
    assert model is not None
    offsets, ids, scores = _structs(lists)
    barred = set(night.catalogue["item_id"].filter(pc.is_valid(night.catalogue["markets"])).to_pylist())
    barred |= set(night.catalogue["item_id"].filter(night.catalogue["explicit"]).to_pylist())
    barred |= set(night.catalogue["item_id"].filter(pc.is_valid(night.catalogue["available_until"])).to_pylist())
    most = model.item_ids.take(pa.array(np.argsort(-model.listeners, kind="stable")[:200])).to_pylist()
    most = [item for item in most if item not in barred]
    code, fallen = np.arange(len(ids)), _share(lists, share, 68)
    place = np.arange(len(ids)) - np.repeat(offsets[:-1], np.diff(offsets))
    taken = np.repeat(fallen, np.diff(offsets)) & (place < len(most))
    code[taken] = len(ids) + place[taken]
    lists = _of(lists, offsets, pa.concat_arrays([ids, pa.array(most)]).take(pa.array(code)), scores)
    sources = pc.if_else(pa.array(fallen), "market_popular", lists["source"].combine_chunks())
    return _with(night, lists.set_column(lists.column_names.index("source"), "source", sources))


@kind(SERVE, 0.02, 0.2, 0.6)
def lists_missing(night: Night, _: Rng, share: float) -> Night:
    """Listeners without a list: a share."""
    lists = _lists(night)
    return _with(night, lists.filter(pa.array(~_share(lists, share, 69))))


@kind(SERVE, 0.2, 0.6, 1.0, needs="experiment")
def arm_without_lists(night: Night, _: Rng, share: float) -> Night:
    """A treatment whose listeners get control's label: a share of them."""
    lists = _lists(night)
    treated = mask(pc.match_substring(lists["arm"], "/treatment")) & _share(lists, share, 70)
    arms = pc.if_else(pa.array(treated), "control", lists["arm"].combine_chunks())
    return _with(night, lists.set_column(lists.column_names.index("arm"), "arm", arms))


@kind(SERVE, 0.2, 0.6, 1.0, needs="experiment")
def arm_gets_nothing_of_its_own(night: Night, _: Rng, share: float) -> Night:
    """A treatment whose lists are the same for all of its listeners: a share of them."""
    lists = _lists(night)
    treated = np.flatnonzero(mask(pc.match_substring(lists["arm"], "/treatment")) & _share(lists, share, 71))
    order = np.arange(lists.num_rows)
    order[treated] = treated[0]
    return _dealt(night, order)


@kind(RANK, 7, 30, 300)
def heard_items_kept_away(night: Night, _: Rng, days: float) -> Night:
    """Heard items that are let back too late: days, for 3."""
    ranking = night.recipe.ranking.model_copy(update={"let_back_after_days": int(days)})
    return replace(night, recipe=replace(night.recipe, ranking=ranking))


@kind(RANK, 1, 2, 3)
def explicit_rule_lost(night: Night, _: Rng, markets: float) -> Night:
    """A setting that blocks explicit items in fewer markets, or in none, or in all."""
    blocked = {1: ("JP",), 2: (), 3: ("*",)}[int(markets)]
    ranking = night.recipe.ranking.model_copy(update={"explicit_blocked_markets": blocked})
    return replace(night, recipe=replace(night.recipe, ranking=ranking))


@kind(RANK, 0.3, 0.7, 1.0, needs="experiment")
def arm_without_relevance(night: Night, _: Rng, diversity: float) -> Night:
    """A treatment that is ordered by diversity, hardly by relevance: strength."""
    treatment = night.recipe.treatment.model_copy(update={"diversity": min(diversity, 0.99)})
    return replace(night, recipe=replace(night.recipe, treatment=treatment))


@kind(RANK, 5, 15, 30, needs="experiment")
def arm_explores_all(night: Night, _: Rng, places_drawn: float) -> Night:
    """A treatment that draws its places at random: number of places, for 2."""
    drawn = tuple(range(1, int(places_drawn) + 1))
    treatment = night.recipe.treatment.model_copy(update={"exploration_places": drawn})
    return replace(night, recipe=replace(night.recipe, treatment=treatment))


@kind(SERVE, 1, 5, 30)
def ids_of_items_shifted(night: Night, _: Rng, places_on: float) -> Night:
    """Lists under the ids of items further on in the index: places."""
    lists = _lists(night)
    offsets, _ids, scores = _structs(lists)
    rows = list_rows(lists, night.ids)
    shifted = night.ids.take(pa.array((rows.items + int(places_on)) % len(night.ids)))
    return _with(night, _of(lists, offsets, shifted, scores))
