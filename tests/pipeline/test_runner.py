"""The one-process runner: what it checks before Spark is started, and what it says when one stage is left."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nocturne.core.errors import InputError, ServiceError
from nocturne.core.night import Night
from nocturne.core.pasted import shortest
from nocturne.flow import Stage
from nocturne.pipeline import runner


@pytest.fixture
def landed(night: Callable[..., Night]) -> Night:
    """A night whose landing day is complete."""
    tonight = night()
    mark = Path(tonight.landing, "events", f"date={tonight.run_date}", "_SUCCESS")
    mark.parent.mkdir(parents=True)
    mark.touch()
    return tonight


@pytest.fixture
def no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise AssertionError("Spark was started")

    monkeypatch.setattr(runner, "spark_session", start)


@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize("app", ["night", "ingest_events"])
def test_a_landing_day_that_is_not_complete_is_noticed_before_spark_is_started(night, app: str) -> None:
    with pytest.raises(InputError, match="landing day is not complete"), runner.working_on([night()], app):
        pass


@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize("app", ["night", "refresh_cache"])
def test_a_cache_that_does_not_answer_is_noticed_before_spark_is_started(landed: Night, app: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dead = Night(landed.warehouse, landed.run_date, landed.landing, f"redis://127.0.0.1:{port}/0")
    with pytest.raises(ServiceError, match=f"127.0.0.1:{port}"), runner.working_on([dead], app):
        pass


def test_when_the_refresh_alone_is_left_its_command_is_printed(
    landed: Night, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_stage(_spark: object, _night: Night, stage: Stage) -> None:
        if stage.name == "refresh_cache":
            raise ServiceError("the cache does not answer")

    monkeypatch.setattr(runner, "run_stage", run_stage)
    monkeypatch.setattr(runner, "run_validation", lambda *_, **__: None)
    with pytest.raises(ServiceError):
        runner.run_night(None, landed)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "refresh_cache" in line]
    assert line == (
        f"all but refresh_cache is done; to go on from there: {shortest(Path(sys.executable))} jobs/refresh_cache.py "
        f"--run-date {landed.run_date} --landing {landed.landing} --warehouse {landed.warehouse.path} "
        f"--cache {landed.cache} && {shortest(Path(sys.executable))} jobs/ingest_exposures.py "
        f"--run-date {landed.run_date} --landing {landed.landing} --warehouse {landed.warehouse.path} "
        f"--cache {landed.cache} && {shortest(Path(sys.executable))} jobs/analyse_experiment.py "
        f"--run-date {landed.run_date} --landing {landed.landing} --warehouse {landed.warehouse.path} "
        f"--cache {landed.cache}"
    )


def test_a_night_is_published_before_its_exposures_are_looked_at(
    landed: Night, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_stage(_spark: object, _night: Night, stage: Stage) -> None:
        if stage.name == "ingest_exposures":
            raise ServiceError("the disk is full")

    monkeypatch.setattr(runner, "run_stage", run_stage)
    monkeypatch.setattr(runner, "run_validation", lambda *_, **__: None)
    with pytest.raises(ServiceError):
        runner.run_night(None, landed)
    printed = capsys.readouterr().err
    assert f"night {landed.run_date} published in" in printed
    assert "to go on from there" not in printed


@pytest.mark.usefixtures("no_spark")
def test_exposures_are_ingested_whether_the_events_of_the_day_are_complete_or_not(night) -> None:
    with pytest.raises(AssertionError, match="Spark was started"), runner.working_on([night()], "ingest_exposures"):
        pass
