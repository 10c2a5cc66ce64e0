"""Profile of `shelf_lists`: for every listener and content type a full, sound list, from the listener's own pool."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.arrays import Codes, Indexes, Mask, Positions
from nocturne.core.masks import mask
from nocturne.core.night import Night
from nocturne.ingestion.catalogue import UNNAMED_TYPE
from nocturne.storage import fingerprints
from nocturne.storage.aligned_rows import AlignedRows
from nocturne.storage.bucket_files import ITEM_IDS
from nocturne.storage.stored_rows import StoredRows
from nocturne.validation.profiles.arithmetic import Measured, Profile, repeated
from nocturne.validation.profiles.bridges import bridges_of
from nocturne.validation.profiles.bucket_sums import Sums, sum_over_buckets
from nocturne.validation.profiles.catalogue_rules import Catalogue
from nocturne.validation.profiles.entry_loops import are_among, count_repeating, shapes
from nocturne.validation.profiles.listed_items import Found, ListedItems
from nocturne.validation.profiles.models import live_models
from nocturne.validation.profiles.obeyed_plans import HELD_TO_PLANS, ObeyedPlans
from nocturne.validation.profiles.pools import not_yet_let_back
from nocturne.validation.profiles.ranked_lists import count_unsound
from nocturne.validation.profiles.recomputed_shelves import SHELVES, recompute_shelves

_LISTENERS = ("user_id", "market", "item_indexes", "last_heard")
_POOLS = ("user_id", "source", "items", "shelf_items")
_CATALOGUE = (*Catalogue.COLUMNS, "content_type")
_AT_ONCE = 1_024
"""Listeners of a batch: where every one has a row for each type, a batch cuts none of them in two."""

_CRITICAL = (
    *("rows_missing", "rows_unexpected", "duplicate_keys", "short", "too_long", "lists_with_duplicates", "unordered"),
    *("not_finite", "ineligible_items", "other_type", "heard_items", "other_model", "without_pool", "outside_pool"),
    *("wrong_source", "propensities_unsound"),
)


@dataclass(frozen=True)
class TypedItems:
    """Items, found by id, and the numbers of their content types.

    Attributes:
        types: names, in order; the number of a type is its place.
        of_place: number of the type of each item of the catalogue, and in the last place, which -1 means too, that of
            items that it does not know; -1 for a type that is not among them.
        of_index: the same by item index.
    """

    items: ListedItems
    types: pa.Array
    of_place: Codes
    of_index: Codes

    @classmethod
    def of(cls, catalogue: pa.Table, index: pa.Table, rules: Catalogue, types: pa.Array) -> "TypedItems":
        """The items of a night's catalogue and index."""
        names = pc.fill_null(catalogue["content_type"].combine_chunks(), UNNAMED_TYPE).to_pylist()
        lacking = 1 + len(rules) - len(names)
        named = pa.array([*names, *[UNNAMED_TYPE] * lacking], pa.string())
        of_place = pc.index_in(named, value_set=types).fill_null(-1).to_numpy()
        indexes = index["item_index"].to_numpy()
        of_index = np.full(int(indexes.max(initial=-1)) + 2, -1, np.int32)
        of_index[indexes] = of_place[rules.places(index["item_id"].combine_chunks())]
        return cls(ListedItems(index, rules), types, of_place, of_index)

    def types_of(self, indexes: Indexes) -> Codes:
        """Numbers of the types of items by item index."""
        known = (indexes >= 0) & (indexes < len(self.of_index) - 1)
        codes: Codes = self.of_index[np.where(known, indexes, -1)]
        return codes


@dataclass(frozen=True)
class ShelfMeasurement:
    """The measurement of a bucket of lists by content type, as a task runs it.

    Attributes:
        model_version: the live model; empty if there is none.
        types: content types that every listener has a list of, in order.
        bridged: those among them that the model has a bridge into.
        popular: those that whoever is new to gets what is popular of.
        length: items in a full list.
    """

    run_date: date
    lists: StoredRows
    listeners: StoredRows
    pools: StoredRows
    items: StoredRows
    index: StoredRows
    takedowns: StoredRows
    model_version: str
    types: tuple[str, ...]
    bridged: tuple[str, ...]
    popular: tuple[str, ...]
    length: int
    let_back_after_days: int
    explicit_blocked_markets: tuple[str, ...]

    def measure(self, buckets: Iterable[int]) -> Sums:
        """Sums of the metrics over some buckets."""
        sums = Sums(dict.fromkeys(("lists", *_CRITICAL), 0.0))
        catalogue = self.items.to_table()
        rules = Catalogue(catalogue, self.run_date, self.explicit_blocked_markets, self.takedowns.to_table())
        typed = TypedItems.of(catalogue, self.index.to_table(), rules, pa.array(self.types, pa.string()))
        for bucket in buckets:
            keys = [pa.array([], pa.string())]
            listeners = AlignedRows("interactions", _LISTENERS, self.listeners.in_bucket(bucket))
            pools = AlignedRows("pools", _POOLS, self.pools.in_bucket(bucket))
            for rows in self.lists.in_bucket(bucket):
                sums.add_rows(rows, "shelf_lists")
                users = pc.unique(rows["user_id"])
                batch = _Batch(rows, users, listeners.of(users), pools.of(users), typed)
                sums.add(self._measure_batch(batch))
                keys.append(pc.binary_join_element_wise(rows["content_type"], rows["user_id"], "\x1f"))
            known = replace(self.listeners.in_bucket(bucket), columns=("user_id",)).to_table().num_rows
            twice = repeated(pa.chunked_array(keys))
            sums.add({"duplicate_keys": twice, "rows_missing": known * len(self.types) + twice})
        return sums

    def _measure_batch(self, batch: "_Batch") -> dict[str, float]:
        rows, row, lengths = batch.rows, batch.row, batch.lengths
        score = rows["items"].flatten().field("score").to_numpy(zero_copy_only=False)
        shape = shapes(row, score, rows.num_rows)
        full = np.minimum(rows["candidates"].to_numpy(), self.length)
        expected = batch.known & (batch.code >= 0)
        not_let_back = not_yet_let_back(batch.listeners, self.run_date, self.let_back_after_days)
        drawn = mask(pc.is_valid(rows["propensities"]))
        bridged, popular = (
            mask(pc.is_in(rows["content_type"], value_set=pa.array(some, pa.string())))
            for some in (self.bridged, self.popular)
        )
        other_model = batch.personal & mask(pc.not_equal(rows["model_version"], self.model_version))
        return {
            "lists": rows.num_rows,
            "rows_missing": -int(expected.sum()),
            "rows_unexpected": int((~expected).sum()),
            "short": int((batch.personal & (lengths < full)).sum()),
            "too_long": int((lengths > self.length).sum()),
            "lists_with_duplicates": count_repeating(row, batch.item),
            "unordered": int((shape.rising & ~drawn).sum()),
            "not_finite": int((~shape.finite).sum()),
            "ineligible_items": int(batch.barred.sum()),
            "other_type": int((batch.type_of_item != batch.code[row]).sum()),
            "heard_items": int(are_among(batch.listener[row], batch.index_of_item, *not_let_back).sum()),
            "other_model": int(other_model.sum()),
            "without_pool": int((batch.personal & ~batch.pooled).sum()),
            "outside_pool": int((batch.personal & batch.outside_pool(self.length)).sum()),
            "wrong_source": int(((batch.by_bridge & ~bridged) | (~batch.personal & batch.pooled & ~popular)).sum()),
            "propensities_unsound": count_unsound(rows["propensities"], lengths),
        }


@dataclass(frozen=True)
class _Batch:
    """Some rows of `shelf_lists`, beside what there is of their listeners.

    Attributes:
        users: the listeners, each once.
        listeners, pools: rows of `interactions` and `pools`, aligned with them and null where there is none.
    """

    rows: pa.RecordBatch
    users: pa.Array
    listeners: pa.Table
    pools: pa.Table
    typed: TypedItems

    @cached_property
    def row(self) -> Positions:
        """The row of each entry."""
        return np.asarray(pc.list_parent_indices(self.rows["items"]).to_numpy())

    @cached_property
    def lengths(self) -> Positions:
        """Entries of each row."""
        return np.asarray(pc.list_value_length(self.rows["items"]).to_numpy())

    @cached_property
    def listener(self) -> Positions:
        """Place among the users of each row's listener."""
        return np.asarray(pc.index_in(self.rows["user_id"], value_set=self.users).to_numpy())

    @cached_property
    def code(self) -> Codes:
        """Number of each row's content type; -1 for one that has no lists."""
        found = pc.index_in(self.rows["content_type"], value_set=self.typed.types)
        return np.asarray(found.fill_null(-1).to_numpy())

    @cached_property
    def known(self) -> Mask:
        """Rows of listeners whom `interactions` knows."""
        return mask(pc.is_valid(self.listeners["user_id"]))[self.listener]

    @cached_property
    def personal(self) -> Mask:
        """Rows by the factors, or by a bridge."""
        return mask(pc.equal(self.rows["source"], "als")) | self.by_bridge

    @cached_property
    def by_bridge(self) -> Mask:
        """Rows by the bridge into their content type."""
        return mask(pc.equal(self.rows["source"], "bridge"))

    @cached_property
    def pooled(self) -> Mask:
        """Rows of listeners with a pool by ALS."""
        return mask(pc.equal(self.pools["source"], "als"))[self.listener]

    @cached_property
    def item(self) -> Positions:
        """Number of each entry's item, within this batch."""
        return np.asarray(self._encoded.indices.to_numpy())

    @cached_property
    def index_of_item(self) -> Indexes:
        """Item index of each entry; -1 for one that has none."""
        return self._found.indexes[self.item]

    @cached_property
    def type_of_item(self) -> Codes:
        """Number of the content type of each entry's item."""
        codes: Codes = self.typed.of_place[self._found.places][self.item]
        return codes

    @cached_property
    def barred(self) -> Mask:
        """Entries that may not be listed in the market of the row's listener."""
        markets = self.listeners["market"].combine_chunks().dictionary_encode()
        barred, _ = self.typed.items.catalogue.judge_places(self._found.places, markets.dictionary)
        market = markets.indices.fill_null(len(markets.dictionary)).to_numpy()[self.listener]
        answers: Mask = barred[market[self.row], self.item]
        return answers

    def outside_pool(self, length: int) -> Mask:
        """Rows with an item that is not among those of its type in the listener's pool and on the shelf.

        By the factors it must be among the first so many of both, by a bridge among those on the shelf, which are its.
        """
        pool, shelf = (self._typed(name) for name in ("items", "shelf_items"))
        key, index = np.concatenate([pool[0], shelf[0]]), np.concatenate([pool[1], shelf[1]])
        # Stable: what is in the pool precedes what is on the shelf.
        order = np.argsort(key, kind="stable")
        asked = self.listener[self.row] * len(self.typed.types) + self.code[self.row]
        among = are_among(asked, self.index_of_item, key[order], index[order], length)
        on_shelf = np.argsort(shelf[0], kind="stable")
        by_bridge = are_among(asked, self.index_of_item, shelf[0][on_shelf], shelf[1][on_shelf])
        outside = np.zeros(self.rows.num_rows, bool)
        outside[self.row[~np.where(self.by_bridge[self.row], by_bridge, among)]] = True
        return outside

    def _typed(self, name: str) -> tuple[Positions, Indexes]:
        """Listener and type, as one number, and index of the items of a column of pools."""
        lists = self.pools[name].combine_chunks()
        owner, index = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists).to_numpy()
        code = self.typed.types_of(index)
        return (owner * len(self.typed.types) + code)[code >= 0], index[code >= 0]

    @cached_property
    def _encoded(self) -> pa.DictionaryArray:
        return self.rows["items"].flatten().field("item_id").dictionary_encode()

    @cached_property
    def _found(self) -> Found:
        return self.typed.items.find(self._encoded.dictionary)


def shelf_lists(spark: SparkSession, night: Night) -> Measured:
    """Of every listener's list of every content type."""
    live, ranking = live_models(night), night.settings.ranking
    types = tuple(sorted(ranking.shelf_types))
    columns, batch_rows = fingerprints.hashed_columns("shelf_lists"), _AT_ONCE * max(1, len(types))
    decided = bridges_of(night, live[0].version) if live else {}
    task = ShelfMeasurement(
        run_date=night.run_date,
        lists=StoredRows.at(night, "shelf_lists", columns, batch_rows=batch_rows, dictionaries=(ITEM_IDS,)),
        listeners=StoredRows.at(night, "interactions", _LISTENERS),
        pools=StoredRows.at(night, "pools", _POOLS),
        items=StoredRows.at(night, "items", _CATALOGUE),
        index=StoredRows.at(night, "item_index", ["item_index", "item_id"]),
        takedowns=StoredRows.at(night, "takedowns", Catalogue.WORDS),
        model_version=live[0].version if live else "",
        types=types if live else (),
        bridged=tuple(name for name, beats in decided.items() if beats),
        popular=tuple(name for name, beats in decided.items() if not beats),
        length=ranking.shelf_items,
        let_back_after_days=ranking.let_back_after_days,
        explicit_blocked_markets=ranking.explicit_blocked_markets,
    )
    with ThreadPoolExecutor(1) as beside:  # while this process waits for Spark's
        sample = StoredRows.at(night, "shelf_lists", SHELVES)
        recomputed = beside.submit(recompute_shelves, night, sample, live[0]) if len(live) == 1 else None
        measured = sum_over_buckets(spark, night, "shelf_lists", task.measure)
    profile: Profile = {name: measured.totals[name] for name in _CRITICAL}
    profile["unlike_recomputed"] = recomputed.result() if recomputed else None
    profile["broken_plans"] = ObeyedPlans.of(night).broken(StoredRows.at(night, "shelf_lists", HELD_TO_PLANS))
    return Measured(profile, measured.row_hash(spark, night, "shelf_lists", measured.totals["lists"]))
