"""Calibration: limits of a service's own, by judging its past nights as they would have been judged. Pure."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from nocturne.core.monitoring_section import MonitoringSettings
from nocturne.monitoring.deviations import deviations
from nocturne.monitoring.judge import CRITICAL, severity
from nocturne.monitoring.metric_history import MetricHistory
from nocturne.monitoring.watches import AFTER, watches

YEAR = 365
_MARGIN = 1.1
"""Distance of a limit from the furthest of the sound nights that it must let pass."""


@dataclass(frozen=True)
class Calibration:
    """Limits under which at most one sound night of a year would have closed the gate.

    Attributes:
        nights: that were judged.
        closed: nights whose gate the limits as they are would have closed, with the causes.
        excused: of these, the furthest, for which no limit is moved.
        limits: `block` by cause, where it has to be further.
        warnings: nights with a warning, by cause, most first.
    """

    nights: int
    closed: Mapping[date, tuple[str, ...]]
    excused: tuple[date, ...]
    limits: Mapping[str, float]
    warnings: Mapping[str, int]

    def toml(self) -> str:
        """The limits as a settings file has them."""
        counts = f"{len(self.closed)} would have closed the gate, {len(self.excused)} of them still would"
        lines = [f"# {self.nights} sound nights judged; {counts}", "[monitoring.limits]"]
        return "\n".join([*lines, *(f'"{cause}" = {{ block = {limit:g} }}' for cause, limit in self.limits.items())])


def calibrate(
    history: MetricHistory, nights: Iterable[date], settings: MonitoringSettings, rearranged: Collection[date] = ()
) -> Calibration:
    """Judge sound nights, each by those before it, and move the limits that closed too many gates.

    Args:
        nights: those that are known to have been sound.
        rearranged: as `deviations`.
    """
    watched = [watch for watch in watches(settings.limits) if watch.table not in AFTER]
    block = {watch.cause: watch.block for watch in watched if watch.block is not None}
    beyond: dict[date, dict[str, float]] = {}
    warnings: Counter[str] = Counter()
    judged = sorted(nights)[settings.min_nights :]
    for night in judged:
        far = deviations(history, watched, night, settings, rearranged)
        for deviation in far:
            if severity(deviation, settings) == CRITICAL:
                causes = beyond.setdefault(night, {})
                causes[deviation.watch.cause] = max(deviation.strength, causes.get(deviation.watch.cause, 0.0))
        warnings.update({deviation.watch.cause for deviation in far} - set(beyond.get(night, ())))
    excess = {night: max(strength / block[cause] for cause, strength in of.items()) for night, of in beyond.items()}
    furthest = sorted(excess, key=lambda night: (-excess[night], night))
    excused = tuple(sorted(furthest[: len(judged) // YEAR]))
    limits: dict[str, float] = {}
    for night in sorted(set(beyond) - set(excused)):
        for cause, strength in beyond[night].items():
            limits[cause] = max(limits.get(cause, 0.0), _rounded_up(strength * _MARGIN))
    return Calibration(
        len(judged),
        {night: tuple(sorted(of)) for night, of in sorted(beyond.items())},
        excused,
        dict(sorted(limits.items())),
        dict(warnings.most_common()),
    )


def _rounded_up(value: float) -> float:
    """Rounded up to three significant digits."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(round(value / step, 6)) * step:.3g}")  # 2.2 is not a little more than 2.2
