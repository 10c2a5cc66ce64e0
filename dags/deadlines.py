"""Deadlines of the nightly DAG, a stage each, and what is done about one that is missed.

Airflow's deadlines are those of a run as a whole. So each of these asks, when its time has come, whether its stage is
done.
"""

import logging
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DeadlineAlert, SyncCallback, Variable
from airflow.sdk.exceptions import AirflowException
from stage_deadline import StageDeadline

from nocturne.flow import NIGHTLY

HOURS = {"ingest_events": 3.0, "rank_users": 6.0, "refresh_cache": 7.0, "analyse_experiment": 12.0}
"""Hours after the end of the night's day, UTC, by which a stage should be done; lists are served by seven."""

log = logging.getLogger(__name__)


def tell_if_late(stage: str, context: Mapping[str, Any]) -> None:
    """Ask `nocturne monitor deadline` whether a stage is done; it tells the webhook if not. What it says is logged."""
    run, deadline = context["dag_run"], context["deadline"]
    night = datetime.fromisoformat(run["data_interval_start"]).astimezone(UTC).date()
    conf = Variable.get("nocturne_conf", "")
    command = [
        *("nocturne", "monitor", "deadline", "--stage", stage, "--run-date", night.isoformat()),
        *("--warehouse", Variable.get("nocturne_warehouse"), "--due", str(deadline["deadline_time"])),
        *(["--conf", conf] if conf else []),
    ]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if asked.returncode:
        raise AirflowException(f"nocturne monitor deadline exited with {asked.returncode}: {asked.stderr.strip()}")
    log.warning("%s", " ".join(f"{asked.stdout} {asked.stderr}".split()))


DEADLINES = [
    DeadlineAlert(
        name=f"{stage.name} is done",
        reference=StageDeadline(stage.name, HOURS.get(stage.name)),
        interval=timedelta(0),
        callback=SyncCallback(tell_if_late, kwargs={"stage": stage.name}),
    )
    for stage in NIGHTLY
]
