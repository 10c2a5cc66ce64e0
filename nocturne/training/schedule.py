"""The schedule of training: whether a night trains a model of its own. Pure, over the models of the registry."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from nocturne.core.sections import AlsSettings
from nocturne.storage.model_transitions import ModelRecord, last_refused_since, live_on, without_transitions_of
from nocturne.training.registry import THE_NIGHT


@dataclass(frozen=True)
class TrainingPlan:
    """A night's decision on its model.

    Attributes:
        trains: False if it keeps the live model.
        races: True if a race may choose its recipe: nothing is there to go on with.
        settings: recipe and operation of the training.
        race_share: of the race that chose this recipe for the live model.
        parent: version of the model to start from; None from scratch.
        reason: of the new model's transition.
        remark: for whoever reads the log.
    """

    trains: bool
    races: bool
    settings: AlsSettings
    race_share: float
    parent: str | None
    reason: str
    remark: str


def plan_training(
    models: Sequence[ModelRecord], night: date, closed: Collection[date], settings: AlsSettings
) -> TrainingPlan:
    """Decide on a night's model, whether the night runs for the first time or again.

    Args:
        night: the night's date.
        closed: nights whose gate closed: a model that was trained on one is replaced, by the recipe of the last sound
            one.
    """
    others = without_transitions_of(models, THE_NIGHT, night)
    live = live_on(others, night)
    sound = live_on([model for model in others if model.run_date not in closed], night)
    if sound is None:
        reason = "no model was live" if live is None else f"the gate of {live.run_date} closed on {live.version}"
        return TrainingPlan(True, True, settings, 0.0, None, reason, reason)
    recipe = sound.recipe
    differs = "" if settings.recipe == "fit" or recipe == settings.recipe_settings else _OTHER_RECIPE
    parent = sound.version if settings.warm_start else None
    tonight = settings.with_recipe(recipe)
    assert live
    if live is not sound:
        reason = f"the gate of {live.run_date} closed on {live.version}"
        return TrainingPlan(True, False, tonight, sound.race_share, parent, reason, reason + differs)
    days = (night - live.run_date).days
    age = f"{days} night{'s' if days > 1 else ''} old"
    if days < settings.retrain_every_nights:
        return TrainingPlan(False, False, tonight, sound.race_share, parent, "", f"keeps {live.version}{differs}")
    if refused := last_refused_since(_of_recipe(others, recipe), live.run_date, night):
        remark = f"keeps {live.version}, {age}: {refused.version} was refused as worse or rejected since{differs}"
        return TrainingPlan(False, False, tonight, sound.race_share, parent, "", remark)
    reason = f"{live.version} was {age}"
    return TrainingPlan(True, False, tonight, sound.race_share, parent, reason, reason + differs)


_OTHER_RECIPE = "; the settings have another recipe: `nocturne models train` with them makes a candidate of it"


def _of_recipe(models: Sequence[ModelRecord], recipe: dict[str, Any]) -> list[ModelRecord]:
    """The models of the same recipe: that another recipe was refused says nothing against fresh data."""
    return [model for model in models if model.recipe == recipe]
