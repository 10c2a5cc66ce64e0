"""Profile of what `rank_users` writes: has every listener a full, sound, fresh and varied list?"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.storage.history import previous_night
from nocturne.validation.profiles.arithmetic import Profile, repeated, share
from nocturne.validation.profiles.bucket_sums import Snapshot, found, snapshot, sum_over_buckets
from nocturne.validation.profiles.catalogue_rules import Catalogue
from nocturne.validation.profiles.models import live_models

_COLUMNS = ["user_id", "market", "arm", "items", "propensities", "source", "model_version", "candidates"]
_BATCH_ROWS = 32_768
_NOTHING_LISTED = pa.table({"item": pa.array([], pa.string()), "value": pa.array([], pa.float64())})
_COUNTED = (
    *("lists", "slots", "short", "empty", "too_long", "lists_with_duplicates", "unordered", "not_finite"),
    *("ineligible", "unknown", "fallbacks", "other_model", "compared", "overlap", "propensities_unsound"),
)
_COMPARED = 20_000
"""Listeners of all buckets whose last two lists are compared: enough to tell a churn of 1 %."""

_FEWEST_COMPARED = 100
"""A few listeners may well hear all new lists."""


@dataclass(frozen=True)
class Lists:
    """What a task needs to measure a bucket of lists.

    Attributes:
        previous: the lists of the last sound night, if there is one.
        model_version: the live model; empty if there is none.
        reranked: whether personal lists are ordered by more than their scores.
    """

    lists: Snapshot
    listeners: Snapshot
    previous: Snapshot | None
    items: Snapshot
    model_version: str
    top_k: int
    explicit_blocked_markets: tuple[str, ...]
    compared: int
    reranked: bool

    def measure(self, buckets: Iterable[int]) -> Iterator[pa.Table]:
        """Sums of the metrics over each bucket, and how often each item is listed in all of them."""
        catalogue = Catalogue(self.items.rows(), self.lists.run_date, self.explicit_blocked_markets)
        for bucket in buckets:
            sums, listed = self._bucket(bucket, catalogue)
            yield found(sums)
            yield listed

    def _bucket(self, bucket: int, catalogue: Catalogue) -> tuple[dict[str, float], pa.Table]:
        sums, users, keys, listed = Counter(dict.fromkeys(_COUNTED, 0.0)), [], [], []
        lists = self.lists.bucket(bucket)
        for batch in lists.to_batches(columns=_COLUMNS, batch_size=_BATCH_ROWS):
            counts, items = self._batch(batch, catalogue)
            sums.update(counts)
            listed.append(items)
            users.append(batch["user_id"])
            keys.append(pc.binary_join_element_wise(batch["arm"], batch["user_id"], "\x1f"))
        listed_users = pa.chunked_array(users, pa.string())
        known = self.listeners.bucket(bucket).to_table(columns=["user_id"])["user_id"]
        sums["duplicate_keys"] = repeated(pa.chunked_array(keys, pa.string()))
        sums["listeners_without_list"] = len(known) - _members(known, listed_users)
        sums["lists_without_listener"] = len(listed_users) - _members(listed_users, known)
        if self.previous:
            sums.update(overlap(lists.head(self.compared), self.previous.bucket(bucket).head(self.compared)))
        together = pa.concat_tables(listed, promote_options="default") if listed else _NOTHING_LISTED
        slots = together.group_by("item").aggregate([("value", "sum")]).rename_columns(["item", "value"])
        return dict(sums), slots.add_column(0, "metric", pa.array(["slots"] * slots.num_rows, pa.string()))

    def _batch(self, batch: pa.RecordBatch, catalogue: Catalogue) -> tuple[dict[str, float], pa.Table]:
        lists = batch["items"]
        entries = lists.flatten()
        encoded = entries.field("item_id").dictionary_encode()
        item, score = encoded.indices.to_numpy(), entries.field("score").to_numpy(zero_copy_only=False)
        row = pc.list_parent_indices(lists).to_numpy()
        lengths = pc.list_value_length(lists).to_numpy()
        same_list = row[1:] == row[:-1]
        full = np.minimum(batch["candidates"].to_numpy(), self.top_k)
        source = batch["source"]
        personal = pc.equal(source, "als")
        by_score = ~(self.reranked & personal.to_numpy(zero_copy_only=False))[row[1:]]
        stale = pc.and_(personal, pc.not_equal(batch["model_version"], self.model_version))
        markets = batch["market"].dictionary_encode()
        barred, unknown = catalogue.judge(encoded.dictionary, markets.dictionary)
        market = markets.indices.fill_null(len(markets.dictionary)).to_numpy()[row]
        sums = {
            "lists": batch.num_rows,
            "slots": len(item),
            "short": int((lengths < full).sum()),
            "empty": int((lengths == 0).sum()),
            "too_long": int((lengths > self.top_k).sum()),
            "lists_with_duplicates": _lists_with_duplicates(row, item, lengths),
            "unordered": len(np.unique(row[1:][same_list & by_score & (score[1:] > score[:-1])])),
            "not_finite": len(np.unique(row[~np.isfinite(score)])),
            "ineligible": int(barred[market, item].sum()),
            "unknown": int(unknown[item].sum()),
            "propensities_unsound": _unsound(batch["propensities"], lengths),
            "fallbacks": batch.num_rows - int(pc.sum(personal).as_py() or 0),
            "other_model": int(pc.sum(stale).as_py() or 0),
        }
        times = np.bincount(item, minlength=len(encoded.dictionary)).astype(np.float64)
        return sums, pa.table({"item": encoded.dictionary, "value": times})


def ranked_lists(spark: SparkSession, night: Night) -> Profile:
    """Of every listener's list."""
    live = live_models(night)
    previous = previous_night(night, "ranked_lists")
    buckets = night.settings.tables.buckets
    task = Lists(
        lists=snapshot(night, "ranked_lists"),
        listeners=snapshot(night, "interactions"),
        previous=snapshot(previous, "ranked_lists") if previous else None,
        items=snapshot(night, "items"),
        model_version=live[0]["model_version"] if live else "",
        top_k=night.settings.ranking.top_k,
        explicit_blocked_markets=night.settings.ranking.explicit_blocked_markets,
        compared=max(_COMPARED // buckets, 1),
        reranked=not night.settings.reranking.neutral,
    )
    measured = sum_over_buckets(spark, buckets, task.measure)
    sums = {metric: value for (metric, item), value in measured.items() if item is None}
    slots = np.array([value for (metric, item), value in measured.items() if item is not None])
    return {
        "duplicate_keys": sums["duplicate_keys"],
        "listeners_without_list": sums["listeners_without_list"],
        "lists_without_listener": sums["lists_without_listener"],
        "share_short": share(sums["short"], sums["lists"]),
        "share_empty": share(sums["empty"], sums["lists"]),
        "too_long": sums["too_long"],
        "lists_with_duplicates": sums["lists_with_duplicates"],
        "ineligible_items": sums["ineligible"],
        "share_not_in_catalogue": share(sums["unknown"], sums["slots"]),
        "unordered": sums["unordered"],
        "not_finite": sums["not_finite"],
        "propensities_unsound": sums["propensities_unsound"],
        "other_model": sums["other_model"],
        "share_fallback": share(sums["fallbacks"], sums["lists"]),
        "share_of_model_listed": share(len(slots), live[0]["items"]) if live and len(slots) else None,
        "share_of_top_items": share(_largest(slots), float(slots.sum())),
        "churn": 1 - sums["overlap"] / sums["compared"] if sums["compared"] >= _FEWEST_COMPARED else None,
    }


def overlap(lists: pa.Table, previous: pa.Table) -> dict[str, float]:
    """How much of each list was in the list that the same listener and arm had before.

    Returns:
        `compared`: lists, not empty, of listeners who had one; `overlap`: sum of the shares of them that were there.
    """
    now, before = _places(lists), _places(previous)
    both = now.join(before, ["user_id", "arm", "item_id"], join_type="left semi")
    met = lists.select(["user_id", "arm"]).filter(pc.greater(pc.list_value_length(lists["items"]), 0))
    compared = met.join(previous.select(["user_id", "arm"]), ["user_id", "arm"], join_type="left semi").num_rows
    return {"compared": compared, "overlap": float(pc.sum(both["weight"]).as_py() or 0)}


def _places(lists: pa.Table) -> pa.Table:
    """One row per list and item; the weights of a list add up to 1."""
    chunk = lists.combine_chunks()
    items = chunk["items"].combine_chunks()
    row = pc.list_parent_indices(items)
    lengths = pc.list_value_length(items).cast(pa.float64())
    return pa.table(
        {
            "user_id": chunk["user_id"].take(row),
            "arm": chunk["arm"].take(row),
            "item_id": items.flatten().field("item_id"),
            "weight": pc.divide(1.0, lengths.take(row)),
        }
    )


def _lists_with_duplicates(row: np.ndarray, item: np.ndarray, lengths: np.ndarray) -> int:
    """Lists in which an item occurs twice: sorted side by side, which is faster than sorting all entries."""
    starts = np.cumsum(lengths) - lengths
    widest = int(lengths.max(initial=0))
    # Empty places get numbers of their own.
    side_by_side = np.tile(-1 - np.arange(widest, dtype=np.int32), (len(lengths), 1))
    side_by_side[row, np.arange(len(row)) - starts[row]] = item
    side_by_side.sort(axis=1)
    return int((side_by_side[:, 1:] == side_by_side[:, :-1]).any(axis=1).sum())


def _unsound(propensities: pa.ListArray, lengths: np.ndarray) -> int:
    """Lists whose propensities, where they have any, are not one for each item, above 0 and at most 1."""
    lists = pc.list_parent_indices(propensities).to_numpy()
    values = propensities.flatten().to_numpy(zero_copy_only=False)
    unsound = pc.is_valid(propensities).to_numpy(zero_copy_only=False)
    unsound &= np.bincount(lists, minlength=len(lengths)) != lengths
    unsound[lists[~((values > 0) & (values <= 1))]] = True
    return int(unsound.sum())


def _members(values: pa.ChunkedArray, of: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.is_in(values, value_set=of)).as_py() or 0)


def _largest(slots: np.ndarray) -> float:
    """Places taken by the 1 % most listed items, at least one."""
    return float(np.sort(slots)[-max(1, len(slots) // 100) :].sum())
