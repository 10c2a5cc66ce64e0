"""Stage `relate_items`: what goes best with every item, by content type."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.errors import UsageError
from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.ranking.known_items import KnownItems, all_ids
from nocturne.ranking.related_rows import Previous, RelatedNight
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import previous_night
from nocturne.storage.proofs import require_unchanged
from nocturne.storage.takedowns import stored_takedowns
from nocturne.training import registry
from nocturne.training.model import Model

_OF_CATALOGUE = (
    *("item_id", "content_type", "creator", "explicit", "markets"),
    *("available_from", "available_until", "absent"),
)
"""Columns of `items` that relating reads."""

_BYTES_PER_ENTRY = 128
"""Of a related item, from when it is found until it is written."""


def relate_items(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Relate every item that anyone ever heard or the catalogue names; without Spark.

    Raises:
        UsageError: the rows are larger than settings allow.
    """
    model = registry.live_model(night)
    catalogue = tables.night_rows(night, "items", _OF_CATALOGUE)
    ids = all_ids(catalogue, tables.night_rows(night, "item_index", ["item_id"]))
    related = RelatedNight(
        run_date=night.run_date,
        known=_known(ids, catalogue, night),
        model=model,
        settings=night.settings.related,
        memory_mb=night.settings.ranking.batch_memory_mb,
        threads=night.settings.als.threads,
    )
    _check_size(related.known, night)
    previous = _previous(night, model) if model else None
    parts, carried = [contract("related_items").arrow_schema.empty_table()], 0
    for done, content_type in enumerate(related.known.types):
        progress(done, len(related.known.types), "content types")
        rows, stood = related.table(content_type, previous)
        parts.append(rows)
        carried += stood
    table = pa.concat_tables(parts)
    writing.replace_night(table, "related_items", night)
    named = model.version if model else "no model yet"
    return StageResult(len(ids), remark=f"{named}, {carried:,} of {table.num_rows:,} rows carried over")


def _known(ids: pa.Array, catalogue: pa.Table, night: Night) -> KnownItems:
    blocked = night.settings.ranking.explicit_blocked_markets
    return KnownItems.of(ids, catalogue, night.run_date, blocked, stored_takedowns(night))


def _previous(night: Night, model: Model) -> Previous | None:
    """The last sound night, where the same model was live."""
    earlier = previous_night(night, "related_items")
    if earlier is None:
        return None
    require_unchanged(earlier, "related_items")
    versions = tables.night_rows(earlier, "related_items", ["model_version"])["model_version"]
    if model.version not in pc.unique(versions).to_pylist():
        return None
    catalogue = tables.night_rows(earlier, "items", _OF_CATALOGUE)
    then = _known(model.item_ids, catalogue, night.on(earlier.run_date))
    known = replace(then, listable=then.listable & model.known_on(earlier.run_date))
    return Previous(tables.night_rows(earlier, "related_items"), known)


def _check_size(known: KnownItems, night: Night) -> None:
    settings, allowed = night.settings.related, night.settings.ranking.items_memory_mb
    entries = len(known.ids) * len(known.types) * (settings.depth + settings.reserve)
    if entries * _BYTES_PER_ENTRY > allowed * 2**20:
        raise UsageError(
            "the related items are larger than ranking may hold in memory",
            found=f"{len(known.ids):,} items x {len(known.types)} content types x {settings.depth + settings.reserve} "
            f"related items, {entries * _BYTES_PER_ENTRY / 2**20:,.0f} MiB",
            expected=f"at most ranking.items_memory_mb = {allowed} MiB",
            fix="lower related.depth or related.reserve, or raise ranking.items_memory_mb if there is the memory",
        )
