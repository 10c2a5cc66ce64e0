"""Published splits, scored by the pipeline's own training and ranking, beside the results of others on them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nocturne.core.list_arrays import Lists
from nocturne.core.sections import AlsSettings
from nocturne.core.settings import Settings, with_values
from nocturne.evaluation.splits import Split, fit, fit_settings, rank_listeners, score
from nocturne.training.race import Race

METRICS = ("recall@20", "recall@50", "ndcg@20", "ndcg@50")
_LONGEST = 50

GOWALLA = (29_858, 40_981)
"""Listeners and items of the split that `LEADERBOARD` was measured on."""

LEADERBOARD = {
    "MF-BPR": (0.1627, 0.1378),
    "ENMF": (0.1523, 0.1315),
    "EASE": (0.1765, 0.1467),
    "LightGCN": (0.1820, 0.1547),
    "GF-CF": (0.1849, 0.1518),
    "UltraGCN": (0.1862, 0.1580),
    "SimpleX": (0.1872, 0.1557),
}
"""Recall@20 (of the relevant) and NDCG@20 on test: the BARS leaderboard of candidate matching (reczoo)."""


@dataclass(frozen=True)
class SplitResult:
    """Lists and metrics of a split, and what they took.

    Attributes:
        lists: positions in the split's items; shape (listeners, top_k).
        metrics: on test.
        seconds: of the race, of training and of ranking.
        recipe: that was trained.
        race: that chose it; empty if settings did.
    """

    lists: Lists
    metrics: dict[str, float]
    seconds: dict[str, float]
    recipe: AlsSettings
    race: Race


def evaluate_split(split: Split, settings: Settings) -> SplitResult:
    """Train on train and valid, rank every listener as a night would, and score once on test.

    The rows that training and ranking get are those that a night writes to `interactions`; landing and cleaning
    them, and Spark, are left out, for they change nothing here.

    Args:
        settings: lists are made at least 50 long.
    """
    settings = with_values(settings, {"ranking.top_k": max(settings.ranking.top_k, _LONGEST)})
    heard = split.train_and_valid
    started = time.monotonic()
    settings, race = fit_settings(heard, settings)
    raced = time.monotonic()
    model = fit(heard, settings)
    trained = time.monotonic()
    lists = rank_listeners(model, heard, settings)
    ends = {"race": raced, "train_als": trained, "rank_users": time.monotonic()}
    seconds = {
        name: round(end - begin, 1) for (name, end), begin in zip(ends.items(), (started, raced, trained), strict=True)
    }
    return SplitResult(lists, score(lists, split.test, METRICS), seconds, settings.als, race)


def leaderboard_rows(split: Split, metrics: Mapping[str, float]) -> list[dict[str, object]]:
    """Our metrics and, where the split is that of the leaderboard, those of others; best recall first."""
    ours: dict[str, object] = {"model": "nocturne", **metrics}
    others = LEADERBOARD if (len(split.users), len(split.items)) == GOWALLA else {}
    rows = [{"model": name, "recall@20": recall, "ndcg@20": ndcg} for name, (recall, ndcg) in others.items()]
    names = ("model", *metrics)
    ordered = sorted([ours, *rows], key=lambda row: -float(str(row["recall@20"])))
    return [{name: row.get(name) for name in names} for row in ordered]


def lists_table(lists: Lists, split: Split) -> pa.Table:
    """Lists with the ids of the files: user_id, and items best first."""
    filled = lists >= 0
    items = pa.array(split.items).take(pa.array(lists[filled]))
    offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).astype(np.int32)
    return pa.table({"user_id": pa.array(split.users), "items": pa.ListArray.from_arrays(pa.array(offsets), items)})
