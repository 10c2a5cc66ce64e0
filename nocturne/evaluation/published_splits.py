"""Published splits, scored through the pipeline's own stages, beside the results of others on them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import Settings
from nocturne.evaluation.list_arrays import Lists, lists_array
from nocturne.evaluation.splits import Split, score
from nocturne.flow import NIGHTLY
from nocturne.ingestion.importers.gowalla import import_gowalla
from nocturne.pipeline.runner import run_stage, working_on
from nocturne.storage import tables

DAY = date(2011, 1, 1)
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
    """Lists, metrics and times of a night of a split.

    Attributes:
        lists: positions in the split's items; shape (listeners, top_k).
        metrics: on test.
        seconds: of every stage.
    """

    lists: Lists
    metrics: dict[str, float]
    seconds: dict[str, float]


def evaluate_split(path: Path, split: Split, settings: Settings, folder: Path) -> SplitResult:
    """One night of train and valid: landed, cleaned, trained on, ranked; then scored once on test.

    Args:
        path: where the split was read from.
        settings: lists are made at least 50 long.
        folder: empty; the landing zone and the warehouse are made in it.
    """
    ranking = settings.ranking.model_copy(update={"top_k": max(settings.ranking.top_k, _LONGEST)})
    settings = settings.model_copy(update={"ranking": ranking})
    import_gowalla(path, folder / "landing", DAY)
    night = Night(
        Warehouse(str(folder / "warehouse"), settings), DAY, str(folder / "landing"), f"lmdb:{folder / 'cache'}"
    )
    seconds = {}
    with working_on([night], "night") as (spark, (tonight,)):
        for stage in NIGHTLY[:-1]:
            started = time.monotonic()
            run_stage(spark, tonight, stage)
            seconds[stage.name] = round(time.monotonic() - started, 1)
    rows = tables.night_rows(night, "ranked_lists", ["user_id", "items"])
    lists = lists_array(rows, pa.array(split.users), pa.array(split.items), ranking.top_k)
    return SplitResult(lists, score(lists, split.test, METRICS), seconds)


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
