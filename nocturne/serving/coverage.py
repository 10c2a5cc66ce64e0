"""Coverage of a night's lists: listeners, places and different items, by market and content type, in one pass."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.arrays import Codes, Positions
from nocturne.core.spark.exchange import Parcels, as_given, deal_out, unpack
from nocturne.storage.bucket_files import ITEM_IDS
from nocturne.storage.stored_rows import StoredRows
from nocturne.training.item_counts import MarketCensus

EVERY_MARKET, EVERY_TYPE, UNKNOWN = "*", "", "unknown"

LISTS = ("market", "source", "candidates", "arm", "model_version", "items")
ITEMS = ("item_id", "content_type")
"""Columns read of `ranked_lists` and of `items`."""

DICTIONARIES = (ITEM_IDS,)
"""Columns of `ranked_lists` that are read as they are stored."""

_HEAD = ("arm", "source", "model_version")
_GROUP = ("market", "content_type")
_COUNTED = ("listeners", "personal", "full")
_KINDS = ("arm", "listeners", "slots")
"""A column of each kind of sums: of heads, of lists, of places."""

_FEW_LISTS = 50_000
"""Lists that are counted in this process: Spark's tasks would take longer."""

Row = dict[str, str | int]
Head = tuple[str, str, str]


@dataclass(frozen=True)
class Coverage:
    """Counts over the lists of a night.

    Attributes:
        heads: every arm, source and model_version that lists have together.
        rows: as in the column `coverage` of `nights`, in order of market and content type.
    """

    heads: list[Head]
    rows: list[Row]


@dataclass(frozen=True)
class CoverageTask:
    """The count of the lists of some buckets, as a Spark task runs it."""

    lists: StoredRows
    items: StoredRows
    top_k: int
    tasks: int

    def count(self, buckets: Iterable[int]) -> Iterator[pa.Table]:
        """Heads; lists by market and content type; places by market, content type and item."""
        numbers = _ItemNumbers(self.items.to_table())
        census = MarketCensus()
        heads: list[pa.Table] = []
        of_lists: list[pa.Table] = []
        for rows in (rows for bucket in buckets for rows in self.lists.in_bucket(bucket) if rows.num_rows):
            markets = pc.fill_null(rows["market"], "")
            listed = rows["items"].flatten().field("item_id")
            encoded = listed if pa.types.is_dictionary(listed.type) else listed.dictionary_encode()
            items = numbers.of(encoded.dictionary)[encoded.indices.to_numpy()]
            census.add(markets, pc.list_value_length(rows["items"]).to_numpy(), items)
            row = pc.list_parent_indices(rows["items"]).to_numpy()
            of_lists += self._count_lists(rows, markets, row, numbers.types(items), numbers.type_names)
            heads.append(pa.Table.from_batches([rows.select(_HEAD)]).group_by(_HEAD).aggregate([]))
        yield from heads
        yield from of_lists
        for market, (items, slots) in census.by_market().items():
            columns = {
                "market": pa.repeat(market, len(items)),
                "content_type": pa.array(numbers.type_names).take(pa.array(numbers.types(items))),
                "item": numbers.ids(items),
                "slots": pa.array(slots),
            }
            yield pa.table(columns)

    def send(self, buckets: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """The same, places to where those of an item meet."""
        from nocturne.core.hashing import hash_ids  # compiles loops, which a rollback does without

        for counts in self.count(buckets):
            keys = np.zeros(counts.num_rows, np.uint64)
            if "item" in counts.column_names:
                keys = hash_ids(counts["item"].combine_chunks(), 0)
            yield from deal_out(counts, keys, self.tasks)

    def _count_lists(
        self, rows: pa.RecordBatch, markets: pa.Array, row: Codes, types: Codes, names: Sequence[str]
    ) -> Iterator[pa.Table]:
        """By market and content type, the lists with an item of the type that have each property."""
        everyone = np.ones(rows.num_rows, dtype=bool)
        lengths = pc.list_value_length(rows["items"]).to_numpy()
        properties = {
            "listeners": everyone,
            "personal": pc.equal(rows["source"], "als").to_numpy(zero_copy_only=False),
            "full": lengths >= np.minimum(rows["candidates"].to_numpy(), self.top_k),
        }
        chosen = {EVERY_TYPE: everyone}
        for number in np.unique(types).tolist():
            chosen[names[number]] = np.zeros(rows.num_rows, dtype=bool)
            chosen[names[number]][row[types == number]] = True
        encoded = markets.dictionary_encode()
        market, width = encoded.indices.to_numpy(), len(encoded.dictionary)
        for name, of_type in chosen.items():
            counts = {
                metric: np.bincount(market[of_type & mask], minlength=width) for metric, mask in properties.items()
            }
            yield pa.table({"market": encoded.dictionary, "content_type": pa.repeat(name, width), **counts})


class _ItemNumbers:
    """Numbers of items: their places in the catalogue, and behind them those that it lacks."""

    def __init__(self, catalogue: pa.Table) -> None:
        self._ids = catalogue["item_id"].combine_chunks()
        types = pc.fill_null(catalogue["content_type"].combine_chunks(), UNKNOWN).dictionary_encode()
        self.type_names = [*types.dictionary.to_pylist(), UNKNOWN]
        self._types = np.append(types.indices.to_numpy(), len(self.type_names) - 1)
        self._others: dict[str, int] = {}

    def of(self, ids: pa.Array) -> Positions:
        """The number of each item."""
        place = pc.fill_null(pc.index_in(ids, value_set=self._ids), -1).to_numpy().astype(np.int64)
        for row in np.flatnonzero(place < 0).tolist():
            place[row] = self._others.setdefault(ids[row].as_py(), len(self._ids) + len(self._others))
        return np.asarray(place)

    def types(self, numbers: Positions) -> Codes:
        """The content type of each item, as a place in `type_names`."""
        return np.asarray(self._types[np.minimum(numbers, len(self._types) - 1)])

    def ids(self, numbers: Positions) -> pa.Array:
        """The id of each item."""
        return pa.concat_arrays([self._ids, pa.array(list(self._others), pa.string())]).take(pa.array(numbers))


def measure_coverage(
    spark: SparkSession, lists: StoredRows, items: StoredRows, top_k: int, buckets: int, count: int
) -> Coverage:
    """Count many lists on the executors, few here.

    Args:
        lists: LISTS of `ranked_lists`, best with DICTIONARIES.
        items: ITEMS of the catalogue.
        count: of lists.
    """
    tasks = min(buckets, spark.sparkContext.defaultParallelism)
    task = CoverageTask(lists, items, top_k, tasks)
    if count <= _FEW_LISTS:
        sums = _unite(task.count(range(buckets)))
    else:
        shares = [range(number, buckets, tasks) for number in range(tasks)]
        dealt = spark.sparkContext.parallelize(shares, tasks).flatMap(task.send).partitionBy(tasks, as_given)
        sums = [table for tables in dealt.mapPartitions(_unite_parcels).collect() for table in tables]
    rows = {name: [row for table in sums if name in table.column_names for row in table.to_pylist()] for name in _KINDS}
    heads = {tuple(row[name] for name in _HEAD) for row in rows["arm"]}
    return Coverage(sorted(heads), _rows(rows["listeners"], rows["slots"]))


def _unite_parcels(parcels: Parcels) -> Iterator[list[pa.Table]]:
    yield _unite(unpack(parcels))


def _unite(counts: Iterable[pa.Table]) -> list[pa.Table]:
    """The heads; the sums of lists; places and different items, in each market and anywhere."""
    of_kind: dict[str, list[pa.Table]] = {"arm": [], "listeners": [], "item": []}
    for table in counts:
        next(tables for name, tables in of_kind.items() if name in table.column_names).append(table)
    united = []
    if of_kind["arm"]:
        united.append(pa.concat_tables(of_kind["arm"]).group_by(_HEAD).aggregate([]))
    if of_kind["listeners"]:
        lists = pa.concat_tables(of_kind["listeners"]).group_by(_GROUP)
        united.append(lists.aggregate([(name, "sum") for name in _COUNTED]).rename_columns([*_GROUP, *_COUNTED]))
    if of_kind["item"]:
        listed = pa.concat_tables(of_kind["item"])
        anywhere = listed.drop_columns("market").append_column("market", pa.repeat(EVERY_MARKET, listed.num_rows))
        united += [_places(listed), _places(anywhere.select(listed.column_names))]
    return united


def _places(listed: pa.Table) -> pa.Table:
    """Slots and different items by market and content type, of slots by market, content type and item."""
    of_items = listed.group_by([*_GROUP, "item"]).aggregate([("slots", "sum")])
    sums = of_items.group_by(_GROUP).aggregate([("slots_sum", "sum"), ("item", "count")])
    return sums.rename_columns([*_GROUP, "slots", "items"])


def _rows(counted: list[Row], places: list[Row]) -> list[Row]:
    """One row a market and content type, and with all of them together."""
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for row in counted:
        for market in (str(row["market"]), EVERY_MARKET):
            _add(sums, market, str(row["content_type"]), row, _COUNTED)
    for row in places:
        for kind in (str(row["content_type"]), EVERY_TYPE):
            _add(sums, str(row["market"]), kind, row, ("slots", "items"))
    names = (*_COUNTED, "slots", "items")
    return [
        {"market": market, "content_type": kind, **{name: sums[market, kind].get(name, 0) for name in names}}
        for market, kind in sorted(sums)
        if any(sums[market, kind].values())
    ]


def _add(sums: dict[tuple[str, str], dict[str, int]], market: str, kind: str, row: Row, names: tuple[str, ...]) -> None:
    total = sums.setdefault((market, kind), {})
    for name in names:
        total[name] = total.get(name, 0) + int(row[name])
