"""Definitions of experiments: `experiments/<name>.toml`, with a type, a range and a sentence for every value."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from nocturne import ROOT
from nocturne.core.errors import UsageError
from nocturne.core.sections import (
    OPERATIONAL,
    AlsSettings,
    ExperimentSettings,
    Section,
)
from nocturne.core.settings import Settings, with_values

SLOTS = 1000
"""Parts of the layer that experiments share."""

CONTROL, INTERLEAVED = "control", "interleaved"
"""Arm that has what everyone has; arm of those whose list is drafted from the lists of two arms."""

BEFORE_DAYS = 28
"""Days before the first lists are heard, whose measures are covariates."""

HOLDBACK = "holdback"
"""Those whom no experiment may have, under the name of an experiment and of its arm."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
CAN_CHANGE = ("ranking", "reranking", "now_playing")
"""Sections of the settings that an arm may change."""

CANNOT_CHANGE = frozenset(
    f"ranking.{name}" for name in ("carry_over", "audit_share", "audit_at_least", "items_memory_mb", "batch_memory_mb")
)
"""Settings in them that say how lists are made, not which."""

Direction = Literal["increase", "decrease"]


class Arm(Section):
    """A variant: what its listeners get instead of what everyone gets; control has none of it."""

    weight: Annotated[float, Field(gt=0, description="share of the experiment's listeners, beside the other weights")]
    model: Annotated[str, Field(description="version of a model of the registry; empty: the live one")] = ""
    recipe: dict[str, Any] = Field(
        default_factory=dict, description="settings of [als] that differ; a model of them is trained for the arm"
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="values of [ranking], [reranking] or [now_playing] that differ, by section.key",
    )

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.model and self.recipe:
            raise ValueError("an arm has a model or a recipe, not both")
        if unknown := sorted(set(self.recipe) - set(AlsSettings.model_fields)):
            raise ValueError(f"[als] has no {', '.join(unknown)}")
        if operational := sorted(OPERATIONAL & set(self.recipe)):
            raise ValueError(f"{', '.join(operational)} decides nothing that is learned")
        for name in self.settings:
            if name.partition(".")[0] not in CAN_CHANGE or name in CANNOT_CHANGE:
                raise ValueError(f"an arm cannot change {name}: only what lists hold, in {', '.join(CAN_CHANGE)}")
        return self

    @property
    def ranks_alike(self) -> bool:
        """True if the nightly lists are those of control: nothing differs but what comes next."""
        return not (self.model or self.recipe or any(not name.startswith("now_playing.") for name in self.settings))

    @property
    def changes_nothing(self) -> bool:
        """True if its listeners have what everyone has, as control's have: of a test of the experiment itself."""
        return self.ranks_alike and self.plays_on_alike

    @property
    def plays_on_alike(self) -> bool:
        """True if no weight of what comes next differs."""
        return not any(name.startswith("now_playing.") for name in self.settings)


class Metric(Section):
    """A measure of each listener, summed from the first day of the experiment, and its role in the decision."""

    role: Literal["success", "guardrail", "deterioration"]
    measure: Annotated[
        Literal["plays", "minutes", "active_days", "discoveries", "list_plays", "exposures", "active"],
        Field(
            description="plays; minutes listened; days with a play; items never heard before; plays of items that were "
            "shown that day or the day before; exposures; active: 1 for who played anything, 0 for the others"
        ),
    ]
    per: Annotated[
        Literal["listener", "plays", "minutes", "active_days", "exposures"],
        Field(description="listener: a mean; another measure: a ratio of sums"),
    ] = "listener"
    content_type: Annotated[
        str, Field(pattern=r"^[^|:]*$", description="content type that counts alone; empty: all")
    ] = ""
    direction: Annotated[Direction, Field(description="where better is")] = "increase"
    minimum_effect: Annotated[
        float, Field(ge=0, le=10, description="of a success metric: smallest effect worth having, share of control")
    ] = 0.0
    margin: Annotated[
        float, Field(ge=0, lt=1, description="of a guardrail: loss that is still accepted, share of control")
    ] = 0.0

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.role == "success" and not self.minimum_effect:
            raise ValueError("a success metric needs minimum_effect")
        if self.role == "guardrail" and not self.margin:
            raise ValueError("a guardrail needs margin")
        return self


class Experiment(Section):
    """An experiment on nightly lists, or on what comes next."""

    name: Name
    hypothesis: Annotated[str, Field(min_length=1, description="sentence that the experiment can prove wrong")]
    kind: Annotated[Literal["ab", "interleaving"], Field(description="arms apart, or drafted into one list")] = "ab"
    unit: Annotated[Literal["listener"], Field(description="whoever is assigned and counted")] = "listener"
    start: Annotated[date, Field(description="first night whose lists are those of the arms")]
    end: Annotated[date, Field(description="last such night")]
    salt: Annotated[str, Field(min_length=1, description="of the hash that assigns arms")]
    first_slot: Annotated[int, Field(ge=0, lt=SLOTS, description=f"first of its slots of the layer's {SLOTS}")]
    slots: Annotated[int, Field(ge=1, le=SLOTS, description="slots: thousandths of the listeners outside the holdback")]
    looks: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(strict=False, description="days of the experiment after which the results are looked at, from 1"),
    ]
    alpha: Annotated[
        float, Field(gt=0, le=0.2, description="rate at which a success metric is found to rise where nothing does")
    ] = 0.05
    power: Annotated[
        float, Field(ge=0.5, lt=1, description="rate at which the decision is to ship what has the minimum effect")
    ] = 0.8
    spending: Annotated[Literal["obrien_fleming", "pocock"], Field(description="alpha spent late, or evenly")] = (
        "obrien_fleming"
    )
    arms: Annotated[dict[Name, Arm], Field(min_length=2, description="variants, control among them")]
    metrics: Annotated[dict[Name, Metric], Field(min_length=1, description="what is measured")]

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.name == HOLDBACK or INTERLEAVED in self.arms:
            raise ValueError(f"no experiment is called {HOLDBACK}, and no arm {INTERLEAVED}")
        if CONTROL not in self.arms:
            raise ValueError(f"one arm is {CONTROL}")
        if self.end < self.start:
            raise ValueError("end lies before start")
        if self.first_slot + self.slots > SLOTS:
            raise ValueError(f"slots reach beyond the layer: {self.first_slot} + {self.slots} > {SLOTS}")
        if list(self.looks) != sorted(set(self.looks)) or self.looks[-1:] != (self.nights,):
            raise ValueError(f"looks ascend, and the last one is the experiment's last day, {self.nights}")
        if not any(metric.role == "success" for metric in self.metrics.values()):
            raise ValueError("no metric has the role success")
        return self

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        control = self.arms.get(CONTROL)
        if control and not control.changes_nothing:
            raise ValueError(f"arm {CONTROL} has what everyone has: no model, recipe or settings")
        if self.kind == "ab":
            return self
        if len(self.arms) != 2:
            raise ValueError("interleaving compares two arms")
        if [(each.measure, each.per, each.content_type) for each in self.metrics.values()] != [
            ("list_plays", "listener", "")
        ]:
            raise ValueError("interleaving has one metric, list_plays: it credits the arm that picked what is played")
        if any(not arm.plays_on_alike for arm in self.arms.values()):
            raise ValueError("interleaving drafts nightly lists: arms cannot change [now_playing]")
        return self

    @property
    def nights(self) -> int:
        """Nights that it runs."""
        return (self.end - self.start).days + 1

    @property
    def treatments(self) -> tuple[str, ...]:
        """Arms other than control, in the order of the file."""
        return tuple(arm for arm in self.arms if arm != CONTROL)

    @property
    def nightly_treatments(self) -> tuple[str, ...]:
        """Treatments that have nightly lists of their own."""
        return tuple(name for name in self.treatments if not self.arms[name].ranks_alike)

    @property
    def assigned_arms(self) -> tuple[str, ...]:
        """Arms that listeners are in: one where those of the file are drafted into one list."""
        return (INTERLEAVED,) if self.kind == "interleaving" else tuple(self.arms)

    def digest(self, layer: ExperimentSettings) -> str:
        """Hash of all that must not change while it runs, with that of the layer."""
        content = json.dumps([self.model_dump(mode="json"), layer.salt, layer.holdback_share], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()

    def runs_on(self, night: date) -> bool:
        """True from the first night to the last."""
        return self.start <= night <= self.end


def experiments_of(settings: Settings) -> tuple[Experiment, ...]:
    """The experiments of the settings' folder, every arm of which can be ranked by.

    Raises:
        UsageError: as `load_experiments`; or an arm changes a value that is unknown or out of range.
    """
    experiments = load_experiments(settings.experiments.folder)
    for experiment in experiments:
        for name, arm in experiment.arms.items():
            try:
                arm_settings(settings, arm)
                settings.als.with_recipe(arm.recipe)
            except (UsageError, ValidationError) as error:
                found = (
                    "; ".join(each["msg"] for each in error.errors()) if isinstance(error, ValidationError) else error
                )
                raise UsageError(
                    "an arm of an experiment is not valid",
                    where=f"{settings.experiments.folder}/{experiment.name}.toml, arm {name}",
                    found=str(found),
                    fix="`nocturne settings` lists every setting with its meaning",
                ) from error
    return experiments


def arm_settings(settings: Settings, arm: Arm) -> Settings:
    """The settings of an arm's listeners.

    Raises:
        UsageError: a value that the arm changes is unknown or out of range.
    """
    return with_values(settings, arm.settings)


def parse_experiment(name: str, values: Mapping[str, Any], where: str = "") -> Experiment:
    """An experiment from the values of its file.

    Raises:
        UsageError: a value is missing, unknown or out of range; all of them are told.
    """
    try:
        return Experiment.model_validate({"name": name} | dict(values))
    except ValidationError as error:
        problems = [
            ".".join(str(part) for part in problem["loc"]) + ": " + problem["msg"].removeprefix("Value error, ")
            for problem in error.errors()
        ]
        raise UsageError(
            "the experiment is not valid",
            where=where or name,
            found="; ".join(problem.removeprefix(": ") for problem in problems),
            fix="docs/experiments.md explains every value",
        ) from error


def load_experiments(folder: str) -> tuple[Experiment, ...]:
    """The experiments of a folder, in the order of their names; none if the folder is missing.

    Args:
        folder: from the project's root if relative.

    Raises:
        UsageError: a file is no TOML or not valid, or two experiments run on the same slots on the same night.
    """
    experiments = tuple(_read(file) for file in sorted(Path(str(ROOT), folder).glob("*.toml")))
    for place, one in enumerate(experiments):
        for other in experiments[:place]:
            if _share_listeners(one, other):
                raise UsageError(
                    "two experiments have the same listeners",
                    where=str(folder),
                    found=f"{other.name}: slots {_slots(other)} until {other.end}; "
                    f"{one.name}: slots {_slots(one)} from {one.start}",
                    expected="slots that no other experiment has on those nights",
                    fix="give first_slot another value, or other dates; let one that was concluded end in its file",
                )
    return experiments


def _read(file: Path) -> Experiment:
    try:
        return parse_experiment(file.stem, tomllib.loads(file.read_text(encoding="utf-8")), str(file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError("an experiment cannot be read", where=str(file), found=str(error)) from error


def _share_listeners(one: Experiment, other: Experiment) -> bool:
    at_once = one.start <= other.end and other.start <= one.end
    slots = range(
        max(one.first_slot, other.first_slot), min(one.first_slot + one.slots, other.first_slot + other.slots)
    )
    return at_once and bool(slots)


def _slots(experiment: Experiment) -> str:
    return f"{experiment.first_slot}-{experiment.first_slot + experiment.slots - 1}"
