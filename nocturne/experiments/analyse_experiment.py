"""Stage `analyse_experiment`: on the nights of its looks, what an experiment's listeners did, and what that says.

A night's lists are heard on the day after it. So the look after d days of an experiment is made on the night that lies
d nights after its first one, of those who were assigned by the night before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.experiment import BEFORE_DAYS, INTERLEAVED, Experiment, experiments_of
from nocturne.core.night import Night
from nocturne.core.stage import Progress, StageResult
from nocturne.experiments.analysis import Analysis, Arm, Look, Triggered, analyse
from nocturne.experiments.columns import pairs_of
from nocturne.experiments.look_tasks import EVERYONE, TRIGGERED, Group, LookTask, Sums, measure_look
from nocturne.experiments.moments import Moments, aggregates_of
from nocturne.experiments.outcomes import LISTENS, SHOWN
from nocturne.experiments.quality import CULPRITS
from nocturne.flow import GATED_TABLES, stage
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import closed_dates, previous_night
from nocturne.storage.running_experiments import CONCLUSION, concludes_by, conclusions
from nocturne.storage.stored_rows import StoredRows, whole_index

Row = dict[str, Any]
_RESULT = frozenset(column.name for column in contract("experiment_results").columns)
WRITTEN = ("experiment_looks", "experiment_results")


def analyse_experiment(spark: SparkSession, night: Night, progress: Progress) -> StageResult:
    """Measure and judge the experiments that the night looks at; on most nights there is none."""
    concluded = conclusions(night.warehouse)
    due = [
        each
        for each in experiments_of(night.settings)
        if day_of(each, night) in each.looks and not concludes_by(concluded, each, night.run_date)
    ]
    assigned = previous_night(night, "assignments")
    due = [each for each in due if assigned and assigned.run_date >= each.start]
    looks: list[Row] = []
    results: list[Row] = []
    for done, experiment in enumerate(due):
        progress(done, len(due), "experiments")
        assert assigned
        earlier = stored_looks(night, experiment)
        task = look_task(night, assigned, experiment, max((row["day"] for row in earlier), default=0))
        looks += look_rows(night, experiment, task, measure_look(spark, task, _count_rows(night, task, assigned)))
        history = looks_of(experiment, [*earlier, *looks])
        if history and history[-1].day == day_of(experiment, night):
            results += result_rows(night, experiment, analyse(experiment, history))
    for table, rows in zip(WRITTEN, (looks, results), strict=True):
        if rows or tables.count(night, table):
            where = f"run_date = '{night.run_date}'" + (f" AND kind <> '{CONCLUSION}'" if table == WRITTEN[1] else "")
            content = pa.Table.from_pylist(rows, schema=contract(table).arrow_schema)
            writing.replace_rows(content, table, night.warehouse, where)
    decisions = [f"{row['experiment']}: {row['outcome']}" for row in results if row["kind"] == "decision"]
    listeners = sum(row["listeners"] for row in looks if row["population"] == EVERYONE)
    return StageResult(listeners, remark="; ".join(decisions))


def day_of(experiment: Experiment, night: Night) -> int:
    """Days of an experiment whose outcomes a night knows; 0 and less before there are any."""
    return (night.run_date - experiment.start).days


def look_task(night: Night, assigned: Night, experiment: Experiment, look_before: int = 0) -> LookTask:
    """All that a look at an experiment reads.

    Args:
        assigned: the last sound night before this one.
        look_before: day of the last look that was made; 0 if there was none.
    """
    closed = closed_dates(night.warehouse, stage("ingest_events").writes)

    def stored(table: str, columns: Sequence[str], first: date, last: date, at: Night = night) -> StoredRows:
        days = [day for day in tables.dates(night.warehouse, table) if first <= day <= last and day not in closed]
        return StoredRows.at(at, table, columns, values=days)

    matrix = [day for day in tables.dates(night.warehouse, "interactions") if day <= experiment.start]
    known = [day for day in matrix if day not in closed_dates(night.warehouse, GATED_TABLES)][-1:]
    start, end, before = experiment.start, assigned.run_date, experiment.start - timedelta(days=BEFORE_DAYS - 1)
    return LookTask(
        experiment=experiment,
        night=night.run_date,
        buckets=night.settings.tables.buckets,
        assignments=stored("assignments", ["user_id", "experiment", "arm"], end, end),
        triggers=stored("triggers", ["user_id", "experiment", "treatment", "triggered_on"], end, end),
        lists=stored("ranked_lists", ["user_id", "arm"], end, end),
        drafts=stored("arm_lists", ["user_id", "run_date", "items", "teams"], start, end).where(
            experiment=experiment.name, arm=INTERLEAVED
        ),
        look_before=look_before,
        listeners=StoredRows.at(night, "interactions", ["user_id", "item_indexes"], values=known),
        markets=stored("interactions", ["user_id", "market"], end, end),
        listens=stored("listens", [*LISTENS, "run_date"], before, night.run_date),
        exposures=stored("exposures", [*SHOWN, "run_date"], before, night.run_date),
        items=tables.night_rows(night, "items", ["item_id", "content_type"]),
        index=whole_index(night).to_table(),
    )


def _count_rows(night: Night, task: LookTask, assigned: Night) -> int:
    """Rows that a look is about: exposures, and listeners of all experiments."""
    shown_on = sorted({keys["run_date"] for _, keys in task.exposures.files})
    return tables.count_of(night.warehouse, "exposures", shown_on) + tables.count(assigned, "assignments")


def look_rows(night: Night, experiment: Experiment, task: LookTask, sums: Sums) -> Iterator[Row]:
    """Rows of `experiment_looks`."""
    interleaved = experiment.kind == "interleaving"
    pairs = tuple(combinations(task.columns, 2)) if interleaved else pairs_of(experiment)
    nobody = {Group(arm, EVERYONE): Moments.of(np.zeros((0, len(task.columns)))) for arm in experiment.assigned_arms}
    for (arm, population), moments in sorted((nobody | sums.moments).items()):
        everyone = population == EVERYONE
        yield {
            "run_date": night.run_date,
            "experiment": experiment.name,
            "day": day_of(experiment, night),
            "arm": arm,
            "population": population,
            "listed": sums.listed.get(arm, 0) if everyone else None,
            "exposed": sums.exposed.get(arm, 0) if everyone else None,
            **moments.to_row(task.columns, pairs),
        }


def stored_looks(night: Night, experiment: Experiment) -> list[Row]:
    """Rows of `experiment_looks` of the earlier nights of an experiment."""
    earlier = (pc.field("experiment") == experiment.name) & (pc.field("run_date") < night.run_date)
    rows = tables.rows(night.warehouse, "experiment_looks", earlier).to_pylist()
    return [row for row in rows if row["run_date"] - experiment.start == timedelta(days=row["day"])]


def looks_of(experiment: Experiment, rows: Sequence[Row]) -> list[Look]:
    """Looks at an experiment, in order; without those at which an arm had too few listeners for a variance.

    Args:
        rows: of `experiment_looks`, of any experiments.
    """
    ours = [row for row in rows if row["experiment"] == experiment.name]
    looks = [
        _look(experiment, [row for row in ours if row["day"] == day]) for day in sorted({row["day"] for row in ours})
    ]
    wanted = experiment.assigned_arms
    return [look for look in looks if all(arm in look.arms and look.arms[arm].assigned > 1 for arm in wanted)]


def _look(experiment: Experiment, rows: Sequence[Row]) -> Look:
    of_group = {(row["arm"], row["population"]): row for row in rows}
    arms = {}
    for (arm, population), row in of_group.items():
        if population == EVERYONE:
            segments = {
                name: aggregates_of(each)
                for (of_arm, name), each in of_group.items()
                if of_arm == arm and name != EVERYONE and not name.startswith(TRIGGERED)
            }
            arms[arm] = Arm(row["listeners"], row["listed"], row["exposed"], aggregates_of(row), segments)
    triggered = {}
    for name in experiment.treatments:
        pair = [INTERLEAVED, INTERLEAVED] if experiment.kind == "interleaving" else ["control", name]
        sides = [of_group.get((arm, f"{TRIGGERED}{name}")) for arm in pair]
        if sides[0] and sides[1]:
            triggered[name] = Triggered(aggregates_of(sides[0]), aggregates_of(sides[1]))
    return Look(rows[0]["day"], arms, triggered)


def result_rows(night: Night, experiment: Experiment, analysis: Analysis) -> Iterator[Row]:
    """Rows of `experiment_results` of the last look."""
    day = max(decision.day for decision in analysis.decisions)
    common = {"run_date": night.run_date, "experiment": experiment.name, "day": day}
    for result in analysis.results:
        if result.day == day:
            outcome = (
                "proved" if result.proved else "harmed" if result.harmed else "futile" if result.futile else "open"
            )
            values = {name: value for name, value in asdict(result).items() if name in _RESULT}
            yield common | values | {"kind": "metric", "name": result.metric, "outcome": outcome}
    for each in analysis.checks:
        if each.day == day:
            yield common | {
                "treatment": each.treatment,
                "kind": "check",
                "name": each.check.step,
                "role": CULPRITS[each.check.step],
                "segment": each.check.column,
                "control": each.check.control,
                "effect": each.check.treatment - each.check.control,
                **{name: getattr(each.check, name) for name in ("z", "bound", "p_value", "alpha")},
                "outcome": "failed" if each.check.failed else "holds",
            }
    for decision in analysis.decisions:
        if decision.day == day:
            yield common | {
                "treatment": decision.treatment,
                "kind": "decision",
                "name": decision.verdict,
                "role": "",
                "segment": "",
                "outcome": decision.text,
                "reasons": list(decision.reasons),
            }
