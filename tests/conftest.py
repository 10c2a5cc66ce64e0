"""What tests share: one Spark session, and nights in warehouses of their own."""

import logging
import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from nocturne.storage.warehouse import create_missing

pytest_plugins = ["tests.fixtures.cache_servers", "tests.fixtures.simulated_service"]

# Tests run many small jobs once: Java's second compiler would take longer than it saves.
os.environ["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1"
# Airflow lets every library log; py4j would do so at exit, behind pytest's closing line.
logging.getLogger("py4j").setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Starting Spark takes seconds: the suite has one session."""
    with spark_session(load_settings().spark, "tests") as session:
        yield session


@pytest.fixture
def night(tmp_path: Path) -> Callable[..., Night]:
    """Makes nights of one warehouse, which is there and empty: `night(date(2025, 3, 2), "ranking.top_k=2")`."""

    def make(run_date: date = date(2025, 3, 2), *overrides: str) -> Night:
        places = [str(tmp_path / name) for name in ("landing", "warehouse")]
        made = Night(run_date, *places, f"lmdb:{tmp_path / 'cache'}", load_settings(overrides=overrides))
        create_missing(made)
        return made

    return make
