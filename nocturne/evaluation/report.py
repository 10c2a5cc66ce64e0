"""A backtest as one page for people: plots, tables, whom it serves worst, and lists with titles."""

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from nocturne.core.pages import page as whole_page
from nocturne.evaluation import plots
from nocturne.evaluation.backtest import Backtest, ScoredNight
from nocturne.evaluation.metrics import accuracy, hits_of
from nocturne.evaluation.significance import EVERYONE
from nocturne.evaluation.templates import render

WORST = 10
_SEEDED_EXAMPLES = (1.0, 0.5, 0.0)
"""Which of the listeners, in order of how well they are served, are shown."""

_COLOURS = ("#0d7d8c", "#5a8fd6", "#123a73", "#7a3fa0", "#1b7f4b")
_OF_BASELINES = ("#6b7686", "#a9b2bf", "#c98a1b", "#b3261e", "#8a6d3b", "#d08fb0")

_STYLE = """
svg { max-width: 100%; height: auto } .reference { background: #eef3fa } .heard { color: #1b7f4b; font-weight: 600 }
.low { color: #b3261e } .high { color: #1b7f4b } small { color: #6b7686; white-space: nowrap }
.wide { overflow-x: auto }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem } ol { margin: .3rem 0; padding-left: 1.6rem }
"""


def page(found: Backtest) -> str:
    """One page of HTML that fetches nothing; the same bytes from the same backtest."""
    systems = list(found.means(f"ndcg@{found.top_k}")) or [found.against]
    colours = _colours_of(systems, found)
    body = render(
        "report.html.jinja",
        found=found,
        systems=systems,
        ndcg=f"ndcg@{found.top_k}",
        verdict=verdict(found),
        table=_metric_table(found, systems),
        segments=_segment_table(found, systems),
        plots=_plots(found, systems, colours),
        worst=worst_served(found),
        examples=examples(found),
    )
    return whole_page(f"Backtest, {found.dates[0]} to {found.dates[-1]}", body, _STYLE)


def verdict(found: Backtest) -> str:
    """How the system that others are compared with stands against the best baseline, in a sentence."""
    best, metric = found.best_baseline, f"ndcg@{found.top_k}"
    rows = [row for row in found.differences if (row.system, row.metric, row.segment) == (best, metric, EVERYONE)]
    if not rows:
        return "No baseline was asked for."
    [row] = rows
    ahead = "ahead of" if row.high < 0 else "behind" if row.low > 0 else "not distinguishable from"
    return (
        f"{found.against} is {ahead} the best baseline, {best}: NDCG@{found.top_k} {row.against_mean:.4f} and "
        f"{row.mean:.4f}, a difference between {-row.high:+.4f} and {-row.low:+.4f} (95 %)."
    )


@dataclass
class _Served:
    market: str | None
    items: int
    nights: int = 0
    relevant: int = 0
    hits: int = 0
    ndcg: list[float] = field(default_factory=list)
    others: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def worst_served(found: Backtest, count: int = WORST) -> list[dict[str, Any]]:
    """Those whom the reference serves worst: lowest NDCG, then most relevant items.

    Returns:
        a row a listener, the id hashed; `best_other` is the system that serves them best, where one hits at all.
    """
    served: dict[str, _Served] = {}
    for night in found.nights:
        if found.against in night.lists:
            _add_night(served, night, found)
    order = sorted(served.items(), key=lambda pair: (np.mean(pair[1].ndcg), -pair[1].relevant, pair[0]))
    return [_worst_row(user, each) for user, each in order[:count]]


def _add_night(served: dict[str, _Served], night: ScoredNight, found: Backtest) -> None:
    held_out = night.held_out
    metric = f"ndcg@{found.top_k}"
    of_system = {name: accuracy(lists, held_out.relevant)[metric] for name, lists in night.lists.items()}
    hits = hits_of(night.lists[found.against], held_out.relevant).sum(axis=1)
    wanted = np.diff(held_out.relevant.indptr)
    for place, user in enumerate(held_out.user_ids.to_pylist()):
        each = served.setdefault(user, _Served(held_out.markets[place], int(held_out.sizes[place])))
        each.nights += 1
        each.relevant += int(wanted[place])
        each.hits += int(hits[place])
        each.ndcg.append(float(of_system[found.against][place]))
        for name, values in of_system.items():
            if name != found.against:
                each.others[name].append(float(values[place]))


def _worst_row(user: str, each: _Served) -> dict[str, Any]:
    means = {name: float(np.mean(values)) for name, values in each.others.items()}
    best = max(means, key=lambda name: (means[name], name), default=None)
    return {
        "listener": hashed(user),
        "market": each.market or "unknown",
        "items_heard": each.items,
        "nights": each.nights,
        "relevant": each.relevant,
        "hits": each.hits,
        "ndcg": float(np.mean(each.ndcg)),
        "best_other": f"{best}, {means[best]:.3f}" if best and means[best] > 0 else "none hits anything",
    }


def hashed(user_id: str) -> str:
    """A listener's id as a report may show it: the head of its SHA-256."""
    return sha256(user_id.encode()).hexdigest()[:12]


def examples(found: Backtest) -> list[dict[str, Any]]:
    """Three lists of the last night: of the best served listener, the one in the middle, and the worst served."""
    night = next(each for each in reversed(found.nights) if found.against in each.lists)
    held_out, lists = night.held_out, night.lists[found.against]
    hits = hits_of(lists, held_out.relevant)
    ndcg = accuracy(lists, held_out.relevant)[f"ndcg@{found.top_k}"]
    order = np.lexsort((np.arange(len(ndcg)), np.diff(held_out.relevant.indptr), ndcg))
    chosen = dict.fromkeys(int(order[round(share * (len(order) - 1))]) for share in _SEEDED_EXAMPLES)
    facts = {
        "title": held_out.catalogue["title"].to_pylist(),
        "creator": held_out.catalogue["creator"].to_pylist(),
        "content_type": held_out.content_types.tolist(),
    }
    ids = held_out.item_ids.to_pylist()

    def named(item: int) -> dict[str, str]:
        known = {name: values[item] or "" for name, values in facts.items()}
        return known | {"title": known["title"] or ids[item]}

    return [
        {
            "listener": hashed(held_out.user_ids[place].as_py()),
            "market": held_out.markets[place] or "unknown",
            "items_heard": int(held_out.sizes[place]),
            "ndcg": float(ndcg[place]),
            "night": held_out.night.run_date,
            "listed": [
                named(int(item)) | {"heard": bool(hit)}
                for item, hit in zip(lists[place], hits[place], strict=True)
                if item >= 0
            ],
            "then_heard": [
                named(int(item)) | {"listed": bool(item in lists[place])} for item in held_out.relevant[place].indices
            ],
        }
        for place in chosen
    ]


def _metric_table(found: Backtest, systems: list[str]) -> list[dict[str, Any]]:
    """Per system the mean of every metric, and the interval of its difference to the reference."""
    everyone = {(row.system, row.metric): row for row in found.differences if row.segment == EVERYONE}
    metrics = list(dict.fromkeys(metric for _, metric in everyone))
    means = {metric: found.means(metric) for metric in metrics}
    return [
        {
            "system": system,
            "baseline": system in found.baselines,
            "cells": [
                {"metric": metric, "mean": means[metric][system], "difference": everyone.get((system, metric))}
                for metric in metrics
            ],
        }
        for system in systems
        if metrics
    ]


def _segment_table(found: Backtest, systems: list[str]) -> list[dict[str, Any]]:
    """Per segment the mean NDCG of every system; those that differ from the reference with certainty are marked."""
    metric = f"ndcg@{found.top_k}"
    rows = {(row.segment, row.system): row for row in found.differences if row.metric == metric}
    segments = dict.fromkeys(segment for segment, _ in rows)
    table = []
    for segment in segments:
        means = found.means(metric, segment)
        cells = []
        for system in systems:
            row = rows.get((segment, system))
            sign = "" if row is None else "low" if row.high < 0 else "high" if row.low > 0 else ""
            cells.append({"mean": means.get(system), "sign": sign})
        listeners = max(row.listeners for (name, _), row in rows.items() if name == segment)
        table.append({"segment": segment, "listeners": listeners, "cells": cells})
    return table


def _plots(found: Backtest, systems: list[str], colours: dict[str, str]) -> dict[str, str]:
    if not found.differences:
        return {}
    ndcg = f"ndcg@{found.top_k}"
    panels = {
        metric: [row for row in found.differences if (row.metric, row.segment) == (metric, EVERYONE)]
        for metric in (ndcg, f"recall@{found.top_k}")
    }
    segments = dict.fromkeys(row.segment for row in found.differences)
    drawn = {
        "differences": plots.intervals(panels, colours),
        "segments": plots.dots({name: found.means(ndcg, name) for name in segments}, colours, ndcg),
    }
    if len(found.nights) > 1:
        by_night = {
            system: [
                float(accuracy(night.lists[system], night.held_out.relevant)[ndcg].mean())
                if system in night.lists
                else None
                for night in found.nights
            ]
            for system in systems
        }
        drawn["nights"] = plots.lines([str(day) for day in found.dates], by_night, colours)
    return drawn


def _colours_of(systems: list[str], found: Backtest) -> dict[str, str]:
    """Blue for the reference, cold colours for the rest, warm ones and greys for baselines."""
    rest = [system for system in systems if system != found.against and system not in found.baselines]
    baselines = [system for system in systems if system != found.against and system in found.baselines]
    colours = {system: _COLOURS[place % len(_COLOURS)] for place, system in enumerate(rest)}
    colours |= {system: _OF_BASELINES[place % len(_OF_BASELINES)] for place, system in enumerate(baselines)}
    return {system: plots.REFERENCE if system == found.against else colours[system] for system in systems}
