"""Profiles: a night's table summed up in one row of named metrics, read once.

What is held against limits is the profile, never the rows. Tables with a row per listen or listener are
summed up where they lie, by Spark; the others in this process, through delta-rs.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.storage import fingerprints
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.profiles import (
    alerts,
    arms,
    bridges,
    encoders,
    experiments,
    exposures,
    further,
    ingestion,
    interactions,
    listens,
    models,
    pools,
    ranked_lists,
    related_items,
    set_aside,
    shelf_lists,
    steers,
    takedowns,
    texts,
)
from nocturne.validation.profiles.arithmetic import Measured, Profile

_IN_ONE_PASS: dict[str, Callable[[SparkSession, Night], Measured]] = {
    "listens": listens.listens,
    "interactions": interactions.interactions,
    "pools": pools.pools,
    "ranked_lists": ranked_lists.ranked_lists,
    "shelf_lists": shelf_lists.shelf_lists,
    "assignments": arms.assignments,
    "triggers": arms.triggers,
    "arm_pools": arms.arm_pools,
    "arm_lists": arms.arm_lists,
    "related_items": lambda _, night: related_items.related_items(night),
}
_AND_HASHED: dict[str, Callable[[Night], Profile]] = {
    "items": ingestion.items,
    "quarantine": ingestion.quarantine,
    "ingests": ingestion.ingests,
    "item_index": interactions.item_index,
    "set_aside": set_aside.set_aside,
    "item_texts": texts.item_texts,
    "models": models.models,
    "item_factors": models.item_factors,
    "encoders": encoders.encoders,
    "cold_factors": texts.cold_factors,
    "bridges": bridges.bridges,
    "bridge_factors": bridges.bridge_factors,
    "rankings": pools.rankings,
    "steers": steers.steers,
    "takedowns": takedowns.takedowns,
    "alerts": alerts.alerts,
    "exposure_rejects": exposures.exposure_rejects,
    "exposure_ingests": exposures.exposure_ingests,
    "experiment_looks": experiments.experiment_looks,
    "experiment_results": experiments.experiment_results,
}

_FURTHER: dict[str, Callable[[Night], tuple[Metric, ...]]] = {
    "items": further.items,
    "quarantine": further.quarantine,
    "ingests": further.ingests,
    "item_texts": further.item_texts,
    "models": further.models,
    "item_factors": further.item_factors,
    "cold_factors": further.cold_factors,
    "exposure_rejects": further.exposure_rejects,
    "exposure_ingests": further.exposure_ingests,
}


def measure(spark: SparkSession, night: Night, table: str) -> Measured:
    """Metrics of what belongs to the night in one of flow.VALIDATED_TABLES, by name, and the hash over its rows.

    Shares lie in [0, 1], ages are in days, the rest are counts or ratios to past nights. A metric is None
    when it needs nights, a model or listeners that are not there.
    """
    if table in _IN_ONE_PASS:
        return _IN_ONE_PASS[table](spark, night)
    with ThreadPoolExecutor(1) as beside:
        hashed = beside.submit(fingerprints.row_hashes, spark, night, [table])
        profile, metrics = _summed_up(night, table)
    return Measured(profile, hashed.result()[table], metrics)


def _summed_up(night: Night, table: str) -> tuple[Profile, tuple[Metric, ...]]:
    """The profile of a table that is read in this process, and further metrics."""
    if table == "exposures":
        return exposures.exposures(night)
    profile = _AND_HASHED[table](night)
    return profile, _FURTHER[table](night) if table in _FURTHER else ()
