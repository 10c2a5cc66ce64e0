"""Ctrl-C: one sentence, status 130, and nothing left of what was started."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession

from nocturne.core.night import Warehouse
from nocturne.core.settings import load_settings
from nocturne.storage import attempts
from tests.fixtures.simulated_service import FIRST, Service, event

NOCTURNE = (sys.executable, "-c", "from nocturne.cli.main import run; run()")


def wait_until(holds: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("stage", ["", "ingest_events"], ids=["while Spark starts", "in a stage"])
def test_an_interrupted_night_says_where_in_one_sentence_and_leaves_no_process(
    spark: SparkSession, land: Callable[..., Service], stage: str
) -> None:
    service = land({0: [event(n, f"u{n % 9}", f"i{n % 13}", minute=n) for n in range(60)]})
    warehouse = Warehouse(service.warehouse, load_settings())
    places = ("--landing", str(service.folder / "landing"), "--warehouse", service.warehouse, "--cache", service.cache)
    with subprocess.Popen(
        [*NOCTURNE, "night", "--run-date", str(FIRST), *places], stderr=subprocess.PIPE, text=True
    ) as night:
        process = psutil.Process(night.pid)
        wait_until(process.children)  # Java
        if stage:
            wait_until(lambda: Path(service.warehouse, "_attempts", f"{FIRST}.json").exists())
        children = process.children(recursive=True)
        night.send_signal(signal.SIGINT)
        said = night.communicate(timeout=60)[1]
    assert night.returncode == 130, said
    sentence = (
        f"interrupted at {stage} of night {FIRST}; run the same again" if stage else "interrupted; run the same again"
    )
    assert [line for line in said.splitlines() if "interrupted" in line] == [f"nocturne: {sentence}"], said
    assert "Traceback" not in said
    assert "py4j" not in said
    psutil.wait_procs(children, timeout=20)
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert [attempt.state for attempt in attempts.all_attempts(warehouse)] == (["interrupted"] if stage else [])
