"""An experiment checked before it begins: a dry run on a night that was made, and what can be found by when."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.errors import InputError
from nocturne.core.experiment import BEFORE_DAYS, Experiment
from nocturne.core.night import Night
from nocturne.experiments.columns import BEFORE, LAST, columns_of, columns_of_metric
from nocturne.experiments.moments import Moments, aggregates_of
from nocturne.experiments.outcomes import LISTENS, SHOWN, Outcomes, Window
from nocturne.experiments.planning import Baseline, Plan, baseline_of, plan
from nocturne.experiments.preview import EVERYONE, Preview, compare_lists, preview
from nocturne.ingestion.interactions import EPOCH
from nocturne.ranking.arms import Cell, Layer
from nocturne.ranking.rank_users import ROWS, make_arms, make_ranker
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.spark_tasks import Aligned, one_blas_thread
from nocturne.ranking.stats import RankingStats
from nocturne.storage import tables
from nocturne.storage.model_transitions import model_of_arm
from nocturne.storage.stored_rows import StoredRows, whole_index
from nocturne.training import registry

SAMPLE = 5_000
"""Members who are ranked in a dry run."""

FEWEST_DAYS = 2
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
    control, models = make_ranker(night, model, None), registry.models(night.warehouse)
    # The model of a recipe is trained on the first night of the experiment.
    known = {
        name: arm for name, arm in experiment.arms.items() if model_of_arm(models, night.run_date, arm) or arm.model
    }
    tried = replace(layer, experiments=(experiment.model_copy(update={"arms": known}),))
    arms = make_arms(night, tried, control, None)
    members = list(_members(night, layer, ROWS, SAMPLE))
    catalogue = _catalogue(night)
    cells = {name: Cell(experiment.name, name) for name in known}
    return {
        name: _try_arm(control, arms.rankers[cell], members, catalogue)
        for name, cell in cells.items()
        if cell in arms.rankers and members
    }


def _try_arm(control: Ranker, treatment: Ranker, members: Sequence[pa.RecordBatch], catalogue: pa.Table) -> Trial:
    stats, sums, size = RankingStats(), None, 0
    ids = catalogue["item_id"].combine_chunks()
    with one_blas_thread():
        for rows in members:
            nothing = Aligned(()).of(rows["user_id"])
            own = control.rank(rows, nothing, RankingStats()).lists
            pools, lists, _ = treatment.rank(rows, nothing, stats)
            size += pools.nbytes + lists.nbytes
            compared = compare_lists(own, lists, ids, max(control.settings.top_k, treatment.settings.top_k))
            sums = compared if sums is None else sums + compared
    assert sums is not None
    everyone = sums.groups[EVERYONE]
    return Trial(
        listeners=everyone.listeners,
        triggered=float(everyone.first_places.sum()) / everyone.listeners,
        seconds=sum(stats.seconds.values()) / everyone.listeners,
        bytes=size / everyone.listeners,
        preview=preview(sums, catalogue),
    )


def _catalogue(night: Night) -> pa.Table:
    """Every item of the night, and those that the catalogue never named, without creator and type."""
    items = tables.night_rows(night, "items", ["item_id", "creator", "content_type"])
    ids = whole_index(night).to_table()["item_id"].combine_chunks()
    others = ids.filter(pc.invert(pc.is_in(ids, value_set=items["item_id"].combine_chunks())))
    unnamed = pa.table(
        {name: others if name == "item_id" else pa.nulls(len(others), pa.string()) for name in items.column_names}
    )
    return pa.concat_tables([items.cast(unnamed.schema), unnamed])


def _baselines(night: Night, layer: Layer, experiment: Experiment) -> tuple[dict[str, Baseline], int]:
    """The baseline of every metric, from the days up to the night, and how many these are."""
    first = night.run_date - timedelta(days=BEFORE_DAYS - 1)
    days = [day for day in tables.dates(night.warehouse, "listens") if first <= day <= night.run_date]
    if len(days) < FEWEST_DAYS:
        raise InputError(
            "there are too few days to plan an experiment with",
            where=night.warehouse.path,
            found=f"{len(days)} nights of listens up to {night.run_date}",
            expected=f"at least {FEWEST_DAYS}",
            fix="check it when more nights were made",
        )
    names = [name for name in columns_of(experiment) if not name.startswith((BEFORE, LAST))]
    last = (night.run_date - EPOCH).days
    one_day, all_days = Window(last, last), Window((days[0] - EPOCH).days, last)
    sums = [Moments.of(np.zeros((0, len(names)))) for _ in range(2)]
    for outcomes in _past(night, layer, days):
        for place, window in enumerate((one_day, all_days)):
            columns = replace(outcomes, window=window).columns(names)
            sums[place] = sums[place].plus(Moments.of(np.stack([columns[name] for name in names], axis=1)))
    pairs = list(combinations(names, 2))
    day, before = (aggregates_of(each.to_row(names, pairs)) for each in sums)
    planned = {name: metric for name, metric in experiment.metrics.items() if metric.role != "deterioration"}
    width = (night.run_date - days[0]).days + 1
    return {name: baseline_of(day, before, width, columns_of_metric(metric)) for name, metric in planned.items()}, width


def _past(night: Night, layer: Layer, days: Sequence[date]) -> Iterator[Outcomes]:
    """Outcomes of some members of every bucket on some days."""
    items = tables.night_rows(night, "items", ["item_id", "content_type"])
    listens = StoredRows.at(night, "listens", LISTENS, values=days)
    shown_on = [day for day in days if day in tables.dates(night.warehouse, "exposures")]
    exposures = StoredRows.at(night, "exposures", SHOWN, values=shown_on).to_table()
    nothing = pa.table({name: pa.array([], pa.string()) for name in ("user_id", "item_id")})
    for rows in _members(night, layer, ("user_id", "bucket"), PLANNED):
        ids = rows["user_id"]
        heard = listens.in_bucket(rows["bucket"][0].as_py()).of_listeners(ids.to_pylist())
        yield Outcomes(ids, heard, exposures, nothing, items, Window(0, 0))
