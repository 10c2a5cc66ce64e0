"""Deviations: the metrics of a night further from what earlier nights let one expect than a watch allows. Pure."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from nocturne.core.arrays import Floats, Mask
from nocturne.core.monitoring_section import MonitoringSettings
from nocturne.monitoring import effects
from nocturne.monitoring.baseline import NIGHTS, SEEN_TWICE, WEEK, baseline, count, median
from nocturne.monitoring.metric_history import MetricHistory, Window
from nocturne.monitoring.watch import QUANTILE, Watch

_OF_NOTHING = 1e-9
_SEEN_LATELY = 4
"""Nights of the last week on which a segment has to have been there to be missed: half of them."""

_SAME_WEEKDAYS = 4
"""Nights of the same weekday whose distributions say enough about how far one is from the next."""

_NORMAL = 1.4826
_DAY = timedelta(days=1)
_MODEL_AGE = ("models", "model_age_days", "all")


@dataclass(frozen=True)
class Deviation:
    """A metric that is not what it was expected to be.

    Attributes:
        day: night that the metric is of.
        observed, expected: of a distribution those of the segment that moved most.
        moved: that segment.
        effect: by the size that the watch names.
        strength: the same in terms of the watch's limits.
        spreads: how many times the usual spread it is.
        nights: nights that it is held against, count.
        known: nights that say how the service is: of a metric that jumps with models, those without a new one too; of
            what a model decides none under the first model, once another is live.
        wide: whether limits are twice as far: a holiday, or a weekday that was not seen twice.
        scale: of Wasserstein distances the size of what is expected, of which limits are parts.
        events: number that the metric rests on, where it is counted.
    """

    watch: Watch
    day: date
    segment_kind: str
    segment: str
    observed: float
    expected: float
    effect: float
    strength: float
    spreads: float
    nights: int
    known: int
    wide: bool
    scale: float = 1.0
    moved: str = ""
    events: float | None = None

    def threshold(self, limit: float) -> float:
        """A limit of the watch in terms of the effect."""
        wide = 2.0 if self.wide else 1.0
        return limit**wide if self.watch.effect_size == "ratio" else limit * wide * self.scale


class Season(NamedTuple):
    """The nights before one that are of its kind.

    Attributes:
        alike: those on which the same can be expected; shape (nights,).
        same_model: of these, those that another model came in on, if one did on this night, and the others otherwise.
        same_arms: of these, those since experiments last began or ended by their dates, of the arms of lists.
        settled: those under another model than the service's first, which knows a night or few; all while that is live.
        holiday: whether the night is one.
    """

    alike: Mask
    same_model: Mask
    same_arms: Mask
    settled: Mask
    holiday: bool


def deviations(
    history: MetricHistory,
    watches: Iterable[Watch],
    day: date,
    settings: MonitoringSettings,
    rearranged: Collection[date] = (),
) -> list[Deviation]:
    """Every metric of a night that a watch has to say something about, in the order of watches and segments.

    Args:
        rearranged: nights on which experiments began, or no longer ran, by their dates.
    """
    season = season_of(history, day, settings.holidays, rearranged)
    return [
        deviation
        for watch in watches
        for kind in watch.kinds
        if (window := history.window((watch.table, watch.metric, kind), day))
        for deviation in _deviations(window, watch, kind, day, season, settings)
        if deviation.nights >= settings.min_nights
        and deviation.strength >= watch.warn
        and deviation.spreads >= settings.warn_spreads
    ]


def season_of(
    history: MetricHistory, day: date, holidays: Collection[date], rearranged: Collection[date] = ()
) -> Season:
    """The nights before one that are of its kind: holidays are no nights like others."""
    before = history.days_back(day)
    ordinary = np.array([back not in holidays for back in before])
    # What is shown on the day of a night are the lists of the night before: its arms are a night late.
    begun = max((each + _DAY for each in rearranged if each <= day), default=before[-1])
    since = np.array([back >= begun for back in before])
    ages = history.window(_MODEL_AGE, day)
    same = settled = np.ones(NIGHTS, dtype=bool)
    if ages and np.isfinite(ages.values[0, 0]):
        changed = _new_model(ages.values[0])
        same = changed[1:] == changed[0]
        settled = _settled(ages.values[0])
    return Season(ordinary, ordinary & same, ordinary & since, settled, day in holidays)


def _new_model(ages: Floats) -> Floats:
    """1 for nights on which another model came in, 0 for others, NaN where that is not known."""
    known = np.flatnonzero(np.isfinite(ages))
    changed = np.full(len(ages), np.nan)
    for now, before in zip(known[:-1].tolist(), known[1:].tolist(), strict=True):
        changed[now] = ages[now] != ages[before] + (before - now)
    return changed


def _settled(ages: Floats) -> Mask:
    """The nights before under another model than the first, if that is on record from its training on and replaced."""
    trained = ages + np.arange(len(ages))  # nights back
    first = int(np.flatnonzero(np.isfinite(ages))[-1])
    if ages[first] > 0 or trained[0] == trained[first]:
        return np.ones(len(ages) - 1, dtype=bool)
    settled: Mask = trained[1:] != trained[first]
    return settled


def _deviations(
    window: Window, watch: Watch, kind: str, day: date, season: Season, settings: MonitoringSettings
) -> Iterator[Deviation]:
    alike = season.same_model if watch.of_model else season.same_arms if watch.of_arms else season.alike
    of = _of_distribution if watch.over_segments else _of_segments
    yield from of(window, watch, kind, day, alike, season, settings.min_count)


def _known(before: Floats, watch: Watch, alike: Mask, season: Season) -> Floats:
    """Values of each series that say how the service is."""
    said = np.ones(NIGHTS, dtype=bool) if watch.of_model else alike
    if watch.follows_model:
        said = said & season.settled
    return count(before[:, :NIGHTS][:, said])


def _of_segments(
    window: Window, watch: Watch, kind: str, day: date, alike: Mask, season: Season, min_count: float
) -> Iterator[Deviation]:
    observed, before = window.values[:, 0].copy(), window.values[:, 1:]
    if watch.noise == "count":  # of what is gone there is no row
        missed = ~np.isfinite(observed) & (count(before[:, :WEEK]) >= _SEEN_LATELY) & np.isfinite(observed).any()
        observed[missed] = 0.0
    as_ratio = watch.effect_size == "ratio"
    usual = baseline(_log(before) if as_ratio else before, alike)
    expected = np.exp(np.minimum(usual.expected, 700.0)) if as_ratio else usual.expected
    events = window.counts if watch.noise != "count" else np.maximum(np.nan_to_num(observed), expected)
    distance = np.abs(_log(observed) - usual.expected) if as_ratio else np.abs(observed - expected)
    spread = np.fmax(usual.spread, _noise(watch, expected, events))
    spreads = distance / np.maximum(spread, _OF_NOTHING)
    effect = effects.OF_NUMBERS[watch.effect_size](np.nan_to_num(observed), np.nan_to_num(expected))
    wide = ~usual.seasonal | season.holiday
    strength = np.where(wide, np.sqrt(effect) if as_ratio else effect / 2, effect)
    trouble = np.isfinite(observed) & np.isfinite(expected) & (strength >= watch.warn)
    if watch.direction != "both":
        trouble &= (observed < expected) == (watch.direction == "fall")
    trouble &= (np.fmax(observed, expected) >= watch.at_least) & ~(expected > watch.at_most)
    trouble &= ~(events < min_count)  # NaN where nothing was counted
    known = _known(before, watch, alike, season)
    for place in np.flatnonzero(trouble).tolist():
        yield Deviation(
            watch,
            day,
            kind,
            window.segments[place],
            float(observed[place]),
            float(expected[place]),
            float(effect[place]),
            float(strength[place]),
            float(spreads[place]),
            int(usual.nights[place]),
            int(known[place]),
            bool(wide[place]),
            events=float(events[place]) if np.isfinite(events[place]) else None,
        )


def _of_distribution(
    window: Window, watch: Watch, kind: str, day: date, alike: Mask, season: Season, min_count: float
) -> Iterator[Deviation]:
    values, levels = window.values, window.segments
    quantiles = kind == QUANTILE
    there = np.isfinite(values)
    known: Mask = np.asarray(there.all(axis=0) if quantiles else there.any(axis=0))
    events = float(np.nanmax(window.counts)) if np.isfinite(window.counts).any() else None
    if not known[0] or (events is not None and events < min_count):
        return
    values = np.where(known, np.nan_to_num(values), np.nan)
    past, usable = values[:, 1:], known[1:] & alike[:NIGHTS]
    usual = baseline(past, alike)
    if not np.isfinite(usual.expected).all():
        return
    expected = usual.expected if quantiles else np.maximum(usual.expected, 0.0)
    effect = float(_distance(watch, values[:, 0], expected, levels))
    typical, spread = _of_past(_distance(watch, past[:, usable].T, expected, levels), usable)
    scale = float(np.abs(expected) @ effects.weights(levels)) if quantiles else 1.0
    wide = season.holiday or not usual.seasonal.any()
    strength = effect / max(scale, _OF_NOTHING) / (2.0 if wide else 1.0)
    if strength < watch.warn or (quantiles and effect < watch.at_least):
        return
    moved = levels.index("0.5") if quantiles and "0.5" in levels else int(np.abs(values[:, 0] - expected).argmax())
    yield Deviation(
        watch,
        day,
        kind,
        "",
        float(values[moved, 0]),
        float(expected[moved]),
        effect,
        strength,
        (effect - typical) / max(spread, _OF_NOTHING),
        _most(usual.nights),
        _most(_known(past, watch, alike, season)),
        wide,
        scale,
        levels[moved],
        events,
    )


def _distance(watch: Watch, observed: Floats, expected: Floats, levels: list[str]) -> Floats:
    if watch.effect_size == "wasserstein":
        return effects.wasserstein(observed, expected, levels)
    return effects.OF_CATEGORIES[watch.effect_size](observed, np.broadcast_to(expected, observed.shape))


def _of_past(distances: Floats, usable: Mask) -> tuple[float, float]:
    """Usual distance of nights from what is expected, and its spread: of the same weekday, if that was seen often."""
    same = (np.flatnonzero(usable) + 1) % WEEK == 0
    if same.sum() >= _SAME_WEEKDAYS:
        distances = distances[same]
    if len(distances) < SEEN_TWICE:
        return 0.0, 0.0
    typical = float(median(distances[None, :])[0])
    return typical, _NORMAL * float(median(np.abs(distances - typical)[None, :])[0])


def _most(nights: Floats) -> int:
    return int(nights.max(initial=0))


def _noise(watch: Watch, expected: Floats, events: Floats) -> Floats:
    """Standard deviation that chance alone gives the metric, of a ratio that of its logarithm; 0 where not known."""
    some = np.maximum(np.nan_to_num(expected), _OF_NOTHING)
    if watch.noise == "count":
        return 1.0 / np.sqrt(some)
    if watch.noise == "share":
        least = np.nan_to_num(1.0 / np.maximum(events, 1.0))
        part = np.clip(some, least, 1.0)  # where none was expected, one says little
        of_share = np.sqrt(part * (1 - part) / np.where(events > 0, events, np.inf))
        noise: Floats = of_share / part if watch.effect_size == "ratio" else of_share
        return noise
    return np.zeros(len(expected))


def _log(values: Floats) -> Floats:
    kept: Floats = np.where(np.isfinite(values), np.maximum(values, _OF_NOTHING), np.nan)
    logs: Floats = np.log(kept)
    return logs
