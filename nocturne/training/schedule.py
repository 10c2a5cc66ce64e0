"""Whether a night trains a model of its own: pure, over the rows of `models`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from nocturne.core.settings import AlsSettings
from nocturne.storage.model_transitions import Row, live_on, turned_down, without
from nocturne.training.als import is_due
from nocturne.training.registry import THE_NIGHT, recipe_of


@dataclass(frozen=True)
class Plan:
    """What a night does about its model.

    Attributes:
        trains: False if it keeps the live model.
        settings: recipe and operation of the training.
        parent: version of the model to start from; None from scratch.
        why: the reason of the new model's move.
        remark: for whoever reads the log.
    """

    trains: bool
    settings: AlsSettings
    parent: str | None
    why: str
    remark: str


def plan(models: Sequence[Row], night: date, closed: Collection[date], settings: AlsSettings) -> Plan:
    """What a night does about its model, whether it runs for the first time or again.

    Args:
        models: rows of `models`.
        night: the night's date.
        closed: nights whose gate closed: a model that was trained on one is replaced, by the recipe of the last sound
            one.
    """
    others = without(models, THE_NIGHT, night)
    live = live_on(others, night)
    sound = live_on([row for row in others if row["run_date"] not in closed], night)
    if sound is None:
        why = "no model was live" if live is None else f"the gate of {live['run_date']} closed on {_name(live)}"
        return Plan(True, settings, None, why, why)
    recipe = recipe_of(sound)
    differs = "" if recipe == settings.recipe else _OTHER_RECIPE
    parent = str(sound["model_version"]) if settings.warm_start else None
    tonight = settings.with_recipe(recipe)
    assert live
    if live is not sound:
        why = f"the gate of {live['run_date']} closed on {_name(live)}"
        return Plan(True, tonight, parent, why, why + differs)
    days = (night - live["run_date"]).days
    age = f"{days} night{'s' if days > 1 else ''} old"
    if not is_due(night, live["run_date"], settings):
        return Plan(False, tonight, parent, "", f"keeps {_name(live)}{differs}")
    if refused := turned_down(_like(others, recipe), live["run_date"], night):
        remark = f"keeps {_name(live)}, {age}: {_name(refused)} was refused as worse or rejected since{differs}"
        return Plan(False, tonight, parent, "", remark)
    why = f"{_name(live)} was {age}"
    return Plan(True, tonight, parent, why, why + differs)


_OTHER_RECIPE = "; the settings have another recipe: `nocturne models train` with them makes a candidate of it"


def _like(rows: Sequence[Row], recipe: dict[str, Any]) -> list[Row]:
    """The models of the same recipe: that another recipe was refused says nothing against fresh data."""
    return [row for row in rows if recipe_of(row) == recipe]


def _name(row: Row) -> str:
    return str(row["model_version"])
