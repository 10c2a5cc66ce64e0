"""The registry: every model ever trained, in `models`, and the moves that make one live.

Which model is live on which night is worked out in `moves`. Here rows are read and written; a move writes rows of
`models` and leaves the factors alone.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.code_version import code_version
from nocturne.core.errors import InputError, SettingsError
from nocturne.core.night import Night
from nocturne.core.settings import OPERATIONAL, AlsSettings
from nocturne.storage import model_transitions, tables
from nocturne.storage.contracts import contract
from nocturne.storage.model_transitions import LIVE, REJECTED, Row, live_on, settle
from nocturne.training import als
from nocturne.training.model import Model, factors_table, model_from_tables

__all__ = ["Trained", "add", "find", "live_on", "load_model", "models", "reject", "settle", "train", "write"]

Origin = Literal["train_als", "retrain", "tune"]
THE_NIGHT = "train_als"
"""Who moves the models that the night itself trains."""


@dataclass(frozen=True)
class Trained:
    """A training, what it read, and how long it took.

    Attributes:
        inputs: Delta version of each table that was read.
        seconds: time it took.
    """

    training: als.Training
    inputs: Mapping[str, int]
    seconds: float


def models(night: Night) -> list[Row]:
    """Every row of `models`, in the order of training."""
    in_order = [("run_date", "ascending"), ("model_version", "ascending")]
    rows: list[Row] = tables.rows(night, "models").sort_by(in_order).to_pylist()
    return rows


def find(rows: list[Row], model_version: str) -> Row:
    """The row of a model, by its version or by the end of it that no other has.

    Raises:
        SettingsError: there is no such model.
    """
    found = [row for row in rows if row["model_version"].endswith(model_version)] if model_version else []
    if len(found) == 1:
        return found[0]
    raise SettingsError(
        "no such model" if not found else "more than one model is called that",
        found=model_version,
        expected="one of " + ", ".join(row["model_version"] for row in found or rows[-5:]),
        fix="`nocturne models list` names them all",
    )


def load_model(night: Night, model_version: str) -> Model:
    """A model with its factors, whatever its state.

    Raises:
        SettingsError: there is no such model.
    """
    of_model = pc.field("model_version") == model_version
    row = find(tables.rows(night, "models", of_model).to_pylist(), model_version)
    factors = tables.rows(night, "item_factors", of_model)
    if not factors.num_rows and row["items"]:
        raise SettingsError(
            "the factors of this model are not kept any more",
            where=f"{night.warehouse}/item_factors",
            found=f"{row['model_version']}, {row['state']}",
            fix="train it again: its settings stand in `models`; retention.nights.item_factors says how long they stay",
        )
    return model_from_tables(row, factors, night.settings.interactions.half_life_days)


def live_model(night: Night) -> Model | None:
    """The model live on the night, with its factors."""
    live = live_on(models(night), night.run_date)
    return load_model(night, live["model_version"]) if live else None


def recipe_of(row: Row) -> dict[str, Any]:
    """What decided what a model learned: its settings without those of operation."""
    stored: dict[str, Any] = json.loads(row["settings"])
    return {name: value for name, value in stored.items() if name not in OPERATIONAL}


def train(
    night: Night,
    settings: AlsSettings,
    parent: Model | None = None,
    progress: Callable[[int, float], None] = lambda _iteration, _loss: None,
) -> Trained:
    """Train a model on a night's interactions, without Spark; nothing is written.

    Raises:
        InputError: nobody has listened by then.
        SettingsError: as `als.train`.
    """
    if not tables.count(night, "interactions"):
        raise InputError(
            "there is nobody to learn from",
            where=f"{night.warehouse}/interactions",
            found=f"no rows of night {night.run_date}",
            fix="name a night that was made: `nocturne nights` lists them",
        )
    started = time.monotonic()
    rows = tables.StoredRows.at(night, "interactions", als.COLUMNS)
    item_ids = tables.rows(night, "item_index").sort_by("item_index")["item_id"].combine_chunks()
    half_life = night.settings.interactions.half_life_days
    training = als.train(rows, item_ids, night.run_date, half_life, settings, parent, progress)
    inputs = {"interactions": rows.version, "item_index": tables.version(night, "item_index")}
    return Trained(training, inputs, time.monotonic() - started)


def add(night: Night, trained: Trained, *, origin: Origin, by: str, why: str) -> str:
    """Put a model into the registry as a candidate, unless it is there already; returns its version.

    Whoever calls this holds the lease.

    Args:
        by: who wants it.
        why: what it is for.
    """
    rows, row = models(night), _row(trained, origin)
    model_version = str(row["model_version"])
    if model_version not in {each["model_version"] for each in rows}:
        _write_factors(night, trained.training.model)
        since = trained.training.model.anchor_date
        write(
            night,
            rows,
            model_transitions.moved(
                [*rows, row], model_version, model_transitions.CANDIDATE, since=since, by=by, why=why
            ),
        )
    return model_version


def add_live(night: Night, trained: Trained, why: str) -> None:
    """Put the model of the night itself into the registry, live at once, in place of what the night trained before."""
    rows, row = models(night), _row(trained, "train_als")
    number = next((move["number"] for each in rows for move in each["moves"] if _own(night, move)), None)
    others = model_transitions.without(rows, THE_NIGHT, night.run_date)
    known = next((each for each in others if each["model_version"] == row["model_version"]), None)
    if known:
        row |= {name: known[name] for name in ("moves", "metrics", "origin")}
    move = {
        "number": number or model_transitions.next_number(others),
        "state": LIVE,
        "since": night.run_date,
        "by": THE_NIGHT,
        "why": why,
    }
    row["moves"] = sorted([*row["moves"], move], key=lambda each: int(each["number"]))
    after = [each for each in others if each["model_version"] != row["model_version"]]
    _write_factors(night, trained.training.model)
    write(night, rows, settle(_used([*after, row])))


def keep(night: Night) -> None:
    """Take back what the night made live when it ran before, if it did."""
    rows = models(night)
    if any(_own(night, move) for row in rows for move in row["moves"]):
        write(night, rows, _used(model_transitions.without(rows, THE_NIGHT, night.run_date)))


def reject(night: Night, model_version: str, *, by: str, why: str) -> Row | None:
    """Turn a candidate down, or withdraw the live model from this night on; returns the model live afterwards.

    Whoever calls this holds the lease.

    Raises:
        SettingsError: there is no such model, or no reason is given.
    """
    rows = models(night)
    row = find(rows, model_version)
    require_reason(why)
    after = model_transitions.moved(rows, row["model_version"], REJECTED, since=night.run_date, by=by, why=why)
    write(night, rows, after)
    return live_on(after, night.run_date)


def require_reason(why: str) -> None:
    """Raise SettingsError unless there is a reason."""
    if not why.strip():
        raise SettingsError("a move needs a reason", expected="--why TEXT, for whoever asks later")


def write(night: Night, before: list[Row], after: list[Row]) -> None:
    """Replace the rows of `models` that differ, in one commit; factors of models that are gone go as well."""
    old = {row["model_version"]: row for row in before}
    new = {row["model_version"]: row for row in after}
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if not changed:
        return
    rows = [new[name] for name in changed if name in new]
    table = pa.Table.from_pylist(rows, schema=contract("models").arrow_schema)
    tables.replace(table, "models", night, where=_named(changed))
    if gone := [name for name in changed if name not in new]:
        tables.replace(contract("item_factors").arrow_schema.empty_table(), "item_factors", night, where=_named(gone))


def _row(trained: Trained, origin: Origin) -> Row:
    """A row of `models` that nobody has moved yet."""
    return als.model_row(trained.training) | {
        "state": model_transitions.CANDIDATE,
        "moves": [],
        "origin": origin,
        "metrics": [],
        "code_version": code_version(),
        "inputs": [{"table": table, "version": number} for table, number in trained.inputs.items()],
        "seconds": trained.seconds,
    }


def _own(night: Night, move: Mapping[str, Any]) -> bool:
    """Whether it is the night that made this move."""
    return bool(move["by"] == THE_NIGHT and move["since"] == night.run_date)


def _used(rows: list[Row]) -> list[Row]:
    """Without models that a night trained and nobody has anything to say of any more."""
    return [row for row in rows if row["moves"] or row["origin"] != "train_als"]


def _write_factors(night: Night, model: Model) -> None:
    tables.replace(factors_table(model), "item_factors", night, where=_named([model.version]))


def _named(versions: list[str]) -> str:
    """SQL predicate of some models."""
    return f"model_version IN ({', '.join(repr(name) for name in versions)})"
