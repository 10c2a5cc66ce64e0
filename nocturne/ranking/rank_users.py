"""Stage `rank_users`: a pool and a list for every listener, ranked on the executors, bucket by bucket."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.errors import UsageError
from nocturne.core.experiment import Arm, Experiment, arm_settings
from nocturne.core.night import Night
from nocturne.core.sections import RerankingSettings
from nocturne.core.stage import Progress, StageResult
from nocturne.ingestion.interactions import EPOCH
from nocturne.kernel.autotune import KernelPlan
from nocturne.kernel.layout import lay_out_items
from nocturne.ranking import eligibility
from nocturne.ranking.arm_rows import POOL_COLUMNS, Arms, EarlierArms
from nocturne.ranking.arms import HELD_BACK, Cell, Layer
from nocturne.ranking.fallbacks import SOURCES
from nocturne.ranking.item_traits import traits
from nocturne.ranking.new_types import drawing_of_new_types
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.reranker import Reranker
from nocturne.ranking.shelves import ShelfRanker
from nocturne.ranking.spark_tasks import (
    Aligned,
    BucketRanking,
    Rankers,
    one_blas_thread,
    rank_buckets,
    scratch_of,
)
from nocturne.ranking.standing_plans import fields_of, planned_listeners, with_plans
from nocturne.ranking.stats import RankingStats
from nocturne.storage import tables, writing
from nocturne.storage.bucket_files import BucketFile
from nocturne.storage.contracts import contract
from nocturne.storage.history import is_stale, previous_night
from nocturne.storage.model_transitions import model_of_arm
from nocturne.storage.proofs import require_unchanged
from nocturne.storage.running_experiments import running
from nocturne.storage.stored_rows import StoredRows
from nocturne.storage.takedowns import stored_takedowns
from nocturne.training import registry
from nocturne.training.bridges import StoredBridge, stored_bridges
from nocturne.training.model import Model

ROWS = (
    "user_id",
    "market",
    "period",
    "item_indexes",
    "play_sums",
    "second_sums",
    "last_heard",
    "recent_items",
    "digest",
)
"""Columns of `interactions` that ranking reads."""

RANKED = ("pools", "ranked_lists", "shelf_lists", "arm_pools", "arm_lists", "assignments", "triggers")
"""Tables that tasks write."""

_BYTES_PER_ITEM = 256
_MEASURED_ON = 1_024
_WORTH_MEASURING = 200 * _MEASURED_ON


def rank_users(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Rank every listener by the model live on the night, and write the figures of it."""
    model, experiments = registry.live_model(night), running(night)
    if model is None:
        for table in RANKED:
            writing.replace_night(contract(table).arrow_schema.empty_table(), table, night)
        writing.replace_night(stats_row(night, None, RankingStats(), 0, None, experiments), "rankings", night)
        return StageResult(0, remark="no model yet, so nobody to rank for")
    listeners, previous = tables.count(night, "interactions"), previous_night(night, "pools")
    if previous:
        for table in ("pools", "item_factors", "encoders", "cold_factors", "bridge_factors"):
            require_unchanged(previous, table)
    control = with_shelves(make_ranker(night, model, previous), stored_bridges(night, model), night.settings.reranking)
    settings = night.settings.experiments
    layer = Layer(settings.salt, settings.holdback_share, experiments)
    _require_unedited(night, layer)
    ranker, stats, written = rank_all(
        spark,
        night,
        Rankers(control, None if layer.empty else make_arms(night, layer, control, previous)),
        previous,
        lambda done: progress(done, listeners, "listeners"),
    )
    writing.replace_night(stats_row(night, ranker, stats, written, previous, experiments), "rankings", night)
    return StageResult(listeners, remark=f"{ranker.model.version}, {stats.reasons['carried']:,} pools carried over")


def make_ranker(night: Night, model: Model, previous: Night | None) -> Ranker:
    """The night's ranker: model, rules and traits, all that ranking needs beside the listeners' rows.

    Args:
        previous: the night whose pools may be carried over.

    Raises:
        UsageError: the model is larger than settings allow.
    """
    _check_size(model, night)
    settings, listeners = night.settings.ranking, tables.count(night, "interactions")
    order = np.argsort(np.array(model.item_ids.to_pylist(), dtype=object), kind="stable")
    tie_order = np.empty(len(order), dtype=np.int64)
    tie_order[order] = np.arange(len(order))
    return Ranker(
        # The factors lie in `items`; workers need them once, and what is heard after what not at all.
        model=replace(
            model,
            factors=model.factors[:0],
            predecessors=model.predecessors[:0],
            predecessor_weights=model.predecessor_weights[:0],
        ),
        items=lay_out_items(model.factors, model.score_multipliers, tie_order),
        markets=_markets(night, model),
        previous_markets=_markets(night.on(previous.run_date), model) if previous else None,
        run_date=night.run_date,
        settings=settings,
        audit_share=max(settings.audit_share, min(1.0, settings.audit_at_least / max(1, listeners))),
        reranker=_reranker(night, model),
    )


def with_shelves(ranker: Ranker, bridges: Mapping[str, StoredBridge | None], reranking: RerankingSettings) -> Ranker:
    """The same ranker, which also gives every listener a list of each content type that settings name.

    Args:
        bridges: of the model, into content types that a listener has heard nothing of.
        reranking: how the places that are drawn of lists of such types are drawn.
    """
    if not ranker.settings.shelf_types:
        return ranker
    of_types = ShelfRanker(
        ranker.model,
        ranker.items,
        ranker.markets,
        ranker.previous_markets,
        ranker.settings,
        bridges,
        drawing_of_new_types(reranking, len(ranker.model.item_ids), (ranker.run_date - EPOCH).days),
    )
    return replace(ranker, shelf_ranker=of_types)


def make_arms(night: Night, layer: Layer, control: Ranker, previous: Night | None) -> Arms:
    """A layer's experiments, with the rankers of the arms that have lists of their own.

    Raises:
        UsageError: the model of an arm is not there, or a value that it changes is out of range.
    """
    arms = {HELD_BACK: Arm(weight=1, model=night.settings.experiments.holdback_model)}
    arms |= {Cell(one.name, name): arm for one in layer.experiments for name, arm in one.arms.items()}
    rankers = {
        cell: _arm_ranker(night, control, cell, arm, previous) for cell, arm in arms.items() if not arm.ranks_alike
    }
    return Arms(layer, rankers)


def _arm_ranker(night: Night, control: Ranker, cell: Cell, arm: Arm, previous: Night | None) -> Ranker:
    night = night.with_settings(arm_settings(night.settings, arm))
    earlier = previous.with_settings(night.settings) if previous else None
    record = model_of_arm(registry.models(night.warehouse), night.run_date, arm)
    if record is None:
        raise UsageError(
            "the model of an arm is not there",
            where=cell.label,
            found=arm.model or "no model of its recipe",
            expected="a version that `nocturne models list` names, or a recipe, whose model train_als trains",
            fix="mend the arm in the experiment's file, or run train_als of this night again",
        )
    if record.version != control.model.version:
        return make_ranker(night, registry.model_on(night, record.version), earlier)
    return replace(
        control,
        settings=night.settings.ranking,
        markets=_markets(night, control.model),
        previous_markets=_markets(earlier, control.model) if earlier else None,
        reranker=_reranker(night, control.model),
        shelf_ranker=None,
    )


def _require_unedited(night: Night, layer: Layer) -> None:
    """Raise UsageError if an experiment, or the layer, is not what it was on an earlier night of the experiment."""
    if not layer.experiments:
        return
    first = min(each.start for each in layer.experiments)
    nights = (pc.field("run_date") >= first) & (pc.field("run_date") < night.run_date)
    earlier = (
        tables.rows(night.warehouse, "rankings", nights, ["run_date", "experiments"]).sort_by("run_date").to_pylist()
    )
    for experiment in layer.experiments:
        for row in earlier:
            before = dict(row["experiments"]).get(experiment.name)
            if row["run_date"] >= experiment.start and before not in {
                None,
                experiment.digest(night.settings.experiments),
            }:
                raise UsageError(
                    "an experiment was changed while it runs",
                    where=f"{night.settings.experiments.folder}/{experiment.name}.toml",
                    found=f"another definition, salt of the layer or holdback than on {row['run_date']}",
                    expected="the same to its end: listeners would change arms, and bounds would not hold",
                    fix="put it back; or conclude it, and begin another under a new name",
                )


def rank_all(
    spark: SparkSession, night: Night, rankers: Rankers, previous: Night | None, progress: Callable[[int], None]
) -> tuple[Ranker, RankingStats, int]:
    """Rank every listener and commit the tables of RANKED; returns how, the stats, and the bytes written.

    If a pool that was proved is not what it should be, everyone is computed afresh.

    Args:
        progress: told how many listeners are done.
    """
    rows = StoredRows.at(night, "interactions", ROWS)
    earlier = StoredRows.at(previous, "pools", POOL_COLUMNS) if previous else None
    plan = _tune(rankers.control, rows, earlier, tables.count(night, "interactions"))
    rankers = rankers.each(lambda ranker: replace(ranker, kernel_plan=plan))
    files, stats = _rank(spark, night, rankers, rows, previous, progress)
    if stats.mismatches and rankers.control.settings.carry_over:
        rankers = rankers.each(
            lambda ranker: replace(ranker, settings=ranker.settings.model_copy(update={"carry_over": False}))
        )
        _remove(night, files)
        files, second = _rank(spark, night, rankers, rows, previous, progress)
        second.mismatches += stats.mismatches
        stats = second
    changed = (table for table in RANKED if table in files or tables.count(night, table))
    writing.commit_files(spark, night, {table: files.get(table, []) for table in changed})
    return rankers.control, stats, sum(file.size for written in files.values() for file in written)


def stats_row(
    night: Night,
    ranker: Ranker | None,
    stats: RankingStats,
    written: int,
    previous: Night | None,
    experiments: Sequence[Experiment],
) -> pa.Table:
    """The night's row of `rankings`.

    A mismatch is explained if the night that pools were carried over from was made anew since, and is stale.
    """
    personal = stats.listeners - sum(stats.reasons[source] for source in SOURCES)
    explained = previous is not None and is_stale(previous)
    row = {
        "run_date": night.run_date,
        "model_version": ranker.model.version if ranker else None,
        "listeners": stats.listeners,
        "personal": personal,
        "audited": stats.audited,
        "mismatches": stats.mismatches,
        "unexplained": 0 if explained else stats.mismatches,
        "carried_from": previous.run_date if previous and ranker and ranker.settings.carry_over else None,
        "reasons": sorted(stats.reasons.items()),
        "way": f"{ranker.kernel_plan}" if ranker else "",
        "seconds": sorted(stats.seconds.items()),
        "experiments": sorted((each.name, each.digest(night.settings.experiments)) for each in experiments),
        "bytes": written,
    }
    return pa.Table.from_pylist([row], schema=contract("rankings").arrow_schema)


def _rank(
    spark: SparkSession,
    night: Night,
    rankers: Rankers,
    rows: StoredRows,
    previous: Night | None,
    progress: Callable[[int], None],
) -> tuple[dict[str, list[BucketFile]], RankingStats]:
    with scratch_of(night) as scratch:
        work = BucketRanking(
            scratch=scratch,
            rows=rows,
            previous_pools=StoredRows.at(previous, "pools", POOL_COLUMNS) if previous else None,
            previous_arms=EarlierArms.before(night, previous) if previous and rankers.arms else None,
            warehouse=night.warehouse.folder,
            run_date=night.run_date,
            batch_memory_mb=night.settings.ranking.batch_memory_mb,
        )
        listeners = tables.count(night, "interactions")
        return rank_buckets(spark, rankers, work, night.settings.tables.buckets, listeners, progress)


def _tune(ranker: Ranker, rows: StoredRows, previous: StoredRows | None, listeners: int) -> KernelPlan:
    """The fastest way to rank tonight, timed on the first listeners, if there are so many that it matters."""
    first = next(iter(rows), None) if listeners >= _WORTH_MEASURING else None
    if first is None:
        return ranker.kernel_plan
    sample = first.slice(0, _MEASURED_ON)
    earlier = Aligned(iter(() if previous is None else previous)).of(sample.column("user_id"))
    with one_blas_thread():
        return ranker.autotune(sample, earlier)


def _markets(night: Night, model: Model) -> eligibility.Markets:
    blocked = night.settings.ranking.explicit_blocked_markets
    catalogue = tables.night_rows(night, "items")
    markets = eligibility.markets(model.item_ids, catalogue, night.run_date, blocked, stored_takedowns(night))
    markets = markets.among(model.known_on(night.run_date))
    planned = planned_listeners(night, model)
    return with_plans(markets, planned, fields_of(model.item_ids, catalogue)) if planned else markets


def _reranker(night: Night, model: Model) -> Reranker | None:
    settings = night.settings.reranking
    if settings.neutral:
        return None
    index = tables.rows(night.warehouse, "item_index")
    met = index["first_night"].take(pc.index_in(model.item_ids, value_set=index["item_id"].combine_chunks()))
    catalogue = tables.night_rows(night, "items")
    of_items = traits(model.item_ids, catalogue, met.combine_chunks(), night.run_date, settings.fresh_nights)
    return Reranker(settings, of_items, (night.run_date - EPOCH).days)


def _check_size(model: Model, night: Night) -> None:
    items, width = model.factors.shape
    # The factors as they are and as they are multiplied, once more by type, and as an encoder reads them; what else is
    # kept of an item is small.
    layouts = 2 if night.settings.ranking.shelf_types else 1
    needed = items * (4 * width * (2 * layouts + bool(model.encoder)) + 8 * model.neighbours.shape[1] + _BYTES_PER_ITEM)
    allowed = night.settings.ranking.items_memory_mb
    if needed > allowed * 2**20:
        raise UsageError(
            "the model is larger than ranking may share on a machine",
            found=f"{items:,} items x {width} factors, {needed / 2**20:,.0f} MiB",
            expected=f"at most ranking.items_memory_mb = {allowed} MiB",
            fix="raise ranking.items_memory_mb if every machine has the memory, or lower als.factors",
        )


def _remove(night: Night, files: Mapping[str, Sequence[BucketFile]]) -> None:
    for table, written in files.items():
        for file in written:
            Path(night.warehouse.table_path(table), file.path).unlink()
