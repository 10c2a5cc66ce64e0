"""Signs of life of a stage: a line now and then where no bar can move."""

import threading

import pytest

from nocturne.pipeline import progress


def test_work_that_reports_nothing_still_gives_a_sign_of_life(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    printed = threading.Event()
    monkeypatch.setattr(progress, "_tasks", lambda _spark: printed.set() or ", 1 of 3 tasks of Spark")
    with progress.show_progress("ingest_events", "clean [the] day's events"):
        assert printed.wait(10)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == "ingest_events            0 s  clean [the] day's events, 1 of 3 tasks of Spark"


def test_a_line_says_how_far_the_work_is_how_fast_it_goes_and_how_long_it_will_take() -> None:
    work = progress._Work("rank", started=0.0)
    work.report(50, 200, "listeners")
    assert str(work).startswith("50 of 200 listeners, ")
    assert str(work).endswith(" left")
    work.report(0, 200, "listeners")
    assert "left" not in str(work)


def test_it_shows_no_tasks_where_java_is_gone() -> None:
    class Gone:
        @property
        def sparkContext(self) -> None:  # noqa: N802 - as Spark calls it
            raise ConnectionRefusedError

    assert progress._tasks(Gone()) == ""
