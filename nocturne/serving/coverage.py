"""Coverage of a night's lists: listeners, places and different items, by market and content type, in one pass."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nocturne.core.arrays import Mask
from nocturne.storage.stored_rows import StoredRows

EVERY_MARKET, EVERY_TYPE, UNKNOWN = "*", "", "unknown"

LISTS = ("market", "source", "candidates", "arm", "model_version", "items")
ITEMS = ("item_id", "content_type")
"""Columns read of `ranked_lists` and of `items`."""

_COUNTED = ("listeners", "personal", "full")
_COUNTS = "head array<string>, market string, content_type string, item string, " + ", ".join(
    f"{name} bigint" for name in (*_COUNTED, "slots")
)
_TEXTS = pa.list_(pa.string())
_SCHEMA = pa.schema(
    [("head", _TEXTS), *((name, pa.string()) for name in ("market", "content_type", "item"))]
    + [(name, pa.int64()) for name in (*_COUNTED, "slots")]
)

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

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Count the buckets that a task is given: by market and type, by item, and the heads there are."""
        catalogue = self.items.to_table()
        for bucket in (bucket for batch in batches for bucket in batch["id"].to_pylist()):
            for rows in self.lists.in_bucket(bucket):
                if rows.num_rows:
                    yield from self._count(rows, catalogue)

    def _count(self, rows: pa.RecordBatch, catalogue: pa.Table) -> Iterator[pa.RecordBatch]:
        items = rows["items"].flatten().field("item_id").dictionary_encode()
        place = pc.index_in(items.dictionary, value_set=catalogue["item_id"].combine_chunks())
        types = pc.fill_null(catalogue["content_type"].combine_chunks().take(place), UNKNOWN).dictionary_encode()
        row, item = pc.list_parent_indices(rows["items"]).to_numpy(), items.indices.to_numpy()
        lengths = pc.list_value_length(rows["items"]).to_numpy()
        markets = pc.fill_null(rows["market"], "").dictionary_encode()
        market = markets.indices.to_numpy()
        personal = pc.equal(rows["source"], "als").to_numpy(zero_copy_only=False)
        of_lists = {
            "listeners": np.ones(rows.num_rows, dtype=bool),
            "personal": personal,
            "full": lengths >= np.minimum(rows["candidates"].to_numpy(), self.top_k),
        }
        kind = types.indices.to_numpy()[item] if len(item) else item
        everyone = np.ones(rows.num_rows, dtype=bool)
        yield _count_lists(markets, EVERY_TYPE, everyone, of_lists)
        for number, name in enumerate(types.dictionary.to_pylist()):
            with_type = np.zeros(rows.num_rows, dtype=bool)
            with_type[row[kind == number]] = True
            yield _count_lists(markets, name, with_type, of_lists)
        pairs, slots = np.unique(market[row].astype(np.int64) * len(items.dictionary) + item, return_counts=True)
        which = pa.array(pairs % max(1, len(items.dictionary)))
        yield _partial_counts(
            market=markets.dictionary.take(pa.array(pairs // max(1, len(items.dictionary)))),
            content_type=types.dictionary.take(types.indices.take(which)),
            item=items.dictionary.take(which),
            slots=slots,
        )
        heads = pa.Table.from_batches([rows.select(["arm", "source", "model_version"])]).group_by(
            ["arm", "source", "model_version"]
        )
        yield _partial_counts(head=pa.array([list(each.values()) for each in heads.aggregate([]).to_pylist()], _TEXTS))


def measure_coverage(spark: SparkSession, lists: StoredRows, items: StoredRows, top_k: int, buckets: int) -> Coverage:
    """Count on the executors.

    Args:
        lists: LISTS of `ranked_lists`.
        items: ITEMS of the catalogue.
    """
    tasks = min(buckets, spark.sparkContext.defaultParallelism)
    counts = spark.range(0, buckets, 1, tasks).mapInArrow(CoverageTask(lists, items, top_k).run, _COUNTS).persist()
    try:
        heads = [tuple(row["head"]) for row in counts.select("head").where("head IS NOT NULL").distinct().collect()]
        of_items = counts.where("item IS NOT NULL").groupBy("market", "content_type", "item")
        listed = of_items.agg(F.sum("slots").alias("slots"))
        anywhere = listed.groupBy("content_type", "item").agg(F.sum("slots").alias("slots"))
        places = _places(listed).unionByName(_places(anywhere.withColumn("market", F.lit(EVERY_MARKET))))
        of_lists = counts.where("listeners IS NOT NULL").groupBy("market", "content_type")
        counted = of_lists.agg(*(F.sum(name).alias(name) for name in _COUNTED))
        return Coverage(sorted(heads), _rows(counted.toArrow().to_pylist(), places.toArrow().to_pylist()))
    finally:
        counts.unpersist()


def _count_lists(
    markets: pa.DictionaryArray, content_type: str, chosen: Mask, properties: dict[str, Mask]
) -> pa.RecordBatch:
    """By market, how many of the chosen lists have each property."""
    market, width = markets.indices.to_numpy(), len(markets.dictionary)
    sums = {name: np.bincount(market[chosen & mask], minlength=width) for name, mask in properties.items()}
    return _partial_counts(market=markets.dictionary, content_type=pa.repeat(content_type, width), **sums)


def _places(listed: DataFrame) -> DataFrame:
    return listed.groupBy("market", "content_type").agg(F.sum("slots").alias("slots"), F.count("item").alias("items"))


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


def _partial_counts(**columns: "pa.Array | np.ndarray") -> pa.RecordBatch:
    """Rows as a task hands them back: what is not said is null."""
    given = {name: pa.array(values, _SCHEMA.field(name).type) for name, values in columns.items()}
    rows = len(next(iter(given.values())))
    return pa.record_batch([given.get(field.name, pa.nulls(rows, field.type)) for field in _SCHEMA], schema=_SCHEMA)
