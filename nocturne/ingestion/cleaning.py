"""Cleaning: landed events -> listens, each event with its outcome.

A row is checked in the order of REASONS, and the first check that it fails is its outcome: `missing_user_id`.
Then duplicates are marked, which are counted but not stored, and bots among the listens that remain.
"""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nocturne.core.sections import ListenSettings
from nocturne.ingestion.landing_files import EVENT_FIELDS, ID_FIELDS

REASONS = (
    "unparsable",
    "missing_event_id",
    "missing_user_id",
    "missing_item_id",
    "long_id",
    "invalid_time",
    "invalid_ms_played",
    "invalid_plays",
    "after_day",
    "too_late",
    "unknown_item",
    "bot",
)
DUPLICATE = "duplicate"
LISTEN = "listen"

ISO_8601 = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?$"
_USUAL_TIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})?$"
_SEEN = r"[^\s\p{Z}\p{Cc}\p{Cf}]"
"""A character that can be seen."""
_WHOLE_NUMBER = r"^[+-]?\d{1,18}$"


def check_events(events: DataFrame, catalogue: DataFrame, run_date: date, settings: ListenSettings) -> DataFrame:
    """Give every landed row its typed values and its outcome: the first reason that speaks against it, if any.

    A row of Parquet has no line: its fields as JSON stand for it.

    Args:
        events: as from `landing.read_events`.
        catalogue: the night's items; read only if unknown items are quarantined.
        run_date: the landing day, UTC.

    Returns:
        The columns of `listens` without run_date, and `file`, `raw`, `outcome`: `listen` or a reason.
    """
    typed = events.select(
        "file",
        F.coalesce("raw", F.to_json(F.struct(*EVENT_FIELDS))).alias("raw"),
        "parsed",
        "event_id",
        "user_id",
        "item_id",
        _parse_time("listened_at").alias("listened_at"),
        F.trim("ms_played").alias("ms_text"),
        _parse_whole_number("ms_played").alias("ms_played"),
        F.trim("plays").alias("plays_text"),
        _parse_whole_number("plays").alias("plays"),
        "context",
        "device",
        "market",
    )
    day_end = F.lit(run_date + timedelta(days=1)).cast("timestamp")
    earliest = F.lit(run_date - timedelta(days=settings.late_days)).cast("timestamp")
    wrong_ms = F.col("ms_played").isNull() | ~F.col("ms_played").between(0, settings.max_ms_played)
    wrong_plays = F.col("plays").isNull() | ~F.col("plays").between(1, settings.max_plays)
    checks = {
        "unparsable": ~F.col("parsed"),
        **{f"missing_{name}": _is_missing(name) for name in ID_FIELDS},
        "long_id": F.greatest(*map(F.octet_length, ID_FIELDS)) > settings.max_id_bytes,
        "invalid_time": F.col("listened_at").isNull(),
        "invalid_ms_played": _is_given("ms_text") & wrong_ms,
        "invalid_plays": _is_given("plays_text") & wrong_plays,
        "after_day": F.col("listened_at") >= day_end,
        "too_late": F.col("listened_at") < earliest,
    }
    if settings.unknown_items == "quarantine":
        items = catalogue.where("NOT absent").select("item_id", F.lit(True).alias("in_catalogue"))
        typed = typed.join(items, "item_id", how="left")
        checks["unknown_item"] = F.col("in_catalogue").isNull()
    outcome = F.coalesce(*(F.when(failed, reason) for reason, failed in checks.items()), F.lit(LISTEN))
    return typed.select(
        "event_id",
        "user_id",
        "item_id",
        "listened_at",
        F.when(_is_given("ms_text"), F.col("ms_played")).alias("ms_played"),
        F.when(_is_given("plays_text"), F.col("plays")).otherwise(1).cast("bigint").alias("plays"),
        *(F.when(_is_given(name), F.col(name)).alias(name) for name in ("context", "device", "market")),
        (F.col("listened_at") < F.lit(run_date).cast("timestamp")).alias("late"),
        "file",
        "raw",
        outcome.alias("outcome"),
    )


def id_hash() -> Column:
    """Hash by which event_ids are compared first."""
    return F.xxhash64("event_id").alias("id_hash")


def repeated_ids(checked: DataFrame, recent: DataFrame) -> DataFrame:
    """Hashes of the event_ids that occur more than once, as `id_hash`; two ids may share one.

    Args:
        checked: from `check_events`.
        recent: listens of recent nights; only `event_id` is read.
    """
    hashes = checked.select(id_hash()).unionByName(recent.select(id_hash()))
    # Few repeat, so that counting within partitions first would save nothing.
    return hashes.repartition("id_hash").groupBy("id_hash").count().where("count > 1").select("id_hash")


def busy_listeners(checked: DataFrame, settings: ListenSettings) -> DataFrame:
    """Listeners with enough rows for a bot, were they of one day, as `user_id`."""
    return checked.groupBy("user_id").count().where(F.col("count") > settings.bot_rows).select("user_id")


def split_doubtful_rows(checked: DataFrame, repeated: DataFrame, busy: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Split rows into certain listens, which no other row can change, and doubtful ones.

    Args:
        checked: from `check_events`.
        repeated: from `repeated_ids`.
        busy: from `busy_listeners`.

    Returns:
        The listens, and the rows for `mark_duplicates` and `mark_bots` to judge: those rejected already, and
        every row of a repeated event_id or a busy listener.
    """
    flagged = (
        checked.withColumn("id_hash", id_hash())
        .join(repeated.withColumn("repeated", F.lit(True)), "id_hash", how="left")
        .join(busy.withColumn("busy", F.lit(True)), "user_id", how="left")
    )
    doubtful = (F.col("outcome") != LISTEN) | F.col("repeated").isNotNull() | F.col("busy").isNotNull()
    return flagged.where(~doubtful).select(checked.columns), flagged.where(doubtful).select(checked.columns)


def mark_duplicates(checked: DataFrame, recent: DataFrame) -> DataFrame:
    """Mark valid rows whose event_id was seen on a recent night, or earlier in the order below.

    Of rows that share an event_id the first by time, user, item and raw text stays, so that the order
    in which files were read does not matter.

    Args:
        checked: from `check_events`.
        recent: listens of recent nights; only `event_id` is read.
    """
    valid = F.col("outcome") == LISTEN
    # Rejected rows must not meet in one partition: they get keys of their own.
    key = F.when(valid, F.xxhash64(F.lit("event"), "event_id")).otherwise(F.xxhash64(F.lit("row"), "file", "raw"))
    same_event = Window.partitionBy("outcome", key, F.when(valid, F.col("event_id")))
    order = same_event.orderBy("listened_at", "user_id", "item_id", "raw")
    seen = recent.select("event_id").dropDuplicates().withColumn("seen", F.lit(True))
    repeated = (F.row_number().over(order) > 1) | F.col("seen").isNotNull()
    return (
        checked.join(seen, "event_id", how="left")
        .withColumn("outcome", F.when(valid & repeated, DUPLICATE).otherwise(F.col("outcome")))
        .drop("seen")
    )


def mark_bots(deduplicated: DataFrame, settings: ListenSettings) -> DataFrame:
    """Mark every row of a listener and day whose rate of rows no person reaches.

    Rows of one minute count at most `basket_rows` times, so that a basket or an album that a client
    reports at once is not taken for a rate. `plays` is not a rate either.
    """
    valid = deduplicated.where(F.col("outcome") == LISTEN)
    minutes = valid.groupBy(
        "user_id",
        F.to_date("listened_at").alias("day"),
        F.date_trunc("minute", "listened_at").alias("minute"),
    ).agg(F.least(F.count("*"), F.lit(settings.basket_rows)).alias("rows"))
    bots = (
        minutes.groupBy("user_id", "day")
        .agg(F.sum("rows").alias("rows"))
        .where(F.col("rows") > settings.bot_rows)
        .select("user_id", "day", F.lit(True).alias("bot"))
    )
    is_bot = (F.col("outcome") == LISTEN) & F.col("bot").isNotNull()
    return (
        deduplicated.withColumn("day", F.to_date("listened_at"))
        .join(F.broadcast(bots), ["user_id", "day"], how="left")
        .withColumn("outcome", F.when(is_bot, "bot").otherwise(F.col("outcome")))
        .drop("day", "bot")
    )


def _is_missing(name: str) -> Column:
    return F.col(name).isNull() | ~F.col(name).rlike(_SEEN)


def _is_given(name: str) -> Column:
    return F.col(name).isNotNull() & (F.trim(name) != "")


def _parse_time(name: str) -> Column:
    """A time in ISO 8601, which may leave out seconds and minutes of the offset, as Spark must not."""
    text = F.trim(name)
    seconds = F.regexp_replace(F.translate(text, ",", "."), r"^(.{13}:\d{2})(?!:)", "$1:00")
    offset = F.regexp_replace(seconds, r"(:.*[+-]\d{2}):?(\d{2})?$", "$1:$2")
    full = F.regexp_replace(offset, ":$", ":00")
    usual = F.when(text.rlike(_USUAL_TIME), text).when(text.rlike(ISO_8601), full)
    return usual.try_cast("timestamp")


def _parse_whole_number(name: str) -> Column:
    return F.when(F.trim(name).rlike(_WHOLE_NUMBER), F.trim(name).try_cast("bigint"))
