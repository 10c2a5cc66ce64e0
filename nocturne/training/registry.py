"""The registry: every model ever trained, in `models`, and the transitions that make one live.

Which model is live on which night is worked out in `storage.model_transitions`. Here rows are read and written; a
transition writes rows of `models` and leaves the factors alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Indexes
from nocturne.core.code_version import code_version
from nocturne.core.errors import InputError, UsageError
from nocturne.core.night import Night, Warehouse
from nocturne.core.sections import AlsSettings
from nocturne.storage import model_transitions, tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import accumulated_rows
from nocturne.storage.model_transitions import (
    CANDIDATE,
    LIVE,
    REJECTED,
    ModelRecord,
    Transition,
    live_on,
    model_of_arm,
    with_states,
)
from nocturne.storage.running_experiments import running
from nocturne.storage.stored_rows import StoredRows
from nocturne.training import als
from nocturne.training.hold_out import COLUMNS as HELD_OUT
from nocturne.training.model import (
    Model,
    encoder_from_table,
    encoder_table,
    factors_table,
    model_from_tables,
    with_cold_items,
)
from nocturne.training.race import Race, run_race

Origin = Literal["train_als", "train_sequence", "retrain", "tune", "experiment"]
THE_NIGHT = "train_als"
"""Who moves the models that the night itself trains."""

CHECKPOINTS = "_checkpoints"
"""Folder of a warehouse with the state of trainings that have not ended."""

_LEARNED = ("item_factors", "encoders")
"""Tables of what a model learned."""

_COLD = (*("run_date", "item_index", "item_id", "factors", "score_multiplier", "neighbours", "similarities"),)


@dataclass(frozen=True)
class Trained:
    """A training, what it read, and how long it took.

    Attributes:
        inputs: Delta version of each table that was read.
        seconds: time it took, that of the race included.
        race: that chose its recipe; None if it was given.
        race_share: share of listeners, by hash, whom the race of its recipe asked, whichever model that was run for.
    """

    training: als.Training
    inputs: Mapping[str, int]
    seconds: float
    race: Race | None = None
    race_share: float = 0.0


def models(warehouse: Warehouse) -> list[ModelRecord]:
    """Every model, in the order of training."""
    return sorted(tables.models(warehouse), key=lambda model: (model.run_date, model.version))


def find(models: Sequence[ModelRecord], version: str) -> ModelRecord:
    """A model by its version, or by the end of it that no other has.

    Raises:
        UsageError: there is no such model.
    """
    matching = [model for model in models if model.version.endswith(version)] if version else []
    if len(matching) == 1:
        return matching[0]
    raise UsageError(
        "no such model" if not matching else "more than one model is called that",
        found=version,
        expected="one of " + ", ".join(model.version for model in matching or models[-5:]),
        fix="`nocturne models list` names them all",
    )


def load_model(warehouse: Warehouse, version: str) -> Model:
    """A model with the factors that it learned, whatever its state.

    Raises:
        UsageError: there is no such model.
    """
    record = find(models(warehouse), version)
    factors = tables.rows(warehouse, "item_factors", pc.field("model_version") == record.version)
    if not factors.num_rows and record.items:
        raise UsageError(
            "the factors of this model are not kept any more",
            where=warehouse.table_path("item_factors"),
            found=f"{record.version}, {record.state}",
            fix="train it again: its settings stand in `models`; retention.nights.item_factors says how long they stay",
        )
    settings, encoder = AlsSettings.model_validate_json(record.settings), None
    if settings.family != "als":
        arrays = tables.rows(warehouse, "encoders", pc.field("model_version") == record.version)
        encoder = encoder_from_table(arrays, settings)
    return model_from_tables(record, factors, warehouse.settings.interactions.half_life_days, encoder)


def live_model(night: Night) -> Model | None:
    """The model live on the night, as it ranks then."""
    live = live_on(models(night.warehouse), night.run_date)
    return model_on(night, live.version) if live else None


def model_on(night: Night, version: str) -> Model:
    """A model with all items that it ranks on a night: those that it learned, and those that it knows by their text.

    Raises:
        UsageError: there is no such model.
    """
    model = load_model(night.warehouse, version)
    if not night.settings.content.cold_items:
        return model
    rows = accumulated_rows(night, "cold_factors", _COLD, pc.field("model_version") == model.version)
    return with_cold_items(model, rows)


def learned_items(warehouse: Warehouse, version: str) -> Indexes:
    """Indexes of the items that a model learned."""
    of_model = pc.field("model_version") == version
    indexes: Indexes = tables.rows(warehouse, "item_factors", of_model, ["item_index"])["item_index"].to_numpy()
    return indexes


def versions_on(night: Night) -> set[str]:
    """Versions of the models that rank on a night: the live one, those of arms, and that of the holdback."""
    present, holdback = models(night.warehouse), night.settings.experiments.holdback_model
    arms = [arm for experiment in running(night) for arm in experiment.arms.values()]
    in_use = [live_on(present, night.run_date), *(model_of_arm(present, night.run_date, arm) for arm in arms)]
    named = {model.version for model in in_use if model} | {holdback}
    return named & {model.version for model in present}


def train(
    night: Night,
    settings: AlsSettings,
    parent: Model | None = None,
    progress: Callable[[int, float], None] = lambda _iteration, _loss: None,
    *,
    race: bool = False,
    race_share: float = 0.0,
) -> Trained:
    """Train a model on a night's interactions, without Spark; nothing is written.

    Args:
        race: have a race choose the recipe of the factorization first, if als.recipe is "fit".
        race_share: of the race that chose these settings before; 0 if none did.

    Raises:
        InputError: nobody has listened by then.
        UsageError: as `als.train`.
    """
    if not tables.count(night, "interactions"):
        raise InputError(
            "there is nobody to learn from",
            where=night.warehouse.table_path("interactions"),
            found=f"no rows of night {night.run_date}",
            fix="name a night that was made: `nocturne nights` lists them",
        )
    started = time.monotonic()
    rows = StoredRows.at(night, "interactions", als.COLUMNS)
    item_ids = tables.rows(night.warehouse, "item_index").sort_by("item_index")["item_id"].combine_chunks()
    half_life = night.settings.interactions.half_life_days
    races = race and settings.recipe == "fit" and settings.family == "als"
    raced = choose_recipe(night, settings) if races else None
    settings = raced.settings if raced else settings
    checkpoint = _checkpoint(night.warehouse, night.run_date)
    training = als.train(rows, item_ids, night.run_date, half_life, settings, parent, progress, checkpoint=checkpoint)
    inputs = {"interactions": rows.version, "item_index": tables.version(night.warehouse, "item_index")}
    return Trained(training, inputs, time.monotonic() - started, raced, max(race_share, raced.share if raced else 0.0))


def choose_recipe(night: Night, settings: AlsSettings) -> Race:
    """A race on a night's interactions that begins with these settings."""
    return run_race(
        StoredRows.at(night, "interactions", HELD_OUT),
        tables.rows(night.warehouse, "item_index").sort_by("item_index")["item_id"].combine_chunks(),
        night.run_date,
        night.settings.interactions.half_life_days,
        settings,
        night.settings.ranking.candidates,
    )


def add(warehouse: Warehouse, trained: Trained, *, origin: Origin, actor: str, reason: str) -> str:
    """Put a model into the registry as a candidate, unless it is there already; returns its version.

    Whoever calls this holds the lease.

    Args:
        actor: who wants it.
        reason: what it is for.
    """
    present, record = models(warehouse), _record(trained, origin)
    if record.version not in {model.version for model in present}:
        _write_factors(warehouse, trained.training.model)
        since = trained.training.model.anchor_date
        after = model_transitions.with_transition(
            [*present, record], record.version, CANDIDATE, since=since, actor=actor, reason=reason
        )
        write(warehouse, present, after)
    return record.version


def add_live(night: Night, trained: Trained, reason: str) -> None:
    """Put the model of the night itself into the registry, live at once, in place of what the night trained before."""
    present, record = models(night.warehouse), _record(trained, "train_als")
    sequence = next((step.sequence for model in present for step in model.transitions if _own(night, step)), None)
    others = model_transitions.without_transitions_of(present, THE_NIGHT, night.run_date)
    same = next((model for model in others if model.version == record.version), None)
    if same:
        record = replace(record, transitions=same.transitions, metrics=same.metrics, origin=same.origin)
        record = record if record.race else replace(record, race=same.race, race_share=same.race_share)
    step = Transition(
        sequence or model_transitions.next_sequence(others), LIVE, night.run_date, actor=THE_NIGHT, reason=reason
    )
    record = replace(record, transitions=tuple(sorted([*record.transitions, step], key=lambda each: each.sequence)))
    after = [model for model in others if model.version != record.version]
    _write_factors(night.warehouse, trained.training.model)
    write(night.warehouse, present, with_states(_in_use([*after, record])))


def take_back(night: Night) -> None:
    """Undo what the night made live when it ran before, if it did."""
    present = models(night.warehouse)
    if any(_own(night, step) for model in present for step in model.transitions):
        others = model_transitions.without_transitions_of(present, THE_NIGHT, night.run_date)
        write(night.warehouse, present, _in_use(others))


def reject(night: Night, version: str, *, actor: str, reason: str) -> ModelRecord | None:
    """Turn a candidate down, or withdraw the live model from this night on; returns the model live afterwards.

    Whoever calls this holds the lease.

    Raises:
        UsageError: there is no such model, or no reason is given.
    """
    present = models(night.warehouse)
    model = find(present, version)
    require_reason(reason)
    after = model_transitions.with_transition(
        present, model.version, REJECTED, since=night.run_date, actor=actor, reason=reason
    )
    write(night.warehouse, present, after)
    return live_on(after, night.run_date)


def require_reason(reason: str) -> None:
    """Raise UsageError unless there is a reason."""
    if not reason.strip():
        raise UsageError("a move needs a reason", expected="--why TEXT, for whoever asks later")


def write(warehouse: Warehouse, before: Sequence[ModelRecord], after: Sequence[ModelRecord]) -> None:
    """Replace the rows of `models` that differ, in one commit; factors of models that are gone go as well."""
    old, new = ({model.version: model for model in models} for models in (before, after))
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if not changed:
        return
    rows = [new[name].to_row() for name in changed if name in new]
    table = pa.Table.from_pylist(rows, schema=contract("models").arrow_schema)
    writing.replace_rows(table, "models", warehouse, _is_version(changed))
    if gone := [name for name in changed if name not in new]:
        for table in _LEARNED:
            writing.replace_rows(contract(table).arrow_schema.empty_table(), table, warehouse, _is_version(gone))


def _record(trained: Trained, origin: Origin) -> ModelRecord:
    """A model that nobody has decided on yet."""
    training = trained.training
    return ModelRecord(
        run_date=training.model.anchor_date,
        version=training.model.version,
        state=CANDIDATE,
        transitions=(),
        origin=origin,
        parent=training.parent,
        settings=training.model.settings.model_dump_json(),
        anchor_date=training.model.anchor_date,
        regularization=training.model.settings.regularization,
        listeners=training.listeners,
        items=len(training.model.item_indexes),
        entries=training.entries,
        spectrum=tuple(training.model.spectrum.tolist()),
        losses=tuple(training.losses),
        race=tuple(entrant.to_row() for entrant in trained.race.entrants) if trained.race else (),
        race_share=trained.race_share,
        metrics=(),
        code_version=code_version(),
        inputs=trained.inputs,
        seconds=trained.seconds,
    )


def _own(night: Night, step: Transition) -> bool:
    """True if it is the night that decided this."""
    return step.actor == THE_NIGHT and step.since == night.run_date


def _in_use(models: Sequence[ModelRecord]) -> list[ModelRecord]:
    """Without models that a night trained and nobody has anything to say of any more."""
    return [model for model in models if model.transitions or model.origin != "train_als"]


def _write_factors(warehouse: Warehouse, model: Model) -> None:
    writing.replace_rows(factors_table(model), "item_factors", warehouse, _is_version([model.version]))
    if model.encoder:
        writing.replace_rows(encoder_table(model), "encoders", warehouse, _is_version([model.version]))
        _checkpoint(warehouse, model.anchor_date).unlink(missing_ok=True)


def _checkpoint(warehouse: Warehouse, run_date: date) -> Path:
    """The file that a training on a night goes on from."""
    return Path(warehouse.path) / CHECKPOINTS / f"{run_date}.npz"


def _is_version(versions: Sequence[str]) -> str:
    """SQL predicate of some models."""
    return f"model_version IN ({', '.join(repr(name) for name in versions)})"
