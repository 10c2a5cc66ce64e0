"""Metrics of `assignments`: listeners by arm."""

from collections.abc import Sequence

from nocturne.core.arrays import Floats
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sums import SegmentSums, counted, shares


def arm_metrics(arms: Sequence[str], listeners: Floats) -> tuple[Metric, ...]:
    """Listeners of every arm, and their share in all who are in one.

    Args:
        arms: as experiment/arm.
        listeners: count of each.
    """
    sums = SegmentSums()
    for arm, count in zip(arms, listeners.tolist(), strict=True):
        if count:
            sums.add("listeners", count, "arm", arm)
    return (*counted(sums, "listeners", ("arm",)), *shares(sums, "listeners", ("arm",)))
