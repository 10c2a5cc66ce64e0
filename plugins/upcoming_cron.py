"""The timetable of the DAGs, and the plugin that makes it known to Airflow."""

from datetime import timedelta

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.timezone import utcnow
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable

JUST_PASSED = timedelta(minutes=15)


class UpcomingCronTimetable(CronDataIntervalTimetable):
    """Airflow's cron timetable, whose first run is the next one: unpausing a DAG starts nothing that nobody asked for.

    Airflow's own runs the interval that ended last as soon as a DAG is unpaused. Here a tick that has passed is due

    - for a quarter of an hour, so that a DAG that is read just after midnight loses no night;
    - until the next one, if its interval follows that of the last run: a scheduler that was down catches up on it.

    Data intervals are Airflow's own, and so are backfills.
    """

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next run after the last one that was scheduled or backfilled."""
        latest = super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
        if restriction.catchup or latest is None or latest.data_interval is None:
            return latest
        follows = last_automated_data_interval and last_automated_data_interval.end >= latest.data_interval.start
        if follows or utcnow() - latest.run_after < JUST_PASSED:
            return latest
        return super().next_dagrun_info(last_automated_data_interval=latest.data_interval, restriction=restriction)


class NocturneTimetables(AirflowPlugin):
    """The plugin by which the scheduler finds the timetable of a DAG that it read from its database."""

    name = "nocturne_timetables"
    timetables = (UpcomingCronTimetable,)
