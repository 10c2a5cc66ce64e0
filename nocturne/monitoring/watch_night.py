"""Stage `watch_night`: the alerts of a night, before anything of it is served."""

from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.storage import writing
from nocturne.storage.contracts import contract


def watch_night(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Write the alerts of the night; without Spark."""
    writing.replace_night(contract("alerts").arrow_schema.empty_table(), "alerts", night)
    return StageResult(0)
