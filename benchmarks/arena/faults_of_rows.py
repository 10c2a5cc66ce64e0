"""Faults of listeners' rows: history that is frozen, lost, doubled, another one's, or fades otherwise."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from benchmarks.arena.kinds import BUILD, LEARN, Rng, kind, some
from benchmarks.arena.night import Night
from benchmarks.arena.rows import places
from nocturne.ingestion.interactions import ROW, with_digests
from nocturne.ingestion.simulator.world import MARKETS

_LISTS = ("item_indexes", "play_sums", "second_sums", "last_heard")


def _with(night: Night, rows: pa.Table) -> Night:
    return replace(night, interactions=with_digests(rows.select(ROW.names)))


def _entries(rows: pa.Table, kept: np.ndarray) -> pa.Table:
    """Rows with some of their entries; windows keep what the rows have."""
    rows = rows.combine_chunks()
    lengths = np.diff(rows["item_indexes"].combine_chunks().offsets.to_numpy())
    owner = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.append(0, np.cumsum(np.bincount(owner, kept, len(lengths)))).astype(np.int32)
    item = rows["item_indexes"].combine_chunks().flatten().to_numpy()
    keys = (owner.astype(np.int64) << 32 | item)[kept]
    for name in _LISTS:
        values = rows[name].combine_chunks().flatten().filter(pa.array(kept))
        rows = rows.set_column(rows.column_names.index(name), name, pa.ListArray.from_arrays(pa.array(ends), values))
    recent = rows["recent_items"].combine_chunks()
    of_recent = np.repeat(np.arange(len(lengths)), np.diff(recent.offsets.to_numpy()))
    inside = np.isin(of_recent.astype(np.int64) << 32 | recent.flatten().to_numpy(), keys)
    ends = np.append(0, np.cumsum(np.bincount(of_recent, inside, len(lengths)))).astype(np.int32)
    for name in ("recent_items", "recent_times"):
        values = rows[name].combine_chunks().flatten().filter(pa.array(inside))
        rows = rows.set_column(rows.column_names.index(name), name, pa.ListArray.from_arrays(pa.array(ends), values))
    return rows


@kind(LEARN, 0.1, 0.5, 1.0)
def rows_frozen(night: Night, _: Rng, share: float) -> Night:
    """Rows of last night in the place of tonight's: of a share of the listeners."""
    frozen, before = some(night.interactions["user_id"], share, 41), night.before.interactions
    place = places(night.interactions["user_id"], before["user_id"])
    old = before.take(pa.array(place[frozen & (place >= 0)]))
    kept = night.interactions.filter(pa.array(~(frozen & (place >= 0))))
    return _with(night, pa.concat_tables([kept, old]).sort_by("user_id").combine_chunks())


@kind(LEARN, 0.02, 0.2, 1.0)
def rows_of_others(night: Night, rng: Rng, share: float) -> Night:
    """Rows under another listener's id: of a share."""
    rows = night.interactions.combine_chunks()
    order, moved = np.arange(rows.num_rows), np.flatnonzero(some(rows["user_id"], share, 42))
    order[moved] = rng.permutation(moved)
    history = rows.take(pa.array(order))
    return _with(night, history.set_column(history.column_names.index("user_id"), "user_id", rows["user_id"]))


@kind(LEARN, 0.2, 0.5, 0.9)
def history_lost(night: Night, rng: Rng, share: float) -> Night:
    """Entries that are gone from their rows: a share, drawn."""
    count = len(night.interactions["item_indexes"].combine_chunks().flatten())
    return _with(night, _entries(night.interactions, rng.random(count) >= share))


@kind(LEARN, 0.05, 0.3, 1.0)
def history_forgotten(night: Night, _: Rng, share: float) -> Night:
    """Rows of nothing but tonight's items: of a share of the listeners."""
    rows = night.interactions.combine_chunks()
    last = rows["last_heard"].combine_chunks().flatten().cast(pa.int32()).to_numpy()
    lengths = np.diff(rows["item_indexes"].combine_chunks().offsets.to_numpy())
    newest = np.repeat(np.maximum.reduceat(last, np.append(0, np.cumsum(lengths)[:-1])), lengths)
    forgets = np.repeat(some(rows["user_id"], share, 43), lengths)
    return _with(night, _entries(rows, ~forgets | (last == newest)))


@kind(LEARN, 30, 12, 4)
def rows_truncated(night: Night, _: Rng, most: float) -> Night:
    """Rows of their first items alone, as a limit of columns has it: items of a row."""
    lengths = np.diff(night.interactions["item_indexes"].combine_chunks().offsets.to_numpy())
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return _with(night, _entries(night.interactions, place < most))


@kind(LEARN, 0.1, 0.4, 1.0)
def indexes_shifted(night: Night, _: Rng, share: float) -> Night:
    """Items of a row one index further on: of a share of the listeners."""
    rows = night.interactions.combine_chunks()
    lists = rows["item_indexes"].combine_chunks()
    shifted = np.repeat(some(rows["user_id"], share, 44), np.diff(lists.offsets.to_numpy()))
    values = pa.array(lists.flatten().to_numpy() + shifted.astype(np.int32))
    moved = pa.ListArray.from_arrays(lists.offsets, values)
    rows = rows.set_column(rows.column_names.index("item_indexes"), "item_indexes", moved)
    nothing = pa.array(np.zeros(rows.num_rows + 1, np.int32))
    ids = night.ids if len(night.ids) > int(values.to_numpy().max()) else pa.concat_arrays([night.ids, pa.array(["?"])])
    for name in ("recent_items", "recent_times"):
        empty = pa.ListArray.from_arrays(nothing, rows[name].combine_chunks().flatten().slice(0, 0))
        rows = rows.set_column(rows.column_names.index(name), name, empty)
    return replace(_with(night, rows), ids=ids)


@kind(LEARN, 3, 30, 1000)
def plays_of_some_inflated(night: Night, _: Rng, times: float) -> Night:
    """Plays of a tenth of the items so many times as many, in every row."""
    rows = night.interactions.combine_chunks()
    item = rows["item_indexes"].combine_chunks().flatten()
    ids = night.ids.take(item)
    inflated = np.where(some(ids, 0.1, 45), int(times), 1)
    lists = rows["play_sums"].combine_chunks()
    values = pa.array(lists.flatten().to_numpy() * inflated)
    place = rows.column_names.index("play_sums")
    return _with(night, rows.set_column(place, "play_sums", pa.ListArray.from_arrays(lists.offsets, values)))


@kind(LEARN, 0.05, 0.3, 1.0)
def markets_of_rows_mixed(night: Night, _: Rng, share: float) -> Night:
    """Listeners in the next market: a share."""
    rows, names = night.interactions.combine_chunks(), list(MARKETS)
    place = places(rows["market"], pa.array(names))
    moved = np.where(some(rows["user_id"], share, 46), (place + 1) % len(names), place)
    return _with(
        night, rows.set_column(rows.column_names.index("market"), "market", pa.array(names).take(pa.array(moved)))
    )


@kind(LEARN, 0.02, 0.1, 0.4)
def rows_lost(night: Night, _: Rng, share: float) -> Night:
    """Listeners without a row: a share."""
    return _with(night, night.interactions.filter(pa.array(~some(night.interactions["user_id"], share, 47))))


@kind(LEARN, 0.1, 0.4, 1.0)
def rows_doubled(night: Night, _: Rng, share: float) -> Night:
    """Rows whose plays were added twice: of a share of the listeners."""
    rows = night.interactions.combine_chunks()
    lists = rows["play_sums"].combine_chunks()
    twice = np.repeat(1 + some(rows["user_id"], share, 48), np.diff(lists.offsets.to_numpy()))
    values = pa.array(lists.flatten().to_numpy() * twice)
    place = rows.column_names.index("play_sums")
    return _with(night, rows.set_column(place, "play_sums", pa.ListArray.from_arrays(lists.offsets, values)))


@kind(BUILD, 45, 15, 3)
def half_life_wrong(night: Night, _: Rng, days: float) -> Night:
    """Listens that fade by another half-life than the rows that they join: days, for 90."""
    return replace(night, recipe=replace(night.recipe, half_life_days=days))
