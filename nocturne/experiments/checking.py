"""An experiment checked before it begins: a dry run on a night that was made, and what can be found by when."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tea_tasting.aggr import Aggregates

from nocturne.core.errors import InputError
from nocturne.core.experiment import CONTROL, Experiment
from nocturne.core.night import Night
from nocturne.experiments.columns import columns_of, columns_of_metric
from nocturne.experiments.look_tasks import BEFORE_DAYS
from nocturne.experiments.moments import Moments, aggregates_of
from nocturne.experiments.outcomes import LISTENS, SHOWN, Outcomes, Window
from nocturne.experiments.planning import Plan, baseline_of, plan
from nocturne.experiments.preview import Preview, compare_lists, preview
from nocturne.ingestion.interactions import EPOCH
from nocturne.ranking.arm_rows import ArmRows
from nocturne.ranking.arms import Cell, Layer
from nocturne.ranking.rank_users import ROWS, make_arms, make_ranker
from nocturne.ranking.ranker import RankingStats
from nocturne.ranking.spark_tasks import one_blas_thread
from nocturne.storage import tables
from nocturne.storage.model_transitions import model_of_arm
from nocturne.storage.stored_rows import StoredRows
from nocturne.training import registry

SAMPLE = 5_000
"""Members who are ranked in a dry run."""

PLANNED = 50_000
"""Members whose days before are what a plan is made from."""


@dataclass(frozen=True)
class Trial:
    """A treatment's lists on a night that was made, beside those of control, for a sample of the members.

    Attributes:
        triggered: share of the members whose list differs.
        seconds: processor time a member, of all that is computed afresh.
        bytes: of lists and pools, a member.
        preview: who gains and who loses.
    """

    listeners: int
    triggered: float
    seconds: float
    bytes: float
    preview: Preview


@dataclass(frozen=True)
class Checked:
    """All that is known of an experiment before it begins.

    Attributes:
        members: listeners of its slots on the night.
        days: before the experiment that the plans are made from.
        trials: by treatment; those that have no nightly lists of their own, or no model yet, are missing.
        plans: by treatment.
    """

    members: int
    days: int
    trials: Mapping[str, Trial]
    plans: Mapping[str, Plan]


def check_experiment(night: Night, experiment: Experiment) -> Checked:
    """Rank a sample of an experiment's members by every arm, as on the night, and plan its looks; nothing is written.

    Raises:
        InputError: the night has no lists, or nothing was done on the days before.
        UsageError: a value that an arm changes is unknown or out of range, or its model is not there.
    """
    settings = night.settings.experiments
    layer = Layer(settings.salt, settings.holdback_share, (experiment,))
    members = _count_members(night, layer)
    trials = _try_arms(night, layer, experiment)
    baselines, days = _baselines(night, layer, experiment)
    weights = {name: arm.weight for name, arm in experiment.arms.items()}
    listeners = {name: members * weight / sum(weights.values()) for name, weight in weights.items()}
    plans = {}
    for name in experiment.treatments if experiment.kind == "ab" else ():
        share = trials[name].triggered if name in trials else 1.0
        plans[name] = plan(experiment, name, baselines, listeners, max(share, 1 / max(1.0, members)))
    return Checked(members, days, trials, plans)


def _count_members(night: Night, layer: Layer) -> int:
    codes = (layer.assign(rows["user_id"]) for rows in StoredRows.at(night, "interactions", ["user_id"]))
    return sum(int((each > 0).sum()) for each in codes)


def _members(night: Night, layer: Layer, columns: tuple[str, ...], count: int) -> Iterator[pa.RecordBatch]:
    """Rows of `interactions` of the first members of every bucket."""
    buckets = night.settings.tables.buckets
    stored = StoredRows.at(night, "interactions", columns)
    for bucket in range(buckets):
        left = -(-count // buckets)
        for rows in stored.in_bucket(bucket):
            ours = rows.filter(pa.array(layer.assign(rows["user_id"]) > 0)).slice(0, left)
            left -= ours.num_rows
            if ours.num_rows:
                yield ours
            if left <= 0:
                break


def _try_arms(night: Night, layer: Layer, experiment: Experiment) -> dict[str, Trial]:
    model = registry.live_model(night)
    if model is None:
        raise InputError(
            "there is nothing to try an experiment on",
            where=night.warehouse.path,
            found=f"no model live on {night.run_date}",
            fix="name a night that has lists: `nocturne nights` tells which",
        )
    control = make_ranker(night, model, None)
    known = {name: arm for name, arm in experiment.arms.items() if _has_model(night, experiment, name)}
    arms = make_arms(night, replace(layer, experiments=(experiment.model_copy(update={"arms": known}),)), control, None)
    trials = {}
    for name in known:
        if (cell := Cell(experiment.name, name)) in arms.rankers:
            only = replace(arms, rankers={cell: arms.rankers[cell]})
            trials[name] = _try_arm(night, ArmRows(only, None, night.run_date, 0), cell)
    return trials


def _has_model(night: Night, experiment: Experiment, name: str) -> bool:
    """False for a recipe whose model is trained on the first night of the experiment."""
    arm = experiment.arms[name]
    return not arm.recipe or model_of_arm(registry.models(night.warehouse), night.run_date, arm) is not None


def _try_arm(night: Night, arms: ArmRows, cell: Cell) -> Trial:
    ranker, stats = arms.arms.rankers[cell], RankingStats()
    own = make_ranker(night, registry.live_model(night), None)  # type: ignore[arg-type]
    none = pa.schema([field for field in StoredRows.at(night, "pools", ["user_id"]).schema]).empty_table()
    ids, sums, size = night_ids(night), None, 0
    with one_blas_thread():
        for rows in _members(night, arms.arms.layer, ROWS, SAMPLE):
            previous = none.take(pa.nulls(rows.num_rows, pa.int64()))
            _, control = own.rank(rows, previous, RankingStats())
            pools, lists = ranker.rank(rows, previous, stats)
            size += pools.nbytes + lists.nbytes
            compared = compare_lists(control, lists, ids, night.settings.ranking.top_k)
            sums = compared if sums is None else sums + compared
    assert sums is not None
    shown = preview(sums, tables.night_rows(night, "items", ["item_id", "creator", "content_type"]))
    return Trial(stats.listeners, sums.changed / max(1, stats.listeners), 0.0, size / max(1, stats.listeners), shown)
