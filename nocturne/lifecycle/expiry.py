"""Expiry: the partitions that may go on a date, and those that must stay although their time is over. Pure.

Nights are counted back from the date: a table with a limit of n keeps the n nights before it, and itself.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Any

from nocturne.core.errors import UsageError
from nocturne.core.experiment import BEFORE_DAYS, Experiment
from nocturne.core.sections import RetentionSettings
from nocturne.flow import TABLES
from nocturne.serving.cache.pointer import Pointer, from_json
from nocturne.serving.night_record import PUBLISHED, ROLLED_BACK, STALE, SUPERSEDED, NightRecord
from nocturne.storage.model_transitions import CANDIDATE, REFUSED, ModelRecord, live_on, model_of_arm
from nocturne.storage.tables import ACCUMULATED, OF_MODELS

_STANDING = frozenset({PUBLISHED, STALE, ROLLED_BACK})
_BUILT_ON = ("interactions", "set_aside", "pools", "arm_pools", "triggers", "related_items", "steers", "takedowns")
MOST_DAYS_AFTER = 14
"""Days after the newest night on which retention may still run."""
NIGHTS_BUILT_ON = 2
"""Nights that a night may be built on: the last one, and the one before it when the last one is run again."""


@dataclass(frozen=True)
class Inventory:
    """Nights and models of a warehouse, as far as they decide what may go.

    Attributes:
        dates: values of each table's first partition column.
        models: every model.
        factors: night of training of every model that has factors, by version.
        encoders: versions of the models that have one.
        closed: nights whose gate closed.
        served: nights that are served, or may be rolled back to.
        published: nights whose tables may be read.
        rolled_back: nights of which a rollback is on record.
        experiments: every experiment that has a file.
        holdback_model: version whose lists the holdback gets; empty: none of its own.
    """

    dates: Mapping[str, frozenset[date]]
    models: Sequence[ModelRecord] = ()
    factors: Mapping[str, date] = field(default_factory=dict)
    encoders: frozenset[str] = frozenset()
    closed: frozenset[date] = frozenset()
    served: frozenset[date] = frozenset()
    published: frozenset[date] = frozenset()
    rolled_back: frozenset[date] = frozenset()
    experiments: Sequence[Experiment] = ()
    holdback_model: str = ""

    @property
    def newest(self) -> date | None:
        """The newest published night; where none is, the newest with listens; None in an empty warehouse."""
        return max(self.published or self.dates.get("listens", frozenset()), default=None)

    @property
    def fully_kept_nights(self) -> frozenset[date]:
        """Nights of which every table keeps its rows, however old they are."""
        return self.served | ({max(self.published)} if self.published else frozenset())


ENCODERS = "encoders"
"""Table that is of no use without the item_factors of its models."""


@dataclass(frozen=True)
class Limits:
    """The first night that each table keeps on a date; tables without a limit keep every night.

    Attributes:
        run_date: the day that nights are counted back from.
        nights: how many, by table.
    """

    run_date: date
    nights: Mapping[str, int]

    @classmethod
    def of(cls, settings: RetentionSettings, run_date: date) -> "Limits":
        """The limits of the settings.

        Raises:
            UsageError: a name is that of no table, or of one that may not lose rows.
        """
        for name in settings.nights:
            if name not in TABLES:
                close = get_close_matches(name, TABLES, n=3)
                raise UsageError(
                    "retention is set for a table that there is not",
                    where="retention.nights",
                    found=name,
                    expected=", ".join(close or TABLES),
                    fix="mend the name",
                )
            if name in ACCUMULATED:
                raise UsageError(
                    f"{name} keeps every night: later nights count on its rows",
                    where="retention.nights",
                    found=f"{name} = {settings.nights[name]}",
                    fix="remove the line",
                )
            if name == ENCODERS:
                raise UsageError(
                    f"{name} are kept as long as the item_factors of their model",
                    where="retention.nights",
                    found=f"{name} = {settings.nights[name]}",
                    fix="set item_factors",
                )
        return cls(run_date, settings.nights)

    def first(self, table: str) -> date:
        """The first night that the table keeps."""
        nights = self.nights.get(table)
        return date.min if nights is None else date.fromordinal(max(1, self.run_date.toordinal() - nights))


def last_day_to_count_from(run_date: date, newest: date | None) -> date:
    """The day that nights are counted back from: `run_date`, or the day after the newest night if that comes first.

    A service that stands still loses nothing for as long as it does.

    Raises:
        UsageError: the newest night is long ago, as where somebody names the wrong warehouse or the wrong day.
    """
    if newest is None:
        return run_date
    if (run_date - newest).days > MOST_DAYS_AFTER:
        raise UsageError(
            "retention on a day far beyond the newest night",
            found=f"{run_date}; the newest night is {newest}",
            expected=f"a day up to {newest + timedelta(days=MOST_DAYS_AFTER)}",
            fix="run the nights that are missing first; or name the day with --run-date",
        )
    return min(run_date, newest + timedelta(days=1))


def expired_partitions(inventory: Inventory, limits: Limits, dedup_nights: int) -> dict[str, frozenset[Any]]:
    """The partitions that may go, by table: nights; of `models` and `item_factors` versions.

    Args:
        dedup_nights: nights back in which the next night looks for event_ids and exposure_ids that it has seen.
    """
    expired: dict[str, frozenset[Any]] = {}
    for table, days in inventory.dates.items():
        stay = inventory.fully_kept_nights | _next_night_needs(table, inventory, dedup_nights)
        for experiment in inventory.experiments:
            if _is_looked_at(experiment, limits.run_date):
                stay |= _needed_by(experiment, table, days)
        expired[table] = frozenset(day for day in days if day < limits.first(table) and day not in stay)
    expired |= _expired_models(
        inventory, limits, inventory.dates.get("ranked_lists", frozenset()) - expired.get("ranked_lists", set())
    )
    # What closed a night's gate is known for as long as anything of that night is in a table.
    left = {model.run_date for model in inventory.models if model.version not in expired["models"]}
    # So that nobody asks in vain why a generation was taken back.
    expired["nights"] = expired.get("nights", frozenset()) - inventory.rolled_back
    for table, days in inventory.dates.items():
        left |= set() if table in {"validations", "night_metrics", *ACCUMULATED, *OF_MODELS} else days - expired[table]
    expired["validations"] = expired.get("validations", frozenset()) - (inventory.closed & left)
    return expired


def _expired_models(inventory: Inventory, limits: Limits, listed: Collection[date]) -> dict[str, frozenset[str]]:
    """Versions that may go from `models`, `item_factors` and `encoders`, given the nights whose lists stay."""
    needed = _models_needed(inventory, limits, listed)
    undecided = {model.version for model in inventory.models if _undecided(model)}
    first = limits.first("models")
    # Factors go with their row at the latest. Who may still be promoted keeps them as long as that.
    first_factors = max(first, limits.first("item_factors"))
    trained = {model.version: model.run_date for model in inventory.models}
    factors = frozenset(
        version
        for version, day in inventory.factors.items()
        if day < (first if version in undecided else first_factors) and version not in needed
    )
    return {
        "models": frozenset(version for version, day in trained.items() if day < first and version not in needed),
        "item_factors": factors,
        ENCODERS: inventory.encoders - (inventory.factors.keys() - factors),
    }


def recorded_pointers(nights: Iterable[NightRecord]) -> list[Pointer]:
    """The pointer of every cache as it was last moved, from the records of nights.

    Raises:
        InputError: one cannot be read.
    """
    last: dict[str, Pointer] = {}
    for record in nights:
        for place, text in record.pointers.items():
            pointer = from_json(text.encode())
            if place not in last or pointer.version > last[place].version:
                last[place] = pointer
    return list(last.values())


def readable_records(nights: Sequence[NightRecord], generations: Collection[str]) -> list[NightRecord]:
    """The records whose tables can be read at the record's versions for as long as it is kept.

    They are the one that stands for each night, or of a night that was run again and closed its gate the last one
    that did; and those of generations that a cache keeps.
    """
    readable = [record for record in nights if record.state in _STANDING or record.generation in generations]
    standing = {record.run_date for record in nights if record.state in _STANDING}
    last: dict[date, NightRecord] = {}
    for record in nights:
        if record.state == SUPERSEDED and record.run_date not in standing:
            last[record.run_date] = max(last.get(record.run_date, record), record, key=_last_version)
    return [*readable, *(record for record in last.values() if record not in readable)]


def _last_version(record: NightRecord) -> int:
    return max(record.manifest.versions.values(), default=-1)


def _next_night_needs(table: str, inventory: Inventory, dedup_nights: int) -> frozenset[date]:
    """Nights of the table that the next night, or the last one when it is run again, is built on."""
    days = sorted(inventory.dates[table])
    if table in _BUILT_ON:
        return frozenset(
            [*days[-NIGHTS_BUILT_ON:], *[day for day in days if day not in inventory.closed][-NIGHTS_BUILT_ON:]]
        )
    if table not in {"listens", "exposures"} or not days:
        return frozenset()
    seen = date.fromordinal(max(1, days[-1].toordinal() - dedup_nights))
    if table == "exposures":
        return frozenset(day for day in days if day >= seen)
    sound = sorted(inventory.dates.get("interactions", frozenset()) - inventory.closed)
    since = sound[-NIGHTS_BUILT_ON] if len(sound) >= NIGHTS_BUILT_ON else date.min
    return frozenset(day for day in days if day > since or day >= seen)


def _models_needed(inventory: Inventory, limits: Limits, listed: Collection[date]) -> set[str]:
    """Versions of the models live on a night whose lists are kept or on the date, and of the one before the last.

    Those of the arms of experiments that ran then, and of the holdback, as well.
    """
    models = inventory.models
    needed = [live_on(models, day) for day in {*listed, *inventory.fully_kept_nights, limits.run_date, date.max}]
    for day in (limits.run_date, date.max):
        live = live_on(models, day)
        # If that one is rejected, the one before it is live again.
        needed.append(live_on([model for model in models if model is not live], day))
    for day in {*listed, *inventory.fully_kept_nights, limits.run_date}:
        running = (each for each in inventory.experiments if each.runs_on(day))
        needed += [model_of_arm(models, day, arm) for each in running for arm in each.arms.values()]
    return {model.version for model in needed if model} | {inventory.holdback_model}


def _needed_by(experiment: Experiment, table: str, days: Collection[date]) -> set[date]:
    """Nights of a table that the looks at an experiment read."""
    if table == "interactions":
        return set(sorted(day for day in days if day <= experiment.start)[-1:])
    before = timedelta(days=BEFORE_DAYS - 1)
    first = {
        "listens": experiment.start - before,
        "exposures": experiment.start - before,
        "arm_lists": experiment.start,
    }
    return {day for day in days if table in first and first[table] <= day}


def _is_looked_at(experiment: Experiment, day: date) -> bool:
    """True until the last look, which asks what listeners had heard when the experiment began."""
    return experiment.start <= day <= experiment.end + timedelta(days=1)


def _undecided(model: ModelRecord) -> bool:
    """True if the model is a candidate that the gate has not found to be worse."""
    return model.state == CANDIDATE and all(step.state != REFUSED for step in model.transitions)
