"""Worth of lists: what last night's model says of them, with the factors that their listeners had then.

Whatever goes wrong tonight, be it events, rows, factors, settings or the writing of lists, this judge is untouched.
Beside it stands how far listeners' tastes, as scores of the same items, are those of last night.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Floats, Positions
from nocturne.core.hashing import hash_ids
from nocturne.validation.metrics.lists import Rows
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import ALL, Segments, SegmentSums, metric, quantiles, ratios

KINDS = ("market", "arm")
_EVERY = (ALL, *KINDS)

WORSE = 0.9
"""Part of the worth of their last list below which listeners have a worse one."""

OTHER = 0.9
"""Correlation with last night's scores below which listeners have another taste."""

_ASKED = 256
"""Items whose scores are compared."""


class Judge(NamedTuple):
    """A night's model, and the listeners whom it judges for.

    Attributes:
        listeners: factors; shape (listeners, factors).
        items: factors times the multiplier of the item's scores; shape (items, factors).
    """

    listeners: np.ndarray
    items: np.ndarray

    def worth(self, lists: Rows) -> Floats:
        """Mean score of each list's items that are known, the upper places counting more, as in DCG; NaN of none."""
        owner = lists.owners
        place = np.arange(len(owner)) - np.repeat(lists.offsets[:-1], lists.lengths)
        counts = np.where(lists.items >= 0, 1.0 / np.log2(place + 2.0), 0.0)
        scores = np.einsum("ij,ij->i", self.listeners[owner], self.items[np.maximum(lists.items, 0)])
        whole, weight = lists.per_row(counts * scores), lists.per_row(counts)
        mean: Floats = np.divide(whole, weight, out=np.full(len(weight), np.nan), where=weight > 0)
        return mean

    def scores(self, items: Positions) -> Floats:
        """Scores of some items, in units of each listener's spread about their mean; shape (listeners, items)."""
        scores = (self.listeners @ self.items[items].T).astype(np.float64)
        scores -= scores.mean(axis=1, keepdims=True)
        length = np.linalg.norm(scores, axis=1, keepdims=True)
        in_units: Floats = np.divide(scores, length, out=np.zeros_like(scores), where=length > 0)
        return in_units


def add_worth(sums: SegmentSums, judge: Judge, now: Rows, then: Rows, segments: Segments) -> None:
    """Add the lists of the judge's listeners.

    Args:
        judge: of last night.
        now, then: tonight's and last night's lists, by place among the judge's items; -1 of those it does not know.
        segments: KINDS, of tonight's.
    """
    tonight, last_night = judge.worth(now), judge.worth(then)
    some = np.flatnonzero(np.isfinite(tonight) & (last_night > 0))
    kept = tonight[some] / last_night[some]
    amounts = {
        "judged": np.ones(len(some)),
        "worth": tonight[some],
        "worth_before": last_night[some],
        "worse": kept < WORSE,
    }
    sums.add_by({kind: segments[kind].take(some) for kind in KINDS}, amounts)
    sums.add_numbers("worth_kept", kept)


def asked_items(ids: pa.Array) -> Positions:
    """Places of the items whose scores are compared: a sample by the hash of the id, the same every night."""
    return np.argsort(hash_ids(ids, 0), kind="stable")[:_ASKED]


def add_tastes(sums: SegmentSums, now: Floats, then: Floats, segments: Segments) -> None:
    """Add how tonight's scores of listeners go with last night's.

    Args:
        now, then: scores of the same items, as a judge has them; shape (listeners, items).
        segments: KINDS, of the listeners.
    """
    alike = np.einsum("ij,ij->i", now, then)
    amounts = {"tasting": np.ones(len(alike)), "alike": alike, "other_taste": alike < OTHER}
    sums.add_by({kind: segments[kind] for kind in KINDS}, amounts)


def worth_metrics(sums: SegmentSums) -> tuple[Metric, ...]:
    """The metrics of all lists and tastes that were added."""
    of_lists = [
        metric("worth", sums.amount("worth", *key[1:]) / sums.amount("worth_before", *key[1:]), *key[1:], count)
        for key in sums.segments_of("judged")
        if (count := sums.amounts[key])
    ]
    whole = next((each.value for each in of_lists if each.segment_kind == ALL), 0.0)
    beside = [each for each in of_lists if each.segment_kind == "arm" and whole > 0]
    return (
        *of_lists,
        *(metric("worth_beside_all", each.value / whole, "arm", each.segment, each.count) for each in beside),
        *ratios(sums, "share_worse", "worse", "judged", _EVERY),
        *quantiles(sums, "worth_kept"),
        *ratios(sums, "mean_taste_kept", "alike", "tasting", _EVERY),
        *ratios(sums, "share_of_other_taste", "other_taste", "tasting", _EVERY),
    )
