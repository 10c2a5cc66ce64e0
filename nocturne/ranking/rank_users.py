"""Stage `rank_users`: a pool and a list for every listener, ranked on the executors, bucket by bucket."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.errors import UsageError
from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.ingestion.interactions import EPOCH
from nocturne.kernel.autotune import KernelPlan
from nocturne.kernel.layout import lay_out_items
from nocturne.ranking import eligibility
from nocturne.ranking.fallbacks import SOURCES
from nocturne.ranking.item_traits import traits
from nocturne.ranking.ranker import Ranker, RankingStats
from nocturne.ranking.reranker import Reranker
from nocturne.ranking.spark_tasks import (
    POOL_COLUMNS,
    Aligned,
    BucketRanking,
    one_blas_thread,
    rank_buckets,
    scratch_of,
)
from nocturne.storage import tables, writing
from nocturne.storage.bucket_files import BucketFile
from nocturne.storage.contracts import contract
from nocturne.storage.history import is_stale, previous_night
from nocturne.storage.proofs import require_unchanged
from nocturne.storage.stored_rows import StoredRows
from nocturne.training import registry
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

_BYTES_PER_ITEM = 256
_MEASURED_ON = 1_024
_WORTH_MEASURING = 200 * _MEASURED_ON


def rank_users(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Rank every listener by the model live on the night, and write the figures of it."""
    model = registry.live_model(night)
    if model is None:
        for table in ("pools", "ranked_lists"):
            writing.replace_night(contract(table).arrow_schema.empty_table(), table, night)
        writing.replace_night(stats_row(night, None, RankingStats(), 0, None), "rankings", night)
        return StageResult(0, remark="no model yet, so nobody to rank for")
    listeners, previous = tables.count(night, "interactions"), previous_night(night, "pools")
    if previous:
        require_unchanged(previous, "pools")
        require_unchanged(previous, "item_factors")
    ranker, stats, written = rank_all(
        spark,
        night,
        make_ranker(night, model, previous),
        previous,
        lambda done: progress(done, listeners, "listeners"),
    )
    writing.replace_night(stats_row(night, ranker, stats, written, previous), "rankings", night)
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


def rank_all(
    spark: SparkSession, night: Night, ranker: Ranker, previous: Night | None, progress: Callable[[int], None]
) -> tuple[Ranker, RankingStats, int]:
    """Rank every listener and commit `pools` and `ranked_lists`; returns how, the stats, and the bytes written.

    If a pool that was proved is not what it should be, everyone is computed afresh.

    Args:
        progress: told how many listeners are done.
    """
    rows = StoredRows.at(night, "interactions", ROWS)
    earlier = StoredRows.at(previous, "pools", POOL_COLUMNS) if previous else None
    ranker = replace(ranker, kernel_plan=_tune(ranker, rows, earlier, tables.count(night, "interactions")))
    pools, lists, stats = _rank(spark, night, ranker, rows, earlier, progress)
    if stats.mismatches and ranker.settings.carry_over:
        afresh = replace(ranker, settings=ranker.settings.model_copy(update={"carry_over": False}))
        _remove(night, pools, lists)
        pools, lists, second = _rank(spark, night, afresh, rows, earlier, progress)
        second.mismatches += stats.mismatches
        ranker, stats = afresh, second
    writing.commit_files(spark, night, "pools", pools)
    writing.commit_files(spark, night, "ranked_lists", lists)
    return ranker, stats, sum(file.size for file in (*pools, *lists))


def stats_row(
    night: Night, ranker: Ranker | None, stats: RankingStats, written: int, previous: Night | None
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
        "bytes": written,
    }
    return pa.Table.from_pylist([row], schema=contract("rankings").arrow_schema)


def _rank(
    spark: SparkSession,
    night: Night,
    ranker: Ranker,
    rows: StoredRows,
    previous: StoredRows | None,
    progress: Callable[[int], None],
) -> tuple[list[BucketFile], list[BucketFile], RankingStats]:
    with scratch_of(night) as scratch:
        work = BucketRanking(
            scratch=scratch,
            rows=rows,
            previous_pools=previous,
            pools=(night.warehouse.table_path("pools"), contract("pools").arrow_schema),
            lists=(night.warehouse.table_path("ranked_lists"), contract("ranked_lists").arrow_schema),
            run_date=night.run_date,
            batch_memory_mb=night.settings.ranking.batch_memory_mb,
        )
        listeners = tables.count(night, "interactions")
        return rank_buckets(spark, ranker, work, night.settings.tables.buckets, listeners, progress)


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
    return eligibility.markets(model.item_ids, tables.night_rows(night, "items"), night.run_date, blocked)


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
    # The factors as they are and as they are multiplied; what else is kept of an item is small beside them.
    needed = items * (2 * 4 * width + 8 * model.neighbours.shape[1] + _BYTES_PER_ITEM)
    allowed = night.settings.ranking.items_memory_mb
    if needed > allowed * 2**20:
        raise UsageError(
            "the model is larger than ranking may share on a machine",
            found=f"{items:,} items x {width} factors, {needed / 2**20:,.0f} MiB",
            expected=f"at most ranking.items_memory_mb = {allowed} MiB",
            fix="raise ranking.items_memory_mb if every machine has the memory, or lower als.factors",
        )


def _remove(night: Night, pools: list[BucketFile], lists: list[BucketFile]) -> None:
    for table, files in (("pools", pools), ("ranked_lists", lists)):
        for file in files:
            Path(night.warehouse.table_path(table), file.path).unlink()
