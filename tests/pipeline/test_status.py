"""The status of a warehouse: the nights that ended, those that did not, and what is served."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import pytest

from nocturne.core.errors import GateClosed, InputError, Interrupted, ServiceError
from nocturne.core.night import Night
from nocturne.flow import NIGHTLY
from nocturne.pipeline import runner
from nocturne.pipeline.status import Status, read_status, show_in_data_docs
from nocturne.serving import publications, rollout
from nocturne.serving.cache import open_cache
from nocturne.storage import attempts, lease
from nocturne.storage.warehouse import leased
from tests.fixtures.published_nights import ready

pytestmark = pytest.mark.slow

SUNDAY, MONDAY, TUESDAY = (date(2026, 3, day) for day in (1, 2, 3))
TRAINING = next(stage for stage in NIGHTLY if stage.name == "train_als")


def publish(night: Night, lists: str = "a b") -> None:
    made = ready(night, night.run_date, ann=lists)
    with open_cache(night.cache) as cache:
        rollout.refresh(made.night, made.record, made.info, made.parts, cache)


def fail(night: Night, error: BaseException) -> None:
    """Work on the night's model, until this happens."""
    with (
        suppress(type(error), Interrupted),
        leased(night.warehouse, night.run_date) as writable,
        runner._attempt(Night(writable, night.run_date), TRAINING.name),
    ):
        raise error


def states(status: Status) -> list[tuple[date, str]]:
    return [(night.run_date, night.state) for night in status.nights]


@pytest.fixture
def monday(night: Callable[..., Night]) -> Night:
    """The night of Monday, published and served."""
    made = night(MONDAY, "tables.buckets=1")
    publish(made)
    return made


@pytest.fixture
def sunday_and_monday(night: Callable[..., Night]) -> Night:
    """The night of Monday, published and served after that of Sunday."""
    made = night(MONDAY, "tables.buckets=1")
    publish(made.on(SUNDAY))
    publish(made)
    return made


def test_the_newest_night_comes_first_and_the_served_one_says_so(sunday_and_monday: Night) -> None:
    status = read_status(sunday_and_monday.warehouse)
    assert states(status) == [(MONDAY, "served"), (SUNDAY, "published")]
    assert [str(each) for each in status.serving] == [f"{sunday_and_monday.cache} serves night 2026-03-02"]
    assert status.to_do() == []


def test_only_the_last_nights_are_told(sunday_and_monday: Night) -> None:
    assert states(read_status(sunday_and_monday.warehouse, last=1)) == [(MONDAY, "served")]


def test_a_night_that_runs_says_where(monday: Night) -> None:
    tuesday = monday.on(TUESDAY)
    with leased(tuesday.warehouse, TUESDAY) as writable, runner._attempt(Night(writable, TUESDAY), TRAINING.name):
        (night, *_) = read_status(tuesday.warehouse).nights
    assert (night.state, night.to_do) == ("running", "")
    assert night.explanation.startswith("train_als since 20")
    assert night.explanation.endswith(f", process {os.getpid()} on {os.uname().nodename}")


def test_a_night_that_failed_says_where_why_and_what_to_do(monday: Night) -> None:
    fail(monday.on(TUESDAY), ServiceError("the disk is full", found="0 bytes", fix="free some space"))
    status = read_status(monday.warehouse)
    assert status.nights[0].state == "failed"
    assert status.nights[0].explanation.startswith("at train_als, 20")
    assert status.nights[0].explanation.endswith(": the disk is full")
    assert status.to_do() == ["2026-03-03: free some space"]
    assert status.of_night(TUESDAY).endswith(
        f"the disk is full; {monday.cache} serves night 2026-03-02; to do: free some space"
    )


def test_a_night_that_was_interrupted_or_killed_is_to_be_run_again(monday: Night) -> None:
    fail(monday.on(TUESDAY), KeyboardInterrupt())
    assert read_status(monday.warehouse).nights[0].state == "interrupted"
    with leased(monday.warehouse, TUESDAY) as writable:
        attempts.record(Night(writable, TUESDAY), TRAINING.name, attempts.RUNNING)
    status = read_status(monday.warehouse)
    assert status.nights[0].state == "killed"
    assert status.to_do() == ["2026-03-03: run the night again"]


def test_an_interrupt_says_in_one_sentence_where_and_what_to_do(monday: Night) -> None:
    with pytest.raises(Interrupted) as stopped, runner._attempt(monday.on(TUESDAY), TRAINING.name):
        raise KeyboardInterrupt
    assert str(stopped.value) == "interrupted at train_als of night 2026-03-03; run the same again"
    assert stopped.value.status == 130


def test_a_run_between_two_of_its_jobs_runs_and_is_unfinished_when_it_gave_the_lease_back(monday: Night) -> None:
    tuesday = monday.on(TUESDAY)
    for _ in range(2):
        lease.take(tuesday.warehouse.path, TUESDAY, "manual-1")
    with (
        leased(tuesday.warehouse, TUESDAY, "manual-1") as writable,
        runner._attempt(Night(writable, TUESDAY), TRAINING.name),
    ):
        pass
    assert states(read_status(tuesday.warehouse))[0] == (TUESDAY, "running")
    lease.release(tuesday.warehouse.path, "manual-1")
    assert states(read_status(tuesday.warehouse))[0] == (TUESDAY, "unfinished")


def test_a_night_that_waits_for_the_lease_says_for_whom(monday: Night) -> None:
    with leased(monday.warehouse, MONDAY):
        lease.take(monday.warehouse.path, TUESDAY, "manual-2")
        (night, *_) = read_status(monday.warehouse).nights
    assert (night.run_date, night.state) == (TUESDAY, "waiting")
    assert f"process {os.getpid()}" in night.explanation


def test_a_closed_gate_says_why_and_ends_the_attempt(monday: Night) -> None:
    tuesday = monday.on(TUESDAY)
    made = ready(tuesday, TUESDAY, ann="c d")
    with pytest.raises(GateClosed), runner._attempt(made.night, TRAINING.name):
        publications.record_closed_gate(made.night, ["listens: rows is 0, expected >= 1"])
        raise GateClosed("the gate is closed")
    (night, *_) = read_status(tuesday.warehouse).nights
    assert (night.run_date, night.state) == (TUESDAY, "gate closed")
    assert night.explanation == "listens: rows is 0, expected >= 1"


def test_a_published_night_that_failed_when_it_was_run_again_was_published_before(monday: Night) -> None:
    fail(monday, ServiceError("the disk is full"))
    (night, *_) = read_status(monday.warehouse).nights
    assert night.state == "failed"
    assert night.explanation.endswith("the disk is full; it was published before")


def test_a_hold_says_why_and_how_to_lift_it(sunday_and_monday: Night) -> None:
    with open_cache(sunday_and_monday.cache) as cache:
        rollout.rollback(sunday_and_monday.warehouse, cache, "podcasts only")
    status = read_status(sunday_and_monday.warehouse)
    assert states(status) == [(MONDAY, "rolled back"), (SUNDAY, "served")]
    assert str(status.serving[0]) == f"{sunday_and_monday.cache} serves night 2026-03-01 (held: podcasts only)"
    assert "nocturne release" in status.to_do()[-1]


def test_a_cache_that_does_not_answer_does_not_hide_the_nights(monday: Night) -> None:
    status = read_status(monday.warehouse, "redis://127.0.0.1:1/0", monday.settings.cache)
    assert len(status.nights) == 1
    assert status.serving[0].run_date is None
    assert "127.0.0.1:1" not in str(status.nights)
    assert status.serving[0].explanation


def test_the_data_docs_begin_with_the_status(monday: Night) -> None:
    Path(monday.warehouse.path, "_data_docs").mkdir()
    Path(monday.warehouse.path, "_data_docs", "2026-03-02.html").touch()
    fail(monday.on(TUESDAY), ServiceError("<disk> full", fix="free some space"))
    show_in_data_docs(monday.warehouse)
    page = Path(monday.warehouse.path, "_data_docs", "index.html").read_text()
    top = page.partition("Expectations")[0]
    assert "serves night 2026-03-02" in top
    assert "&lt;disk&gt; full" in top
    assert "To do: 2026-03-03: free some space" in top


def damage_log(night: Night) -> None:
    """Make what `nights` holds unreadable."""
    for path in Path(night.warehouse.table_path("nights"), "_delta_log").glob("*.json"):
        path.write_text("{")


def remove_table(night: Night) -> None:
    shutil.rmtree(night.warehouse.table_path("nights"))


def damage_rows(night: Night) -> None:
    for path in Path(night.warehouse.table_path("nights")).rglob("*.parquet"):
        path.write_bytes(b"no Parquet")


@pytest.mark.parametrize("spoil", [damage_log, remove_table, damage_rows])
def test_a_table_that_cannot_be_read_does_not_hide_the_nights_own_error(
    monday: Night, spoil: Callable[[Night], None]
) -> None:
    spoil(monday)
    with pytest.raises(ServiceError, match="the disk is full"), runner._attempt(monday, TRAINING.name):
        raise ServiceError("the disk is full")


def test_a_landing_day_that_is_not_complete_is_on_record(monday: Night) -> None:
    with pytest.raises(InputError), runner.working_on([monday.on(TUESDAY)], "night"):
        pass
    (night, *_) = read_status(monday.warehouse).nights
    assert (night.run_date, night.state) == (TUESDAY, "failed")
    assert "not complete" in night.explanation


def test_nobody_elses_attempt_is_overwritten_by_one_that_cannot_begin(monday: Night) -> None:
    tuesday = monday.on(TUESDAY)
    with leased(tuesday.warehouse, TUESDAY) as writable, runner._attempt(Night(writable, TUESDAY), TRAINING.name):
        with pytest.raises(InputError), runner.working_on([tuesday], "night"):
            pass
        assert read_status(tuesday.warehouse).nights[0].state == "running"


def test_a_range_says_which_gates_closed_and_which_night_was_published_last(
    monday: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = [monday.on(SUNDAY + timedelta(days=offset)) for offset in range(3)]

    def run_night(_spark: object, night: Night) -> None:
        if night.run_date == MONDAY:
            raise GateClosed("the gate is closed", fix="listeners keep the lists that are served")

    class Session:
        def __enter__(self) -> tuple[None, list[Night]]:
            return None, nights

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(runner, "working_on", lambda *_: Session())
    monkeypatch.setattr(runner, "run_night", run_night)
    with pytest.raises(GateClosed) as closed:
        runner.run_nights(nights)
    assert "the gate closed for 1 of 3 nights" in str(closed.value)
    assert "2026-03-02; the reasons stand above" in str(closed.value)
    assert "night 2026-03-03 was published" in str(closed.value)
    assert "keep the lists" not in str(closed.value)
