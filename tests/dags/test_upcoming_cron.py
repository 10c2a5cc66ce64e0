"""The timetable of every DAG: nothing runs that nobody asked for, and no night is lost."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pendulum
import pytest

DAGS = Path(__file__).parents[2] / "dags"
pytestmark = [  # Airflow's own, while it reads .airflowignore and its standard provider
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .airflow.utils.operator_helpers"),
]
NIGHTLY, WEEKLY = "0 0 * * *", "0 12 * * 0"
START = pendulum.datetime(2000, 1, 1)


def day(number: int, hour: int = 0, minute: int = 0):
    """A moment of February 2026, whose first day is a Sunday."""
    return pendulum.datetime(2026, 2, number, hour, minute)


@pytest.fixture
def next_run(monkeypatch):
    """The data interval of the next run, asked at a moment, after the interval that ran last."""
    import upcoming_cron
    from airflow.timetables import interval
    from airflow.timetables.base import DataInterval, TimeRestriction

    def ask(cron: str, now, last=None, *, until=None, catchup: bool = False):
        for module in (upcoming_cron, interval):
            monkeypatch.setattr(module, "utcnow", lambda: now)
        info = upcoming_cron.UpcomingCronTimetable(cron, "UTC").next_dagrun_info(
            last_automated_data_interval=DataInterval(*last) if last else None,
            restriction=TimeRestriction(START, until, catchup),
        )
        assert info is None or info.run_after == info.data_interval.end
        return info and (info.data_interval.start, info.data_interval.end)

    return ask


@pytest.fixture(scope="module")
def scheduled():
    """Every DAG of the folder, as the scheduler reads it from its database."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    stored = {name: json.dumps(DagSerialization.serialize_dag(dag)) for name, dag in DagBag(DAGS).dags.items()}
    return {name: DagSerialization.deserialize_dag(json.loads(text)) for name, text in stored.items()}


def test_a_dag_that_is_unpaused_for_the_first_time_waits_for_its_next_tick(next_run):
    assert next_run(NIGHTLY, day(10, 15)) == (day(10), day(11))
    assert next_run(WEEKLY, day(10, 15)) == (day(8, 12), day(15, 12))


def test_a_dag_that_is_unpaused_after_a_long_pause_waits_for_its_next_tick(next_run):
    assert next_run(NIGHTLY, day(10, 15), last=(day(7), day(8))) == (day(10), day(11))
    assert next_run(WEEKLY, day(20), last=(day(1, 12).subtract(weeks=1), day(1, 12))) == (day(15, 12), day(22, 12))


@pytest.mark.parametrize("last", [None, (day(2), day(3))])
@pytest.mark.parametrize(("minute", "due"), [(0, True), (14, True), (15, False)])
def test_a_tick_that_just_passed_is_due_so_that_a_dag_read_just_after_it_loses_nothing(next_run, last, minute, due):
    run = (day(9), day(10)) if due else (day(10), day(11))
    assert next_run(NIGHTLY, day(10, 0, minute), last) == run


@pytest.mark.parametrize("hour", [1, 12, 23])
def test_a_scheduler_that_was_down_at_the_tick_after_the_last_run_catches_up_on_it(next_run, hour):
    assert next_run(NIGHTLY, day(10, hour), last=(day(8), day(9))) == (day(9), day(10))


def test_what_ran_is_followed_by_the_next_tick(next_run):
    for hour in (0, 1, 23):
        assert next_run(NIGHTLY, day(10, hour), last=(day(9), day(10))) == (day(10), day(11))


def test_no_run_starts_after_the_last_day_of_a_dag(next_run):
    assert next_run(NIGHTLY, day(10, 15), until=day(9)) is None


def test_with_catchup_every_interval_is_due_as_airflow_has_it(next_run):
    assert next_run(NIGHTLY, day(10, 15), last=(day(2), day(3)), catchup=True) == (day(3), day(4))


def test_every_dag_of_the_folder_has_this_timetable_even_as_it_is_stored(scheduled):
    kinds = {name: type(dag.timetable).__name__ for name, dag in scheduled.items()}
    assert kinds == dict.fromkeys(scheduled, "UpcomingCronTimetable")
    assert len(kinds) == len(list(DAGS.glob("*ly_*.py")))


def test_no_dag_that_is_unpaused_now_starts_a_run_unless_its_tick_just_passed(scheduled):
    for name, dag in scheduled.items():
        starts = dag.next_dagrun_info(last_automated_run_info=None).run_after
        assert starts > datetime.now(UTC) - timedelta(minutes=16), name


def test_a_backfill_gets_every_interval_between_its_dates_however_long_ago(scheduled):
    for name, dag in scheduled.items():
        infos = list(dag.iter_dagrun_infos_between(datetime(2011, 1, 1, tzinfo=UTC), datetime(2011, 1, 15, tzinfo=UTC)))
        assert len(infos) == (2 if name.startswith("weekly") else 14 + (name == "nightly_lists")), name
