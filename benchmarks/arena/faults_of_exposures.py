"""Faults of what is logged of what was shown: they hurt no list, but what is learned and decided of them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.kinds import SERVE, Rng, kind, some
from benchmarks.arena.night import Night
from nocturne.core.masks import mask

_HOUR = 3_600_000_000


def _with(night: Night, exposures: pa.Table) -> Night:
    return replace(night, day=replace(night.day, exposures=exposures.combine_chunks()))


def _rows(night: Night) -> pa.Table:
    return night.day.exposures.combine_chunks()


@kind(SERVE, 0.2, 0.5, 0.9)
def exposures_lost(night: Night, _: Rng, share: float) -> Night:
    """Exposures that were not logged: of a share of the listeners."""
    return _with(night, _rows(night).filter(pa.array(~some(_rows(night)["user_id"], share, 81))))


@kind(SERVE, 0.2, 0.5, 1.0)
def exposures_doubled(night: Night, _: Rng, share: float) -> Night:
    """Exposures that were logged twice: of a share of the listeners."""
    again = _rows(night).filter(pa.array(some(_rows(night)["user_id"], share, 82)))
    return _with(night, pa.concat_tables([_rows(night), again]))


@kind(SERVE, 0.3, 0.6, 1.0, needs="experiment")
def exposures_of_an_arm_lost(night: Night, _: Rng, share: float) -> Night:
    """Exposures of a treatment that were not logged: a share."""
    rows = _rows(night)
    lost = mask(pc.match_substring(rows["arm"], "/treatment")) & some(rows["user_id"], share, 83)
    return _with(night, rows.filter(pa.array(~lost)))


@kind(SERVE, 0.2, 0.6, 1.0)
def exposures_out_of_order(night: Night, rng: Rng, share: float) -> Night:
    """Exposures whose items are logged in any order: a share."""
    return _items(night, rng, share, reorder=True)


@kind(SERVE, 0.2, 0.6, 1.0)
def exposures_of_others(night: Night, rng: Rng, share: float) -> Night:
    """Exposures under another listener: a share."""
    rows = _rows(night)
    order, moved = np.arange(rows.num_rows), np.flatnonzero(rng.random(rows.num_rows) < share)
    order[moved] = rng.permutation(moved)
    return _with(night, rows.set_column(0, "user_id", rows["user_id"].take(pa.array(order))))


def _items(night: Night, rng: Rng, share: float, *, reorder: bool) -> Night:
    rows = _rows(night)
    items = rows["items"].combine_chunks()
    offsets = np.append(0, np.cumsum(pc.list_value_length(items).to_numpy()))
    place = np.arange(offsets[-1])
    for row in np.flatnonzero((rng.random(rows.num_rows) < share) & reorder).tolist():
        place[offsets[row] : offsets[row + 1]] = rng.permutation(place[offsets[row] : offsets[row + 1]])
    moved = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), items.flatten().take(pa.array(place)))
    return _with(night, rows.set_column(rows.column_names.index("items"), "items", moved))


@kind(SERVE, 20, 10, 3)
def exposures_cut_off(night: Night, _: Rng, count: float) -> Night:
    """Exposures of their first items alone: number of items, for 30."""
    rows = _rows(night)
    return _with(
        night, rows.set_column(rows.column_names.index("items"), "items", pc.list_slice(rows["items"], 0, int(count)))
    )


@kind(SERVE, 0.2, 0.6, 1.0)
def exposures_of_a_new_surface(night: Night, _: Rng, share: float) -> Night:
    """Exposures under another surface: a share."""
    rows = _rows(night)
    renamed = pc.if_else(pa.array(some(rows["user_id"], share, 84)), "home", rows["surface"].combine_chunks())
    return _with(night, rows.set_column(rows.column_names.index("surface"), "surface", renamed))


@kind(SERVE, 2, 5, 11)
def exposures_by_another_clock(night: Night, _: Rng, hours: float) -> Night:
    """Exposures by a clock that is wrong: hours, within their day."""
    rows = _rows(night)
    at = rows["shown_at"].cast(pa.int64()).to_numpy()
    day = at // (24 * _HOUR) * 24 * _HOUR
    moved = pa.array(day + (at - day + int(hours) * _HOUR) % (24 * _HOUR)).cast(pa.timestamp("us", "UTC"))
    return _with(night, rows.set_column(rows.column_names.index("shown_at"), "shown_at", moved))
