"""Profiles: a night's table summed up in one row of named metrics, read once.

What is held against limits is the profile, never the rows. Tables with a row per listen or listener are
summed up where they lie, by Spark; the others in this process, through delta-rs.
"""

from collections.abc import Callable

from pyspark.sql import SparkSession

from nocturne.night import Night
from nocturne.profiles import ingested, learned, lists, matrix, ranked
from nocturne.profiles.metrics import Profile

_BY_SPARK: dict[str, Callable[[SparkSession, Night], Profile]] = {
    "listens": ingested.listens,
    "interactions": matrix.interactions,
    "pools": ranked.pools,
    "ranked_lists": lists.ranked_lists,
}
_IN_PROCESS: dict[str, Callable[[Night], Profile]] = {
    "items": ingested.items,
    "quarantine": ingested.quarantine,
    "ingests": ingested.ingests,
    "item_index": matrix.item_index,
    "models": learned.models,
    "item_factors": learned.item_factors,
    "rankings": ranked.rankings,
}


def profile(spark: SparkSession, night: Night, table: str) -> Profile:
    """Metrics of what belongs to the night in one of flow.GATED_TABLES, by name.

    Shares lie in [0, 1], ages are in days, the rest are counts or ratios to past nights. A metric is None
    when it needs nights, a model or listeners that are not there.
    """
    return _BY_SPARK[table](spark, night) if table in _BY_SPARK else _IN_PROCESS[table](night)
