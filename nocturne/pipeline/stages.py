"""The function of every stage of the flow, by its name.

A stage reads what earlier nights left only where their gate did not close on it.
"""

from collections.abc import Callable

from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.embedding.embed_items import embed_items
from nocturne.experiments.analyse_experiment import analyse_experiment
from nocturne.ingestion.build_interactions import build_interactions
from nocturne.ingestion.ingest_events import ingest_events
from nocturne.ingestion.ingest_exposures import ingest_exposures
from nocturne.ingestion.ingest_takedowns import ingest_takedowns
from nocturne.monitoring.watch_night import watch_night
from nocturne.ranking.rank_users import rank_users
from nocturne.ranking.relate_items import relate_items
from nocturne.serving.refresh_cache import refresh_cache
from nocturne.steering.ingest_steers import ingest_steers
from nocturne.training.train_als import train_als
from nocturne.training.train_sequence import train_sequence

STAGES: dict[str, Callable[[SparkSession, Night, Progress], StageResult]] = {
    stage.__name__: stage
    for stage in (
        ingest_events,
        ingest_takedowns,
        ingest_steers,
        build_interactions,
        embed_items,
        train_sequence,
        train_als,
        rank_users,
        relate_items,
        watch_night,
        refresh_cache,
        ingest_exposures,
        analyse_experiment,
    )
}
