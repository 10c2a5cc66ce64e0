"""Profiles of `models` and `item_factors`: the model that lists depend on, whole, fresh and finite."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.model_transitions import ModelRecord
from nocturne.validation.profiles.arithmetic import Profile, repeated, share, total
from nocturne.validation.profiles.model_items import model_items

_EVIDENCE = (("neighbours", "similarities"), ("predecessors", "predecessor_weights"))
"""Columns of items and of their weights, of which the largest of all is 1."""


def live_models(night: Night) -> list[ModelRecord]:
    """The models live on the night: one when all is well, none before anyone has listened."""
    return [ModelRecord.from_row(row) for row in tables.night_rows(night, "models").to_pylist()]


def models(night: Night) -> Profile:
    """Of the model live on the night."""
    live = live_models(night)
    if len(live) != 1:
        needed = bool(live) or tables.count(night, "interactions") > 0
        unknown = ("model_age_days", "not_finite", "loss_rise", "listeners", "items", "entries")
        return {"live_models": float(len(live)) if needed else None, **dict.fromkeys(unknown)}
    model = live[0]
    losses = model.losses
    # Of a network one epoch's loss may be above the one before: other items are drawn.
    steps = pairwise(losses) if model.family == "als" else [(losses[0], losses[-1])]
    rises = [later / earlier - 1 for earlier, later in steps if earlier > 0 and math.isfinite(later)]
    return {
        "live_models": 1,
        "model_age_days": (night.run_date - model.run_date).days,
        "not_finite": sum(not math.isfinite(number) for number in (*losses, *model.spectrum)),
        "loss_rise": max(rises, default=0.0),
        "listeners": model.listeners,
        "items": model.items,
        "entries": model.entries,
    }


def item_factors(night: Night) -> Profile:
    """Of the factors of the live model."""
    columns = ["item_index", "item_id", "factors", *(name for pair in _EVIDENCE for name in pair)]
    rows = tables.night_rows(night, "item_factors", columns)
    live = live_models(night)
    items, length = 0, 0
    if live:
        items, length = live[0].items, _width(live[0])
    wrong_length = pc.not_equal(pc.list_value_length(rows["factors"]), length)
    norms = np.concatenate([_norms(chunk) for chunk in rows["factors"].chunks] or [np.empty(0)])
    finite = norms[np.isfinite(norms)]
    usual = float(np.median(finite)) if len(finite) else 0.0
    return {
        "unlike_model": abs(rows.num_rows - items),
        "duplicate_items": repeated(rows["item_id"]) + repeated(rows["item_index"]),
        "unlike_index": _unlike_index(night, rows),
        "wrong_length": pc.sum(wrong_length).as_py() or 0,
        "not_finite": len(norms) - len(finite),
        "wrong_evidence": _count_wrong_evidence(rows),
        "share_zero": share(float((finite == 0).sum()), len(finite)),
        "share_of_index": _share_of_index(night, live[0]) if live else None,
        "largest_norm_vs_usual": share(float(finite.max(initial=0.0)), usual),
    }


def _width(model: ModelRecord) -> int:
    """Numbers of an item's vector."""
    recipe = json.loads(model.settings)
    factors = recipe["factors"] if model.family != "sequence" else 0
    return int(factors + (recipe["sequence"]["width"] if model.family != "als" else 0))


def _share_of_index(night: Night, model: ModelRecord) -> float:
    """Items that the model ranks, of all that were ever heard or named."""
    return share(model_items(night, model.version, ["item_index"]).num_rows, tables.count(night, "item_index"))


def _count_wrong_evidence(rows: pa.Table) -> int:
    """Rows with a neighbour or predecessor that the model lacks, or a weight that is none."""
    wrong = np.zeros(rows.num_rows, bool)
    for items, weights in _EVIDENCE:
        lists, amounts = (rows[name].combine_chunks() for name in (items, weights))
        wrong |= ~mask(pc.equal(pc.list_value_length(lists), pc.list_value_length(amounts)))
        unknown = ~mask(pc.is_in(lists.flatten(), value_set=rows["item_index"].combine_chunks()))
        wrong[pc.list_parent_indices(lists).to_numpy()[unknown]] = True
        sizes = np.abs(amounts.flatten().to_numpy(zero_copy_only=False).astype(np.float64))
        wrong[pc.list_parent_indices(amounts).to_numpy()[~(sizes <= 1)]] = True
    return int(wrong.sum())


def _unlike_index(night: Night, factors: pa.Table) -> int:
    """Rows whose item id is not the one that `item_index` has for their index."""
    index = tables.night_rows(night, "item_index", ["item_index", "item_id"]).combine_chunks()
    place = pc.index_in(factors["item_index"].combine_chunks(), value_set=index["item_index"].combine_chunks())
    ids = index["item_id"].combine_chunks().take(place)
    return int(factors.num_rows - total(pc.equal(ids, factors["item_id"].combine_chunks())))


def _norms(factors: pa.ListArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Euclidean length of each list of numbers; NaN where one is null or no number."""
    squares = factors.flatten().to_numpy(zero_copy_only=False).astype(np.float64) ** 2
    return np.sqrt(np.bincount(pc.list_parent_indices(factors), squares, minlength=len(factors)))
