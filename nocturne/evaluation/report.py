"""A backtest as one page for people: plots, tables, whom it serves worst, and lists with titles."""

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from nocturne.core.pages import render_page
from nocturne.core.plotting import REFERENCE
from nocturne.evaluation import plots
from nocturne.evaluation.backtest import Backtest, ScoredNight
from nocturne.evaluation.metrics import accuracy, find_hits
from nocturne.evaluation.significance import EVERYONE

WORST = 10
_EXAMPLE_SHARES = (1.0, 0.5, 0.0)
"""Shares of the listeners, ordered by how well they are served, at which an example is taken."""

_COLOURS = ("#0d7d8c", "#5a8fd6", "#123a73", "#7a3fa0", "#1b7f4b")
_BASELINE_COLOURS = ("#6b7686", "#a9b2bf", "#c98a1b", "#b3261e", "#8a6d3b", "#d08fb0")


def backtest_page(backtest: Backtest) -> str:
    """One page of HTML that fetches nothing; the same bytes from the same backtest."""
    systems = list(backtest.means(f"ndcg@{backtest.top_k}")) or [backtest.against]
    colours = _choose_colours(systems, backtest)
    return render_page(
        "nocturne.evaluation",
        "report.html.jinja",
        title=f"Backtest, {backtest.dates[0]} to {backtest.dates[-1]}",
        backtest=backtest,
        systems=systems,
        ndcg=f"ndcg@{backtest.top_k}",
        verdict=verdict(backtest),
        table=_metric_table(backtest, systems),
        segments=_segment_table(backtest, systems),
        plots=_plots(backtest, systems, colours),
        worst=worst_served(backtest),
        examples=examples(backtest),
    )


def verdict(backtest: Backtest) -> str:
    """A sentence on the system that others are compared with: ahead of the best baseline, behind, or neither."""
    best, metric = backtest.best_baseline, f"ndcg@{backtest.top_k}"
    rows = [row for row in backtest.differences if (row.system, row.metric, row.segment) == (best, metric, EVERYONE)]
    if not rows:
        return "No baseline was asked for."
    [row] = rows
    ahead = "ahead of" if row.high < 0 else "behind" if row.low > 0 else "not distinguishable from"
    return (
        f"{backtest.against} is {ahead} the best baseline, {best}: NDCG@{backtest.top_k} {row.against_mean:.4f} and "
        f"{row.mean:.4f}, a difference between {-row.high:+.4f} and {-row.low:+.4f} (95 %)."
    )


@dataclass
class _ListenerScores:
    """A listener's scores on the nights so far.

    Attributes:
        ndcg: of the reference, by night.
        other_ndcg: of every other system, by night.
    """

    market: str | None
    items: int
    nights: int = 0
    relevant: int = 0
    hits: int = 0
    ndcg: list[float] = field(default_factory=list)
    other_ndcg: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def worst_served(backtest: Backtest, count: int = WORST) -> list[dict[str, Any]]:
    """Listeners whom the reference serves worst: lowest NDCG, then most relevant items.

    Returns:
        a row a listener, the id hashed; `best_other` is the system that serves them best, where one hits at all.
    """
    scores_by_user: dict[str, _ListenerScores] = {}
    for night in backtest.nights:
        if backtest.against in night.lists:
            _add_night(scores_by_user, night, backtest)
    order = sorted(scores_by_user.items(), key=lambda pair: (np.mean(pair[1].ndcg), -pair[1].relevant, pair[0]))
    return [_worst_row(user, scores) for user, scores in order[:count]]


def _add_night(scores_by_user: dict[str, _ListenerScores], night: ScoredNight, backtest: Backtest) -> None:
    held_out = night.held_out
    metric = f"ndcg@{backtest.top_k}"
    ndcg_by_system = {name: accuracy(lists, held_out.relevant)[metric] for name, lists in night.lists.items()}
    hits = find_hits(night.lists[backtest.against], held_out.relevant).sum(axis=1)
    relevant_counts = np.diff(held_out.relevant.indptr)
    for place, user in enumerate(held_out.user_ids.to_pylist()):
        new = _ListenerScores(held_out.markets[place], int(held_out.sizes[place]))
        scores = scores_by_user.setdefault(user, new)
        scores.nights += 1
        scores.relevant += int(relevant_counts[place])
        scores.hits += int(hits[place])
        scores.ndcg.append(float(ndcg_by_system[backtest.against][place]))
        for name, ndcg in ndcg_by_system.items():
            if name != backtest.against:
                scores.other_ndcg[name].append(float(ndcg[place]))


def _worst_row(user: str, scores: _ListenerScores) -> dict[str, Any]:
    means = {name: float(np.mean(values)) for name, values in scores.other_ndcg.items()}
    best = max(means, key=lambda name: (means[name], name), default=None)
    return {
        "listener": hash_listener(user),
        "market": scores.market or "unknown",
        "items_heard": scores.items,
        "nights": scores.nights,
        "relevant": scores.relevant,
        "hits": scores.hits,
        "ndcg": float(np.mean(scores.ndcg)),
        "best_other": f"{best}, {means[best]:.3f}" if best and means[best] > 0 else "none hits anything",
    }


def hash_listener(user_id: str) -> str:
    """A listener's id as a report may show it: the head of its SHA-256."""
    return sha256(user_id.encode()).hexdigest()[:12]


def examples(backtest: Backtest) -> list[dict[str, Any]]:
    """Three lists of the last night: of the best served listener, the one in the middle, and the worst served."""
    night = next(scored for scored in reversed(backtest.nights) if backtest.against in scored.lists)
    held_out, lists = night.held_out, night.lists[backtest.against]
    hits = find_hits(lists, held_out.relevant)
    ndcg = accuracy(lists, held_out.relevant)[f"ndcg@{backtest.top_k}"]
    order = np.lexsort((np.arange(len(ndcg)), np.diff(held_out.relevant.indptr), ndcg))
    chosen = dict.fromkeys(int(order[round(share * (len(order) - 1))]) for share in _EXAMPLE_SHARES)
    columns = {
        "title": held_out.catalogue["title"].to_pylist(),
        "creator": held_out.catalogue["creator"].to_pylist(),
        "content_type": held_out.content_types.tolist(),
    }
    ids = held_out.item_ids.to_pylist()

    def item_row(item: int) -> dict[str, str]:
        row = {name: values[item] or "" for name, values in columns.items()}
        return row | {"title": row["title"] or ids[item]}

    return [
        {
            "listener": hash_listener(held_out.user_ids[place].as_py()),
            "market": held_out.markets[place] or "unknown",
            "items_heard": int(held_out.sizes[place]),
            "ndcg": float(ndcg[place]),
            "night": held_out.night.run_date,
            "listed": [
                item_row(int(item)) | {"heard": bool(hit)}
                for item, hit in zip(lists[place], hits[place], strict=True)
                if item >= 0
            ],
            "then_heard": [
                item_row(int(item)) | {"listed": bool(item in lists[place])}
                for item in held_out.relevant[place].indices
            ],
        }
        for place in chosen
    ]


def _metric_table(backtest: Backtest, systems: list[str]) -> list[dict[str, Any]]:
    """Per system the mean of every metric, and the interval of its difference to the reference."""
    everyone = {(row.system, row.metric): row for row in backtest.differences if row.segment == EVERYONE}
    metrics = list(dict.fromkeys(metric for _, metric in everyone))
    means = {metric: backtest.means(metric) for metric in metrics}
    return [
        {
            "system": system,
            "baseline": system in backtest.baselines,
            "cells": [
                {"metric": metric, "mean": means[metric][system], "difference": everyone.get((system, metric))}
                for metric in metrics
            ],
        }
        for system in systems
        if metrics
    ]


def _segment_table(backtest: Backtest, systems: list[str]) -> list[dict[str, Any]]:
    """Per segment the mean NDCG of every system; those that differ from the reference with certainty are marked."""
    metric = f"ndcg@{backtest.top_k}"
    rows = {(row.segment, row.system): row for row in backtest.differences if row.metric == metric}
    segments = dict.fromkeys(segment for segment, _ in rows)
    table = []
    for segment in segments:
        means = backtest.means(metric, segment)
        cells = []
        for system in systems:
            row = rows.get((segment, system))
            sign = "" if row is None else "low" if row.high < 0 else "high" if row.low > 0 else ""
            cells.append({"mean": means.get(system), "sign": sign})
        listeners = max(row.listeners for (name, _), row in rows.items() if name == segment)
        table.append({"segment": segment, "listeners": listeners, "cells": cells})
    return table


def _plots(backtest: Backtest, systems: list[str], colours: dict[str, str]) -> dict[str, str]:
    if not backtest.differences:
        return {}
    ndcg = f"ndcg@{backtest.top_k}"
    panels = {
        metric: [row for row in backtest.differences if (row.metric, row.segment) == (metric, EVERYONE)]
        for metric in (ndcg, f"recall@{backtest.top_k}")
    }
    segments = dict.fromkeys(row.segment for row in backtest.differences)
    svgs = {
        "differences": plots.intervals(panels, colours),
        "segments": plots.dots({name: backtest.means(ndcg, name) for name in segments}, colours, ndcg),
    }
    if len(backtest.nights) > 1:
        by_night = {
            system: [
                float(accuracy(night.lists[system], night.held_out.relevant)[ndcg].mean())
                if system in night.lists
                else None
                for night in backtest.nights
            ]
            for system in systems
        }
        svgs["nights"] = plots.lines([str(day) for day in backtest.dates], by_night, colours)
    return svgs


def _choose_colours(systems: list[str], backtest: Backtest) -> dict[str, str]:
    """Blue for the reference, cold colours for the rest, warm ones and greys for baselines."""
    rest = [system for system in systems if system != backtest.against and system not in backtest.baselines]
    baselines = [system for system in systems if system != backtest.against and system in backtest.baselines]
    colours = {system: _COLOURS[place % len(_COLOURS)] for place, system in enumerate(rest)}
    colours |= {system: _BASELINE_COLOURS[place % len(_BASELINE_COLOURS)] for place, system in enumerate(baselines)}
    return {system: REFERENCE if system == backtest.against else colours[system] for system in systems}
