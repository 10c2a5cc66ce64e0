"""`nocturne doctor`: checks of everything that a night needs of this machine, each with its fix."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console

from nocturne import ROOT
from nocturne.core.console import print_json
from nocturne.core.errors import NocturneError, ServiceError, UsageError
from nocturne.core.service_sections import CacheSettings
from nocturne.core.settings import load_settings
from nocturne.flow import ExitStatus

FREE_DISK_GB = 5
MEMORY_BESIDE_THE_DRIVER_GB = 1
SYNC = "run `make night`, or `uv sync --frozen`"

LIST_IMPORT_ERRORS = """
import sys, pathlib
from airflow.dag_processing.dagbag import BundleDagBag
bag = BundleDagBag(sys.argv[1], bundle_path=pathlib.Path(sys.argv[1]))
print(*bag.import_errors.values(), sep="\\n")
sys.exit(bool(bag.import_errors) or not bag.dags)
"""


def examine(cache: str | None, settings: CacheSettings | None = None, *, as_json: bool = False) -> ExitStatus:
    """Run every check and tell of each on stderr, the fix below a failed one.

    Args:
        cache: URL of a cache to check beside the embedded one.
        settings: how it is reached; by default those of conf/default.toml.
        as_json: print a row for each check on stdout, when all are done.

    Returns:
        0, or the gravest status among the failures: 5 for services and disks, 2 for what is to be set up.
    """
    console, rows, statuses = Console(stderr=True), [], [ExitStatus.SUCCESS]
    checks = dict(CHECKS)
    if cache:
        checks["cache"] = lambda: check_cache(cache, settings)
    for name, check in checks.items():
        status, line = _run_check(check)
        statuses.append(status)
        rows.append({"check": name, "status": int(status), "found": line})
        mark = "[red]failed[/]" if status else "[green]ok[/]    "
        console.print(f"{mark} {name}: ", end="")
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json(rows)
    return max(statuses)


def check_python() -> str:
    """The interpreter is the one that the environment is locked for."""
    release = sys.version.split()[0]
    if sys.version_info[:2] != (3, 11):
        raise UsageError("another version of Python", found=release, expected="3.11", fix=SYNC)
    return release


def check_java() -> str:
    """A Java runtime that Spark can start on is installed."""
    from nocturne.core.spark.java import find_java, java_version

    home = find_java()
    return f"{java_version(home)} in {home}"


def check_jars() -> str:
    """Delta's jars lie whole where Spark loads them, or can be fetched."""
    from nocturne.core.spark.jars import DELTA_JARS, ensure_jars, spark_jars_folder

    jars = ensure_jars()
    folder = jars[0].parent if jars else spark_jars_folder()
    return f"{', '.join(jar.name for jar in DELTA_JARS)} in {folder}"


def check_spark() -> str:
    """Spark creates, overwrites and reads back an older version of a Delta table."""
    from nocturne.core.spark.session import spark_session

    with tempfile.TemporaryDirectory() as folder, spark_session(load_settings().spark, "nocturne doctor") as spark:
        for rows in (1, 2):
            spark.range(rows).write.format("delta").mode("overwrite").save(folder)
        counts = [spark.read.format("delta").option("versionAsOf", old).load(folder).count() for old in (0, 1)]
    if counts != [1, 2]:
        raise UsageError("a Delta table does not travel in time", found=str(counts), expected="[1, 2]", fix=SYNC)
    return f"pyspark {version('pyspark')}, delta-spark {version('delta-spark')}: written, overwritten, travelled back"


def check_blas() -> str:
    """BLAS obeys its limit of one thread, without which implicit is ten times slower."""
    import implicit
    import numpy as np
    from threadpoolctl import threadpool_info, threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        np.ones((8, 8)) @ np.ones((8, 8))
        threads = {
            pool["internal_api"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
        }
    if set(threads.values()) != {1}:
        raise UsageError("BLAS does not obey threadpoolctl", found=str(threads), expected="1 thread each", fix=SYNC)
    return f"implicit {implicit.__version__}, {', '.join(threads)}"


def check_expectations() -> str:
    """Great Expectations tells a column without nulls from one with a null."""
    import great_expectations as gx
    import pandas as pd
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull

    frame = pd.DataFrame({"complete": [1, 2], "incomplete": [1, None]})
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("doctor")
    batch = source.add_dataframe_asset("frame").add_batch_definition_whole_dataframe("all")
    rows = batch.get_batch({"dataframe": frame})
    columns = ("complete", "incomplete")
    verdicts = [rows.validate(ExpectColumnValuesToNotBeNull(column=column)).success for column in columns]
    if verdicts != [True, False]:
        raise UsageError(
            "Great Expectations is wrong about two columns", found=str(verdicts), expected="[True, False]", fix=SYNC
        )
    return gx.__version__


def check_lmdb() -> str:
    """The embedded cache reads back what was loaded."""
    import pyarrow as pa

    from nocturne.serving.cache import GenerationInfo, ListKind, open_cache

    head, lists = ListKind("control", "als", "als-doctor"), [{"item_id": "item", "score": 0.5}]
    about = GenerationInfo(date(2026, 1, 1), 1, (head,), pa.array(["item"]))
    rows = pa.RecordBatch.from_pylist([{"user_id": "listener", "items": lists, **head._asdict()}])
    with tempfile.TemporaryDirectory() as folder, open_cache(f"lmdb:{folder}") as cache:
        cache.load("doctor", about, [[rows]])
        read = cache.decode("doctor", "listener")
        if read is None or read.items != (("item", 0.5),):
            raise ServiceError("LMDB does not read back what was written", where=folder, fix=SYNC)
    return f"{version('lmdb')}: written and read back"


def check_cache(url: str, settings: CacheSettings | None = None) -> str:
    """The cache that was named answers; nothing is written to it."""
    from nocturne.serving.cache import open_cache

    with open_cache(url, settings, read_only=True) as cache:
        pointer = cache.pointer()
        return f"{cache.place}: " + (f"serves {pointer.served.name}" if pointer else "serves nothing yet")


def check_dags() -> str:
    """Airflow imports the DAGs without an error."""
    try:
        release = version("apache-airflow")
    except PackageNotFoundError as error:
        raise UsageError("Airflow is not installed", fix="run `uv sync --frozen --group airflow`") from error
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        answer = subprocess.run(
            [sys.executable, "-c", LIST_IMPORT_ERRORS, str(ROOT / "dags")],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    if answer.returncode:
        raise UsageError(
            "Airflow cannot import the DAGs", where=str(ROOT / "dags"), found=_last_lines(answer), fix=SYNC
        )
    return f"Airflow {release}"


def check_disk() -> str:
    """There is room for a warehouse here and for Spark's scratch files."""
    here, scratch = str(Path.cwd()), tempfile.gettempdir()
    free = {place: shutil.disk_usage(place).free / 1e9 for place in sorted({here, scratch})}
    room = ", ".join(f"{gigabytes:.0f} GB free in {place}" for place, gigabytes in free.items())
    if min(free.values()) < FREE_DISK_GB:
        raise ServiceError(
            "too little room",
            found=room,
            expected=f"{FREE_DISK_GB} GB",
            fix=f"free some, or use another disk: for Spark's scratch files, now in {scratch}, set TMPDIR; for tables "
            "and lists give --warehouse and --cache",
        )
    return room


def check_memory() -> str:
    """Spark's driver fits beside the Python processes."""
    heap = load_settings().spark.driver_memory
    gigabytes = int(heap[:-1]) / (1024 if heap.endswith("m") else 1)
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
    needed, free = gigabytes + MEMORY_BESIDE_THE_DRIVER_GB, int(meminfo["MemAvailable"].split()[0]) / 2**20
    if free < needed:
        raise ServiceError(
            "too little memory",
            found=f"{free:.1f} GiB available",
            expected=f"{needed:.1f} GiB: spark.driver_memory and {MEMORY_BESIDE_THE_DRIVER_GB} for Python",
            fix="end other programs, or lower the heap: --set spark.driver_memory=2g",
        )
    return f"{free:.1f} GiB available, {needed:.1f} needed"


CHECKS: dict[str, Callable[[], str]] = {
    "Python": check_python,
    "Java": check_java,
    "Delta's jars": check_jars,
    "Spark with Delta": check_spark,
    "implicit, one BLAS thread": check_blas,
    "Great Expectations": check_expectations,
    "LMDB": check_lmdb,
    "Airflow's DAGs": check_dags,
    "disk": check_disk,
    "memory": check_memory,
}
"""Checks by name: each returns a line for people, or raises an error with its fix."""


def _run_check(check: Callable[[], str]) -> tuple[ExitStatus, str]:
    try:
        return ExitStatus.SUCCESS, check()
    except NocturneError as error:
        return error.status, str(error)
    except Exception as error:  # noqa: BLE001 - a broken package raises anything, and the other checks go on
        return ExitStatus.SERVICE_FAILED, f"{type(error).__name__}: {error}\n  what to do: {SYNC}"


def _last_lines(answer: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((answer.stdout + answer.stderr).strip().splitlines()[-5:])
