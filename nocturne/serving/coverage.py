"""What a night's lists reach: listeners, places and different items, by market and content type, in one pass."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nocturne.validation.profiles.bucket_sums import Snapshot

EVERY_MARKET, EVERY_TYPE, UNKNOWN = "*", "", "unknown"

_COLUMNS = ["market", "source", "candidates", "arm", "model_version", "items"]
_COUNTED = ("listeners", "personal", "full")
_FOUND = "head array<string>, market string, content_type string, item string, " + ", ".join(
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
class Reach:
    """What the lists of a night reach.

    Attributes:
        heads: every arm, source and model_version that lists have together.
        coverage: as in the column of `nights`, in order of market and content type.
    """

    heads: list[Head]
    coverage: list[Row]


@dataclass(frozen=True)
class Tally:
    """What a task needs to count the lists of a bucket."""

    lists: Snapshot
    items: Snapshot
    top_k: int

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Count the buckets that a task is given: by market and type, by item, and the heads there are."""
        catalogue = self.items.rows().to_table(columns=["item_id", "content_type"])
        for bucket in (bucket for batch in batches for bucket in batch["id"].to_pylist()):
            for rows in self.lists.bucket(bucket).to_batches(columns=_COLUMNS):
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
        for number, name in [(None, EVERY_TYPE), *enumerate(types.dictionary.to_pylist())]:
            there = of_lists["listeners"] if number is None else np.zeros(rows.num_rows, dtype=bool)
            if number is not None:
                there[row[kind == number]] = True
            wide = len(markets.dictionary)
            sums = {what: np.bincount(market[there & of], minlength=wide) for what, of in of_lists.items()}
            yield _found(market=markets.dictionary, content_type=pa.repeat(name, wide), **sums)
        pairs, slots = np.unique(market[row].astype(np.int64) * len(items.dictionary) + item, return_counts=True)
        which = pa.array(pairs % max(1, len(items.dictionary)))
        yield _found(
            market=markets.dictionary.take(pa.array(pairs // max(1, len(items.dictionary)))),
            content_type=types.dictionary.take(types.indices.take(which)),
            item=items.dictionary.take(which),
            slots=slots,
        )
        heads = pa.Table.from_batches([rows.select(["arm", "source", "model_version"])]).group_by(
            ["arm", "source", "model_version"]
        )
        yield _found(head=pa.array([list(each.values()) for each in heads.aggregate([]).to_pylist()], _TEXTS))


def reach(spark: SparkSession, lists: Snapshot, items: Snapshot, top_k: int, buckets: int) -> Reach:
    """Count what the lists of a night reach, on the executors."""
    tasks = min(buckets, spark.sparkContext.defaultParallelism)
    found = spark.range(0, buckets, 1, tasks).mapInArrow(Tally(lists, items, top_k).run, _FOUND).persist()
    try:
        heads = [tuple(row["head"]) for row in found.select("head").where("head IS NOT NULL").distinct().collect()]
        of_items = found.where("item IS NOT NULL").groupBy("market", "content_type", "item")
        listed = of_items.agg(F.sum("slots").alias("slots"))
        anywhere = listed.groupBy("content_type", "item").agg(F.sum("slots").alias("slots"))
        places = _places(listed).unionByName(_places(anywhere.withColumn("market", F.lit(EVERY_MARKET))))
        of_lists = found.where("listeners IS NOT NULL").groupBy("market", "content_type")
        counted = of_lists.agg(*(F.sum(name).alias(name) for name in _COUNTED))
        return Reach(sorted(heads), _rows(counted.toArrow().to_pylist(), places.toArrow().to_pylist()))
    finally:
        found.unpersist()


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


def _found(**columns: "pa.Array | np.ndarray") -> pa.RecordBatch:
    """Rows as a task hands them back: what is not said is null."""
    given = {name: pa.array(values, _SCHEMA.field(name).type) for name, values in columns.items()}
    rows = len(next(iter(given.values())))
    return pa.record_batch([given.get(field.name, pa.nulls(rows, field.type)) for field in _SCHEMA], schema=_SCHEMA)
