"""Experiments as a tool tells them: all as they stand on a night, or one with its last look and its conclusion."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any

from pydantic import Field

from nocturne.agents.answers import Answer, Part, Text, Words, receipt
from nocturne.agents.service import Service
from nocturne.core.experiment import Experiment
from nocturne.core.night import Warehouse
from nocturne.experiments.overview import find_experiment, last_look, look_on, overview, results
from nocturne.storage.running_experiments import CONCLUSION


class Standing(Part):
    """An experiment as it stands on a night."""

    experiment: Words
    state: Words = Field(description="planned, running, ended, or concluded: the arm that is for everyone")
    kind: Words
    start: date
    end: date
    slots: Words
    arms: Words
    decision: Words = Field(description="Last decision of the rule on each treatment; empty before the first look")


class Measured(Part):
    """A metric of a treatment beside control, at the last look."""

    metric: Words
    role: Words
    control: float | None = None
    relative: float | None = Field(default=None, description="Effect as a share of control")
    low: float | None = Field(default=None, description="Of the interval of that, which holds over all looks together")
    high: float | None = None
    outcome: Words


class Treatment(Part):
    """A treatment at its last look."""

    treatment: Words
    day: int | None = Field(default=None, description="Days of the experiment so far; none before the first look")
    run_date: date | None = None
    decision: Words
    reasons: list[Text] = Field(default_factory=list)
    metrics: list[Measured] = Field(default_factory=list)
    failed_checks: list[Text] = Field(default_factory=list, description="Checks of quality that failed")


class Details(Part):
    """One experiment."""

    experiment: Words
    hypothesis: Text
    treatments: list[Treatment]
    conclusion: Text | None = Field(default=None, description="What people decided, which ends it, and why")


class Experiments(Answer):
    """Experiments, or one of them."""

    experiments: list[Standing]
    details: Details | None = None


def experiments(service: Service, name: str | None, run_date: date | None, today: date | None = None) -> Experiments:
    """The experiments as they stand on a night; with a name, what the last look at that one says.

    Args:
        run_date: night; today by default.

    Raises:
        UsageError: there is no such experiment, or a file is not valid.
    """
    warehouse = service.tables()
    night = run_date or today or datetime.now(UTC).date()
    details = _details(warehouse, name) if name is not None else None
    standing = [Standing(**row) for row in overview(warehouse, night) if name in (None, row["experiment"])]
    return Experiments(
        receipt=receipt(warehouse, night),
        next_step=_next_step(standing, details),
        experiments=standing,
        details=details,
    )


def _details(warehouse: Warehouse, name: str) -> Details:
    experiment, rows = find_experiment(warehouse, name), results(warehouse, name)
    conclusion = next((row for row in rows if row["kind"] == CONCLUSION), None)
    return Details(
        experiment=name,
        hypothesis=experiment.hypothesis,
        treatments=[_treatment(experiment, treatment, rows) for treatment in experiment.treatments],
        conclusion=f"{conclusion['outcome']}: {'; '.join(conclusion['reasons'])}" if conclusion else None,
    )


def _treatment(experiment: Experiment, treatment: str, rows: Sequence[dict[str, Any]]) -> Treatment:
    look = last_look(rows, treatment)
    if not look:
        waiting = f"nobody has looked yet; the first look is on {look_on(experiment, 0)}"
        return Treatment(treatment=treatment, decision=waiting)
    decision = next(row for row in look if row["kind"] == "decision")
    return Treatment(
        treatment=treatment,
        day=decision["day"],
        run_date=decision["run_date"],
        decision=decision["outcome"],
        reasons=decision["reasons"],
        metrics=[_measured(row) for row in look if row["kind"] == "metric" and not row["segment"]],
        failed_checks=[
            f"{row['name']}{' of ' * bool(row['segment'])}{row['segment']}, p {row['p_value'] or 0.0:.2g}"
            for row in look
            if row["outcome"] == "failed"
        ],
    )


def _measured(row: dict[str, Any]) -> Measured:
    numbers = {name: row[name] for name in ("control", "relative", "low", "high")}
    finite = {name: value for name, value in numbers.items() if value is not None and isfinite(value)}
    return Measured(metric=row["name"], role=row["role"], outcome=row["outcome"], **finite)


def _next_step(standing: Sequence[Standing], details: Details | None) -> str:
    if not standing:
        return "there are no experiments; docs/experiments.md says how one begins"
    if details is None:
        return "experiments with a name has the last look at that one"
    if details.conclusion or not any(each.day for each in details.treatments):
        return "nothing is to be done until the next look"
    decided = [each for each in details.treatments if each.day and not each.decision.startswith("continue")]
    if not decided:
        return "the rule says to go on; look again on the night of the next look"
    return "a person decides: conclude_experiment, where this server has the write scope, or `nocturne experiments`"
