"""# A night: listening events in, every listener's validated list out.

One run makes one night, from the landing day `run_date` to the serving cache. Nothing is served
until every critical expectation on every table holds.

| failed | it means | do |
| --- | --- | --- |
| `landing_complete` | the day's `_SUCCESS` did not come | ask the producer; clear it when the mark is there |
| `take_lease` | other nights wrote the warehouse all day | `nocturne lease show --warehouse W` says which |
| a job, tried once | settings, input or a table are wrong | its log says what and where; mend; clear it |
| a job, tried often | a disk or a server failed, or it crashed | mend the service; clear it |
| `validate_<table>` | **the gate is closed** | its log says what was expected and found; mend; clear the job above it |
| `refresh_cache` | the lists are sound, the cache did not take them | mend the cache; clear it |
| `ingest_exposures` | the lists are served; what was shown is not counted yet | its log says what; mend; clear it |
| `write_report` | the night is as it was; its page is missing | its log says what; mend; clear it |

**Meanwhile** listeners get the lists served before: the last line of the failed task's log says of which night.
Running a night again, or any of its tasks, changes nothing that was right.

**The page of the night**, written however it ended, says more: `WAREHOUSE/_data_docs/<run_date>-report.html`.

**Late**: of a scheduled run, a stage that is not done by its hour (`refresh_cache` by seven, UTC) is told to the
webhook of the settings and to the log of the deadline. The Variable `nocturne_due` says other hours.

**By hand**: trigger with the param `run_date`. Without it: the last whole day before the logical date.
**Backfill**: `airflow backfill create --dag-id nightly_lists --from-date D1 --to-date D2`; the nights go in order
of date, one at a time, and never move the serving cache back to an older night.
**Downstream**: schedule on an Asset such as `nocturne.ranked_lists`; its event says which `run_date` was published.

Variables: `nocturne_landing`, `nocturne_warehouse`, `nocturne_cache`, and optionally `nocturne_conf`, `nocturne_due`.
"""

import logging
import subprocess
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, Context, TaskGroup, Variable, task
from airflow.sdk.exceptions import AirflowFailException
from deadlines import DEADLINES
from tasks import (
    CACHE,
    CONF,
    EVERY_DAG,
    RETRIED,
    WAREHOUSE,
    AwaitMark,
    RunCommand,
    SubmitJob,
    day_param,
    lease_tasks,
    without_password,
)
from upcoming_cron import UpcomingCronTimetable

from nocturne.flow import NIGHTLY, TABLES, Stage, success_mark, validated_after

JOBS = Path(__file__).resolve().parents[1] / "jobs"
RUN_DATE = "{{ run_date(params, data_interval_start | default(none)) }}"
END_OF_GROUP = "::endgroup::"
ASSETS = [Asset(f"nocturne.{table}") for table in TABLES]

log = logging.getLogger(__name__)


def run_date(params: Mapping[str, Any], data_interval_start: datetime | None) -> str:
    """The night of a run, YYYY-MM-DD: what its param says, otherwise the day its data interval starts."""
    if given := params["run_date"]:
        return date.fromisoformat(given).isoformat()
    if data_interval_start:
        return data_interval_start.astimezone(UTC).date().isoformat()
    raise AirflowFailException("this run has no logical date: trigger it with the param run_date, such as 2026-01-31")


def say_what_is_served(context: Context) -> None:
    """End the log of a failed task with one sentence: where and why it failed, what listeners get, what to do."""
    log.info(END_OF_GROUP)  # Airflow folds what it does after a task, and a task that never began is in two groups
    log.info(END_OF_GROUP)
    reason = str(context.get("exception") or "it was ended from outside").partition("\n")[0]
    log.error("%s failed: %s. %s", context["ti"].task_id, reason.rstrip("."), state_of_night(context))


def state_of_night(context: Context) -> str:
    """The sentence of `nocturne status` on the night of a run; in its place, whatever keeps it from speaking."""
    try:
        night = run_date(context["params"], context.get("data_interval_start"))
    except (AirflowFailException, ValueError):
        return "No night was begun: listeners keep the lists that are served."
    try:
        conf = Variable.get("nocturne_conf", "")
        places = [
            "--warehouse",
            Variable.get("nocturne_warehouse"),
            "--cache",
            without_password(Variable.get("nocturne_cache")),
        ]
        command = ["nocturne", "status", *places, *(["--conf", conf] if conf else []), "--run-date", night]
        status = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except Exception as error:  # noqa: BLE001 - nothing that goes wrong here may hide what went wrong before
        unknown = str(error)
    else:
        if said := " ".join(status.stdout.split()):
            return said
        unknown = " ".join(f"nocturne status exited with {status.returncode} {status.stderr}".split())
    return f"Night {night}: the Docs of this DAG say what to do; what listeners get meanwhile is unknown: {unknown}."


def submit(stage: Stage) -> SubmitJob:
    """The stage's job, which also validates every table that it wrote."""
    return SubmitJob(
        task_id=stage.name,
        doc_md=f"{stage.does}: {', '.join(stage.reads)} → {', '.join(stage.writes)}",
        name=f"{stage.name} {RUN_DATE}",
        application=str(JOBS / f"{stage.name}.py"),
        conf={"spark.log.level": "WARN"},  # what the job says is then found in its log
        application_args=[
            f"--run-date={RUN_DATE}",
            "--landing={{ var.value.nocturne_landing }}",
            f"--warehouse={WAREHOUSE}",
            f"--cache={CACHE}",
            CONF,
            "--lease-holder={{ run_id }}",
            "--validate",
        ],
        execution_timeout=timedelta(hours=4),
    )


def validated(stage: Stage) -> TaskGroup:
    """One task per table of the stage: what was expected of it, what was found, and whether that will do."""
    with TaskGroup(f"{stage.name}_validated", prefix_group_id=False, tooltip=f"the tables of {stage.name}") as group:
        for table in validated_after(stage):
            RunCommand(
                task_id=f"validate_{table}",
                arguments=["validations", "--warehouse", WAREHOUSE, "--run-date", RUN_DATE, "--table", table],
            )
    return group


with DAG(
    "nightly_lists",
    description="Every listener's list for tomorrow, from today's listening",
    doc_md=__doc__,
    schedule=UpcomingCronTimetable("0 0 * * *", timezone="UTC"),
    deadline=DEADLINES,
    # The lease serialises nights. Here a limit of 1 would let a night that waits for its landing block one by hand.
    max_active_runs=4,
    params={
        "run_date": day_param(
            "Night", "Landing day to work on, YYYY-MM-DD. Empty: the last whole day before the logical date."
        )
    },
    default_args={
        **RETRIED,
        "execution_timeout": timedelta(minutes=10),
        "on_failure_callback": say_what_is_served,
    },
    **EVERY_DAG | {"user_defined_macros": EVERY_DAG["user_defined_macros"] | {"run_date": run_date}},
) as dag:

    @task(outlets=ASSETS)
    def announce(run_date: str, *, outlet_events: Any = None) -> None:
        """The night is published: tell the DAGs that are scheduled on its tables."""
        for asset in ASSETS:
            outlet_events[asset].extra = {"run_date": run_date}

    take_lease, release_lease = lease_tasks(
        "{{ run_id }}",
        RUN_DATE,
        hours=20,
        doc_md="one night at a time writes a warehouse; of those that wait, the earliest goes first",
    )

    landing_complete = AwaitMark(
        task_id="landing_complete",
        doc_md="the producer's file that says that the landing day is complete",
        mark=success_mark("{{ var.value.nocturne_landing }}", RUN_DATE),
        run_date=RUN_DATE,
        mode="reschedule",
        poke_interval=60,
        timeout=timedelta(hours=12),
    )
    previous: Any = landing_complete >> take_lease
    for stage in NIGHTLY:
        job = submit(stage)
        previous >> job
        previous = job >> validated(stage) if validated_after(stage) else job
    announced = announce(RUN_DATE)
    previous >> announced >> release_lease.as_teardown(setups=take_lease)
    write_report = RunCommand(
        task_id="write_report",
        doc_md="the page of the night for whoever is on call, however the night ended; nothing depends on it",
        arguments=["report", "--warehouse", WAREHOUSE, "--run-date", RUN_DATE, CONF],
    )
    announced >> write_report.as_teardown()  # runs whatever failed before it, and decides nothing about the run
