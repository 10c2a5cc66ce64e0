"""Stage `train_als`: a model of the night's own, when the live one is too old."""

from collections.abc import Iterator
from typing import Any

from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.flow import GATED_TABLES
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import closed_dates
from nocturne.storage.model_transitions import arm_recipe, live_on, model_of_arm
from nocturne.storage.running_experiments import running
from nocturne.training import als, registry, schedule
from nocturne.training.bridges import BridgeTables, bridge_tables
from nocturne.training.cold_items import cold_factors


def train_als(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Train a model where the live one is too old; without Spark, on rows that Arrow reads.

    The first model is trained by the recipe of the settings, or the one that wins a race that begins with it; every
    later one by that of the model it replaces.
    """
    listeners = tables.count(night, "interactions")
    if not listeners:
        registry.take_back(night)
        for table in ("cold_factors", *BridgeTables._fields):
            writing.replace_night(contract(table).arrow_schema.empty_table(), table, night)
        return StageResult(0, remark="nobody to learn from yet")
    trained, remark = _train_live(night, progress)
    of_arms = "".join(f"; {version} for an experiment" for version in _train_arms(night))
    cold = cold_factors(night, registry.versions_on(night))
    writing.replace_night(cold, "cold_factors", night)
    bridges = bridge_tables(night)
    for table, rows in bridges._asdict().items():
        writing.replace_night(rows, table, night)
    by_text = f"; {cold.num_rows:,} items by their text" if cold.num_rows else ""
    return StageResult(listeners if trained or of_arms else 0, remark=remark + of_arms + by_text)


def _train_live(night: Night, progress: Progress) -> tuple[bool, str]:
    """Train the night's own model, if the schedule says so; returns whether it does, and a remark."""
    plan = schedule.plan_training(
        registry.models(night.warehouse),
        night.run_date,
        closed_dates(night.warehouse, GATED_TABLES),
        night.settings.als,
    )
    if not plan.trains:
        registry.take_back(night)
        return False, plan.remark
    settings = plan.settings
    parent = registry.load_model(night.warehouse, plan.parent) if plan.parent else None
    trained = registry.train(
        night,
        settings,
        parent,
        lambda iteration, loss: progress(iteration, settings.rounds, f"iteration, loss {loss:.4g}"),
        race=plan.races,
        race_share=plan.race_share,
    )
    registry.add_live(night, trained, plan.reason)
    training = trained.training
    return True, f"{training.model.version}{_sampled(training)}{_raced(trained)}; {plan.remark}"


def _train_arms(night: Night) -> Iterator[str]:
    """Train the models of the arms that are recipes, on the rows of the live model's night; yields their versions.

    A model that an earlier night trained stays; those of this night are trained again with it.
    """
    for experiment in running(night):
        recipes = {name: arm for name, arm in experiment.arms.items() if arm.recipe}
        for name, arm in recipes.items():
            models = registry.models(night.warehouse)
            present, live = (model_of_arm(models, night.run_date, arm), live_on(models, night.run_date))
            if live is None or (present and present.run_date < night.run_date):
                continue
            settings = night.settings.als.with_recipe(arm_recipe(live, arm))
            source = night.on(live.run_date)
            trained = registry.train(source if tables.count(source, "interactions") else night, settings)
            names = {"actor": f"experiment {experiment.name}", "reason": f"arm {name}"}
            yield registry.add(night.warehouse, trained, origin="experiment", **names)


def _raced(trained: registry.Trained) -> str:
    """A remark on the race that chose the recipe; empty without one."""
    race = trained.race
    if race is None:
        return ""
    if race.remark:
        return f"; {race.remark}"
    changed: dict[str, Any] = {}
    for entrant in race.entrants:
        changed |= entrant.changes if entrant.chosen else {}
    chosen = ", ".join(f"{name} {value}" for name, value in changed.items())
    return f"; a race chose {chosen}" if chosen else "; a race left the settings as they are"


def _sampled(training: als.Training) -> str:
    """A remark on a training on a sample; empty for one on everyone."""
    if training.sample_share == 1:
        return ""
    return f", from {training.sample_share:.1%} of listeners and {training.item_coverage:.1%} of items"
