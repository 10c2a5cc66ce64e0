"""Outcomes of exposures: accepted, a duplicate of another one, or the reason for which it is rejected.

Of rows that share an exposure_id the first by time, listener, text and writer stays, so that the order in which files
were read does not matter. Few rows are judged in this process, many by Spark, alike.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from nocturne.ingestion.cleaning import DUPLICATE
from nocturne.ingestion.exposure_accounts import ACCEPTED, Counts

_ORDER = ("shown_at", "user_id", "raw", "writer")


def judge_few(rows: pa.Table, seen: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Rows with their `outcome`.

    Args:
        rows: `exposure_rows.SCHEMA`.
        seen: exposure_ids of recent nights.
    """
    is_sound = pc.is_null(rows["reason"])
    rejected = rows.filter(pc.invert(is_sound))
    sound = rows.filter(is_sound).sort_by([(name, "ascending") for name in ("exposure_id", *_ORDER)]).combine_chunks()
    ids = sound["exposure_id"].combine_chunks()
    again = pc.equal(ids[1:], ids[:-1]) if len(ids) else pa.array([], pa.bool_())
    repeats = pa.concat_arrays([pa.array([False] * min(1, len(ids)), pa.bool_()), again])
    outcomes = pc.if_else(pc.or_(repeats, pc.is_in(ids, seen)), DUPLICATE, ACCEPTED)
    return pa.concat_tables(
        [sound.append_column("outcome", outcomes), rejected.append_column("outcome", rejected["reason"])]
    )


def judge_many(rows: DataFrame, recent: DataFrame, hold: Callable[[DataFrame], DataFrame]) -> DataFrame:
    """As `judge_few`, by Spark; only rows of a repeated id are moved and sorted.

    Args:
        rows: `exposure_rows.SCHEMA`.
        recent: exposures of recent nights; only `exposure_id` is read.
        hold: computes few rows once, so that Spark plans with their true number.
    """
    columns, id_hash = [*rows.columns, "outcome"], F.xxhash64("exposure_id").alias("id_hash")
    sound = rows.where("reason IS NULL").withColumn("id_hash", id_hash)
    hashes = sound.select("id_hash").unionByName(recent.select(id_hash)).repartition("id_hash")
    # Few repeat, so that counting within partitions first would save nothing.
    repeated = hold(hashes.groupBy("id_hash").count().where("count > 1").select("id_hash"))
    flagged = sound.join(repeated.withColumn("repeated", F.lit(True)), "id_hash", how="left")
    hashed = recent.select("exposure_id", id_hash)
    seen = hashed.join(repeated, "id_hash", how="left_semi").select("exposure_id").dropDuplicates()
    same_id = Window.partitionBy("exposure_id").orderBy(*_ORDER)
    again = (F.row_number().over(same_id) > 1) | F.col("seen").isNotNull()
    doubtful = flagged.where("repeated").join(seen.withColumn("seen", F.lit(True)), "exposure_id", how="left")
    parts = (
        flagged.where("repeated IS NULL").withColumn("outcome", F.lit(ACCEPTED)),
        doubtful.withColumn("outcome", F.when(again, DUPLICATE).otherwise(ACCEPTED)),
        rows.where("reason IS NOT NULL").withColumn("outcome", F.col("reason")),
    )
    certain, judged, rejected = (part.select(columns) for part in parts)
    return certain.unionByName(judged).unionByName(rejected)


def count_few(judged: pa.Table) -> Counts:
    """Rows of every writer by outcome."""
    late = pc.fill_null(judged["late"], False).cast(pa.int64())
    table = judged.select(["writer", "outcome"]).append_column("late", late)
    sums = table.group_by(["writer", "outcome"]).aggregate([([], "count_all"), ("late", "sum")])
    return {(row["writer"], row["outcome"]): (row["count_all"], row["late_sum"]) for row in sums.to_pylist()}


def count_many(judged: DataFrame) -> Counts:
    """As `count_few`, by Spark."""
    sums = judged.groupBy("writer", "outcome").agg(F.count("*").alias("rows"), F.count_if("late").alias("late"))
    return {(row["writer"], row["outcome"]): (row["rows"], row["late"]) for row in sums.collect()}
