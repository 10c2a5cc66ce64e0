"""Profile of `ranked_lists`: for every listener a full, sound, fresh and varied list."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.arrays import Indexes, Mask, Positions
from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.storage import fingerprints, tables
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.bucket_files import ITEM_IDS
from nocturne.storage.history import previous_night
from nocturne.storage.model_transitions import ModelRecord
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.metrics.item_traits import ItemTraits
from nocturne.validation.profiles import list_contents
from nocturne.validation.profiles.arithmetic import Measured, Profile, repeated, share
from nocturne.validation.profiles.bucket_sums import Sums, sum_over_buckets
from nocturne.validation.profiles.catalogue_rules import Catalogue
from nocturne.validation.profiles.dealt_arms import DealtArms
from nocturne.validation.profiles.entry_loops import count_repeating, shapes
from nocturne.validation.profiles.list_contents import (
    ListRules,
    content_profile,
    measure_contents,
    measure_markets,
    measure_repeats,
)
from nocturne.validation.profiles.list_metrics import ListComparison
from nocturne.validation.profiles.list_worth import list_worth
from nocturne.validation.profiles.listed_items import ListedItems
from nocturne.validation.profiles.model_items import cold_indexes
from nocturne.validation.profiles.models import live_models
from nocturne.validation.profiles.obeyed_plans import HELD_TO_PLANS, ObeyedPlans
from nocturne.validation.profiles.recomputed_lists import SAMPLED, recompute_sample

_OF_MARKETS = ["user_id", "market", "candidates"]
_COUNTED = (
    *("lists", "slots", "short", "empty", "too_long", "lists_with_duplicates", "unordered", "not_finite"),
    *(
        "ineligible",
        "unknown",
        "fallbacks",
        "other_model",
        "propensities_unsound",
        "wrongly_marked",
        "other_arm",
    ),
    *list_contents.COUNTED,
)
_FEWEST_COMPARED = 100
"""A few listeners may well hear all new lists."""


@dataclass(frozen=True)
class ListMeasurement:
    """The measurement of a bucket of lists, as a task runs it.

    Attributes:
        previous: the lists of the last sound night, if there is one.
        model_version: the live model; empty if there is none.
        reranked: whether personal lists are ordered by more than their scores.
        arms: of the lists that come from these pools and this model.
        ruled: of the lists that follow these rules; the others are measured by those of their arm, in `arm_lists`.
        cold: indexes of the items that the model knows by their text alone.
        table: that they are of.
        dealt: who is in which arm; None where all are of one.
        comparison: what further metrics are measured by; None where none are.
    """

    run_date: date
    lists: StoredRows
    listeners: StoredRows
    pools: StoredRows
    previous: StoredRows | None
    items: StoredRows
    index: StoredRows
    takedowns: StoredRows
    rules: ListRules
    model_version: str
    explicit_blocked_markets: tuple[str, ...]
    reranked: bool
    arms: pa.Array
    ruled: pa.Array
    cold: Indexes
    table: str = "ranked_lists"
    dealt: DealtArms | None = None
    comparison: ListComparison | None = None

    def measure(self, buckets: Iterable[int]) -> Sums:
        """Sums of the metrics over some buckets, and how often each item is listed."""
        words = self.takedowns.to_table()
        catalogue = Catalogue(self.items.to_table(), self.run_date, self.explicit_blocked_markets, words)
        items = ListedItems(self.index.to_table(), catalogue)
        traits = self.comparison.traits() if self.comparison else None
        sums = Sums(dict.fromkeys(_COUNTED, 0.0), of_items={"slots": np.zeros(len(items))})
        for bucket in buckets:
            self._add_bucket(sums, bucket, items, traits)
        return sums

    def _add_bucket(self, sums: Sums, bucket: int, items: ListedItems, traits: ItemTraits | None) -> None:
        users, keys, hashes = [], [], []
        lists = self.lists.in_bucket(bucket)
        beside = [
            AlignedRows(table, columns, rows.in_bucket(bucket) if rows else ())
            for table, columns, rows in (
                ("interactions", list_contents.LISTENERS, self.listeners),
                ("pools", list_contents.POOLS, self.pools),
                ("ranked_lists", list_contents.PREVIOUS, self.previous),
            )
        ]
        for batch in lists:
            sums.add_rows(batch, self.table)
            of_pools, ruled = (mask(pc.is_in(batch["arm"], value_set=arms)) for arms in (self.arms, self.ruled))
            item, level = self._add_batch(sums, batch, items, of_pools, ruled)
            users.append(batch["user_id"])
            keys.append(pc.binary_join_element_wise(batch["arm"], batch["user_id"], "\x1f"))
            of_listeners, pools, previous = (rows.of(batch["user_id"]) for rows in beside)
            counts, of_lists = measure_contents(
                batch, item, level, of_listeners, pools, previous, self.rules, of_pools, ruled
            )
            sums.add(counts)
            hashes.append(of_lists)
            if self.comparison and traits:
                self.comparison.add(sums.segments, batch, item, of_listeners, previous, items, traits)
            self._add_markets(sums, batch.filter(pa.array(ruled)), previous.select(_OF_MARKETS).filter(pa.array(ruled)))
        listed_users = pa.chunked_array(users, pa.string())
        listeners = replace(self.listeners.in_bucket(bucket), columns=("user_id",)).to_table()["user_id"]
        sums.add(
            {
                "duplicate_keys": repeated(pa.chunked_array(keys, pa.string())),
                "listeners_without_list": len(listeners) - _members(listeners, listed_users),
                "lists_without_listener": len(listed_users) - _members(listed_users, listeners),
            }
        )
        sums.add(measure_repeats(hashes))

    def _add_markets(self, sums: Sums, batch: pa.RecordBatch, previous: pa.Table) -> None:
        lengths, top_k = pc.list_value_length(batch["items"]).to_numpy(), self.rules.top_k
        measure_markets(sums, pa.Table.from_batches([batch]), lengths, top_k, "now")
        known = previous.filter(pc.is_valid(previous["user_id"]))
        measure_markets(sums, known, known["candidates"].combine_chunks().to_numpy(), top_k, "then")

    def _add_batch(
        self, sums: Sums, batch: pa.RecordBatch, items: ListedItems, of_pools: Mask, ruled: Mask
    ) -> tuple[Indexes, Mask]:
        """Add what lists tell by themselves; returns the item index of each entry, and the lists of level scores."""
        lists = batch["items"]
        entries = lists.flatten()
        encoded = entries.field("item_id").dictionary_encode()
        item, score = encoded.indices.to_numpy(), entries.field("score").to_numpy(zero_copy_only=False)
        row = pc.list_parent_indices(lists).to_numpy()
        lengths = pc.list_value_length(lists).to_numpy()
        shape = shapes(row, score, batch.num_rows)
        full = np.minimum(batch["candidates"].to_numpy(), self.rules.top_k)
        source = batch["source"]
        personal = pc.equal(source, "als")
        by_score = of_pools & ~(self.reranked & personal.to_numpy(zero_copy_only=False))
        stale = pc.and_(personal, pc.not_equal(batch["model_version"], self.model_version))
        markets = batch["market"].dictionary_encode()
        found = items.find(encoded.dictionary)
        barred, unknown = items.catalogue.judge_places(found.places, markets.dictionary)
        market = markets.indices.fill_null(len(markets.dictionary)).to_numpy()[row]
        counts = {
            "lists": batch.num_rows,
            "slots": len(item),
            "short": int((ruled & (lengths < full)).sum()),
            "empty": int((lengths == 0).sum()),
            "too_long": int((ruled & (lengths > self.rules.top_k)).sum()),
            "lists_with_duplicates": count_repeating(row, item),
            "unordered": int((shape.rising & by_score).sum()),
            "not_finite": int((~shape.finite).sum()),
            "ineligible": int((barred[market, item] & ruled[row]).sum()),
            "unknown": int(unknown[item].sum()),
            "propensities_unsound": count_unsound(batch["propensities"], lengths),
            "wrongly_marked": _wrongly_marked(batch, row, np.isin(found.indexes, self.cold)[item], of_pools),
            "fallbacks": batch.num_rows - int(pc.sum(personal).as_py() or 0),
            "other_model": int((of_pools & stale.to_numpy(zero_copy_only=False)).sum()),
        }
        if self.dealt:
            expected = self.dealt.labels.take(pa.array(self.dealt.codes(batch["user_id"])))
            counts["other_arm"] = int((~mask(pc.equal(batch["arm"], expected))).sum())
        sums.add(counts)
        times = np.bincount(item, minlength=len(encoded.dictionary)).astype(np.float64)
        indexed, others = found.rows != -1, np.flatnonzero((found.rows == -1) & (times > 0))
        np.add.at(sums.of_items["slots"], found.rows[indexed], times[indexed])
        sums.add_of_names("slots", encoded.dictionary.take(pa.array(others)).to_pylist(), times[others].tolist())
        return found.indexes[item], shape.level


def measurement(
    night: Night, lists: StoredRows, pools: StoredRows, model: ModelRecord | None, arms: pa.Array, table: str
) -> ListMeasurement:
    """The measurement of lists that follow the night's settings, chosen from pools of one model.

    Args:
        lists: all columns that count.
        pools: at least list_contents.POOLS.
        arms: whose lists are chosen from these pools, and follow the settings.
        table: that the lists are of.
    """
    ranking = night.settings.ranking
    return ListMeasurement(
        run_date=night.run_date,
        lists=lists,
        listeners=StoredRows.at(night, "interactions", list_contents.LISTENERS),
        pools=replace(pools, columns=tuple(list_contents.POOLS)),
        previous=None,
        items=StoredRows.at(night, "items", Catalogue.COLUMNS),
        index=StoredRows.at(night, "item_index", ["item_index", "item_id"]),
        takedowns=StoredRows.at(night, "takedowns", Catalogue.WORDS),
        rules=ListRules(
            run_date=night.run_date,
            top_k=ranking.top_k,
            considered=max(ranking.top_k, ranking.candidates),
            let_back_after_days=ranking.let_back_after_days,
        ),
        model_version=model.version if model else "",
        explicit_blocked_markets=ranking.explicit_blocked_markets,
        reranked=not night.settings.reranking.neutral,
        arms=arms,
        ruled=arms,
        cold=cold_indexes(night, model.version) if model else np.zeros(0, np.int32),
        table=table,
    )


def ranked_lists(spark: SparkSession, night: Night) -> Measured:
    """Of every listener's list."""
    live = live_models(night)
    previous = previous_night(night, "ranked_lists")
    columns, dealt = fingerprints.hashed_columns("ranked_lists"), DealtArms.on(night)
    task = measurement(
        night,
        StoredRows.at(night, "ranked_lists", columns, dictionaries=(ITEM_IDS,)),
        StoredRows.at(night, "pools", list_contents.POOLS),
        live[0] if live else None,
        dealt.like_control,
        "ranked_lists",
    )
    task = replace(
        task,
        previous=StoredRows.at(previous, "ranked_lists", list_contents.PREVIOUS, dictionaries=(ITEM_IDS,))
        if previous
        else None,
        ruled=dealt.ruled_alike,
        dealt=dealt,
        comparison=ListComparison.of(night),
    )
    with ThreadPoolExecutor(1) as beside:  # while this process waits for Spark's
        recomputed = beside.submit(_recompute, night, live, dealt.like_control)
        worth = beside.submit(list_worth, night, previous)
        measured = sum_over_buckets(spark, night, "ranked_lists", task.measure)
    sums, of_index = measured.totals, measured.of_items["slots"]
    unindexed = [value for (metric, _), value in measured.of_names.items() if metric == "slots"]
    slots = np.concatenate([of_index[of_index > 0], unindexed])
    profile: Profile = {
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
        "wrongly_marked": sums["wrongly_marked"],
        "other_model": sums["other_model"],
        "other_arm": sums["other_arm"],
        "share_fallback": share(sums["fallbacks"], sums["lists"]),
        "share_of_model_listed": share(len(slots), live[0].items) if live and len(slots) else None,
        "share_of_top_items": share(_largest(slots), float(slots.sum())),
        "churn": _churn(measured, tables.count(previous, "ranked_lists") if previous else 0),
        **content_profile(measured),
        **recomputed.result(),
    }
    metrics = task.comparison.metrics(measured.segments) if task.comparison else ()
    row_hash = measured.row_hash(spark, night, "ranked_lists", sums["lists"])
    return Measured(profile, row_hash, (*metrics, *worth.result()))


def _recompute(night: Night, live: list[ModelRecord], arms: pa.Array) -> dict[str, float | None]:
    lists = StoredRows.at(night, "ranked_lists", SAMPLED)
    return {
        "unlike_recomputed": recompute_sample(night, lists, live[0], arms) if len(live) == 1 else None,
        "broken_plans": ObeyedPlans.of(night).broken(StoredRows.at(night, "ranked_lists", HELD_TO_PLANS)),
    }


def _churn(measured: Sums, previous: int) -> float | None:
    """Share of last night's lists that is gone; all of it where nearly all of many lists have nothing to compare.

    Args:
        previous: lists of last night, count.
    """
    compared = measured.segments.amount("compared")
    if compared >= _FEWEST_COMPARED:
        return measured.segments.amount("churn") / compared
    return 1.0 if min(measured.totals["lists"], previous) >= _FEWEST_COMPARED else None


def _wrongly_marked(batch: pa.RecordBatch, row: Positions, cold: Mask, of_pools: Mask) -> int:
    """Lists from the pools that mark other items than those that the model knows by their text alone."""
    places = batch["cold"]
    first = np.searchsorted(row, pc.list_parent_indices(places).to_numpy())
    marked = np.zeros(len(row) + 1, bool)
    marked[np.minimum(first + places.flatten().to_numpy(), len(row))] = True
    return int(np.isin(np.flatnonzero(of_pools), row[marked[:-1] != cold]).sum())


def count_unsound(propensities: pa.ListArray, lengths: np.ndarray) -> int:
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
