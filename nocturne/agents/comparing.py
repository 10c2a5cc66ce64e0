"""Comparisons as a tool tells them: two nights by their manifests and metrics, two models by lists that were scored."""

import re
from collections.abc import Iterable
from datetime import date
from typing import Any

from pydantic import Field

from nocturne.agents.answers import Answer, Part, Text, Words, receipt
from nocturne.agents.service import Service
from nocturne.agents.strangers import unmarked
from nocturne.core.errors import UsageError
from nocturne.core.night import Warehouse
from nocturne.core.stage import Progress
from nocturne.evaluation.significance import EVERYONE
from nocturne.serving import publications
from nocturne.serving.night_record import NightRecord
from nocturne.storage.model_transitions import ModelRecord
from nocturne.training import registry
from nocturne.validation.recorded import verdicts

MOST_CHANGES = 15
_NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}")


class NightFacts(Part):
    """A night of a comparison, by its manifest."""

    run_date: date
    state: Words
    reason: Text | None = None
    generation: Words | None = None
    listeners: int
    model_version: Words | None = None
    seconds: float = Field(description="Time that its stages took together")


class Change(Part):
    """A value that differs: of a metric of validation, or of coverage."""

    name: Text
    first: float | None = None
    second: float | None = None


class NightComparison(Part):
    """Two nights."""

    first: NightFacts
    second: NightFacts
    same_settings: bool
    same_code: bool
    tables_that_differ: list[Words] = Field(description="By the hash over the rows that belong to the night")
    metrics: list[Change] = Field(description="Metrics of validation that changed most, as a share of the larger value")
    coverage: list[Change] = Field(description="Listeners with an item in their list, by market and content type")


class ModelFacts(Part):
    """A model of a comparison."""

    model_version: Words
    state: Words
    origin: Words
    trained_on: date
    listeners: int
    items: int
    last_move: Text | None = None


class Figure(Part):
    """A metric of lists, scored on what was listened to afterwards: of the first model, beside the second."""

    metric: Words
    segment: Words
    nights: Words
    listeners: int
    first: float
    difference: float
    low: float = Field(description="Of the 95 % interval of the difference")
    high: float


class ModelComparison(Part):
    """Two models."""

    first: ModelFacts
    second: ModelFacts
    figures: list[Figure] = Field(description="Empty if the two were never compared")


class Compared(Answer):
    """Two nights, or two models."""

    nights: NightComparison | None = None
    models: ModelComparison | None = None


def compare(
    service: Service, first: str, second: str, since: date | None, until: date | None, progress: Progress
) -> Compared:
    """Two nights, by their dates, or two models, by their versions or the ends of these.

    Args:
        since: first night whose lists of both models are scored anew; None: figures on record are told.
        until: last of them.

    Raises:
        UsageError: there is no such night or model, or nothing to score.
    """
    warehouse, names = service.tables(), (unmarked(first), unmarked(second))
    if all(_NIGHT.fullmatch(name) for name in names):
        return _nights(warehouse, *map(_date, names))
    if any(_NIGHT.fullmatch(name) for name in names):
        raise UsageError("a night cannot be compared with a model", found=" and ".join(names), fix="name two of a kind")
    return _models(warehouse, names, since, until, progress)


def _nights(warehouse: Warehouse, first: date, second: date) -> Compared:
    current = {record.run_date: record for record in publications.all_records(warehouse)}
    records = [_record(current, day) for day in (first, second)]
    one, other = (record.manifest for record in records)
    differ = [
        name
        for name in sorted(one.row_hashes.keys() | other.row_hashes.keys())
        if one.row_hashes.get(name) != other.row_hashes.get(name)
    ]
    observed = [_observed(verdicts(warehouse, day)) for day in (first, second)]
    coverage = [_coverage(record) for record in records]
    compared = NightComparison(
        first=_night_facts(records[0]),
        second=_night_facts(records[1]),
        same_settings=one.settings_hash == other.settings_hash,
        same_code=one.code_version == other.code_version,
        tables_that_differ=differ,
        metrics=_changes(*observed),
        coverage=_changes(*coverage),
    )
    closed = [record for record in records if record.generation is None]
    next_step = "lineage of a listener tells whose list it changed, and why"
    if closed:
        next_step = f"nights with run_date {closed[0].run_date} has the expectations that closed its gate, with rows"
    return Compared(receipt=receipt(warehouse), next_step=next_step, nights=compared)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError("there is no such day", found=text, expected="a date as YYYY-MM-DD") from error


def _record(current: dict[date, NightRecord], day: date) -> NightRecord:
    if day not in current:
        raise UsageError(
            "the night has no manifest",
            found=str(day),
            expected=", ".join(map(str, sorted(current)[-7:])) or "any night: none was made yet",
            fix="call nights: it has those that run or failed too",
        )
    return current[day]


def _night_facts(record: NightRecord) -> NightFacts:
    return NightFacts(
        run_date=record.run_date,
        state=record.state,
        reason=record.reason,
        generation=record.generation,
        listeners=record.manifest.listeners,
        model_version=record.manifest.model_version,
        seconds=round(sum(cost["seconds"] for cost in record.costs), 1),
    )


def _observed(rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    return {f"{row['table']}.{row['expectation']}": row["observed"] for row in rows if row["observed"] is not None}


def _coverage(record: NightRecord) -> dict[str, float]:
    return {
        f"{row['market'] or 'no market'}, {row['content_type'] or 'all types'}": float(row["listeners"])
        for row in record.manifest.coverage
    }


def _changes(first: dict[str, float], second: dict[str, float]) -> list[Change]:
    """Values that differ, those that changed most first, then those that one side lacks."""

    def share(name: str) -> float:
        one, other = first.get(name), second.get(name)
        if one is None or other is None:
            return -1.0
        return abs(one - other) / max(abs(one), abs(other))

    names = [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]
    most = sorted(names, key=share, reverse=True)[:MOST_CHANGES]
    return [Change(name=name, first=first.get(name), second=second.get(name)) for name in most]


def _models(
    warehouse: Warehouse, names: tuple[str, str], since: date | None, until: date | None, progress: Progress
) -> Compared:
    models = registry.models(warehouse)
    one, other = (registry.find(models, name) for name in names)
    figures = _on_record(one, other) if since is None else _scored(warehouse, one, other, since, until, progress)
    next_step = "experiments tells how lists of an arm are heard; `nocturne models promote` makes a model live"
    if not figures:
        scored_since = max(one.run_date, other.run_date)
        next_step = f"never compared: call compare again with since, {scored_since} or later, to score their lists"
    compared = ModelComparison(first=_model_facts(one), second=_model_facts(other), figures=figures)
    return Compared(receipt=receipt(warehouse), next_step=next_step, models=compared)


def _on_record(one: ModelRecord, other: ModelRecord) -> list[Figure]:
    """Figures of everyone that a comparison left with the first model, or, turned round, with the second."""
    rows = [(row, 1) for row in one.metrics if row["against"] == other.version]
    rows = rows or [(row, -1) for row in other.metrics if row["against"] == one.version]
    return [
        Figure(
            metric=row["metric"],
            segment=row["segment"],
            nights=row["nights"],
            listeners=row["listeners"],
            first=row["value"] if sign > 0 else row["value"] - row["difference"],
            difference=sign * row["difference"],
            low=row["low"] if sign > 0 else -row["high"],
            high=row["high"] if sign > 0 else -row["low"],
        )
        for row, sign in rows
        if row["segment"] == EVERYONE
    ]


def _scored(
    warehouse: Warehouse, one: ModelRecord, other: ModelRecord, since: date, until: date | None, progress: Progress
) -> list[Figure]:
    """Figures of everyone, by lists that both models make now; nothing is written."""
    from nocturne.evaluation import promotion  # imports all of backtests, which takes seconds
    from nocturne.evaluation.held_out import nights_between

    first = max(since, one.run_date, other.run_date)
    nights, _ = nights_between(warehouse, first, until or date.max, 1, every=1)
    comparison = promotion.compare_versions(nights, one.version, other.version, 1, progress)
    span = f"{nights[0].run_date} to {nights[-1].run_date}"
    return [
        Figure(
            metric=each.metric,
            segment=each.segment,
            nights=span,
            listeners=each.listeners,
            first=each.mean,
            difference=each.difference,
            low=each.low,
            high=each.high,
        )
        for each in comparison.differences
        if each.system == one.version and each.segment == EVERYONE
    ]


def _model_facts(model: ModelRecord) -> ModelFacts:
    move = model.transitions[-1].to_row() if model.transitions else None
    return ModelFacts(
        model_version=model.version,
        state=model.state,
        origin=model.origin,
        trained_on=model.run_date,
        listeners=model.listeners,
        items=model.items,
        last_move=f"{move['state']} since {move['since']}, by {move['by']}: {move['why']}" if move else None,
    )
