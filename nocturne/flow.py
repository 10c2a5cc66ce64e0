"""The night, declared once: its stages in order, and the tables that they read and write.

The DAG, the one-process runner, the jobs, the documentation and the structure tests all read it
from here. Standard library only: Airflow imports this file and nothing else of Nocturne.
"""

from dataclasses import dataclass
from datetime import date
from enum import IntEnum


class ExitStatus(IntEnum):
    """Outcome of a job or command, for whoever started it."""

    SUCCESS = 0
    CRASHED = 1
    USAGE = 2
    GATE_CLOSED = 3
    BAD_INPUT = 4
    SERVICE_FAILED = 5
    TRY_AGAIN_LATER = 75
    """EX_TEMPFAIL of sysexits.h: another night holds the lease."""
    INTERRUPTED = 130
    """128 and SIGINT: by Ctrl-C."""


RETRY_IS_POINTLESS = (ExitStatus.USAGE, ExitStatus.GATE_CLOSED, ExitStatus.BAD_INPUT)
"""The same settings, tables or files would end the same way again."""


@dataclass(frozen=True)
class Stage:
    """One job of the night: `jobs/<name>.py`, a task of the DAG, and a file of that name in the folder of its step.

    Attributes:
        does: for people.
        reads: tables, of whatever night, and `landing`. A stage can open no table that is not named here.
        writes: tables. A stage may also look at the rows that it has just written.
    """

    name: str
    does: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


_INGEST_EVENTS = Stage(
    "ingest_events",
    "clean the day's listening events and take a snapshot of the catalogue",
    reads=("landing", "items", "listens", "validations", "tombstones"),
    writes=("items", "listens", "quarantine", "ingests"),
)
_INGEST_TAKEDOWNS = Stage(
    "ingest_takedowns",
    "take in what may not be listed from now on, by order, and what may be again",
    reads=("landing", "items", "takedowns", "validations"),
    writes=("takedowns",),
)
_INGEST_STEERS = Stage(
    "ingest_steers",
    "take in the plans that listeners asked for and that hold from now on",
    reads=("landing", "steers", "validations", "tombstones"),
    writes=("steers",),
)
_BUILD_INTERACTIONS = Stage(
    "build_interactions",
    "add tonight's listens to every listener's row of the interaction matrix",
    reads=("items", "listens", "steers", "item_index", "interactions", "set_aside", "validations", "nights"),
    writes=("item_index", "interactions", "set_aside"),
)
_EMBED_ITEMS = Stage(
    "embed_items",
    "embed the texts of items that are new, so that they can be ranked before anyone hears them",
    reads=("items", "item_index", "item_texts", "validations"),
    writes=("item_texts",),
)
_TRAIN_SEQUENCE = Stage(
    "train_sequence",
    "learn a candidate from the order of listens, on the nights that settings say",
    reads=("item_index", "interactions", "models"),
    writes=("models", "item_factors", "encoders"),
)
_TRAIN_ALS = Stage(
    "train_als",
    "learn item factors, on the nights that settings say; new items get them by their text",
    reads=(
        *("items", "item_index", "interactions", "item_texts", "models", "item_factors", "cold_factors", "bridges"),
        *("encoders", "validations", "experiment_results"),
    ),
    writes=("models", "item_factors", "encoders", "cold_factors", "bridges", "bridge_factors"),
)
_RANK_USERS = Stage(
    "rank_users",
    "write the exact top of the catalogue for every listener, computing only what can have changed",
    reads=(
        *("items", "item_index", "interactions", "models", "item_factors", "cold_factors", "pools", "validations"),
        *("bridges", "bridge_factors", "steers", "takedowns", "nights", "arm_pools", "triggers", "rankings"),
        *("encoders", "experiment_results"),
    ),
    writes=("pools", "ranked_lists", "shelf_lists", "arm_pools", "arm_lists", "assignments", "triggers", "rankings"),
)
_RELATE_ITEMS = Stage(
    "relate_items",
    "write what goes best with every item, computing only what can have changed",
    reads=(
        "items",
        "item_index",
        "models",
        "item_factors",
        "encoders",
        "cold_factors",
        "takedowns",
        "related_items",
        "validations",
    ),
    writes=("related_items",),
)
_WATCH_NIGHT = Stage(
    "watch_night",
    "hold the night's metrics against those of earlier nights, and say what is wrong",
    reads=("night_metrics", "alerts", "nights", "experiment_results", "costs"),
    writes=("alerts",),
)
_TABLE_STAGES = (
    *(_INGEST_EVENTS, _INGEST_TAKEDOWNS, _INGEST_STEERS, _BUILD_INTERACTIONS, _EMBED_ITEMS),
    *(_TRAIN_SEQUENCE, _TRAIN_ALS, _RANK_USERS, _RELATE_ITEMS, _WATCH_NIGHT),
)

GATED_TABLES = tuple(dict.fromkeys(table for stage in _TABLE_STAGES for table in stage.writes))
"""Every table whose critical expectations must hold before the cache is refreshed."""

_INGEST_EXPOSURES = Stage(
    "ingest_exposures",
    "take in what listeners were shown, when their lists are served already",
    reads=("landing", "exposures", "tombstones"),
    writes=("exposures", "exposure_rejects", "exposure_ingests"),
)

_ANALYSE_EXPERIMENT = Stage(
    "analyse_experiment",
    "look at experiments, on the nights of their looks, and say what to do",
    reads=(
        *("items", "item_index", "listens", "interactions", "ranked_lists", "arm_lists", "assignments", "triggers"),
        *("exposures", "experiment_looks", "experiment_results", "validations"),
    ),
    writes=("experiment_looks", "experiment_results"),
)

VALIDATED_TABLES = (*GATED_TABLES, *_INGEST_EXPOSURES.writes, *_ANALYSE_EXPERIMENT.writes)
"""Every table that has a suite. Those that are not gated have warnings in it only: nothing waits for them."""

COSTS = "costs"
"""Written by whatever runs a stage, when it is done."""

TOMBSTONES = "tombstones"
"""Written when somebody asks for the erasure of a listener, at any time."""

VALIDATION = Stage(
    "validate_table",
    "hold one table of the night against its suite",
    reads=(*VALIDATED_TABLES, "validations", COSTS, "nights"),
    writes=("validations", "nights", "night_metrics"),
)
PUBLICATION = Stage(
    "refresh_cache",
    "load the validated lists beside those being served, then move the pointer",
    reads=(*GATED_TABLES, "experiment_results", "validations", COSTS, "nights"),
    writes=("nights",),
)

AFTER_PUBLICATION = (_INGEST_EXPOSURES, _ANALYSE_EXPERIMENT)
"""Stages that no list waits for."""

NIGHTLY = (*_TABLE_STAGES, PUBLICATION, *AFTER_PUBLICATION)
"""The stages of a night, in order; after each the tables that it wrote are validated."""

TABLES = (*VALIDATED_TABLES, *VALIDATION.writes, COSTS, TOMBSTONES)


def validated_after(stage: Stage) -> tuple[str, ...]:
    """Tables that are held against their suites after a stage: those that no later one writes."""
    later = NIGHTLY[NIGHTLY.index(stage) + 1 :] if stage in NIGHTLY else ()
    rewritten = {table for each in later for table in each.writes}
    return tuple(table for table in stage.writes if table in VALIDATED_TABLES and table not in rewritten)


def stage(name: str) -> Stage:
    """The stage of that name; KeyError if the flow has none."""
    return {stage.name: stage for stage in (*NIGHTLY, VALIDATION)}[name]


def success_mark(landing: str, run_date: date | str) -> str:
    """Path of the file whose presence says that a landing day is complete."""
    return f"{landing}/events/date={run_date}/_SUCCESS"
