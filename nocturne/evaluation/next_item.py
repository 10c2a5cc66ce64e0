"""Next-item evaluation: every listener's list against the one item that they heard next, all items ranked."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.csr import CsrRows
from nocturne.core.list_arrays import Lists
from nocturne.core.settings import Settings, with_values
from nocturne.evaluation import baselines
from nocturne.evaluation.baselines import Requests
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.sequences import Sequences
from nocturne.evaluation.significance import Difference, differences, summary_rows
from nocturne.evaluation.splits import fit, fit_settings, rank_listeners

PARTS = {"valid": 2, "test": 1}
"""Events withheld at the end of each sequence, the first of which is to be found."""

OURS = "nocturne"
RECENT = 5
METRICS = ("hit_rate", "ndcg")


@dataclass(frozen=True)
class NextItems:
    """The systems' metrics on one part.

    Attributes:
        listeners: how many there are, each with one item to find.
        unreachable: of these items, those that their listener had heard already, or that nobody had: no system lists
            the former, and none knows the latter.
        means: by system and metric.
        differences: of every other system to ours.
        seconds: that the race and each system took.
        als: the recipe that the race chose for ours.
    """

    part: str
    listeners: int
    unreachable: int
    means: dict[str, dict[str, float]]
    differences: list[Difference]
    seconds: dict[str, float]
    als: dict[str, Any]


def evaluate_next_item(sequences: Sequences, settings: Settings, part: str, top_k: int) -> NextItems:
    """Train on all events before those withheld, and look for the next one in every system's lists.

    Nobody gets what they have heard. Ours is of the recipe that a race chooses, trained and ranked as at night.

    Args:
        part: valid, or test, for which the event of valid is learned from too.
    """
    known = sequences.without_last(PARTS[part])
    plays, target = known.plays(), sequences.without_last(PARTS[part] - 1).last(1)
    order, started = CsrRows(known.offsets, known.heard.astype(np.int32)), time.monotonic()
    settings, _ = fit_settings(plays, settings, order)
    scores, seconds = {}, {"race": round(time.monotonic() - started, 1)}
    for name, rank in _systems(known, plays, order, settings).items():
        started = time.monotonic()
        found = accuracy(rank(top_k), target)
        scores[name] = {f"{metric}@{top_k}": found[f"{metric}@{top_k}"] for metric in METRICS}
        seconds[name] = round(time.monotonic() - started, 1)
    known_items = np.bincount(plays.indices, minlength=plays.shape[1]) > 0
    repeated = np.diff(target.multiply(plays > 0).tocsr().indptr) > 0
    return NextItems(
        part=part,
        listeners=len(sequences.users),
        unreachable=int((repeated | ~known_items[target.indices]).sum()),
        means={name: {metric: float(values.mean()) for metric, values in of.items()} for name, of in scores.items()},
        differences=differences(scores, OURS, {}),
        seconds=seconds,
        als=settings.als.model_dump(mode="json"),
    )


def summary(result: NextItems) -> list[dict[str, object]]:
    """A row a system: its means, and the intervals of their differences to ours."""
    return summary_rows(result.means, result.differences)


def _systems(
    known: Sequences, plays: csr_matrix, order: CsrRows, settings: Settings
) -> Mapping[str, Callable[[int], Lists]]:
    """Makers of lists of a length, by name, ours first."""
    requests = Requests.for_everyone(plays)

    def ours(top_k: int) -> Lists:
        recipe = with_values(settings, {"ranking.top_k": top_k})
        return rank_listeners(fit(plays, recipe, order), plays, recipe, order)

    def neighbours_of_last(events: int, top_k: int) -> Lists:
        return baselines.item_knn(plays, requests, top_k, evidence=known.last(events))

    return {
        OURS: ours,
        "popular": partial(baselines.popular, plays, requests),
        f"item-knn, last {RECENT}": partial(neighbours_of_last, RECENT),
        "item-knn, last item": partial(neighbours_of_last, 1),
        "sequential rules": partial(baselines.sequential_rules, plays, known.offsets, known.heard, requests),
    }
