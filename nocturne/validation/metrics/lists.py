"""Metrics of `ranked_lists`: what listeners get tonight, beside what they got last night and what they heard.

`add_lists` adds lists, aligned with what else belongs to the same listener; `list_metrics` is made of all.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Mask, Offsets, Positions
from nocturne.validation.metrics.concentration import (
    by_creator,
    creator_metrics,
    distance,
    gini,
    largest_share,
)
from nocturne.validation.metrics.item_traits import ItemTraits
from nocturne.validation.metrics.list_loops import divergences, places_among
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import (
    ALL,
    Key,
    Segments,
    SegmentSums,
    counted,
    metric,
    quantiles,
    ratios,
    shares,
)

KINDS = ("market", "arm", "source")
_EVERY = (ALL, *KINDS)
_MOST_ITEMS = 2**16
"""Items of which times are counted by market too: of more, those of all markets would not fit a task's memory."""


class Rows(NamedTuple):
    """Items of each of some rows, one row after the other.

    Attributes:
        items: numbers of items; -1 of one without a number; shape (places,).
        offsets: where each row begins, and where the last one ends; shape (rows + 1,).
    """

    items: Positions
    offsets: Offsets

    @classmethod
    def of(cls, items: Positions, lengths: np.ndarray) -> "Rows":
        """Of rows so long."""
        return cls(items, np.append(0, np.cumsum(lengths)).astype(np.int64))

    @classmethod
    def of_lists(cls, lists: pa.ListArray, items: np.ndarray) -> "Rows":
        """Of lists, which may be null, with numbers in the place of their entries."""
        return cls.of(items, pc.fill_null(pc.list_value_length(lists), 0).to_numpy())

    @property
    def lengths(self) -> Positions:
        """Items of each row."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> Positions:
        """Number of the row of each item."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)

    def where(self, some: Mask) -> "Rows":
        """The rows with some of their items."""
        return Rows.of(self.items[some], self.per_row(some))

    def per_row(self, some: np.ndarray) -> np.ndarray:
        """Count of some of the items of each row, or the sum of their numbers; shape (rows,)."""
        return np.bincount(self.owners, some, minlength=len(self.offsets) - 1)


@dataclass(frozen=True)
class Lists:
    """Lists of some listeners, and what belongs to the same ones; all rows are aligned.

    Attributes:
        items: of the lists, best first.
        segments: market, arm and source of each list.
        scores: of every place.
        candidates: items that could have been listed, of each list.
        cold: places whose item the model knows by its text alone.
        explored: places that were drawn.
        personal: lists from the factors of their listener.
        steered: lists of listeners with a standing plan.
        previous: last night's lists; empty of who had none.
        had_list: listeners who had a list last night.
        heard: items that the listener ever heard.
        heard_tonight: of these, the items heard on the day that was ingested.
    """

    items: Rows
    segments: Segments
    scores: Floats
    candidates: Positions
    cold: Mask
    explored: Mask
    personal: Mask
    steered: Mask
    previous: Rows
    had_list: Mask
    heard: Rows
    heard_tonight: Rows


def add_lists(sums: SegmentSums, lists: Lists, traits: ItemTraits) -> None:
    """Add some lists."""
    lengths = lists.items.lengths
    amounts: dict[str, np.ndarray] = {
        "lists": np.ones(len(lengths)),
        "places": lengths,
        "steered": lists.steered,
        "new_listeners": ~lists.had_list,
        "candidates": lists.candidates,
    }
    amounts |= _of_places(lists, traits) | _beside_last_night(sums, lists) | _beside_history(sums, lists, traits)
    sums.add_by(lists.segments, amounts)
    sums.add_numbers("list_length", lengths)
    some = np.flatnonzero(lists.personal & (lengths > 0))
    sums.add_numbers("top_score", lists.scores[lists.items.offsets[some]])
    sums.add_numbers("last_score", lists.scores[lists.items.offsets[some + 1] - 1])
    _add_items(sums, lists, traits)


def _of_places(lists: Lists, traits: ItemTraits) -> dict[str, np.ndarray]:
    """Places of each list by the traits of their items."""
    items = lists.items.items
    of_places = {
        "unknown": traits.type_of[items] == traits.type_of[-1],
        "explicit": traits.explicit[items],
        "new": traits.new[items],
        "cold": lists.cold,
        "explored": lists.explored,
        "tail": traits.tail[items],
        "popularity": traits.popularity[items],
    }
    return {name: lists.items.per_row(some) for name, some in of_places.items()}


def _beside_last_night(sums: SegmentSums, lists: Lists) -> dict[str, np.ndarray]:
    """Lists compared with those that the same listeners had, and these with what was heard since."""
    now, then = lists.items, lists.previous
    lengths, before = now.lengths, then.lengths
    place = places_among(now.items, now.offsets, then.items, then.offsets)
    own = np.arange(len(now.items)) - np.repeat(now.offsets[:-1], lengths)
    kept = now.per_row(place >= 0)
    moved = now.per_row(np.where(place >= 0, np.abs(place - own), 0))
    compared = (lengths > 0) & (before > 0)
    same = compared & (lengths == before) & (now.per_row(place == own) == lengths)
    with np.errstate(invalid="ignore", divide="ignore"):
        churn, displacement = 1 - kept / lengths, moved / kept
    sums.add_numbers("churn", churn[compared])
    stayed = compared & (kept > 0)
    sums.add_numbers("displacement", displacement[stayed])
    hits = then.per_row(places_among(then.items, then.offsets, *lists.heard_tonight) >= 0)
    asked = (lists.heard_tonight.lengths > 0) & (before > 0)
    return {
        "compared": compared,
        "churn": np.where(compared, churn, 0.0),
        "stayed": stayed,
        "displacement": np.where(stayed, displacement, 0.0),
        "unchanged": same,
        "asked": asked,
        "hit": asked & (hits > 0),
        "offered": np.where(asked, before, 0),
        "taken": np.where(asked, hits, 0),
    }


def _beside_history(sums: SegmentSums, lists: Lists, traits: ItemTraits) -> dict[str, np.ndarray]:
    """Lists compared with what their listeners ever heard."""
    now, heard = lists.items, lists.heard
    own = now.per_row(places_among(now.items, now.offsets, heard.items, heard.offsets) >= 0)
    of_type = divergences(traits.type_of[now.items], now.offsets, traits.type_of[heard.items], heard.offsets)
    creator = traits.creator_of[now.items]
    familiar = places_among(creator, now.offsets, traits.creator_of[heard.items], heard.offsets) >= 0
    sums.add_numbers("type_divergence", of_type)
    calibrated = np.isfinite(of_type)
    with_history = heard.lengths > 0
    return {
        "heard": own,
        "calibrated": calibrated,
        "type_divergence": np.where(calibrated, of_type, 0.0),
        "created": np.where(with_history, now.per_row(creator >= 0), 0),
        "familiar_creators": np.where(with_history, now.per_row(familiar), 0),
    }


def _add_items(sums: SegmentSums, lists: Lists, traits: ItemTraits) -> None:
    """Add how often each item is listed, and by type."""
    now, then = lists.items, lists.previous
    _count_items(sums, "listed", now.items, len(traits))
    # Beside last night only of who has a list on both, so that listeners who come and go move nothing.
    both = (now.lengths > 0) & (then.lengths > 0)
    for name, rows in (("listed_again", now), ("listed_before", then)):
        _count_items(sums, name, rows.items[both[rows.owners]], len(traits))
    sums.add_by({"content_type": traits.types(now.items)}, {"typed": np.ones(len(now.items))})
    if len(traits) <= _MOST_ITEMS:
        for kind in ("market", "arm"):
            labels = lists.segments[kind].take(now.owners)
            for code in np.unique(labels.codes):
                some = now.items[labels.codes == code]
                _count_items(sums, "listed", some, len(traits), kind, labels.names[code])


def _count_items(
    sums: SegmentSums, name: str, items: Positions, count: int, kind: str = ALL, segment: str = ""
) -> None:
    key = Key(name, kind, segment)
    if key not in sums.of_items:
        sums.add_of_items(name, np.zeros(count), kind, segment)
    np.add.at(sums.of_items[key], items[items >= 0], 1.0)


def list_metrics(sums: SegmentSums, traits: ItemTraits) -> tuple[Metric, ...]:
    """The metrics of all lists of a night.

    Args:
        traits: that lists were added with.
    """
    of_places = {
        "share_unknown": "unknown",
        "share_explicit": "explicit",
        "share_new": "new",
        "share_cold": "cold",
        "share_explored": "explored",
        "share_tail": "tail",
        "mean_popularity": "popularity",
        "share_heard": "heard",
    }
    of_lists = {
        "share_steered": ("steered", "lists"),
        "share_new_listeners": ("new_listeners", "lists"),
        "mean_candidates": ("candidates", "lists"),
        "mean_churn": ("churn", "compared"),
        "mean_displacement": ("displacement", "stayed"),
        "share_unchanged": ("unchanged", "compared"),
        "hit_rate": ("hit", "asked"),
        "share_of_list_heard": ("taken", "offered"),
        "mean_type_divergence": ("type_divergence", "calibrated"),
        "share_familiar_creators": ("familiar_creators", "created"),
    }
    return (
        *counted(sums, "lists", _EVERY),
        *shares(sums, "lists", KINDS),
        *shares(sums, "typed", ("content_type",)),
        *(each for name, part in of_places.items() for each in ratios(sums, name, part, "places", _EVERY)),
        *(each for name, parts in of_lists.items() for each in ratios(sums, name, *parts, _EVERY)),
        *(
            each
            for name in ("list_length", "top_score", "last_score", "churn", "displacement", "type_divergence")
            for each in quantiles(sums, name)
        ),
        *_of_items(sums, traits),
    )


def _of_items(sums: SegmentSums, traits: ItemTraits) -> list[Metric]:
    """Coverage, concentration, and the shift since last night."""
    metrics, creators = [], traits.creator_of[:-1]
    for key, times in sorted(sums.of_items.items()):
        if key.metric == "listed" and times.sum():
            different = float((times > 0).sum())
            top = largest_share(times, max(1, int(different) // 100))
            metrics += [
                metric("items_listed", different, *key[1:]),
                metric("gini_of_items", gini(times), *key[1:], different),
                metric("share_of_top_percent", top, *key[1:], float(times.sum())),
                metric("share_of_top_creator", largest_share(by_creator(times, creators)[:-1]), *key[1:]),
            ]
    now, then = (sums.of_items.get(Key(name), np.zeros(0)) for name in ("listed_again", "listed_before"))
    times = sums.of_items.get(Key("listed"), np.zeros(0))
    if times.sum():
        of_creators = by_creator(times, creators)[:-1]
        metrics += creator_metrics(times, creators, "share_of_places")
        metrics.append(metric("gini_of_creators", gini(of_creators), count=float((of_creators > 0).sum())))
    if now.sum() and then.sum():
        before, tonight = by_creator(then, creators), by_creator(now, creators)
        rise = (tonight / tonight.sum() - before / before.sum())[:-1].max(initial=0.0)
        metrics += [
            metric("item_shift", distance(now, then), count=float(now.sum())),
            metric("creator_shift", distance(tonight, before), count=float(now.sum())),
            metric("largest_creator_rise", rise, count=float(now.sum())),
        ]
    return metrics
