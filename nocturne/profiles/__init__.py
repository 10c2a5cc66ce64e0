"""Profiles: a night's table summed up in one row of named metrics, read once.

What is held against limits is the profile, never the rows. Tables with a row per listen or listener are
summed up where they lie, by Spark; the others in this process, through delta-rs.
"""

from collections.abc import Callable

from pyspark.sql import SparkSession

from nocturne.night import Night
from nocturne.profiles import ingested, learned, lists, matrix
from nocturne.profiles.metrics import Profile

_PROFILES: dict[str, Callable[[SparkSession, Night], Profile]] = {
    "items": lambda spark, night: ingested.items(night),
    "listens": ingested.listens,
    "quarantine": lambda spark, night: ingested.quarantine(night),
    "ingests": lambda spark, night: ingested.ingests(night),
    "item_index": lambda spark, night: matrix.item_index(night),
    "interactions": matrix.interactions,
    "models": lambda spark, night: learned.models(night),
    "item_factors": lambda spark, night: learned.item_factors(night),
    "ranked_lists": lists.ranked_lists,
}


def profile(spark: SparkSession, night: Night, table: str) -> Profile:
    """Metrics of what belongs to the night in one of flow.GATED_TABLES, by name.

    Shares lie in [0, 1], ages are in days, the rest are counts or ratios to past nights. A metric is None
    when it needs nights, a model or listeners that are not there.
    """
    return _PROFILES[table](spark, night)
