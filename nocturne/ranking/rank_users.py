"""A night's ranking: what is prepared once for all listeners, and the account of what it came to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.errors import SettingsError
from nocturne.core.night import Night
from nocturne.ingestion.interactions import EPOCH
from nocturne.kernel.autotune import Way
from nocturne.kernel.layout import lay_out
from nocturne.ranking import eligibility
from nocturne.ranking.fallbacks import SOURCES
from nocturne.ranking.item_traits import traits
from nocturne.ranking.ranker import Account, Ranker
from nocturne.ranking.reranker import Reranker
from nocturne.ranking.spark_tasks import Aligned, BucketRanking, Progress, one_blas_thread, rank_buckets, scratch_of
from nocturne.storage import tables
from nocturne.storage.bucket_files import BucketFile
from nocturne.storage.contracts import contract
from nocturne.training.model import Model

ROWS = ("user_id", "market", "period", "item_indexes", "play_sums", "second_sums", "last_heard", "digest")
"""What ranking reads of `interactions`."""

_BYTES_PER_ITEM = 256
_MEASURED_ON = 1_024
_WORTH_MEASURING = 200 * _MEASURED_ON


def make_ranker(night: Night, model: Model, before: Night | None) -> Ranker:
    """What ranking needs beside the listeners' rows.

    Args:
        before: the night whose pools may be carried over.

    Raises:
        SettingsError: the model is larger than settings allow.
    """
    _check_size(model, night)
    settings, listeners = night.settings.ranking, tables.count(night, "interactions")
    order = np.argsort(np.array(model.item_ids.to_pylist(), dtype=object), kind="stable")
    tie_order = np.empty(len(order), dtype=np.int64)
    tie_order[order] = np.arange(len(order))
    return Ranker(
        # The factors lie in `items`; workers need them once.
        model=replace(model, factors=model.factors[:0]),
        items=lay_out(model.factors, model.score_multipliers, tie_order),
        markets=_markets(night, model),
        markets_before=_markets(replace(night, run_date=before.run_date), model) if before else None,
        run_date=night.run_date,
        settings=settings,
        audited=max(settings.audit_share, min(1.0, settings.audit_at_least / max(1, listeners))),
        reranker=_reranker(night, model),
    )


def rank_all(
    spark: SparkSession, night: Night, ranker: Ranker, before: Night | None, progress: Progress
) -> tuple[Ranker, Account, int]:
    """Rank every listener and commit `pools` and `ranked_lists`; returns how, the account, and the bytes written.

    If a pool that was proved is not what it should be, everyone is computed afresh.

    Args:
        progress: told how many listeners are done.
    """
    columns = tuple(field.name for field in contract("pools").arrow_schema if field.name not in {"run_date", "bucket"})
    rows = tables.StoredRows.at(night, "interactions", ROWS)
    earlier = tables.StoredRows.at(before, "pools", columns) if before else None
    ranker = replace(ranker, way=_way(ranker, rows, earlier, tables.count(night, "interactions")))
    pools, lists, account = _rank(spark, night, ranker, rows, earlier, progress)
    if account.mismatches and ranker.settings.carry_over:
        afresh = replace(ranker, settings=ranker.settings.model_copy(update={"carry_over": False}))
        _remove(night, pools, lists)
        pools, lists, second = _rank(spark, night, afresh, rows, earlier, progress)
        second.mismatches += account.mismatches
        ranker, account = afresh, second
    tables.commit(spark, night, "pools", pools)
    tables.commit(spark, night, "ranked_lists", lists)
    return ranker, account, sum(file.size for file in (*pools, *lists))


def account_row(night: Night, ranker: Ranker | None, account: Account, written: int, before: Night | None) -> pa.Table:
    """The night's row of `rankings`.

    A mismatch is explained if the night that pools were carried over from was made anew since, and is stale.
    """
    personal = account.listeners - sum(account.reasons[source] for source in SOURCES)
    explained = before is not None and _is_stale(before)
    row = {
        "run_date": night.run_date,
        "model_version": ranker.model.version if ranker else None,
        "listeners": account.listeners,
        "personal": personal,
        "audited": account.audited,
        "mismatches": account.mismatches,
        "unexplained": 0 if explained else account.mismatches,
        "carried_from": before.run_date if before and ranker and ranker.settings.carry_over else None,
        "reasons": sorted(account.reasons.items()),
        "way": f"{ranker.way}" if ranker else "",
        "seconds": sorted(account.seconds.items()),
        "bytes": written,
    }
    return pa.Table.from_pylist([row], schema=contract("rankings").arrow_schema)


def _rank(
    spark: SparkSession,
    night: Night,
    ranker: Ranker,
    rows: tables.StoredRows,
    before: tables.StoredRows | None,
    progress: Progress,
) -> tuple[list[BucketFile], list[BucketFile], Account]:
    with scratch_of(night) as scratch:
        work = BucketRanking(
            scratch=scratch,
            rows=rows,
            before=before,
            pools=(tables.table_path(night, "pools"), contract("pools").arrow_schema),
            lists=(tables.table_path(night, "ranked_lists"), contract("ranked_lists").arrow_schema),
            run_date=night.run_date,
            batch_memory_mb=night.settings.ranking.batch_memory_mb,
        )
        return rank_buckets(spark, ranker, work, night.settings.tables.buckets, progress)


def _way(ranker: Ranker, rows: tables.StoredRows, before: tables.StoredRows | None, listeners: int) -> Way:
    """The fastest way to rank tonight, timed on the first listeners, if there are so many that it matters."""
    first = next(iter(rows), None) if listeners >= _WORTH_MEASURING else None
    if first is None:
        return ranker.way
    sample = first.slice(0, _MEASURED_ON)
    earlier = Aligned(iter(() if before is None else before)).of(sample.column("user_id"))
    with one_blas_thread():
        return ranker.choose_way(sample, earlier)


def _markets(night: Night, model: Model) -> eligibility.Markets:
    blocked = night.settings.ranking.explicit_blocked_markets
    return eligibility.markets(model.item_ids, tables.night_rows(night, "items"), night.run_date, blocked)


def _reranker(night: Night, model: Model) -> Reranker | None:
    settings = night.settings.reranking
    if settings.neutral:
        return None
    index = tables.night_rows(night, "item_index")
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
        raise SettingsError(
            "the model is larger than ranking may share on a machine",
            found=f"{items:,} items x {width} factors, {needed / 2**20:,.0f} MiB",
            expected=f"at most ranking.items_memory_mb = {allowed} MiB",
            fix="raise ranking.items_memory_mb if every machine has the memory, or lower als.factors",
        )


def _is_stale(night: Night) -> bool:
    states = tables.rows(night, "nights", pc.field("run_date") == night.run_date, ["state"])["state"].to_pylist()
    return "stale" in states


def _remove(night: Night, pools: list[BucketFile], lists: list[BucketFile]) -> None:
    for table, files in (("pools", pools), ("ranked_lists", lists)):
        for file in files:
            Path(tables.table_path(night, table), file.path).unlink()
