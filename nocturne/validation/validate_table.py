"""Validation: the tables of a night held against their suites, recorded, and shown.

A critical expectation that fails closes the gate; a warning is reported; one that needs nights, a model or
listeners that are not there is skipped. Whether a night is served is decided by the refresh alone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.serving import publications
from nocturne.storage import fingerprints, tables
from nocturne.storage.contracts import contract
from nocturne.storage.history import closed_dates
from nocturne.validation import suites
from nocturne.validation.data_docs import write_data_docs
from nocturne.validation.profiles import profile
from nocturne.validation.suites import CRITICAL, Outcome

__all__ = ["Verdict", "closed_dates", "validate"]


@dataclass(frozen=True)
class Verdict:
    """What validating one table of a night came to.

    Attributes:
        rows: rows of `validations`.
        seconds: time it took, apart from writing down the result.
        closed: whether a critical expectation failed.
        failures: a sentence per failed expectation, critical ones first.
    """

    table: str
    rows: pa.Table
    seconds: float
    closed: bool
    failures: list[str]


def validate(spark: SparkSession, night: Night, table_names: Sequence[str]) -> list[Verdict]:
    """Hold tables of the night against their suites and record the outcome.

    Writes `validations` in one commit, the Data Docs, and, if a critical expectation failed, the night's
    state in `nights`; it never opens a gate.

    Args:
        table_names: tables of flow.GATED_TABLES.

    Raises:
        SettingsError: the thresholds of a table are not those that its suite names.
    """
    for table in table_names:
        suites.check_thresholds(table, night.settings.expectations.get(table, {}))
    suites.prepare()
    content = fingerprints.content(spark, night, table_names)
    verdicts = [_validate(spark, night, table, content[table]) for table in table_names]
    names = ", ".join(f"'{table}'" for table in table_names)
    rows = pa.concat_tables([verdict.rows for verdict in verdicts])
    tables.replace(rows, "validations", night, where=f"run_date = '{night.run_date}' AND `table` IN ({names})")
    if any(verdict.closed for verdict in verdicts):
        _close(night)
    write_data_docs(night)
    return verdicts


def _validate(spark: SparkSession, night: Night, table: str, content: str) -> Verdict:
    started = time.monotonic()
    files = fingerprints.fingerprint(night, table)
    found = profile(spark, night, table)
    outcomes = suites.hold(table, found, night.settings.expectations.get(table, {}))
    seconds = time.monotonic() - started
    failed = sorted((each for each in outcomes if each.outcome == "failed"), key=lambda each: not each.closes)
    return Verdict(
        table=table,
        rows=_rows(night, table, outcomes, seconds, {"content": content, "files": files}),
        seconds=seconds,
        closed=any(each.closes for each in outcomes),
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


def _close(night: Night) -> None:
    """Record in `nights` that the gate is closed, and why."""
    failed = (pc.field("severity") == CRITICAL) & (pc.field("outcome") == "failed")
    rows = tables.rows(night, "validations", (pc.field("run_date") == night.run_date) & failed)
    rows = rows.sort_by([("table", "ascending"), ("expectation", "ascending")])
    publications.close(
        night,
        [
            f"{row['table']}: {row['expectation']} is {row['observed']:g}, expected {row['limit']}"
            for row in rows.to_pylist()
        ],
    )


def _sentence(table: str, outcome: Outcome) -> str:
    return f"{table}: {outcome.metric} is {outcome.observed:g}, expected {outcome.limit}. {outcome.meaning}"
