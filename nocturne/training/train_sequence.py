"""Stage `train_sequence`: a candidate that reads listeners' last listens in order, when the newest one is too old."""

from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.storage import tables
from nocturne.storage.model_transitions import ModelRecord
from nocturne.training import registry


def train_sequence(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Train a sequence model as a candidate, without Spark; whether it is ever live is decided by comparison."""
    every = night.settings.als.sequence_every_nights
    listeners = tables.count(night, "interactions")
    if not (every and listeners):
        return StageResult(0, remark="als.sequence_every_nights is 0" if listeners else "nobody to learn from yet")
    newest = max((model.run_date for model in registry.models(night.warehouse) if _counts(model, night)), default=None)
    if newest and (night.run_date - newest).days < every:
        return StageResult(0, remark=f"the newest one is of {newest}")
    settings = night.settings.als.model_copy(update={"family": "sequence"})
    trained = registry.train(
        night, settings, progress=lambda epoch, loss: progress(epoch, settings.rounds, f"epochs, loss {loss:.4g}")
    )
    version = registry.add(
        night.warehouse, trained, origin="train_sequence", actor="train_sequence", reason=f"none in {every} nights"
    )
    return StageResult(listeners, remark=f"{version}, a candidate")


def _counts(model: ModelRecord, night: Night) -> bool:
    """True for sequence models of nights before this one."""
    return model.family == "sequence" and model.run_date < night.run_date
