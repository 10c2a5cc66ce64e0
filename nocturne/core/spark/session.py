"""The Spark session that every job runs in: Delta, UTC, loopback, one BLAS thread a worker."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO, NoReturn, TypeVar

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from nocturne import ROOT
from nocturne.core.errors import Interrupted, NocturneError, UsageError
from nocturne.core.sections import SparkSettings
from nocturne.core.spark.jars import DELTA_JARS, ensure_jars
from nocturne.core.spark.java import find_java

Part = TypeVar("Part")
Result = TypeVar("Result")

LOOPBACK = "127.0.0.1"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Each Python worker computes on its own core: more BLAS threads would fight for it."""

_PARTITIONS = "spark.sql.shuffle.partitions"
_ROWS_PER_PARTITION = 1_000_000
_FEW_ROWS = 50_000
_SIMPLE_PLANS = {
    _PARTITIONS: "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
_SECONDS_TO_END = 5

INCUBATOR = b"WARNING: Using incubator modules"
"""Of the module that Spark computes on vectors with; Java says so at every start."""

PANDAS_3 = "PySpark does not yet fully support pandas"
"""A warning of PySpark 4.2 at every pandas function; the suite shows that the features we use work."""


@contextmanager
def spark_session(settings: SparkSettings, app: str = "nocturne") -> Iterator[SparkSession]:
    """Start Spark with Delta, in UTC, and stop it at the end. Inside an open session: that one, left open.

    Under spark-submit the command line and its cluster decide on master, memory and binding; otherwise settings do.

    Raises:
        UsageError: no fitting Java, or a spark-submit whose Spark has no Delta.
        ServiceError: Delta's jars cannot be fetched.
    """
    _silence_known_warnings()
    running = SparkSession.getActiveSession()
    if running is not None:
        yield running
        return
    with tempfile.TemporaryDirectory(prefix="nocturne-spark-") as scratch:
        submitted = "PYSPARK_GATEWAY_PORT" in os.environ
        conf = _submitted_conf(settings) if submitted else _own_conf(settings)
        # Only tables without a path would be stored here, and there are none.
        conf.setIfMissing("spark.sql.warehouse.dir", scratch).setIfMissing("spark.app.name", app)
        java = None if submitted else _start_java(conf)
        spark = SparkSession.builder.config(conf=conf).getOrCreate()
        spark.sparkContext.setLogLevel("ERROR")
        _take_interrupts()
        stop = spark.stop
        try:
            yield spark
        except (KeyboardInterrupt, Interrupted):
            if java:  # what it computes would take its time to stop
                stop = partial(_end, java)
            raise
        finally:
            stop()


def map_on_executors(spark: SparkSession) -> Callable[[Callable[[Part], Result], Sequence[Part]], list[Result]]:
    """A `map` that gives every part to a task of its own; a NocturneError comes out as it was raised there.

    Example: `map_on_executors(spark)(len, ["a", "bcd"])` is `[1, 3]`.
    """

    def map_parts(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        def attempt(part: Part) -> tuple[list[Result], NocturneError | None]:
            try:
                return [work(part)], None
            except NocturneError as error:
                return [], error

        outcomes = spark.sparkContext.parallelize(parts, len(parts)).map(attempt).collect() if parts else []
        for _, error in outcomes:
            if error:
                raise error
        return [result for results, _ in outcomes for result in results]

    return map_parts


@contextmanager
def scale_shuffles(spark: SparkSession, rows: int, settings: SparkSettings) -> Iterator[None]:
    """Shuffle in more partitions than settings say where there are many rows, so that a task can hold its own."""
    partitions = max(settings.shuffle_partitions, rows // _ROWS_PER_PARTITION)
    spark.conf.set(_PARTITIONS, str(partitions))
    try:
        yield
    finally:
        spark.conf.set(_PARTITIONS, str(settings.shuffle_partitions))


@contextmanager
def plan_simply(spark: SparkSession, rows: int) -> Iterator[None]:
    """Interpret queries of few rows as they are planned: to compile them, and to plan them anew, would take longer."""
    values = _SIMPLE_PLANS if rows <= _FEW_ROWS else {}
    before = {name: spark.conf.get(name) for name in values}
    try:
        for name, value in values.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, earlier in before.items():
            spark.conf.set(name, str(earlier))


def _start_java(conf: SparkConf) -> subprocess.Popen[bytes]:
    """Start Spark's Java process, or return the one that this process has; its stderr without a known warning."""
    gateway = SparkContext._gateway  # noqa: SLF001 - the only way to say how Java is started
    if gateway is None:
        gateway = launch_gateway(conf, {"stderr": subprocess.PIPE})  # type: ignore[no-untyped-call]
        SparkContext._ensure_initialized(gateway=gateway)  # noqa: SLF001 - as above
        threading.Thread(target=_pass_on, args=(gateway.proc.stderr,), name="Java's stderr", daemon=True).start()
    java: subprocess.Popen[bytes] = gateway.proc
    return java


def _pass_on(lines: IO[bytes]) -> None:
    for line in lines:
        if INCUBATOR not in line:
            sys.stderr.write(line.decode(errors="replace"))


def _end(java: subprocess.Popen[bytes]) -> None:
    java.terminate()
    with suppress(subprocess.TimeoutExpired):
        java.wait(_SECONDS_TO_END)
    java.kill()


def _take_interrupts() -> None:
    """On Ctrl-C raise KeyboardInterrupt alone: PySpark's own handler waits, and py4j logs the call that it cuts off."""

    def interrupt(*_: object) -> NoReturn:
        logging.disable(logging.CRITICAL)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupt)


def _silence_known_warnings() -> None:
    warnings.filterwarnings("ignore", PANDAS_3, FutureWarning)
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # PySpark prints as JSON every error that it also raises.
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)
    # py4j logs the call that Ctrl-C cut off.
    logging.getLogger().addFilter(_is_no_interrupt)


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    return "KeyboardInterrupt" not in str(record.msg)


def _own_conf(settings: SparkSettings) -> SparkConf:
    """Configuration of a session of this process: everything is ours to say, before Java starts."""
    os.environ["JAVA_HOME"] = str(find_java())
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if os.environ.get("LC_ALL") in {"C", "POSIX"}:
        os.environ["LC_ALL"] = "C.UTF-8"  # Java could not name a folder that is not ASCII
    conf = SparkConf().setMaster(settings.master)
    if settings.master.startswith("local"):
        os.environ["SPARK_LOCAL_IP"] = LOOPBACK  # the only way to bind the UI
        conf.set("spark.driver.bindAddress", LOOPBACK).set("spark.driver.host", LOOPBACK)
        conf.set("spark.local.dir", tempfile.gettempdir())  # Java knows nothing of TMPDIR
    if jars := ensure_jars():
        conf.set("spark.jars", ",".join(map(str, jars)))
    conf.set("spark.driver.memory", settings.driver_memory)
    conf.set("spark.driver.extraJavaOptions", f"-Dlog4j2.configurationFile={ROOT / 'conf' / 'log4j2.properties'}")
    for name, value in _every_session(settings).items():
        conf.set(name, value)
    return conf


def _submitted_conf(settings: SparkSettings) -> SparkConf:
    """Configuration of a session that spark-submit began: its own options stay, the rest is ours."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    SparkContext._ensure_initialized()  # noqa: SLF001 - the only way to ask Java before there is a session
    _check_delta_is_loaded()
    conf = SparkConf()
    if conf.get("spark.master", "").startswith("local"):
        conf.setIfMissing("spark.driver.bindAddress", LOOPBACK).setIfMissing("spark.driver.host", LOOPBACK)
        conf.setIfMissing("spark.local.dir", tempfile.gettempdir())
        # Java has started, so a UI could only be bound to loopback by its environment.
        conf.setIfMissing("spark.ui.enabled", str(os.environ.get("SPARK_LOCAL_IP") == LOOPBACK).lower())
    for name, value in _every_session(settings).items():
        conf.setIfMissing(name, value)
    return conf


def _every_session(settings: SparkSettings) -> dict[str, str]:
    partitions = str(settings.shuffle_partitions)
    return {
        "spark.ui.showConsoleProgress": "false",  # the runner's own line tells of Spark's tasks
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # Below this Spark measures a batch anew at every row, which takes the square of a batch's rows.
        "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
        # Without open files to spare, Spark sorts all rows by the table's partition before it writes any.
        "spark.sql.maxConcurrentOutputFileWriters": "8",
        # A page whose bytes changed on the disk is an error, not another number.
        "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
        _PARTITIONS: partitions,
        # By default Delta reads its log in 50 tasks and Spark lists folders in as many tasks as there are paths.
        "spark.databricks.delta.snapshotPartitions": partitions,
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": partitions,
        **{f"spark.executorEnv.{name}": value for name, value in ONE_THREAD.items()},
    }


def _check_delta_is_loaded() -> None:
    jvm = SparkContext._jvm  # noqa: SLF001
    assert jvm is not None
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    if loader.getResource("io/delta/sql/DeltaSparkSessionExtension.class") is None:
        raise UsageError(
            "spark-submit started a Spark without Delta",
            where=os.environ.get("SPARK_HOME", ""),
            expected=", ".join(jar.name for jar in DELTA_JARS),
            fix="run `nocturne doctor` once, which puts the jars into pyspark's folder, "
            "or give spark-submit `--packages io.delta:delta-spark_4.2_2.13:4.4.0`",
        )
