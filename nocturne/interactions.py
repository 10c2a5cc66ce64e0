"""Listens -> the interaction matrix: one row per listener, decayed sums as fixed-point integers.

Time is cut into periods of one half-life, counted from 1970-01-01. A listen is worth 2^(t/half_life - n)
in the period n of the night that ingests it, t being its day: 1 on the period's first day, nearly 2 on
its last, in units of 2^-20. When listens of a later period arrive, what was there is halved once per period,
rounding down. Integers add without rounding, so adding a night to a row gives exactly what a rebuild
from all nights gives; and because halving bounds the sums, they never overflow, however old the service.
A row that gets no listens stays as it is, byte by byte.
"""

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nocturne.settings import InteractionSettings

UNIT = 2**20
"""Sums count 1/UNIT plays or seconds."""

EPOCH = date(1970, 1, 1)


def strength_scale(period: int, anchor_date: date, half_life_days: float) -> float:
    """What a sum of `period` must be multiplied by to be in plays (or seconds) as worth on `anchor_date`."""
    return float(2.0 ** (period - (anchor_date - EPOCH).days / half_life_days)) / UNIT


def index_new_items(listens: DataFrame, index: DataFrame, run_date: date) -> DataFrame:
    """Give the items heard for the first time the next free indexes, in order of item_id.

    Args:
        listens: any columns, `item_id` among them.
        index: all rows of `item_index`.

    Returns:
        The rows of `item_index` whose first_night is `run_date`: those that are there, and the new ones.
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
    tonight = _entries_of_listens(listens, index, settings.half_life_days)
    touched = listens.select("user_id").dropDuplicates()
    changed = previous.join(touched, "user_id", how="left_semi")
    unchanged = previous.join(touched, "user_id", how="left_anti")
    rows = _rows(tonight.unionByName(_entries_of_rows(changed)))
    return rows.unionByName(unchanged.select(rows.columns)).withColumn("run_date", F.lit(run_date))


def _entries_of_listens(listens: DataFrame, index: DataFrame, half_life_days: float) -> DataFrame:
    """One entry per listener, item and night: what its listens add."""
    night = F.datediff("run_date", F.lit(EPOCH)) / F.lit(half_life_days)
    day = F.datediff("listened_at", F.lit(EPOCH)) / F.lit(half_life_days)
    weight = F.round(F.pow(F.lit(2.0), day - F.col("period")) * UNIT).cast("bigint")
    seconds = F.round(F.coalesce("ms_played", F.lit(0)) / 1000).cast("bigint")
    named_market = F.when(F.col("market").isNotNull(), F.struct("listened_at", "market"))
    return (
        listens.join(index.select("item_id", "item_index"), "item_id", how="inner")
        .withColumn("period", F.floor(night).cast("int"))
        .withColumn("weight", weight)
        .groupBy("user_id", "item_index", "period")
        .agg(
            F.sum(F.col("plays") * F.col("weight")).alias("plays"),
            F.sum(seconds * F.col("weight")).alias("seconds"),
            F.max(F.to_date("listened_at")).alias("heard"),
            F.max("run_date").alias("changed_on"),
            F.max(named_market).alias("named_market"),
        )
    )


def _entries_of_rows(rows: DataFrame) -> DataFrame:
    """Rows of `interactions` taken apart again."""
    zipped = F.arrays_zip("item_indexes", "play_sums", "second_sums", "last_heard")
    named_market = F.struct(F.col("market_heard_at").alias("listened_at"), "market")
    return rows.withColumn("entry", F.explode(zipped)).select(
        "user_id",
        F.col("entry.item_indexes").alias("item_index"),
        "period",
        F.col("entry.play_sums").alias("plays"),
        F.col("entry.second_sums").alias("seconds"),
        F.col("entry.last_heard").alias("heard"),
        "changed_on",
        F.when(F.col("market").isNotNull(), named_market).alias("named_market"),
    )


def _rows(entries: DataFrame) -> DataFrame:
    """Entries of listener, item and period -> one row per listener."""
    latest = [F.max(name).alias(name) for name in ("period", "changed_on", "named_market")]
    items = (
        entries.groupBy("user_id", "item_index", "period")
        .agg(
            F.sum("plays").alias("plays"), F.sum("seconds").alias("seconds"), F.max("heard").alias("heard"), *latest[1:]
        )
        .groupBy("user_id", "item_index")
        .agg(
            F.sort_array(F.collect_list(F.struct("period", "plays", "seconds"))).alias("sums"),
            F.max("heard").alias("heard"),
            *latest,
        )
        .withColumn("sums", F.aggregate("sums", F.col("sums")[0], _halve_and_add))
    )
    entry = F.struct("item_index", "sums", "heard")
    users = items.groupBy("user_id").agg(F.array_sort(F.collect_list(entry)).alias("entries"), *latest)

    def aligned(part: str) -> Column:
        return F.transform(
            "entries",
            lambda entry: _halve(entry["sums"][part], F.col("period") - entry["sums"]["period"]),
        )

    row = users.select(
        "user_id",
        F.col("named_market.market").alias("market"),
        F.col("named_market.listened_at").alias("market_heard_at"),
        "period",
        F.col("entries.item_index").alias("item_indexes"),
        aligned("plays").alias("play_sums"),
        aligned("seconds").alias("second_sums"),
        F.col("entries.heard").alias("last_heard"),
        "changed_on",
    )
    return row.withColumn("digest", F.lower(F.lpad(F.hex(F.xxhash64(*row.columns)), 16, "0")))


def _halve_and_add(total: Column, later: Column) -> Column:
    """Bring a sum into the period of a later one, and add that; the first entry meets itself unchanged."""
    periods = later["period"] - total["period"]
    carried = F.when(periods > 0, F.lit(1)).otherwise(0).cast("bigint")
    return F.struct(
        later["period"].alias("period"),
        (_halve(total["plays"], periods) * carried + later["plays"]).alias("plays"),
        (_halve(total["seconds"], periods) * carried + later["seconds"]).alias("seconds"),
    )


def _halve(amount: Column, times: Column) -> Column:
    """Whole half of `amount`, taken `times` times."""
    # A shift by 64 would be taken modulo 64.
    shift = F.least(times, F.lit(63))
    return F.call_function("shiftright", amount, shift)
