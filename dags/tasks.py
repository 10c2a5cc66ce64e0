"""The kinds of task that DAGs are made of: Nocturne's exit statuses, in Airflow's terms."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator, BaseSensorOperator, Context, ObjectStoragePath, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout

from nocturne.flow import RETRY_IS_POINTLESS, ExitStatus

KILL_AFTER_SECONDS = 10

WAREHOUSE = "{{ var.value.nocturne_warehouse }}"
CACHE = "{{ without_password(var.value.nocturne_cache) }}"
CONF = "--conf={{ var.value.get('nocturne_conf', '') }}"
DAYS_BEFORE = "{{ days_before(%d, params, data_interval_end | default(none)) }}"
"""The day so many days before that of a run; see `days_before`."""

RETRIED: dict[str, Any] = {
    "owner": "recommendations",
    "retries": 3,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=20),
}
"""Retries of every task, where trying again can help."""


def days_before(days: int, params: Mapping[str, Any], data_interval_end: datetime | None) -> str:
    """The day so many days before that of a run, YYYY-MM-DD: the one its param names, else that it is started on.

    What runs between two nights is of the day whose night comes next.
    """
    if given := params["run_date"]:
        day = date.fromisoformat(given)
    elif data_interval_end:
        day = data_interval_end.astimezone(UTC).date()
    else:
        raise AirflowFailException("this run has no logical date: trigger it with the param run_date, e.g. 2026-01-31")
    return (day - timedelta(days=days)).isoformat()


def without_password(url: str) -> str:
    """The URL of the cache; one that has a password is refused, since rendered fields and logs would show it."""
    if "@" in url and ":" in url.rpartition("@")[0].partition("://")[2]:
        raise AirflowFailException(
            "the URL in nocturne_cache has a password, which rendered fields and logs would show: leave it out, and "
            "name a file that holds it, cache.password_file, in the settings of nocturne_conf"
        )
    return url


EVERY_DAG: dict[str, Any] = {
    "tags": ["nocturne", "recommendations"],
    "start_date": datetime(2000, 1, 1, tzinfo=UTC),
    "catchup": False,
    "dagrun_timeout": timedelta(hours=24),
    "user_defined_macros": {"without_password": without_password, "days_before": days_before},
}
"""Arguments of all DAGs."""

BETWEEN_NIGHTS: dict[str, Any] = {
    **EVERY_DAG,
    "max_active_runs": 1,
}
"""Arguments of the DAGs that are of a day and run beside the nights."""


def day_param(title: str, description: str) -> Param:
    """The day or night that a run works on, where somebody names it."""
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def failure(command: str, status: int) -> AirflowException:
    """The exception for an exit status: one that ends the task, or one that is retried."""
    meaning = ExitStatus(status).name.lower().replace("_", " ") if status in set(ExitStatus) else "unknown"
    message = f"{command} exited with {status} ({meaning}); what it says stands above"
    if status in RETRY_IS_POINTLESS:
        return AirflowFailException(f"{message}. Not retried: it would end the same way.")
    return AirflowException(message)


class SubmitJob(SparkSubmitOperator):
    """A spark-submit that is retried only where retrying can help.

    In cluster deploy modes spark-submit does not pass the job's status on, and every failure is retried.
    """

    def execute(self, context: Context) -> None:
        """Submit the job and wait for it."""
        # A process group of its own: the driver's Python outlives its JVM if only that is killed.
        self._hook = self._get_hook()
        self._hook.submit = partial(self._hook.submit, start_new_session=True)
        try:
            super().execute(context)
        except AirflowException as error:
            process = self._hook._submit_sp  # noqa: SLF001 - the status is told nowhere else
            if process is None or not process.returncode:
                raise
            raise failure(self.name, process.returncode) from error

    def on_kill(self) -> None:
        """End all of the job, by force if it does not go."""
        process = self._hook and self._hook._submit_sp  # noqa: SLF001 - as above
        if process and process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(KILL_AFTER_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        super().on_kill()


class RunCommand(BaseOperator):
    """`nocturne ...` in a process of its own, without a shell; its last line is the task's XCom."""

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, arguments: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self._process = SubprocessHook()

    def execute(self, context: Context) -> str:  # noqa: ARG002 - Airflow's signature
        """Run the command to its end; returns the last line it printed."""
        result = self._process.run_command(["nocturne", *self.arguments])
        if result.exit_code:
            raise failure(f"nocturne {self.arguments[0]}", result.exit_code)
        return str(result.output)

    def on_kill(self) -> None:
        """End the command."""
        self._process.send_sigterm()


class Wait(BaseSensorOperator):
    """A wait that says what did not come, when it gives up."""

    def awaited(self) -> str:
        """The end of the sentence `waited … for …`, with what to do about it."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Wait; on time-out, which is not retried, say for what."""
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise AirflowSensorTimeout(f"waited {timedelta(seconds=self.timeout)} for {self.awaited()}") from error


class AwaitMark(Wait):
    """Wait for the file that says that a landing day is complete."""

    template_fields: Sequence[str] = ("mark", "run_date")

    def __init__(self, *, mark: str, run_date: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mark, self.run_date = mark, run_date

    def awaited(self) -> str:
        """The mark, and who brings it."""
        return f"{self.mark}, mark of landing day {self.run_date}: ask its producer; clear it when it is there"

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - Airflow's signature
        """Look for the mark once."""
        there = ObjectStoragePath(self.mark).exists()
        found = "complete, its mark is there" if there else "not complete yet, its mark is missing"
        self.log.info("Landing day %s is %s: %s", self.run_date, found, self.mark)
        return there


class PollCommand(Wait):
    """`nocturne ...` again and again, until it does not ask to be tried later."""

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, arguments: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments

    def awaited(self) -> str:
        """The command as it can be typed."""
        return f"`{shlex.join(['nocturne', *self.arguments])}`, which was never granted"

    def poke(self, context: Context) -> bool:  # noqa: ARG002
        """Run the command once; true when it is granted what it asks for."""
        status = SubprocessHook().run_command(["nocturne", *self.arguments]).exit_code
        if status not in (ExitStatus.SUCCESS, ExitStatus.TRY_AGAIN_LATER):
            raise failure(f"nocturne {self.arguments[0]}", status)
        return status == ExitStatus.SUCCESS


def lease_tasks(holder: str, run_date: str, *, hours: int, doc_md: str) -> tuple[PollCommand, RunCommand]:
    """The task that takes the lease on the warehouse for a run, and the one that gives it back.

    Args:
        holder: name of the run.
        run_date: night or day that it is of: the earliest goes first.
        hours: how long to wait for it.
    """
    lease = ["--warehouse", WAREHOUSE, "--holder", holder]
    take = PollCommand(
        task_id="take_lease",
        doc_md=doc_md,
        arguments=["lease", "take", *lease, "--run-date", run_date],
        mode="reschedule",
        poke_interval=30,
        timeout=timedelta(hours=hours),
    )
    return take, RunCommand(task_id="release_lease", arguments=["lease", "release", *lease])
