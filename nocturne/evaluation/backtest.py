"""Rolling nights: what each system would have listed, held against what was then heard.

Every system ranks under the same rules. What is relevant to a listener on a night: the distinct items that they
listened to on the days after it, had not heard by it, and could have been listed on it. A listener's nights are
averaged first, so that listeners are the independent units of every interval.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from nocturne.core.errors import SettingsError
from nocturne.core.night import Night
from nocturne.evaluation import metrics
from nocturne.evaluation.baselines import EASE_ITEMS, Lists, left_out_by_ease
from nocturne.evaluation.held_out import HeldOut, Past, held_out_of
from nocturne.evaluation.significance import EVERYONE, Difference, Mask, differences
from nocturne.evaluation.systems import System, of_model
from nocturne.storage.warehouse import settled
from nocturne.training.model import Model

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int, str], None]
"""Told how many lists of nights are made, of how many, and what comes next."""

LIGHT, HEAVY = 10, 50
"""Items in a listener's row from which they are no longer new, and from which they are heavy."""

SMALLEST_SEGMENT = 10
"""Listeners that a segment needs: the interval of fewer says nothing."""


@dataclass(frozen=True)
class ScoredNight:
    """A night and the lists of every system that has some for it; shape (listeners, top_k)."""

    held_out: HeldOut
    lists: dict[str, Lists]


@dataclass(frozen=True)
class Backtest:
    """What rolling nights came to.

    Attributes:
        against: the system that the others are compared with.
        baselines: which of the systems are baselines.
        differences: of every other system to it, of all listeners and by segment.
        beyond: per system what there is to say of its lists beside accuracy, means over the nights.
        remarks: what a reader has to know.
    """

    nights: tuple[ScoredNight, ...]
    days: int
    top_k: int
    against: str
    baselines: tuple[str, ...]
    differences: list[Difference]
    beyond: dict[str, dict[str, float | None]]
    remarks: list[str]

    @property
    def dates(self) -> list[date]:
        """The nights, in order."""
        return [scored.held_out.night.run_date for scored in self.nights]

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
    nights: Sequence[Night], models: Mapping[str, Model], against: str, days: int, top_k: int = 20
) -> list[Difference]:
    """How much better models rank than one of them, on some nights.

    Nights before any of the models was trained are left out: it would know what was heard then.

    Args:
        models: by the name that the differences shall give them.
        days: nights after each whose listens are the truth.

    Raises:
        SettingsError: on no night there is anything to compare.
    """
    since = max(model.anchor_date for model in models.values())
    held_out = [held_out_of(settled(night), days) for night in nights if night.run_date >= since]
    scored = [
        ScoredNight(each, {name: _lists_of(of_model(model, name), each, top_k) for name, model in models.items()})
        for each in held_out
        if len(each.user_ids)
    ]
    if not scored:
        raise SettingsError(
            "there is no night on which the models can be compared",
            where=nights[0].warehouse if nights else "",
            found=", ".join(str(night.run_date) for night in nights) or "no night",
            expected=f"nights from {since}, when the newest of the models was trained, with listens in the {days} "
            "days after them",
            fix="compare on later nights, or with fewer days after them",
        )
    return compare(scored, against)


def backtest(
    nights: Sequence[Night],
    systems: Sequence[System],
    against: str,
    past: Past,
    days: int,
    top_k: int,
    progress: Progress = lambda _done, _of, _next: None,
    hold_out: Callable[[Night, int], HeldOut] = held_out_of,
) -> Backtest:
    """Score every system on every night.

    Args:
        against: name of the system that the others are compared with.
        past: the warehouse's listens, up to the last of the nights at least.
        hold_out: reads a night and the truth of so many days after it.

    Raises:
        SettingsError: nobody heard anything new on any night, or `against` has no lists.
    """
    scored, remarks = [], _Remarks()
    for number, night in enumerate(nights):
        held_out = hold_out(night, days)
        if not len(held_out.user_ids):
            remarks.add("nobody heard anything new after it", night.run_date)
            continue
        lists = {}
        for place, system in enumerate(systems):
            progress(number * len(systems) + place, len(nights) * len(systems), f"{night.run_date}, {system.name}")
            made = system.rank(held_out, top_k)
            if made is None:
                remarks.add(f"{system.name} is left out: {system.without}", night.run_date)
            else:
                lists[system.name] = made
        if "ease" in lists and left_out_by_ease(past.plays(held_out)):
            remarks.add(f"EASE learns the {EASE_ITEMS:,} most popular items only", night.run_date)
        scored.append(ScoredNight(held_out, lists))
    if not any(against in each.lists for each in scored):
        raise SettingsError(
            "there is nothing to compare with",
            where=nights[0].warehouse,
            found="; ".join(remarks.texts()) or "no lists",
            expected=f"lists of {against}, and listeners who heard something new",
            fix="choose other nights with --from and --to, more --days, or another --model or --recipe",
        )
    return Backtest(
        nights=tuple(scored),
        days=days,
        top_k=top_k,
        against=against,
        baselines=tuple(system.name for system in systems if system.baseline),
        differences=compare(scored, against),
        beyond=beyond_accuracy(scored, past),
        remarks=remarks.texts(),
    )


def compare(nights: Sequence[ScoredNight], against: str) -> list[Difference]:
    """Differences of every system to one, on the nights for which both have lists; of all and by segment.

    Segments: size of the row (new, light, heavy), market, both as on a listener's first night; and content type, for
    which only the relevant items of that type count.
    """
    on = {
        name: tuple(place for place, each in enumerate(nights) if name in each.lists and against in each.lists)
        for name in dict.fromkeys(name for each in nights for name in each.lists)
    }
    found: list[Difference] = []
    for places in dict.fromkeys(places for name, places in on.items() if places and name != against):
        names = [name for name, theirs in on.items() if theirs == places or name == against]
        some = [nights[place] for place in places]
        scores, first = _averaged(some, names, lambda held_out: held_out.relevant)
        found += differences(scores, against, _segments(some, first))
        for kind in sorted({kind for each in some for kind in each.held_out.content_types.tolist()}):
            of_kind, first = _averaged(some, names, lambda held_out, kind=kind: _of_type(held_out, kind))  # type: ignore[misc]
            if len(first) >= SMALLEST_SEGMENT:
                rows = differences(of_kind, against, {})
                found += [replace(row, segment=f"content type {kind}") for row in rows]
    order = {name: place for place, name in enumerate(on)}
    return sorted(found, key=lambda row: order[row.system])


def beyond_accuracy(nights: Sequence[ScoredNight], past: Past) -> dict[str, dict[str, float | None]]:
    """Coverage, Gini, mean popularity, novelty, diversity and churn of every system's lists, means over the nights.

    Churn is that between a night and the one scored before it, of the listeners scored on both; None with one night.
    """
    found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    before: dict[str, tuple[HeldOut, Lists]] = {}
    for each in nights:
        held_out = each.held_out
        plays = past.plays(held_out)
        heard_by = np.bincount(plays.indices, minlength=plays.shape[1]).astype(np.float64)
        for name, lists in each.lists.items():
            of_system = found[name]
            of_system["coverage"].append(metrics.coverage(lists, held_out.listable))
            of_system["gini"].append(metrics.gini(lists, held_out.listable))
            of_system["popularity"].append(_mean(metrics.mean_popularity(lists, heard_by)))
            of_system["novelty"].append(_mean(metrics.novelty(lists, heard_by, plays.shape[0])))
            of_system["diversity"].append(_mean(metrics.diversity(lists, held_out.labels)))
            if name in before:
                of_system["churn"].append(_churn(held_out, lists, *before[name]))
            before[name] = held_out, lists
    names = ("coverage", "gini", "popularity", "novelty", "diversity", "churn")
    return {
        system: {name: _mean(np.array(values[name])) if values[name] else None for name in names}
        for system, values in found.items()
    }


def summary(found: Backtest) -> list[dict[str, object]]:
    """A row per system: recall and NDCG of all listeners, and the intervals of their differences."""
    rows: list[dict[str, object]] = []
    metrics_shown = [f"{name}@{found.top_k}" for name in ("recall", "ndcg")]
    means = {metric: found.means(metric) for metric in metrics_shown}
    listeners = {row.system: row.listeners for row in found.differences if row.segment == EVERYONE}
    listeners[found.against] = max(listeners.values(), default=0)
    everyone = {(row.system, row.metric): row for row in found.differences if row.segment == EVERYONE}
    for system in dict.fromkeys([found.against, *(row.system for row in found.differences)]):
        row: dict[str, object] = {"system": system, "listeners": listeners[system]}
        for metric in metrics_shown:
            difference = everyone.get((system, metric))
            row[metric] = f"{means[metric][system]:.4f}" if system in means[metric] else ""
            row[f"{metric} difference"] = f"{difference.low:+.4f} to {difference.high:+.4f}" if difference else ""
        rows.append(row)
    return rows


def _lists_of(system: System, held_out: HeldOut, top_k: int) -> Lists:
    lists = system.rank(held_out, top_k)
    assert lists is not None
    return lists


def _averaged(
    nights: Sequence[ScoredNight], names: Sequence[str], relevant_of: Callable[[HeldOut], csr_matrix]
) -> tuple[dict[str, dict[str, Floats]], list[tuple[int, int]]]:
    """Mean over a listener's nights of every metric of every system.

    Returns:
        by system and metric an array of shape (listeners,); and of each listener the first night and place in it.
    """
    places: dict[str, int] = {}
    first: list[tuple[int, int]] = []
    of_row: list[int] = []
    values: dict[str, dict[str, list[Floats]]] = {name: defaultdict(list) for name in names}
    for number, each in enumerate(nights):
        relevant = relevant_of(each.held_out)
        scored = np.flatnonzero(np.diff(relevant.indptr))
        for place, user in zip(scored.tolist(), each.held_out.user_ids.take(scored).to_pylist(), strict=True):
            if user not in places:
                places[user] = len(first)
                first.append((number, place))
            of_row.append(places[user])
        for name in names:
            for metric, found in metrics.accuracy(each.lists[name][scored], relevant[scored]).items():
                values[name][metric].append(found)
    counts = np.bincount(of_row, minlength=len(first))
    return {
        name: {
            metric: np.bincount(of_row, np.concatenate(parts), len(first)) / counts for metric, parts in each.items()
        }
        for name, each in values.items()
    }, first


def _segments(nights: Sequence[ScoredNight], first: Sequence[tuple[int, int]]) -> dict[str, Mask]:
    sizes = np.array([nights[number].held_out.sizes[place] for number, place in first])
    markets = np.array([nights[number].held_out.markets[place] or "unknown" for number, place in first])
    found = {
        f"new, under {LIGHT} items": sizes < LIGHT,
        f"light, {LIGHT} to {HEAVY - 1} items": (sizes >= LIGHT) & (sizes < HEAVY),
        f"heavy, {HEAVY} items or more": sizes >= HEAVY,
        **{f"market {market}": markets == market for market in sorted(set(markets.tolist()))},
    }
    return {name: mask for name, mask in found.items() if mask.sum() >= SMALLEST_SEGMENT}


def _of_type(held_out: HeldOut, kind: str) -> csr_matrix:
    """What is relevant and of a content type."""
    relevant = held_out.relevant
    kept = csr_matrix((relevant.data.copy(), relevant.indices.copy(), relevant.indptr.copy()), relevant.shape)
    kept.data[held_out.content_types[kept.indices] != kind] = 0
    kept.eliminate_zeros()
    return kept


def _churn(held_out: HeldOut, lists: Lists, earlier: HeldOut, earlier_lists: Lists) -> float:
    places = {user: place for place, user in enumerate(earlier.user_ids.to_pylist())}
    users = held_out.user_ids.to_pylist()
    both = np.array([place for place, user in enumerate(users) if user in places], dtype=np.int64)
    theirs = np.array([places[users[place]] for place in both], dtype=np.int64)
    return _mean(metrics.churn(lists[both], earlier_lists[theirs]))


def _mean(values: Floats) -> float:
    """Mean of what is there; NaN of nothing."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


class _Remarks:
    """Remarks, each with the nights that it is true of."""

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
