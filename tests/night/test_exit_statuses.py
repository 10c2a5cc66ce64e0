"""Bad input and broken surroundings: one clear message, a status of its own, and nothing half-written."""

import errno
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from py4j.protocol import Py4JNetworkError
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from nocturne.cli.jobs import edge, nights_of
from nocturne.cli.main import app
from tests.fixtures.simulated_service import FIRST, Service, event

DAY = f"events/date={FIRST}"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()


@pytest.fixture
def start(spark: SparkSession, land: Callable[..., Service]) -> Callable[..., tuple[int, str]]:
    """Run `nocturne night` on a small sound day, apart from what is given; returns status and message."""
    service = land({0: [event(n, f"u{n % 9}", f"i{n % 13}", minute=n) for n in range(60)]})

    def run(*arguments: str, files: dict[str, bytes] | None = None, without: str = "") -> tuple[int, str]:
        for name, content in (files or {}).items():
            path = service.folder / "landing" / name
            path.write_bytes(content)
        if without:
            (service.folder / "landing" / without).unlink()
        options = {
            "--landing": str(service.folder / "landing"),
            "--warehouse": service.warehouse,
            "--cache": service.cache,
        }
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        night = {} if {"--run-date", "--from", "--to"} & set(given) else {"--run-date": str(FIRST)}
        line = [part for pair in (options | night | given).items() for part in pair]
        outcome = CliRunner().invoke(app, ["night", *line])
        return outcome.exit_code, outcome.output

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--run-date", "2025-02-30"), "2025-02-30"),
        (("--run-date", str(TOMORROW)), "future"),
        (("--from", "2025-03-02", "--to", "2025-03-01"), "--from 2025-03-02 --to 2025-03-01"),
        (("--from", "2025-03-02"), "--from D1 --to D2"),
        (("--set", "als.factors=0"), "als.factors"),
        (("--set", "als.factor=8"), "did you mean factors?"),
        (("--set", "als.alpha=-1"), "als.alpha"),
        (("--set", "factors"), "section.key=value"),
        (("--set", "expectations.listens.min_vs_recnt=1"), "min_vs_recnt"),
        (("--conf", "/nowhere/night.toml"), "/nowhere/night.toml"),
        (("--warehouse", "/proc/warehouse"), "/proc/warehouse"),
        (("--cache", "memcached://x"), "memcached"),
    ],
)
def test_a_wrong_command_or_setting_is_2(
    start: Callable[..., tuple[int, str]], arguments: tuple[str, ...], says: str
) -> None:
    status, message = start(*arguments)
    assert (status, says in message) == (2, True), message


@pytest.mark.parametrize(
    ("files", "without", "says"),
    [
        ({}, f"{DAY}/_SUCCESS", "not complete"),
        ({f"{DAY}/_SUCCESS": b"61"}, "", "61 rows"),
        ({f"{DAY}/more.parquet": b"PAR1 half"}, "", "more.parquet"),
        ({f"{DAY}/more.csv": b"event_id;user_id;item_id;listened_at\n"}, "", "delimiter"),
        ({f"{DAY}/more.csv": b"event_id,user_id\n"}, "", "item_id"),
        ({"items/twice.csv": b"item_id,content_type\na,track\na,other\n"}, "", "'a' in twice.csv: 2 times"),
        ({"items/odd.csv": b"item_id,content_type\na,hologram\n"}, "", "unknown content_type"),
        ({"items/odd.jsonl": b'{"item_id": "a", "conte'}, "", "unparsable"),
    ],
)
def test_bad_input_is_4_and_leaves_the_night_unpublished(
    start: Callable[..., tuple[int, str]], files: dict[str, bytes], without: str, says: str
) -> None:
    status, message = start(files=files, without=without)
    assert (status, says in message) == (4, True), message
    assert "published in" not in message


def test_a_cut_line_and_wrong_values_are_quarantined_and_the_night_goes_on(
    start: Callable[..., tuple[int, str]],
) -> None:
    status, message = start(
        files={f"{DAY}/dirt.jsonl": b'{"event_id": "x", "user_i\n{"event_id": "y", "user_id": "u1"}\n'}
    )
    assert (status, "quarantine 2" in message) == (0, True), message


def test_a_day_of_nothing_but_dirt_closes_the_gate_with_3(start: Callable[..., tuple[int, str]]) -> None:
    status, message = start(files={f"{DAY}/events.jsonl": b"dirt\n" * 100})
    assert (status, "share_unusable" in message) == (3, True), message


def test_a_cache_that_does_not_answer_is_5_and_the_message_keeps_the_password(
    start: Callable[..., tuple[int, str]],
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    status, message = start("--cache", f"redis://someone:hunter2@127.0.0.1:{port}/0")
    assert (status, f"127.0.0.1:{port}" in message, "hunter2" in message) == (5, True, False), message


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Job aborted: java.io.IOException: No space left on device"),
    ],
)
def test_a_full_disk_is_5(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, edge():
        raise error
    assert stopped.value.code == 5
    assert "disk is full" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (OSError("could not verify page integrity, CRC checksum verification failed"), 4, "it is damaged"),
        (RuntimeError("[FAILED_READ_FILE.NO_HINT] Encountered error while reading file x.parquet."), 4, "x.parquet"),
        (RuntimeError("Job aborted: Python worker exited unexpectedly (crashed)"), 5, "Python worker of Spark died"),
        (Py4JNetworkError("Answer from Java side is empty"), 5, "Java process died"),
        (ConnectionRefusedError(111, "Connection refused"), 5, "Java process died"),
    ],
    ids=["a page", "a file", "a worker", "Java", "Java gone"],
)
def test_what_spark_and_arrow_say_of_damage_and_death_is_said_plainly(
    error: Exception, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped, edge():
        raise error
    message = capsys.readouterr().err
    assert (stopped.value.code, says in message, "Traceback" in message) == (status, True, False), message


def test_a_range_is_one_night_after_the_other() -> None:
    nights = nights_of(
        None, datetime(2025, 2, 27, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC), "l", "w", "lmdb:c", None, None
    )
    assert [str(night.run_date) for night in nights] == ["2025-02-27", "2025-02-28", "2025-03-01"]
