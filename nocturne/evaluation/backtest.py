"""Backtests: every system's lists of rolling nights, scored on what was then heard.

Every system ranks under the same rules. Relevant to a listener on a night are the distinct items that they
listened to on the days after it, had not heard by it, and could have been listed on it. A listener's nights are
averaged first, so that listeners are the independent units of every interval.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Floats, Mask
from nocturne.core.errors import UsageError
from nocturne.core.list_arrays import Lists
from nocturne.core.night import Night
from nocturne.evaluation import metrics
from nocturne.evaluation.baselines import EASE_ITEMS, count_left_out_by_ease
from nocturne.evaluation.held_out import HeldOut, ListeningHistory, read_held_out
from nocturne.evaluation.listener_sample import ALL_LISTENERS, SampleSize, largest, sample_listeners
from nocturne.evaluation.significance import EVERYONE, Difference, differences
from nocturne.evaluation.systems import System, model_system
from nocturne.storage.warehouse import with_stored_settings
from nocturne.training.model import Model

Progress = Callable[[int, int, str], None]
"""Called with how many lists of nights are made, of how many, and what comes next."""

LIGHT, HEAVY = 10, 50
"""Items in a listener's row from which they are no longer new, and from which they are heavy."""

SMALLEST_SEGMENT = 10
"""Listeners that a segment needs: the interval of fewer says nothing."""


@dataclass(frozen=True)
class ScoredNight:
    """A night with the lists of every system that has some for it, by its name."""

    held_out: HeldOut
    lists: dict[str, Lists]


@dataclass(frozen=True)
class Comparison:
    """Differences of models to one of them, and by how many listeners, on the night with most, they were told."""

    differences: list[Difference]
    sample_size: SampleSize


@dataclass(frozen=True)
class Backtest:
    """Scored nights, and how the systems differ on them.

    Attributes:
        against: the system that the others are compared with.
        baselines: names of the systems that are baselines.
        differences: of every other system to it, of all listeners and by segment.
        beyond_accuracy: per system coverage, novelty and the like of its lists, means over the nights.
        remarks: sentences that a reader has to know.
    """

    nights: tuple[ScoredNight, ...]
    days: int
    top_k: int
    against: str
    baselines: tuple[str, ...]
    differences: list[Difference]
    beyond_accuracy: dict[str, dict[str, float | None]]
    remarks: list[str]

    @property
    def dates(self) -> list[date]:
        """The nights, in order."""
        return [scored.held_out.night.run_date for scored in self.nights]

    @property
    def sample_size(self) -> SampleSize:
        """Listeners of the sample and all there are, on the night with most."""
        return largest(scored.held_out.sample_size for scored in self.nights)

    def means(self, metric: str, segment: str = EVERYONE) -> dict[str, float]:
        """Mean of a metric for every system, `against` first."""
        rows = [row for row in self.differences if (row.metric, row.segment) == (metric, segment)]
        widest = max(rows, key=lambda row: row.listeners, default=None)
        reference = {self.against: widest.against_mean} if widest else {}
        return reference | {row.system: row.mean for row in rows}

    @property
    def best_baseline(self) -> str | None:
        """The baseline with the highest mean NDCG; None if there is none."""
        means = self.means(f"ndcg@{self.top_k}")
        return max((name for name in means if name in self.baselines), key=means.__getitem__, default=None)


def compare_models(
    nights: Sequence[Night],
    models: Mapping[str, Model],
    against: str,
    days: int,
    top_k: int = 20,
    asked_share: float = 0.0,
    progress: Progress = lambda _done, _of, _next: None,
) -> Comparison:
    """Compare models with one of them, on some nights, by the same sample of listeners.

    Nights before any of the models was trained are left out: it would know what was heard then.

    Args:
        models: by the name that the differences shall give them.
        days: nights after each whose listens are the truth.
        asked_share: share of listeners, by hash, by whom the recipe of one of the models was chosen: they are left out.
        progress: told before each night.

    Raises:
        UsageError: on no night there is anything to compare.
    """
    since = max(model.anchor_date for model in models.values())
    systems = [model_system(model, name) for name, model in models.items()]
    nights = [replace(night, warehouse=with_stored_settings(night.warehouse)) for night in nights]
    since_then = [night for night in nights if night.run_date >= since]
    sample = sample_listeners(since_then) if since_then else ALL_LISTENERS
    scored_nights = []
    for number, night in enumerate(since_then):
        progress(number, len(since_then), f"lists of {night.run_date}")
        held_out = read_held_out(night, days, asked_share, sample)
        if len(held_out.user_ids):
            lists = {system.name: _require_lists(system, held_out, top_k) for system in systems}
            scored_nights.append(ScoredNight(held_out, lists))
    if not scored_nights:
        raise UsageError(
            "there is no night on which the models can be compared",
            where=nights[0].warehouse.path if nights else "",
            found=", ".join(str(night.run_date) for night in nights) or "no night",
            expected=f"nights from {since}, when the newest of the models was trained, with listens in the {days} "
            "days after them",
            fix="compare on later nights, or with fewer days after them",
        )
    size = largest(scored.held_out.sample_size for scored in scored_nights)
    return Comparison(compare_systems(scored_nights, against), size)


def run_backtest(
    nights: Sequence[Night],
    systems: Sequence[System],
    against: str,
    history: ListeningHistory,
    days: int,
    top_k: int,
    progress: Progress = lambda _done, _of, _next: None,
    hold_out: Callable[[Night, int, float], HeldOut] = read_held_out,
) -> Backtest:
    """Score every system on every night.

    Args:
        against: name of the system that the others are compared with.
        history: the warehouse's listens, up to the last of the nights at least.
        hold_out: reads a night and the truth of so many days after it, without a share of listeners, by hash, whom a
            race may have asked for the recipe of any of the lists.

    Raises:
        UsageError: nobody heard anything new on any night, or `against` has no lists.
    """
    scored_nights, remarks = [], _Remarks()
    for number, night in enumerate(nights):
        asked_share = max(system.asked_share(night) for system in systems)
        held_out = hold_out(night, days, asked_share)
        if asked_share:
            left_out = f"{asked_share:.2%} of listeners are left out: a race may have asked them for a recipe"
            remarks.add(left_out, night.run_date)
        if not len(held_out.user_ids):
            remarks.add("nobody heard anything new after it", night.run_date)
            continue
        lists_by_system = {}
        for place, system in enumerate(systems):
            progress(number * len(systems) + place, len(nights) * len(systems), f"{night.run_date}, {system.name}")
            lists = system.rank(held_out, top_k)
            if lists is None:
                remarks.add(f"{system.name} is left out: {system.absence_reason}", night.run_date)
            else:
                lists_by_system[system.name] = lists
        if held_out.sample_size.sampled < held_out.sample_size.sampled_of and any(each.baseline for each in systems):
            remarks.add(f"baselines learn from the sample alone, {held_out.sample_size}", night.run_date)
        if "ease" in lists_by_system and count_left_out_by_ease(history.plays(held_out)):
            remarks.add(f"EASE learns the {EASE_ITEMS:,} most popular items only", night.run_date)
        scored_nights.append(ScoredNight(held_out, lists_by_system))
    if not any(against in scored.lists for scored in scored_nights):
        raise UsageError(
            "there is nothing to compare with",
            where=nights[0].warehouse.path,
            found="; ".join(remarks.texts()) or "no lists",
            expected=f"lists of {against}, and listeners who heard something new",
            fix="choose other nights with --from and --to, more --days, or another --model or --recipe",
        )
    return Backtest(
        nights=tuple(scored_nights),
        days=days,
        top_k=top_k,
        against=against,
        baselines=tuple(system.name for system in systems if system.baseline),
        differences=compare_systems(scored_nights, against),
        beyond_accuracy=measure_beyond_accuracy(scored_nights, history),
        remarks=remarks.texts(),
    )


def compare_systems(nights: Sequence[ScoredNight], against: str) -> list[Difference]:
    """Differences of every system to one, on the nights for which both have lists; of all and by segment.

    Segments: size of the row (new, light, heavy), market, both as on a listener's first night; and content type, for
    which only the relevant items of that type count.
    """
    shared_nights = {
        name: tuple(place for place, scored in enumerate(nights) if name in scored.lists and against in scored.lists)
        for name in dict.fromkeys(name for scored in nights for name in scored.lists)
    }
    rows: list[Difference] = []
    for places in dict.fromkeys(places for name, places in shared_nights.items() if places and name != against):
        names = [name for name in shared_nights if shared_nights[name] == places or name == against]
        rows += _compare_on([nights[place] for place in places], names, against)
    order = {name: place for place, name in enumerate(shared_nights)}
    return sorted(rows, key=lambda row: order[row.system])


def _compare_on(nights: Sequence[ScoredNight], names: Sequence[str], against: str) -> list[Difference]:
    """Differences of systems that all have lists for all of the nights."""
    scores, first_places = _average_over_nights(nights, names, lambda held_out: held_out.relevant)
    rows = differences(scores, against, _segments(nights, first_places))
    for content_type in sorted({kind for scored in nights for kind in scored.held_out.content_types.tolist()}):
        relevant = partial(_relevant_of_type, content_type=content_type)
        scores, first_places = _average_over_nights(nights, names, relevant)
        if len(first_places) >= SMALLEST_SEGMENT:
            segment = f"content type {content_type}"
            rows += [replace(row, segment=segment) for row in differences(scores, against, {})]
    return rows


def measure_beyond_accuracy(
    nights: Sequence[ScoredNight], history: ListeningHistory
) -> dict[str, dict[str, float | None]]:
    """Coverage, Gini, mean popularity, novelty, diversity and churn of every system's lists, means over the nights.

    Churn is that between a night and the one scored before it, of the listeners scored on both; None with one night.
    """
    values_by_system: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    previous: dict[str, tuple[HeldOut, Lists]] = {}
    for scored in nights:
        held_out = scored.held_out
        plays = history.plays(held_out)
        listeners_of_item = np.bincount(plays.indices, minlength=plays.shape[1]).astype(np.float64)
        for system, lists in scored.lists.items():
            values = values_by_system[system]
            values["coverage"].append(metrics.coverage(lists, held_out.listable))
            values["gini"].append(metrics.gini(lists, held_out.listable))
            values["popularity"].append(_mean(metrics.mean_popularity(lists, listeners_of_item)))
            values["novelty"].append(_mean(metrics.novelty(lists, listeners_of_item, plays.shape[0])))
            values["diversity"].append(_mean(metrics.diversity(lists, held_out.labels)))
            if system in previous:
                values["churn"].append(_churn(held_out, lists, *previous[system]))
            previous[system] = held_out, lists
    names = ("coverage", "gini", "popularity", "novelty", "diversity", "churn")
    return {
        system: {name: _mean(np.array(values[name])) if values[name] else None for name in names}
        for system, values in values_by_system.items()
    }


def summary(backtest: Backtest) -> list[dict[str, object]]:
    """A row per system: recall and NDCG of all listeners, and the intervals of their differences."""
    rows: list[dict[str, object]] = []
    metrics_shown = [f"{name}@{backtest.top_k}" for name in ("recall", "ndcg")]
    means = {metric: backtest.means(metric) for metric in metrics_shown}
    listeners = {row.system: row.listeners for row in backtest.differences if row.segment == EVERYONE}
    listeners[backtest.against] = max(listeners.values(), default=0)
    everyone = {(row.system, row.metric): row for row in backtest.differences if row.segment == EVERYONE}
    for system in dict.fromkeys([backtest.against, *(row.system for row in backtest.differences)]):
        row: dict[str, object] = {"system": system, "listeners": listeners[system]}
        for metric in metrics_shown:
            difference = everyone.get((system, metric))
            row[metric] = f"{means[metric][system]:.4f}" if system in means[metric] else ""
            row[f"{metric} difference"] = f"{difference.low:+.4f} to {difference.high:+.4f}" if difference else ""
        rows.append(row)
    return rows


def _require_lists(system: System, held_out: HeldOut, top_k: int) -> Lists:
    lists = system.rank(held_out, top_k)
    assert lists is not None
    return lists


def _average_over_nights(
    nights: Sequence[ScoredNight], names: Sequence[str], select_relevant: Callable[[HeldOut], csr_matrix]
) -> tuple[dict[str, dict[str, Floats]], list[tuple[int, int]]]:
    """Mean over a listener's nights of every metric of every system.

    Returns:
        by system and metric an array of shape (listeners,); and of each listener the first night and place in it.
    """
    listener_numbers: dict[str, int] = {}
    first_places: list[tuple[int, int]] = []
    row_listeners: list[int] = []
    values: dict[str, dict[str, list[Floats]]] = {name: defaultdict(list) for name in names}
    for number, night in enumerate(nights):
        relevant = select_relevant(night.held_out)
        scored = np.flatnonzero(np.diff(relevant.indptr))
        for place, user in zip(scored.tolist(), night.held_out.user_ids.take(scored).to_pylist(), strict=True):
            if user not in listener_numbers:
                listener_numbers[user] = len(first_places)
                first_places.append((number, place))
            row_listeners.append(listener_numbers[user])
        for name in names:
            for metric, scores in metrics.accuracy(night.lists[name][scored], relevant[scored]).items():
                values[name][metric].append(scores)
    counts = np.bincount(row_listeners, minlength=len(first_places))
    return {
        name: {
            metric: np.bincount(row_listeners, np.concatenate(parts), len(first_places)) / counts
            for metric, parts in by_metric.items()
        }
        for name, by_metric in values.items()
    }, first_places


def _segments(nights: Sequence[ScoredNight], first_places: Sequence[tuple[int, int]]) -> dict[str, Mask]:
    """The listeners of each segment, as masks; segments of too few are left out."""
    sizes = np.array([nights[number].held_out.sizes[place] for number, place in first_places])
    markets = np.array([nights[number].held_out.markets[place] or "unknown" for number, place in first_places])
    masks = {
        f"new, under {LIGHT} items": sizes < LIGHT,
        f"light, {LIGHT} to {HEAVY - 1} items": (sizes >= LIGHT) & (sizes < HEAVY),
        f"heavy, {HEAVY} items or more": sizes >= HEAVY,
        **{f"market {market}": markets == market for market in sorted(set(markets.tolist()))},
    }
    return {name: mask for name, mask in masks.items() if mask.sum() >= SMALLEST_SEGMENT}


def _relevant_of_type(held_out: HeldOut, content_type: str) -> csr_matrix:
    """The relevant items that are of a content type."""
    relevant = held_out.relevant.copy()
    relevant.data[held_out.content_types[relevant.indices] != content_type] = 0
    relevant.eliminate_zeros()
    return relevant


def _churn(held_out: HeldOut, lists: Lists, earlier: HeldOut, earlier_lists: Lists) -> float:
    earlier_places = {user: place for place, user in enumerate(earlier.user_ids.to_pylist())}
    users = held_out.user_ids.to_pylist()
    places = np.array([place for place, user in enumerate(users) if user in earlier_places], dtype=np.int64)
    same_listeners = np.array([earlier_places[users[place]] for place in places], dtype=np.int64)
    return _mean(metrics.churn(lists[places], earlier_lists[same_listeners]))


def _mean(values: Floats) -> float:
    """Mean of the values that are numbers; NaN if none is."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else float("nan")


class _Remarks:
    """Remarks with the nights that each is true of."""

    def __init__(self) -> None:
        self._nights: defaultdict[str, list[date]] = defaultdict(list)

    def add(self, text: str, night: date) -> None:
        """Make a remark on a night."""
        self._nights[text].append(night)

    def texts(self) -> list[str]:
        """Each remark once."""
        return [
            f"{text} ({days[0]}" + (f" and {len(days) - 1} more)" if days[1:] else ")")
            for text, days in self._nights.items()
        ]
