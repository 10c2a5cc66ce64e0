"""Metrics of `exposures`: what was shown, where, and whether it is what was computed."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Mask
from nocturne.validation.metrics.list_loops import places_among
from nocturne.validation.metrics.lists import Rows
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import ALL, Labels, SegmentSums, counted, quantiles, ratios, shares

COLUMNS = ("user_id", "shown_at", "surface", "arm", "source", "market", "items", "late")
_KINDS = ("surface", "arm", "market", "source")
_EVERY = (ALL, *_KINDS)
_POSITIONS = 20
"""The last segment of positions has all that are further down."""

_HOUR = 3_600_000_000
"""In microseconds."""


def add_exposures(sums: SegmentSums, batch: pa.RecordBatch) -> None:
    """Add some exposures: COLUMNS."""
    segments = {kind: Labels.of(batch[kind]) for kind in _KINDS}
    lengths = pc.list_value_length(batch["items"]).to_numpy()
    chances = pc.struct_field(batch["items"].flatten(), "propensity").to_numpy(zero_copy_only=False)
    shown = Rows.of(np.zeros(len(chances), np.int64), lengths)
    amounts = {"exposures": np.ones(len(lengths)), "places": lengths, "drawn": shown.per_row(chances < 1)}
    hour = Labels.of_numbers(batch["shown_at"].cast(pa.int64()).to_numpy() // _HOUR % 24)
    sums.add_by(segments, amounts)
    sums.add_by({"hour": hour}, {"by_hour": np.ones(len(lengths))})
    own = np.arange(len(chances)) - np.repeat(shown.offsets[:-1], lengths)
    position = Labels.of_numbers(np.minimum(own, _POSITIONS - 1) + 1)
    sums.add_by({"position": position}, {"by_position": np.ones(len(chances))})
    sums.add_numbers("items_shown", lengths)


@dataclass(frozen=True)
class ShownLists:
    """Exposures of the surface of lists, of some listeners, beside the lists that were computed for them.

    Attributes:
        shown: items that were shown, by number.
        computed: the list of the night that each came from, aligned; empty of who had none.
        arm, market: of each exposure.
    """

    shown: Rows
    computed: Rows
    arm: Labels
    market: Labels


def add_shown_lists(sums: SegmentSums, lists: ShownLists) -> None:
    """Add places that were shown, and whether they are what was computed."""
    shown = lists.shown
    place = places_among(shown.items, shown.offsets, lists.computed.items, lists.computed.offsets)
    own = np.arange(len(place)) - np.repeat(shown.offsets[:-1], shown.lengths)
    amounts: dict[str, np.ndarray] = {
        "list_places": shown.lengths,
        "computed": shown.per_row(place >= 0),
        "in_place": shown.per_row(place == own),
    }
    sums.add_by({"arm": lists.arm, "market": lists.market}, amounts)


def add_listed(sums: SegmentSums, arm: Labels, shown: Mask) -> None:
    """Add lists of a night, and which of them were shown.

    Args:
        arm: of each list; shape (lists,).
        shown: lists whose listener saw a list of that night.
    """
    sums.add_by({"arm": arm}, {"listed": np.ones(len(shown)), "lists_shown": shown})


def exposure_metrics(sums: SegmentSums) -> tuple[Metric, ...]:
    """The metrics of all exposures of a night."""
    arms = (ALL, "arm", "market")
    return (
        *counted(sums, "exposures", _EVERY),
        *shares(sums, "exposures", _KINDS),
        *shares(sums, "by_hour", ("hour",)),
        *shares(sums, "by_position", ("position",), "share_of_places"),
        *ratios(sums, "share_drawn", "drawn", "places", _EVERY),
        *quantiles(sums, "items_shown"),
        *ratios(sums, "share_as_computed", "computed", "list_places", arms),
        *ratios(sums, "share_in_place", "in_place", "list_places", arms),
        *ratios(sums, "share_of_lists_shown", "lists_shown", "listed", arms),
    )
