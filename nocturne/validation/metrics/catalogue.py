"""Metrics of `items`: what the catalogue is made of, by type and market, and what changed since last night."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Mask
from nocturne.core.masks import mask
from nocturne.validation.metrics.concentration import CREATOR_RANKS
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import ALL, Labels, SegmentSums, counted, metric, quantiles, ratios, shares

_COMPARED = (
    "title",
    "creator",
    "content_type",
    "explicit",
    "markets",
    "available_from",
    "available_until",
    "duration_ms",
)
COLUMNS = ("item_id", *_COMPARED, "absent")
_EVERY = (ALL, "content_type")


def catalogue_metrics(items: pa.Table, barred: Mask, previous: pa.Table | None) -> tuple[Metric, ...]:
    """The metrics of a night's catalogue.

    Args:
        items: COLUMNS, absent items among them.
        barred: items that may be listed nowhere, or not tonight; shape (items,).
        previous: COLUMNS of last night's catalogue, if there is one.
    """
    sums, all_rows = SegmentSums(), items.combine_chunks()
    named = ~mask(all_rows["absent"])
    rows = all_rows.filter(pa.array(named))
    segments = {"content_type": Labels.of(rows["content_type"])}
    amounts: dict[str, np.ndarray] = {
        "items": np.ones(rows.num_rows),
        "explicit": mask(rows["explicit"]),
        "unavailable": barred[named],
        "restricted": mask(pc.is_valid(rows["markets"])),
        "without_creator": ~mask(pc.is_valid(rows["creator"])),
    }
    sums.add_by(segments, amounts)
    sums.add("all_items", all_rows.num_rows)
    sums.add("absent", all_rows.num_rows - rows.num_rows)
    durations = pc.cast(rows["duration_ms"].drop_null(), pa.float64()).to_numpy()
    sums.add_numbers("duration_ms", durations)
    return (
        *counted(sums, "items", _EVERY),
        *shares(sums, "items", ("content_type",)),
        *ratios(sums, "share_explicit", "explicit", "items", _EVERY),
        *ratios(sums, "share_barred", "unavailable", "items", _EVERY),
        *ratios(sums, "share_restricted", "restricted", "items", _EVERY),
        *ratios(sums, "share_without_creator", "without_creator", "items", _EVERY),
        *ratios(sums, "share_absent", "absent", "all_items"),
        *quantiles(sums, "duration_ms"),
        *_licences(rows),
        *_creators(rows),
        *(_changes(rows, previous) if previous is not None else ()),
    )


def _licences(rows: pa.Table) -> list[Metric]:
    """Share of the restricted items that may be played in each market."""
    markets = rows["markets"].combine_chunks()
    restricted = len(markets) - markets.null_count
    counts = pc.value_counts(pc.list_flatten(markets)).to_pylist()
    of_markets = sorted((each["values"], each["counts"]) for each in counts if each["values"] is not None)
    return [metric("share_licensed", count / restricted, "market", name, restricted) for name, count in of_markets]


def _creators(rows: pa.Table) -> list[Metric]:
    """Shares of the items by the creators with most."""
    counts = pc.value_counts(rows["creator"].drop_null())
    largest = np.sort(counts.field("counts").to_numpy())[::-1][:CREATOR_RANKS] if len(counts) else np.zeros(0)
    whole = rows.num_rows
    return [metric("share", count / whole, "creator_rank", str(rank), whole) for rank, count in enumerate(largest, 1)]


def _changes(rows: pa.Table, previous: pa.Table) -> list[Metric]:
    """Items that are new or gone, and shares of those on both nights that say something else of themselves."""
    before = previous.filter(pc.invert(previous["absent"])).combine_chunks()
    place = pc.index_in(rows["item_id"].combine_chunks(), value_set=before["item_id"].combine_chunks())
    there = pc.is_valid(place)
    both, then = rows.filter(there), before.take(place.drop_null())
    count = both.num_rows
    metrics = []
    if rows.num_rows and before.num_rows:
        new = 1 - count / rows.num_rows
        metrics += [
            metric("share_new", new, count=rows.num_rows),
            metric("share_gone", 1 - count / before.num_rows, count=before.num_rows),
        ]
    if count:
        for name in _COMPARED:
            changed = float((~_same(both[name].combine_chunks(), then[name].combine_chunks())).sum())
            metrics.append(metric(f"share_changed_{name}", changed / count, count=count))
    return metrics


def _same(now: pa.Array, then: pa.Array) -> Mask:
    """Values that are the same, or null, on both nights."""
    if pa.types.is_list(now.type):
        now, then = (_joined(each) for each in (now, then))
    return mask(pc.or_kleene(pc.equal(now, then), pc.and_(pc.is_null(now), pc.is_null(then))))


def _joined(lists: pa.ListArray) -> pa.Array:
    return pc.binary_join(lists.cast(pa.list_(pa.string())), "\x1f")
