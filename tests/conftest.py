"""Fixtures of every test: one Spark session, and nights in warehouses of their own."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nocturne.core.night import Night, Warehouse
from nocturne.core.settings import load_settings
from nocturne.core.spark.session import spark_session
from tests.fixtures.empty_warehouses import create_empty

pytest_plugins = [
    "tests.fixtures.cache_servers",
    "tests.fixtures.properties",
    "tests.fixtures.signs_of_life",
    "tests.fixtures.simulated_service",
    "tests.fixtures.service_shapes",
]

# Tests run many small jobs once: Java's second compiler would take longer than it saves. With one compiler alone Java
# keeps 48 MB of compiled code, which are full after a few nights; from then on it would compile nothing any more.
os.environ["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=512m"
ARCHIVE = Path(sys.prefix, "java.jsa")  # of tests/tools/java_archive.py
if ARCHIVE.exists():  # Java warns wherever it does not fit, as in the launcher of Spark
    os.environ["JDK_JAVA_OPTIONS"] += f" -XX:SharedArchiveFile={ARCHIVE} -Xlog:disable"
# Airflow lets every library log; py4j would do so at exit, behind pytest's closing line.
logging.getLogger("py4j").setLevel(logging.WARNING)

TESTS = Path(__file__).parent
STARTING_SPARK = {"spark", "land", "land_of_module", "fork_server", "published", "copied", "accesses"}


@pytest.hookimpl(tryfirst=True)  # before `-m "not slow"` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts Spark, and put folders of long tests first, so that two workers end at about the same time."""
    for item in items:
        folder, fixtures = item.path.relative_to(TESTS).parts[0], set(getattr(item, "fixturenames", ()))
        if fixtures & STARTING_SPARK or folder in {"faults", "night"}:
            item.add_marker("slow")
    items.sort(key=lambda item: item.path.relative_to(TESTS).parts[0] not in {"faults", "night", "dags"})


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Starting Spark takes seconds: the suite has one session."""
    with spark_session(load_settings().spark, "tests") as session:
        yield session


@pytest.fixture
def night(tmp_path: Path) -> Callable[..., Night]:
    """Makes nights of one warehouse, which exists and is empty: `night(date(2025, 3, 2), "ranking.top_k=2")`."""
    return nights_in(tmp_path)


@pytest.fixture(scope="module")
def night_of_module(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Night]:
    """Makes nights as `night` does, in a warehouse that the tests of a module share."""
    return nights_in(tmp_path_factory.mktemp("module"))


def nights_in(folder: Path) -> Callable[..., Night]:
    def make(run_date: date = date(2025, 3, 2), *overrides: str) -> Night:
        warehouse = Warehouse(str(folder / "warehouse"), load_settings(overrides=overrides))
        if not (folder / "warehouse").exists():
            create_empty(warehouse)
        return Night(warehouse, run_date, str(folder / "landing"), f"lmdb:{folder / 'cache'}")

    return make
