"""A published split through the pipeline's own stages, beside what others have published on it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nocturne.core.night import Night
from nocturne.core.settings import Settings
from nocturne.evaluation.splits import Split, score
from nocturne.flow import NIGHTLY
from nocturne.ingestion.importers.gowalla import import_gowalla
from nocturne.pipeline.runner import run_stage, working_on
from nocturne.storage import tables

DAY = date(2011, 1, 1)
METRICS = ("recall@20", "recall@50", "ndcg@20", "ndcg@50")
_LONGEST = 50

GOWALLA = (29_858, 40_981)
"""Listeners and items of the split that `PUBLISHED` was measured on."""

PUBLISHED = {
    "MF-BPR": (0.1627, 0.1378),
    "ENMF": (0.1523, 0.1315),
    "EASE": (0.1765, 0.1467),
    "LightGCN": (0.1820, 0.1547),
    "GF-CF": (0.1849, 0.1518),
    "UltraGCN": (0.1862, 0.1580),
    "SimpleX": (0.1872, 0.1557),
}
"""Recall@20 (of the relevant) and NDCG@20 on test: the BARS leaderboard of candidate matching (reczoo)."""

Lists = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """What a split came to.

    Attributes:
        lists: positions in the split's items, best first, -1 where a list is short; shape (listeners, top_k).
        metrics: on test.
        seconds: of every stage.
    """

    lists: Lists
    metrics: dict[str, float]
    seconds: dict[str, float]


def evaluate(path: Path, split: Split, settings: Settings, folder: Path) -> Outcome:
    """One night of train and valid: landed, cleaned, trained on, ranked; then scored once on test.

    Args:
        path: where the split was read from.
        settings: lists are made at least 50 long.
        folder: empty; the landing zone and the warehouse are made in it.
    """
    ranking = settings.ranking.model_copy(update={"top_k": max(settings.ranking.top_k, _LONGEST)})
    settings = settings.model_copy(update={"ranking": ranking})
    import_gowalla(path, folder / "landing", DAY)
    night = Night(DAY, str(folder / "landing"), str(folder / "warehouse"), f"lmdb:{folder / 'cache'}", settings)
    seconds = {}
    with working_on([night], "night") as (spark, (tonight,)):
        for stage in NIGHTLY[:-1]:
            started = time.monotonic()
            run_stage(spark, tonight, stage)
            seconds[stage.name] = round(time.monotonic() - started, 1)
    lists = _lists(tables.night_rows(night, "ranked_lists", ["user_id", "items"]), split, ranking.top_k)
    return Outcome(lists, score(lists, split.test, METRICS), seconds)


def beside(split: Split, metrics: Mapping[str, float]) -> list[dict[str, object]]:
    """Ours and, where the split is theirs, the published ones, best recall first."""
    ours: dict[str, object] = {"model": "nocturne", **metrics}
    others = PUBLISHED if (len(split.users), len(split.items)) == GOWALLA else {}
    rows = [{"model": name, "recall@20": recall, "ndcg@20": ndcg} for name, (recall, ndcg) in others.items()]
    names = ("model", *metrics)
    ordered = sorted([ours, *rows], key=lambda row: -float(str(row["recall@20"])))
    return [{name: row.get(name) for name in names} for row in ordered]


def lists_table(lists: Lists, split: Split) -> pa.Table:
    """Lists with the ids of the files: user_id, and items best first."""
    there = lists >= 0
    flat = pa.array(split.items).take(pa.array(lists[there]))
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    return pa.table({"user_id": pa.array(split.users), "items": pa.ListArray.from_arrays(pa.array(ends), flat)})


def _lists(rows: pa.Table, split: Split, top_k: int) -> Lists:
    user_of = {user: place for place, user in enumerate(split.users)}
    item_of = {item: place for place, item in enumerate(split.items)}
    held = rows["items"].combine_chunks()
    lengths = np.diff(held.offsets.to_numpy())
    lists = np.full((len(split.users), top_k), -1, dtype=np.int64)
    row = np.repeat([user_of[user] for user in rows["user_id"].to_pylist()], lengths)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    lists[row, place] = [item_of[item] for item in held.flatten().field("item_id").to_pylist()]
    return lists
