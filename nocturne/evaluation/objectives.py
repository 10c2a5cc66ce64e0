"""Objectives of a search over settings: how a trial is scored, on a split or on nights, and by which data."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Counts, Floats
from nocturne.core.errors import InputError, UsageError
from nocturne.core.hashing import Hashes, hash_ids, spread
from nocturne.core.night import Night
from nocturne.core.settings import Settings, with_values
from nocturne.evaluation.held_out import HeldOut, read_held_out
from nocturne.evaluation.listener_sample import sample_listeners
from nocturne.evaluation.metrics import accuracy
from nocturne.evaluation.splits import TRAIN, VALID, Split, fit, rank_listeners
from nocturne.evaluation.systems import recipe_system
from nocturne.evaluation.tuning import GROUPS, Objective, Report
from nocturne.flow import GATED_TABLES
from nocturne.storage import tables
from nocturne.storage.history import closed_dates
from nocturne.storage.stored_rows import StoredRows
from nocturne.training.model import Model

METRICS = ("recall", "capped_recall", "ndcg", "map", "mrr", "hit_rate")
_FIRST_ITERATIONS = 3
_SAMPLE = 2_000
"""Listeners that a trial's first iterations are judged by."""


def split_objective(split: Split, metric: str) -> Objective:
    """Score settings on the valid part of a split, trained on its train part: test is never looked at.

    A trial first trains a few iterations and says what they come to for a sample of listeners; if it is not pruned, it
    goes on from there.

    Args:
        metric: such as ndcg@20; its k is the longest list that is needed.

    Raises:
        InputError: the split has no valid part.
    """
    k = list_length(metric)
    if not split.valid.nnz:
        raise InputError(
            f"the split has no {VALID}, on which settings are chosen",
            expected=f"{TRAIN} and {VALID}",
            fix=f"take some of each user's items out of {TRAIN} and write them to {VALID}; test is for the end",
        )
    scored = np.flatnonzero(np.diff(split.valid.indptr))
    hashes = spread(scored.astype(np.uint64))
    sample = np.zeros(len(scored), dtype=np.bool_)
    sample[np.argsort(hashes, kind="stable")[:_SAMPLE]] = True
    groups = _groups(hashes)

    def objective(settings: Settings, report: Report) -> float:
        settings = with_values(settings, {"ranking.top_k": k})

        def values(model: Model, listeners: Counts) -> Floats:
            lists = rank_listeners(model, split.train[listeners], settings)
            return accuracy(lists, split.valid[listeners])[metric]

        few = min(_FIRST_ITERATIONS, settings.als.iterations)
        model = fit(split.train, settings, iterations=few)
        report(_means(values(model, scored[sample]), groups[sample]), False)
        if settings.als.iterations > few:
            model = fit(split.train, settings, parent=model, iterations=settings.als.iterations - few)
        whole = values(model, scored)
        report(_means(whole, groups), True)
        return float(whole.mean())

    return objective


def held_out_after(nights: Sequence[Night], days: int) -> list[HeldOut]:
    """The nights after which somebody heard something new, with the same sample of listeners.

    Args:
        nights: with the settings that their warehouse fixes.
        days: nights after each whose listens are the truth.

    Raises:
        UsageError: nobody heard anything new after any of the nights.
    """
    sample = sample_listeners(nights)
    read = (read_held_out(night, days, sample=sample) for night in nights)
    held_out_nights = [held_out for held_out in read if len(held_out.user_ids)]
    if not held_out_nights:
        raise UsageError(
            "no night can be searched on",
            where=nights[0].warehouse.path,
            found=f"nobody heard anything new in the {days} days after any of {len(nights)} nights",
            fix="choose other nights, or more --days",
        )
    return held_out_nights


def nights_objective(held_out_nights: Sequence[HeldOut], metric: str) -> Objective:
    """Score settings on rolling nights: trained on each night, scored on what was listened to afterwards.

    A trial says what it comes to after every night, and may be pruned then. Every night counts alike.
    """
    k = list_length(metric)
    groups_by_night = [_groups(hash_ids(held_out.user_ids, 0)) for held_out in held_out_nights]

    def objective(settings: Settings, report: Report) -> float:
        trial, means = recipe_system("trial", settings), []
        for held_out, groups in zip(held_out_nights, groups_by_night, strict=True):
            lists = trial.rank(held_out, k)
            assert lists is not None
            values = accuracy(lists, held_out.relevant)[metric]
            means.append(values.mean())
            report(_means(values, groups), True)
        return float(np.mean(means))

    return objective


def night_to_train_on(night: Night, days: int) -> Night:
    """The first sound night on which all is known that the lists of a night were scored on.

    A model of that night has none of the days before it that it is compared on.

    Args:
        night: the last one that is searched on.
        days: days after it whose listens are the truth.

    Raises:
        UsageError: there is none yet.
    """
    first, closed = night.run_date + timedelta(days=days), closed_dates(night.warehouse, GATED_TABLES)
    made = tables.dates(night.warehouse, "interactions")
    sound = [day for day in made if day >= first and day not in closed]
    if sound:
        return night.on(sound[0])
    raise UsageError(
        "there is no night that the winner can be trained on",
        where=night.warehouse.path,
        found=f"nights up to {made[-1]}",
        expected=f"a sound night from {first}: what settings are chosen by says nothing of how good they are",
        fix="run that night, or search on earlier ones with --to, or on fewer --days",
    )


def digest_of_split(split: Split) -> str:
    """Hash of what a search on a split looks at."""
    return _digest([split.train, split.valid], [pa.array(split.users), pa.array(split.items)])


def digest_of_nights(held_out_nights: Sequence[HeldOut]) -> str:
    """Hash of what a search on nights looks at: every night's rows, and what its sample heard after it."""
    hashes = []
    for held_out in held_out_nights:
        batches = StoredRows.at(held_out.night, "interactions", ["digest"])
        rows = sum(int(spread(hash_ids(batch.column("digest"), 0)).sum(dtype=np.uint64)) for batch in batches)
        ids = [held_out.user_ids, held_out.item_ids, pa.array([f"{rows}"])]
        hashes.append(_digest([held_out.relevant, held_out.requests.heard], ids))
    return " ".join(hashes)


def list_length(metric: str) -> int:
    """Length that lists need for a metric: 20 for ndcg@20.

    Raises:
        UsageError: there is no such metric.
    """
    name, _, k = metric.partition("@")
    if name not in METRICS or not k.isdecimal() or int(k) < 1:
        raise UsageError("no such metric", found=metric, expected=f"one of {', '.join(METRICS)}, as in ndcg@20")
    return int(k)


def _groups(hashes: Hashes) -> Counts:
    """A group for each listener, by their hash; groups are equally large, and no more than there are listeners."""
    rank = np.empty(len(hashes), dtype=np.int64)
    rank[np.argsort(hashes, kind="stable")] = np.arange(len(hashes))
    return rank % min(GROUPS, len(hashes))


def _means(values: Floats, groups: Counts) -> Floats:
    """The mean of each group that has any listeners."""
    counts = np.bincount(groups)
    means: Floats = np.bincount(groups, values)[counts > 0] / counts[counts > 0]
    return means


def _digest(matrices: Sequence[csr_matrix], ids: Sequence[pa.Array]) -> str:
    digest = hashlib.sha256()
    for matrix in matrices:
        for array in (matrix.indptr, matrix.indices, matrix.data):
            digest.update(np.ascontiguousarray(array).astype(np.float64).tobytes())
    for each in ids:
        digest.update("\n".join(each.to_pylist()).encode())
    return digest.hexdigest()[:16]
