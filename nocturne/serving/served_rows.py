"""Lists with the rows of their listeners, as a generation of the cache takes them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Counts, Floats, Indexes
from nocturne.core.night import Night
from nocturne.core.sections import AlsSettings
from nocturne.serving.reserves import NO_RESERVES, Reserves
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.model_transitions import ModelRecord
from nocturne.storage.stored_rows import StoredRows
from nocturne.training.confidences import ages, confidences, heard_items, strengths

LISTS = ("user_id", "market", "arm", "source", "model_version", "items", "propensities")
"""Columns of `ranked_lists` that the cache takes."""

_POOLS = ("user_id", "factors", "items", "listed")
_ROWS = ("user_id", "period", "item_indexes", "play_sums", "second_sums", "last_heard", "recent_items")
_FARTHEST = 0xFFFF
_MOST_ROWS, _FEWEST_ROWS, _ROWS_IN_ALL = 4096, 64, 2**16
"""Rows of a part that are read at once, and about those of all parts, which a loader goes through side by side."""


@dataclass(frozen=True)
class ServedRows:
    """The rows of a bucket, in the order of user_id; can be pickled, and gone through more than once.

    Attributes:
        lists, pools, interactions: rows of the bucket.
        settings: of the model that weighs what was heard; None without one.
        anchor_date: of the model.
        let_back_after_days: days after which a heard item may be listed again; 0: never.
        reserves: of what moves up where items are taken down.
    """

    lists: StoredRows
    pools: StoredRows
    interactions: StoredRows
    settings: AlsSettings | None
    anchor_date: date
    half_life_days: float
    run_date: date
    let_back_after_days: int
    reserves: Reserves

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Rows of LISTS, with factors, heard, weights and days of what was heard, and what is in reserve."""
        pools = AlignedRows("pools", _POOLS, self.pools)
        interactions = AlignedRows("interactions", _ROWS, self.interactions)
        for batch in self.lists:
            if not batch.num_rows:
                continue
            columns = {name: batch[name] for name in LISTS}
            of_pools = pools.of(batch["user_id"])
            columns["factors"] = of_pools["factors"].combine_chunks()
            columns |= self._heard(interactions.of(batch["user_id"]))
            columns["reserve"] = self.reserves.of(batch, of_pools, columns["heard"])
            yield pa.RecordBatch.from_pydict(columns)

    def _heard(self, rows: pa.Table) -> dict[str, pa.Array]:
        """Item indexes, weights and days of what each listener heard; empty where there is no row."""
        present = rows["user_id"].is_valid()
        some = rows.filter(present).combine_chunks()
        lengths = np.zeros(rows.num_rows, np.int64)
        if not some.num_rows:
            empty = pa.ListArray.from_arrays(pa.array(np.zeros(rows.num_rows + 1, np.int32)), pa.array([], pa.int32()))
            return {"heard": empty, "weights": empty.cast(pa.list_(pa.float32())), "days": empty}
        batch = some.to_batches()[0]
        offsets, items, weights = self._weights(batch)
        lengths[present.to_numpy()] = np.diff(offsets)
        ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        days, ends_of_days = np.zeros(0, np.int32), pa.array(np.zeros(rows.num_rows + 1, np.int32))
        if self.let_back_after_days:
            heard_on = batch["last_heard"].flatten().cast(pa.int32()).to_numpy()
            days, ends_of_days = (self.run_date - date(1970, 1, 1)).days - heard_on, ends
        return {
            "heard": pa.ListArray.from_arrays(ends, pa.array(items)),
            "weights": pa.ListArray.from_arrays(ends, pa.array(weights.astype(np.float32))),
            "days": pa.ListArray.from_arrays(ends_of_days, pa.array(np.clip(days, 0, _FARTHEST))),
        }

    def _weights(self, rows: pa.RecordBatch) -> tuple[Counts, Indexes, Floats]:
        """Row offsets, item indexes, and confidences before the weights of the items; 0 without a model."""
        if self.settings is None:
            offsets, items = heard_items(rows)
            return offsets, items, np.zeros(len(items))
        offsets, items, amounts = strengths(rows, self.anchor_date, self.half_life_days, self.settings)
        heard = np.diff(offsets)
        weights = confidences(amounts, np.ones(len(items)), np.repeat(heard, heard), self.settings)
        if self.settings.recency < 1:
            weights *= self.settings.recency ** ages(rows)
        return offsets, items, weights


def served_rows(
    night: Night, model: ModelRecord | None, versions: Mapping[str, int], reserves: Reserves = NO_RESERVES
) -> list[ServedRows]:
    """The rows of a night, a part a bucket.

    Args:
        model: the live model; None without one.
        versions: of the tables that are read, as far as they are on record.
        reserves: of what moves up where items are taken down.
    """
    buckets = night.settings.tables.buckets
    at_once = min(_MOST_ROWS, max(_FEWEST_ROWS, _ROWS_IN_ALL // buckets))

    def stored(table: str, columns: Collection[str]) -> StoredRows:
        return StoredRows.at(night, table, tuple(columns), versions.get(table), batch_rows=at_once)

    lists, pools, interactions = stored("ranked_lists", LISTS), stored("pools", _POOLS), stored("interactions", _ROWS)
    return [
        ServedRows(
            lists.in_bucket(bucket),
            pools.in_bucket(bucket),
            interactions.in_bucket(bucket),
            AlsSettings.model_validate_json(model.settings) if model else None,
            model.anchor_date if model else night.run_date,
            night.settings.interactions.half_life_days,
            night.run_date,
            night.settings.ranking.let_back_after_days,
            reserves,
        )
        for bucket in range(buckets)
    ]
