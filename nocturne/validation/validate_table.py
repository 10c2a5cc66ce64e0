"""Validation: the tables of a night held against their suites, recorded, and shown.

A critical expectation that fails closes the gate; a warning is reported; one that needs nights, a model or
listeners that are not there is skipped. Whether a night is served is decided by the refresh alone.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from threadpoolctl import threadpool_limits

from nocturne.core.night import Night
from nocturne.storage import fingerprints, tables, writing
from nocturne.storage.contracts import contract
from nocturne.validation import suites
from nocturne.validation.data_docs import write_night_page
from nocturne.validation.profiles import measure
from nocturne.validation.profiles.arithmetic import Measured
from nocturne.validation.suites import CRITICAL, Outcome


@dataclass(frozen=True)
class Verdict:
    """The outcome of validating one table of a night.

    Attributes:
        rows: rows of `validations`.
        metrics: rows of `night_metrics`.
        seconds: time it took, beside that of other tables, apart from writing down the result.
        closed: whether a critical expectation failed.
        failures: a sentence per failed expectation, critical ones first.
    """

    table: str
    rows: pa.Table
    metrics: pa.Table
    seconds: float
    closed: bool
    failures: list[str]


def validate(spark: SparkSession, night: Night, table_names: Sequence[str]) -> list[Verdict]:
    """Hold tables of the night against their suites and record the outcome.

    Writes `validations` and `night_metrics` in one commit each, and the night's page of the Data Docs; it neither opens
    a gate nor closes one.

    Args:
        table_names: tables of flow.VALIDATED_TABLES.

    Raises:
        UsageError: the thresholds of a table are not those that its suite names.
    """
    for table in table_names:
        suites.check_thresholds(table, night.settings.expectations.get(table, {}))
    # One waits for Spark while another computes, each on one core.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(1 + len(table_names)) as beside:
        prepared = beside.submit(suites.prepare)
        measurements = beside.map(partial(_measure, spark, night), table_names)
        try:
            prepared.result()
            verdicts = [
                _judge(night, table, *measurement) for table, measurement in zip(table_names, measurements, strict=True)
            ]
        except KeyboardInterrupt:
            spark.sparkContext.cancelAllJobs()  # which the threads would wait for
            raise
    names = ", ".join(f"'{table}'" for table in table_names)
    where = f"run_date = '{night.run_date}' AND `table` IN ({names})"
    metrics = pa.concat_tables([verdict.metrics for verdict in verdicts])
    writing.replace_rows(metrics, "night_metrics", night.warehouse, where=where)
    rows = pa.concat_tables([verdict.rows for verdict in verdicts])
    writing.replace_rows(rows, "validations", night.warehouse, where=where)
    write_night_page(night)
    return verdicts


def _measure(spark: SparkSession, night: Night, table: str) -> tuple[Measured, str, float]:
    """The measurements of a table, the hash of its files, and the seconds that both took."""
    started = time.monotonic()
    with ThreadPoolExecutor(1) as beside:
        files = beside.submit(fingerprints.file_hashes, night, table)
        measured = measure(spark, night, table)
    return measured, files.result(), time.monotonic() - started


def _judge(night: Night, table: str, measured: Measured, files: str, seconds: float) -> Verdict:
    started = time.monotonic()
    outcomes = suites.evaluate(table, measured.profile, night.settings.expectations.get(table, {}))
    seconds += time.monotonic() - started
    failed = sorted((each for each in outcomes if each.outcome == "failed"), key=lambda each: not each.closes_gate)
    return Verdict(
        table=table,
        rows=_rows(night, table, outcomes, seconds, {"content": measured.row_hash, "files": files}),
        metrics=_metrics(night, table, measured),
        seconds=seconds,
        closed=any(each.closes_gate for each in outcomes),
        failures=[_sentence(table, each) for each in failed],
    )


def _rows(night: Night, table: str, outcomes: list[Outcome], seconds: float, hashes: dict[str, str]) -> pa.Table:
    rows = [
        {
            "run_date": night.run_date,
            "table": table,
            "expectation": each.metric,
            "severity": each.severity,
            "observed": each.observed,
            "limit": each.limit,
            "outcome": each.outcome,
            "seconds": seconds / len(outcomes),
        }
        | hashes
        for each in outcomes
    ]
    return pa.Table.from_pylist(rows, schema=contract("validations").arrow_schema)


def _metrics(night: Night, table: str, measured: Measured) -> pa.Table:
    """The rows of `night_metrics` of a table."""
    rows = [
        {
            "run_date": night.run_date,
            "table": table,
            "metric": metric.name,
            "segment_kind": metric.segment_kind,
            "segment": metric.segment,
            "value": metric.value,
            "count": metric.count,
        }
        for metric in measured.all_metrics
    ]
    return pa.Table.from_pylist(rows, schema=contract("night_metrics").arrow_schema)


def critical_failures(night: Night) -> list[str]:
    """A sentence for every critical expectation of the night that failed, in all tables validated so far."""
    failed = (pc.field("severity") == CRITICAL) & (pc.field("outcome") == "failed")
    rows = tables.rows(night.warehouse, "validations", (pc.field("run_date") == night.run_date) & failed)
    rows = rows.sort_by([("table", "ascending"), ("expectation", "ascending")])
    return [
        f"{row['table']}: {row['expectation']} is {row['observed']:g}, expected {row['limit']}"
        for row in rows.to_pylist()
    ]


def _sentence(table: str, outcome: Outcome) -> str:
    return f"{table}: {outcome.metric} is {outcome.observed:g}, expected {outcome.limit}. {outcome.meaning}"
