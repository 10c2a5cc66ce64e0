"""The deadline of a stage of the nightly DAG, and the plugin that makes it known to Airflow."""

import json
import logging
import os
from datetime import datetime, timedelta
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.definitions.deadline import BaseDeadlineReference

VARIABLE = "nocturne_due"
"""Airflow Variable: JSON, hours by stage over those of the DAG; null lets a stage have no deadline."""

log = logging.getLogger(__name__)


class StageDeadline(BaseDeadlineReference):
    """So many hours after the end of the night's day, in runs that a schedule started.

    By Airflow's own references a backfill of last year would be late when it begins. A run by hand, or of a backfill,
    is late by no clock, and has no deadline.
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    def __init__(self, stage: str = "", hours: float | None = None) -> None:
        self.stage, self.hours = stage, hours

    def serialize_reference(self) -> dict[str, Any]:
        """Stage and hours, for Airflow's database."""
        return {**super().serialize_reference(), "stage": self.stage, "hours": self.hours}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> "StageDeadline":
        """From Airflow's database."""
        return cls(reference_data["stage"], reference_data["hours"])

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models.dagrun import DagRun

        (run,) = DagRun.find(dag_id=dag_id, run_id=run_id, session=session)
        return due(run.run_type, run.data_interval_end, self.hours_by(variable(session)))

    def hours_by(self, text: str | None) -> float | None:
        """Hours by the Variable, or by the DAG where it does not say, or cannot be understood."""
        try:
            hours = json.loads(text or "{}").get(self.stage, self.hours)
            return None if hours is None else float(hours)
        except (AttributeError, TypeError, ValueError):  # a run must not fail to start for it
            log.exception('%s is not understood: expected JSON such as {"refresh_cache": 7}', VARIABLE)
            return self.hours


def variable(session: Any) -> str | None:
    """The Variable, from the environment or Airflow's database; None where neither has it.

    Airflow's own `Variable.get` would end the transaction in which the run is being made.
    """
    from airflow.models.variable import Variable

    if told := os.environ.get(f"AIRFLOW_VAR_{VARIABLE.upper()}"):
        return told
    row = session.query(Variable).filter(Variable.key == VARIABLE).one_or_none()
    return row.get_val() if row else None


def due(run_type: str, day_ends: datetime | None, hours: float | None) -> datetime | None:
    """The moment by which a stage of a run is due; None if no clock says so."""
    if run_type != "scheduled" or day_ends is None or hours is None:
        return None
    return day_ends + timedelta(hours=hours)


class NocturneDeadlines(AirflowPlugin):
    """The plugin by which the scheduler finds the deadline of a DAG that it read from its database."""

    name = "nocturne_deadlines"
    deadline_references = (StageDeadline,)
