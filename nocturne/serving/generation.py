"""A night as a generation of the serving cache takes it, from the night's tables."""

from collections.abc import Sequence

import pyarrow as pa

from nocturne.core.night import Night
from nocturne.serving.cache import GenerationInfo, ListKind
from nocturne.serving.cache.items_info import info_of
from nocturne.serving.cache.listable import EVERYWHERE
from nocturne.serving.coverage import EVERY_MARKET
from nocturne.serving.items_table import items_table
from nocturne.serving.night_record import NightRecord
from nocturne.serving.reserves import Reserves, popular_of
from nocturne.serving.served_rows import ServedRows, served_rows
from nocturne.storage.model_transitions import live_on
from nocturne.storage.stored_rows import StoredRows
from nocturne.training import registry

_KIND = ListKind._fields


def generation_of(
    night: Night, record: NightRecord, kinds: Sequence[ListKind] | None = None
) -> tuple[GenerationInfo, list[ServedRows]]:
    """Facts that the lists of a night share, and the rows of its listeners, a part a bucket.

    Args:
        record: of the night, which says at which versions its tables are read.
        kinds: heads of its lists, where they are known.
    """
    manifest = record.manifest
    items, model = items_table(night), live_on(registry.models(night.warehouse), night.run_date)
    markets = sorted({str(row["market"]) for row in manifest.coverage} - {EVERY_MARKET, ""})
    info = GenerationInfo(
        run_date=night.run_date,
        lists=manifest.listeners,
        kinds=_kinds(night, manifest.versions["ranked_lists"]) if kinds is None else kinds,
        item_ids=items["item_id"],
        markets=markets,
        items=items,
    )
    return info, served_rows(night, model, manifest.versions, _reserves(items, markets))


def _reserves(items: pa.Table, markets: Sequence[str]) -> Reserves:
    about = info_of(items)
    classes = {market: about.classes.get(market, about.classes[EVERYWHERE]) for market in markets}
    columns: dict[str | None, str] = {market: f"class_{number}" for market, number in classes.items()}
    columns[None] = f"class_{about.no_market}"
    return Reserves(popular_of(items, about.popular, columns), frozenset(about.planned))


def _kinds(night: Night, version: int) -> list[ListKind]:
    lists = StoredRows.at(night, "ranked_lists", _KIND, version).to_table()
    return sorted(ListKind(**kind) for kind in lists.group_by(list(_KIND)).aggregate([]).to_pylist())
