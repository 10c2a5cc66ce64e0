"""What of a warehouse may go on a date, and what must stay although its time is over. Pure.

Nights are counted back from the date: a table with a limit of n keeps the n nights before it, and itself.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from typing import Any

from nocturne.core.errors import SettingsError
from nocturne.core.settings import RetentionSettings
from nocturne.flow import TABLES
from nocturne.serving.cache.pointer import Pointer, from_json
from nocturne.serving.manifest import Row
from nocturne.serving.publications import PUBLISHED, ROLLED_BACK, STALE, SUPERSEDED
from nocturne.storage.model_transitions import CANDIDATE, REFUSED, live_on
from nocturne.storage.tables import OF_MODELS

_FOR_EVER = "item_index"
_STANDING = frozenset({PUBLISHED, STALE, ROLLED_BACK})
_BUILT_ON = ("interactions", "pools")
_TWO = 2
"""Nights that a night may be built on: the last one, and the one before it when the last one is run again."""


@dataclass(frozen=True)
class Inventory:
    """What there is, as far as it decides what may go.

    Attributes:
        dates: values of each table's first partition column.
        models: rows of `models`.
        factors: night of training of every model that has factors, by version.
        closed: nights whose gate closed.
        served: nights that are served, or may be rolled back to.
        published: nights whose tables may be read.
    """

    dates: Mapping[str, frozenset[date]]
    models: Sequence[Row] = ()
    factors: Mapping[str, date] = field(default_factory=dict)
    closed: frozenset[date] = frozenset()
    served: frozenset[date] = frozenset()
    published: frozenset[date] = frozenset()

    @property
    def whole(self) -> frozenset[date]:
        """Nights of which every table keeps its rows, however old they are."""
        return self.served | ({max(self.published)} if self.published else frozenset())


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
            SettingsError: a name is that of no table, or of one that may not lose rows.
        """
        for name in settings.nights:
            if name not in TABLES:
                close = get_close_matches(name, TABLES, n=3)
                raise SettingsError(
                    "retention is set for a table that there is not",
                    where="retention.nights",
                    found=name,
                    expected=", ".join(close or TABLES),
                    fix="mend the name",
                )
            if name == _FOR_EVER:
                raise SettingsError(
                    f"{name} keeps every night: rows of interactions and models count on its numbers",
                    where="retention.nights",
                    found=f"{name} = {settings.nights[name]}",
                    fix="remove the line",
                )
        return cls(run_date, settings.nights)

    def first(self, table: str) -> date:
        """The first night that the table keeps."""
        nights = self.nights.get(table)
        return date.min if nights is None else date.fromordinal(max(1, self.run_date.toordinal() - nights))


def outdated(there: Inventory, limits: Limits, dedup_nights: int) -> dict[str, frozenset[Any]]:
    """The partitions that may go, by table: nights; of `models` and `item_factors` versions.

    Args:
        dedup_nights: nights back in which the next night looks for event_ids that it has seen.
    """
    gone: dict[str, frozenset[Any]] = {}
    for table, days in there.dates.items():
        stay = there.whole | _next_night_needs(table, there, dedup_nights)
        gone[table] = frozenset(day for day in days if day < limits.first(table) and day not in stay)
    gone |= _outdated_models(
        there, limits, there.dates.get("ranked_lists", frozenset()) - gone.get("ranked_lists", set())
    )
    # What closed a night's gate is known for as long as anything of that night is there.
    left = {row["run_date"] for row in there.models if row["model_version"] not in gone["models"]}
    for table, days in there.dates.items():
        left |= set() if table in {"validations", _FOR_EVER, *OF_MODELS} else days - gone[table]
    gone["validations"] = gone.get("validations", frozenset()) - (there.closed & left)
    return gone


def _outdated_models(there: Inventory, limits: Limits, listed: Collection[date]) -> dict[str, frozenset[str]]:
    """Versions that may go from `models` and `item_factors`, given the nights whose lists stay."""
    needed = _models_needed(there, limits, listed)
    undecided = {row["model_version"] for row in there.models if _undecided(row)}
    first = limits.first("models")
    # Factors go with their row at the latest. Who may still be promoted keeps them as long as that.
    first_factors = max(first, limits.first("item_factors"))
    trained = {row["model_version"]: row["run_date"] for row in there.models}
    return {
        "models": frozenset(version for version, day in trained.items() if day < first and version not in needed),
        "item_factors": frozenset(
            version
            for version, day in there.factors.items()
            if day < (first if version in undecided else first_factors) and version not in needed
        ),
    }


def recorded(known: Iterable[Row]) -> list[Pointer]:
    """The pointer of every cache as it was last moved, from the rows of `nights`.

    Raises:
        InputError: one cannot be read.
    """
    last: dict[str, Pointer] = {}
    for row in known:
        for place, text in row["pointers"].items():
            pointer = from_json(text.encode())
            if place not in last or pointer.move > last[place].move:
                last[place] = pointer
    return list(last.values())


def readable(known: Sequence[Row], generations: Collection[str]) -> list[Row]:
    """The rows of `nights` whose tables can be read at the row's versions for as long as the row is kept.

    They are the one that stands for each night, or of a night that was run again and closed its gate the last one
    that did; and those of generations that a cache keeps.
    """
    found = [row for row in known if row["state"] in _STANDING or row["generation"] in generations]
    standing = {row["run_date"] for row in known if row["state"] in _STANDING}
    last: dict[date, Row] = {}
    for row in known:
        if row["state"] == SUPERSEDED and row["run_date"] not in standing:
            last[row["run_date"]] = max(last.get(row["run_date"], row), row, key=_written)
    return [*found, *(row for row in last.values() if row not in found)]


def _written(row: Row) -> int:
    return max(row["versions"].values(), default=-1)


def _next_night_needs(table: str, there: Inventory, dedup_nights: int) -> frozenset[date]:
    """Nights of the table that the next night, or the last one when it is run again, is built on."""
    days = sorted(there.dates[table])
    if table in _BUILT_ON:
        return frozenset([*days[-_TWO:], *[day for day in days if day not in there.closed][-_TWO:]])
    if table != "listens" or not days:
        return frozenset()
    sound = sorted(there.dates.get("interactions", frozenset()) - there.closed)
    since = sound[-_TWO] if len(sound) >= _TWO else date.min
    seen = date.fromordinal(max(1, days[-1].toordinal() - dedup_nights))
    return frozenset(day for day in days if day > since or day >= seen)


def _models_needed(there: Inventory, limits: Limits, listed: Collection[date]) -> set[str]:
    """Versions of the models live on a night whose lists are kept or on the date, and of the one before the last."""
    rows = list(there.models)
    needed = [live_on(rows, day) for day in {*listed, *there.whole, limits.run_date, date.max}]
    for day in (limits.run_date, date.max):
        live = live_on(rows, day)
        # If that one is rejected, the one before it is live again.
        needed.append(live_on([row for row in rows if row is not live], day))
    return {row["model_version"] for row in needed if row}


def _undecided(row: Row) -> bool:
    """Whether the model is a candidate that the gate has not found to be worse."""
    return row["state"] == CANDIDATE and all(move["state"] != REFUSED for move in row["moves"])
