"""The end of an experiment: its conclusion on record, and the model of the arm that won live, if the gate lets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from nocturne.core.errors import UsageError
from nocturne.core.experiment import Arm, Experiment
from nocturne.core.night import Night, Warehouse
from nocturne.evaluation import promotion
from nocturne.experiments.conclusion import record_conclusion
from nocturne.experiments.overview import find_experiment
from nocturne.storage.model_transitions import ModelRecord, model_of_arm
from nocturne.training import registry


@dataclass(frozen=True)
class Concluded:
    """An experiment that was ended.

    Attributes:
        run_date: first night without it.
        promoted: what was decided on the model of the arm; "" if the arm changes none.
        settings: of the arm, to be put into the settings of the nights.
    """

    experiment: str
    arm: str
    run_date: date
    promoted: str
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return self.promoted or f"{self.experiment} ends: {self.arm} is for everyone from {self.run_date} on"


def conclude(writable: Warehouse, run_date: date, name: str, arm: str, *, actor: str, why: str) -> Concluded:
    """End an experiment before a night; if an arm with a model won, make it live then.

    Whoever calls this holds the lease.

    Raises:
        UsageError: there is no such experiment, arm or model, or the experiment would end before it begins.
        GateClosed: the registry's gate refuses the model: then the experiment goes on.
    """
    night, experiment, model = concludable(writable, run_date, name, arm)
    promoted = ""
    if model:
        promoted = promotion.promote(night, model.version, actor=actor, reason=f"experiment {name}: {why}")
    record_conclusion(night, experiment, arm, f"{why} ({actor})")
    return Concluded(name, arm, run_date, promoted, experiment.arms[arm].settings)


def concludable(
    warehouse: Warehouse, run_date: date, name: str, arm: str
) -> tuple[Night, Experiment, ModelRecord | None]:
    """The night, the experiment and the model of the arm, if it has one, of a conclusion that can be made.

    Raises:
        UsageError: as `conclude`.
    """
    night, experiment = Night(warehouse, run_date), find_experiment(warehouse, name)
    if arm not in experiment.arms:
        raise UsageError("the experiment has no such arm", where=name, found=arm, expected=", ".join(experiment.arms))
    model = _model(night, f"{name}/{arm}", experiment.arms[arm])
    if not experiment.start < run_date:
        raise UsageError(
            "an experiment ends before it begins",
            where=name,
            found=f"--run-date {run_date}",
            expected=f"a night after {experiment.start}, the first one without it",
            fix="to have it never begin, remove its file",
        )
    return night, experiment, model


def _model(night: Night, label: str, definition: Arm) -> ModelRecord | None:
    """The model of an arm; None of an arm that changes none."""
    if not (definition.model or definition.recipe):
        return None
    model = model_of_arm(registry.models(night.warehouse), night.run_date, definition)
    if model is None:
        raise UsageError(
            "the model of an arm is not there",
            where=label,
            found=definition.model or "no model of its recipe",
            expected="a version that `nocturne models list` names",
            fix="name the night after the last one of the experiment",
        )
    return model
