"""Faults of the catalogue: marks, licences, dates and types that are wrong, missing or old."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arena.kinds import RANK, Rng, kind, some
from benchmarks.arena.night import Night
from nocturne.core.masks import mask
from nocturne.ingestion.simulator.world import MARKETS


def _set(night: Night, column: str, values: pa.Array) -> Night:
    rows = night.catalogue
    kinds = rows.schema.field(column)
    changed = rows.set_column(rows.column_names.index(column), kinds, values.cast(kinds.type))
    return replace(night, catalogue=changed.combine_chunks())


def _some(night: Night, share: float, seed: int) -> np.ndarray:
    return some(night.catalogue["item_id"], share, seed)


def _licences(night: Night, change: Callable[[int, list[str] | None], list[str] | None]) -> Night:
    values = [change(place, each) for place, each in enumerate(night.catalogue["markets"].to_pylist())]
    return _set(night, "markets", pa.array(values, pa.list_(pa.string())))


@kind(RANK, 0.05, 0.3, 1.0)
def explicit_flipped(night: Night, _: Rng, share: float) -> Night:
    """Marks of explicit items turned round: of a share of the items."""
    return _set(night, "explicit", pa.array(mask(night.catalogue["explicit"]) ^ _some(night, share, 21)))


@kind(RANK, 0.1, 0.4, 1.0)
def explicit_cleared(night: Night, _: Rng, share: float) -> Night:
    """Explicit items without their mark: a share."""
    return _set(night, "explicit", pa.array(mask(night.catalogue["explicit"]) & ~_some(night, share, 22)))


@kind(RANK, 0.1, 0.4, 1.0)
def licences_lifted(night: Night, _: Rng, share: float) -> Night:
    """Items that may be played everywhere though they may not: a share of the restricted."""
    lifted = _some(night, share, 23)
    return _licences(night, lambda place, markets: None if lifted[place] else markets)


@kind(RANK, 0.1, 0.4, 1.0)
def licences_turned_round(night: Night, _: Rng, share: float) -> Night:
    """Items licensed where they are not, and not where they are: a share of the restricted."""
    turned = _some(night, share, 24)

    def change(place: int, markets: list[str] | None) -> list[str] | None:
        return markets if markets is None or not turned[place] else [each for each in MARKETS if each not in markets]

    return _licences(night, change)


@kind(RANK, 0.05, 0.3, 0.8)
def market_withdrawn(night: Night, _: Rng, share: float) -> Night:
    """Items withdrawn from the largest market: a share."""
    gone = _some(night, share, 25)

    def change(place: int, markets: list[str] | None) -> list[str] | None:
        return [each for each in (markets or MARKETS) if each != "US"] if gone[place] else markets

    return _licences(night, change)


@kind(RANK, 0.1, 0.4, 1.0)
def availability_ignored(night: Night, _: Rng, share: float) -> Night:
    """Items without their dates: a share, of which few have any."""
    kept = pa.array(~_some(night, share, 26))
    for name in ("available_from", "available_until"):
        night = _set(night, name, pc.if_else(kept, night.catalogue[name].combine_chunks(), None))
    return night


@kind(RANK, 0.05, 0.2, 0.6)
def items_expired(night: Night, _: Rng, share: float) -> Night:
    """Items whose licence is said to have ended yesterday: a share."""
    ended = pa.scalar(night.run_date - timedelta(days=1), pa.date32())
    until = night.catalogue["available_until"].combine_chunks()
    return _set(night, "available_until", pc.if_else(pa.array(_some(night, share, 27)), ended, until))


@kind(RANK, 14, 60, 150)
def catalogue_stale(night: Night, _: Rng, nights: float) -> Night:
    """A catalogue of so many nights ago, which lacks what came since."""
    then = pa.scalar(night.run_date - timedelta(days=int(nights) - 7), pa.date32())
    rows = night.catalogue
    named = pc.fill_null(pc.less_equal(rows["available_from"], then), True)
    return replace(night, catalogue=rows.filter(named).combine_chunks())


@kind(RANK, 0.05, 0.15, 0.5)
def catalogue_cut(night: Night, _: Rng, share: float) -> Night:
    """Items that the landed catalogue lacks: a share."""
    return _set(night, "absent", pa.array(_some(night, share, 29)))


@kind(RANK, 0.05, 0.3, 1.0)
def types_swapped(night: Night, _: Rng, share: float) -> Night:
    """Tracks called episodes and the other way round: a share of the items."""
    types = night.catalogue["content_type"].combine_chunks()
    other = pc.if_else(pc.equal(types, "track"), "podcast_episode", "track")
    return _set(night, "content_type", pc.if_else(pa.array(_some(night, share, 30)), other, types))


@kind(RANK, 0.1, 0.4, 1.0)
def creators_shuffled(night: Night, rng: Rng, share: float) -> Night:
    """Items of other creators: a share."""
    order, moved = np.arange(night.catalogue.num_rows), np.flatnonzero(_some(night, share, 31))
    order[moved] = rng.permutation(moved)
    return _set(night, "creator", night.catalogue["creator"].combine_chunks().take(pa.array(order)))


@kind(RANK, 0.1, 0.4, 1.0)
def lengths_in_seconds(night: Night, _: Rng, share: float) -> Night:
    """Lengths of items in seconds: a share."""
    length = night.catalogue["duration_ms"].to_numpy()
    return _set(night, "duration_ms", pa.array(np.where(_some(night, share, 32), length // 1000, length)))


@kind(RANK, 0.2, 0.5, 1.0, needs="experiment")
def tags_lost(night: Night, _: Rng, share: float) -> Night:
    """Items without tags, by which one arm is calibrated: a share."""
    kept = pa.array(~_some(night, share, 33))
    return _set(night, "tags", pc.if_else(kept, night.catalogue["tags"].combine_chunks(), None))


@kind(RANK, 0.1, 0.4, 1.0)
def rows_of_catalogue_shifted(night: Night, _: Rng, share: float) -> Night:
    """Licences and marks a row too low: of a share of the items."""
    order, moved = np.arange(night.catalogue.num_rows), np.flatnonzero(_some(night, share, 34))
    order[moved] = np.roll(moved, 1)
    for name in ("explicit", "markets", "available_from", "available_until"):
        night = _set(night, name, night.catalogue[name].combine_chunks().take(pa.array(order)))
    return night
