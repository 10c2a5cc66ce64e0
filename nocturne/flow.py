"""The night, declared once: its stages in order, and what each reads and writes.

The DAG, the one-process runner, the jobs, the documentation and the structure tests all read it
from here. Standard library only: Airflow imports this file and nothing else of Nocturne.
"""

from dataclasses import dataclass
from datetime import date
from enum import IntEnum


class ExitStatus(IntEnum):
    """What a job or command says to whoever started it."""

    PUBLISHED = 0
    CRASHED = 1
    USAGE = 2
    GATE_CLOSED = 3
    BAD_INPUT = 4
    SERVICE_FAILED = 5


RETRY_IS_POINTLESS = (ExitStatus.USAGE, ExitStatus.GATE_CLOSED, ExitStatus.BAD_INPUT)
"""The same settings, tables or files would end the same way again."""


@dataclass(frozen=True)
class Stage:
    """One job of the night: `jobs/<name>.py`, `nocturne.pipeline.stages.<name>`, a task of the DAG."""

    name: str
    does: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


NIGHTLY = (
    Stage(
        "ingest_events",
        "clean the day's listening events and take a snapshot of the catalogue",
        reads=("landing",),
        writes=("items", "listens", "quarantine", "ingests"),
    ),
    Stage(
        "build_interactions",
        "add tonight's listens to every listener's row of the interaction matrix",
        reads=("listens",),
        writes=("item_index", "interactions"),
    ),
    Stage(
        "train_als",
        "learn item factors, on the nights that settings say",
        reads=("item_index", "interactions"),
        writes=("models", "item_factors"),
    ),
    Stage(
        "rank_users",
        "write the exact top of the catalogue for every listener, computing only what can have changed",
        reads=("items", "interactions", "models", "item_factors"),
        writes=("pools", "ranked_lists", "rankings"),
    ),
    Stage(
        "refresh_cache",
        "load the validated lists beside those being served, then move the pointer",
        reads=("ranked_lists", "item_index", "validations", "costs"),
        writes=("nights",),
    ),
)

VALIDATION = Stage(
    "validate_table",
    "hold one table of the night against its suite",
    reads=tuple(table for stage in NIGHTLY[:-1] for table in stage.writes),
    writes=("validations", "nights"),
)

GATED_TABLES = VALIDATION.reads
"""Every table whose critical expectations must hold before the cache is refreshed."""

COSTS = "costs"
"""Written by whatever runs a stage, when it is done."""

TABLES = (*GATED_TABLES, *VALIDATION.writes, COSTS)


def stage(name: str) -> Stage:
    """The stage of that name; KeyError if the flow has none."""
    return {stage.name: stage for stage in (*NIGHTLY, VALIDATION)}[name]


def success_mark(landing: str, run_date: date | str) -> str:
    """Path of the file whose presence says that a landing day is complete."""
    return f"{landing}/events/date={run_date}/_SUCCESS"
