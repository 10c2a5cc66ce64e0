"""Models and their transitions: by whose decision, and why, a model is live on a night.

Pure. Transitions say what was decided and from which night on; a model's state follows from those of all models.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from nocturne.core.experiment import Arm
from nocturne.core.sections import OPERATIONAL, AlsSettings

CANDIDATE, LIVE, RETIRED, REJECTED = "candidate", "live", "retired", "rejected"
OF_EXPERIMENTS = "experiment"
"""Origin of models that were trained for an arm."""

REFUSED, UNDECIDED = "refused", "undecided"
"""Verdicts of a comparison: the model is worse, or was not shown to be no worse. Neither changes a state."""


@dataclass(frozen=True)
class Transition:
    """One decision on a model.

    Attributes:
        sequence: counts the transitions of all models, from 1.
        state: what it was decided to be.
        since: first night it holds for.
        actor, reason: for people.
    """

    sequence: int
    state: str
    since: date
    actor: str
    reason: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Transition":
        """From an element of the column `moves`."""
        return cls(row["number"], row["state"], row["since"], row["by"], row["why"])

    def to_row(self) -> dict[str, Any]:
        """As an element of the column `moves`."""
        return {
            "number": self.sequence,
            "state": self.state,
            "since": self.since,
            "by": self.actor,
            "why": self.reason,
        }


@dataclass(frozen=True)
class ModelRecord:
    """A row of `models`; attributes are its columns, of which `model_version` and `moves` have names of their own."""

    run_date: date
    version: str
    state: str
    transitions: tuple[Transition, ...]
    origin: str
    parent: str | None
    settings: str
    anchor_date: date
    regularization: float
    listeners: int
    items: int
    entries: int
    spectrum: tuple[float, ...]
    losses: tuple[float, ...]
    race: tuple[Mapping[str, Any], ...]
    race_share: float
    metrics: tuple[Mapping[str, Any], ...]
    code_version: str
    inputs: Mapping[str, int]
    seconds: float

    @property
    def family(self) -> str:
        """The kind of model: als or sequence."""
        return str(json.loads(self.settings)["family"])

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings that decided what it learned, without those of operation."""
        stored: dict[str, Any] = json.loads(self.settings)
        return {name: value for name, value in stored.items() if name not in OPERATIONAL}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "ModelRecord":
        """From a row of `models`, all columns."""
        values = dict(row)
        values["version"] = values.pop("model_version")
        values["transitions"] = tuple(Transition.from_row(move) for move in values.pop("moves"))
        values["inputs"] = {entry["table"]: entry["version"] for entry in row["inputs"]}
        return cls(**values | {name: tuple(row[name]) for name in ("spectrum", "losses", "race", "metrics")})

    def to_row(self) -> dict[str, Any]:
        """As a row of `models`, in the order of its columns."""
        renamed = {"version": "model_version", "transitions": "moves"}
        row = {renamed.get(name, name): value for name, value in vars(self).items()}
        row["moves"] = [transition.to_row() for transition in self.transitions]
        row["inputs"] = [{"table": table, "version": version} for table, version in self.inputs.items()]
        return row | {name: list(row[name]) for name in ("spectrum", "losses", "race", "metrics")}


def live_on(models: Iterable[ModelRecord], day: date) -> ModelRecord | None:
    """The model live on a night; None if there is none.

    It is the one that became live last, counted from the night each transition holds for; a model that was rejected
    since counts no more from the night of the rejection, and whichever was live before it is live again.
    """
    standing = [
        (transition.since, transition.sequence, model)
        for model in models
        for transition in model.transitions
        if transition.state == LIVE and transition.since <= day and not _withdrawn(model, transition.sequence, day)
    ]
    return max(standing, key=lambda entry: entry[:2])[2] if standing else None


def model_of_arm(models: Iterable[ModelRecord], day: date, arm: Arm) -> ModelRecord | None:
    """The model of an experiment's arm on a night; None if it is not there.

    It is the one that the arm names; or the last by the arm's recipe that was trained for an experiment since the live
    model, or on the same night; without either the live one. A model that was rejected is not there.
    """
    models = list(models)
    live = live_on(models, day)
    if arm.model:
        return next((model for model in models if model.version == arm.model and model.state != REJECTED), None)
    if not arm.recipe or live is None:
        return live
    recipe = arm_recipe(live, arm)
    standing = [model for model in models if model.recipe == recipe and model.state != REJECTED]
    since = [each for each in standing if each.origin == OF_EXPERIMENTS and live.run_date < each.run_date <= day]
    fitting = [*since, *(each for each in standing if each.run_date == live.run_date)]
    return max(fitting, key=lambda model: (model.run_date, model.transitions[0].sequence), default=None)


def arm_recipe(live: ModelRecord, arm: Arm) -> dict[str, Any]:
    """The recipe of an arm: that of the live model, with what the arm changes."""
    return AlsSettings.model_validate_json(live.settings).with_recipe(arm.recipe).recipe_settings


def with_states(models: Sequence[ModelRecord]) -> list[ModelRecord]:
    """The models, each in the state that follows from all transitions."""
    live = live_on(models, date.max)
    return [replace(model, state=LIVE if model is live else _state_unless_live(model)) for model in models]


def with_transition(
    models: Sequence[ModelRecord], version: str, state: str, *, since: date, actor: str, reason: str
) -> list[ModelRecord]:
    """The models after a transition of one of them, in their states.

    The same transition twice in a row is one: the later one stands.
    """
    transition = Transition(next_sequence(models), state, since, actor, reason)
    after = []
    for model in models:
        if model.version != version:
            after.append(model)
            continue
        earlier = model.transitions
        if earlier and (earlier[-1].state, earlier[-1].since) == (state, since):
            earlier = earlier[:-1]
        after.append(replace(model, transitions=(*earlier, transition)))
    return with_states(after)


def without_transitions_of(models: Sequence[ModelRecord], actor: str, since: date) -> list[ModelRecord]:
    """The models as they would be if someone had decided nothing for a night."""
    return with_states(
        [
            replace(
                model,
                transitions=tuple(step for step in model.transitions if (step.actor, step.since) != (actor, since)),
            )
            for model in models
        ]
    )


def next_sequence(models: Iterable[ModelRecord]) -> int:
    """Sequence number of the next transition."""
    return max((step.sequence for model in models for step in model.transitions), default=0) + 1


def last_refused_since(models: Iterable[ModelRecord], after: date, day: date) -> ModelRecord | None:
    """The newest model trained after a night that was refused as worse or rejected, as far as a night can know."""
    refused = [
        model
        for model in models
        if after < model.run_date <= day
        and any(step.state in {REFUSED, REJECTED} and step.since <= day for step in model.transitions)
    ]
    return max(refused, key=lambda model: (model.run_date, model.version), default=None)


def _withdrawn(model: ModelRecord, sequence: int, day: date) -> bool:
    """True if the model was rejected after that transition, for that night."""
    return any(step.state == REJECTED and step.sequence > sequence and step.since <= day for step in model.transitions)


def _state_unless_live(model: ModelRecord) -> str:
    decided = [step for step in model.transitions if step.state in {LIVE, REJECTED}]
    if not decided:
        return CANDIDATE
    return REJECTED if max(decided, key=lambda step: step.sequence).state == REJECTED else RETIRED
