"""Listens -> the interaction matrix: one row per listener, decayed sums as fixed-point integers.

Time is cut into periods of one half-life, counted from 1970-01-01. A listen is worth 2^(t/half_life - n)
in the period n of the night that ingests it, t being its day: 1 on the period's first day, nearly 2 on
its last, in units of 2^-20. When listens of a later period arrive, what was there is halved once per period,
rounding down. Integers add without rounding, so adding a night to a row gives exactly what a rebuild
from all nights gives; and because halving bounds the sums, they never overflow, however old the service.
A row that gets no listens stays as it is, byte by byte.

Sums know no order. So a row also keeps its last listens in the order of time: ages in listens follow from them when
the row is read, late listens included.
"""

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nocturne.core.sections import InteractionSettings
from nocturne.ingestion.row_merge import HISTORY, LISTEN, LISTENER, merge_batches

UNIT = 2**20
"""Sums count 1/UNIT plays or seconds."""

EPOCH = date(1970, 1, 1)


def strength_scale(period: int, anchor_date: date, half_life_days: float) -> float:
    """Factor that turns a sum of `period` into plays (or seconds), as they are worth on `anchor_date`."""
    return float(2.0 ** (period - (anchor_date - EPOCH).days / half_life_days)) / UNIT


def index_new_items(listens: DataFrame, index: DataFrame, run_date: date) -> DataFrame:
    """Give the items heard for the first time the next free indexes, in order of item_id.

    Args:
        listens: any columns, `item_id` among them.
        index: all rows of `item_index`.

    Returns:
        The rows of `item_index` whose first_night is `run_date`: those that `index` has, and the new ones.
    """
    unindexed = listens.select("item_id").dropDuplicates().join(index, "item_id", how="left_anti")
    next_free = index.agg(F.coalesce(F.max("item_index") + 1, F.lit(0)).alias("next_free"))
    position = F.row_number().over(Window.orderBy("item_id")) - 1
    added = unindexed.crossJoin(F.broadcast(next_free)).select(
        F.lit(run_date).alias("first_night"),
        (F.col("next_free") + position).cast("int").alias("item_index"),
        "item_id",
    )
    return index.where(F.col("first_night") == F.lit(run_date)).unionByName(added)


def add_listens(
    previous: DataFrame,
    listens: DataFrame,
    index: DataFrame,
    run_date: date,
    settings: InteractionSettings,
) -> DataFrame:
    """Add listens to every listener's row.

    Args:
        previous: rows of `interactions` of one earlier night; none to rebuild from all listens.
        listens: the listens ingested since that night, up to and including `run_date`.
        index: `item_index`, with every item of the listens.

    Returns:
        The rows of `interactions` for `run_date`, without `bucket`: one per listener, old and new.

    Source: confidence from how often something was heard, after Hu, Koren and Volinsky (2008), section 2.
    """
    weighted = _weigh_listens(listens, index, settings.half_life_days).select("*", *_nulls(HISTORY))
    earlier = previous.select(*LISTENER, *_nulls(LISTEN), *HISTORY)
    schema = ", ".join(f"{name} {kind}" for name, kind in (LISTENER | HISTORY).items())
    names = ["user_id", "market", "market_heard_at", "period", *HISTORY, "changed_on"]
    rows = weighted.unionByName(earlier).repartition("user_id").mapInArrow(merge_batches, schema).select(names)
    digest = F.lower(F.lpad(F.hex(F.xxhash64(*names)), 16, "0"))
    return rows.select("*", digest.alias("digest"), F.lit(run_date).alias("run_date"))


def _nulls(columns: dict[str, str]) -> list[Column]:
    return [F.lit(None).cast(kind).alias(name) for name, kind in columns.items()]


def _weigh_listens(listens: DataFrame, index: DataFrame, half_life_days: float) -> DataFrame:
    """Each listen as the amounts that it adds to its listener's row."""
    night = F.datediff("run_date", F.lit(EPOCH)) / F.lit(half_life_days)
    day = F.datediff("listened_at", F.lit(EPOCH)) / F.lit(half_life_days)
    # F.round would go through a decimal.
    weight = F.floor(F.pow(F.lit(2.0), day - F.floor(night)) * UNIT + 0.5)
    seconds = F.call_function("div", F.coalesce("ms_played", F.lit(0)) + 500, F.lit(1000))
    return listens.join(index.select("item_id", "item_index"), "item_id", how="inner").select(
        "user_id",
        "market",
        F.when(F.col("market").isNotNull(), F.col("listened_at")).alias("market_heard_at"),
        F.floor(night).cast("int").alias("period"),
        F.col("run_date").alias("changed_on"),
        "item_index",
        (F.col("plays") * weight).alias("plays"),
        (seconds * weight).alias("seconds"),
        F.col("listened_at").alias("heard_at"),
    )
