"""Suites: the expectations of a table's profile, in Great Expectations' own JSON, thresholds from settings.

An expectation is about one metric: `expect_column_max_to_be_between` on the column of that name, in a frame
of one row. Great Expectations takes seconds to import, so that is left until a profile is evaluated.
"""

import contextlib
import gc
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from nocturne import ROOT
from nocturne.core.errors import UsageError
from nocturne.flow import GATED_TABLES, VALIDATED_TABLES

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition

CRITICAL = "critical"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one expectation.

    Attributes:
        limit: the limit of the metric, such as `>= 0.2`.
        outcome: success, failed or skipped.
        meaning: a failure explained, and what to look at.
    """

    metric: str
    severity: str
    observed: float | None
    limit: str
    outcome: str
    meaning: str

    @property
    def closes_gate(self) -> bool:
        """True for a critical expectation that failed."""
        return self.severity == CRITICAL and self.outcome == "failed"


@cache
def suite(table: str) -> dict[str, Any]:
    """The suite in expectations/<table>.json, as it stands there. Not to be changed."""
    content: dict[str, Any] = json.loads((ROOT / "expectations" / f"{table}.json").read_text(encoding="utf-8"))
    return content


def critical_expectations() -> dict[str, set[str]]:
    """Names of the critical expectations of every gated table."""
    return {table: metric_names(table, CRITICAL) for table in GATED_TABLES}


def metric_names(table: str, severity: str | None = None) -> set[str]:
    """Metrics that the table's suite has expectations of; only those of one severity if it is given."""
    expectations = (each for each in suite(table)["expectations"] if severity in (None, each["severity"]))
    return {each["kwargs"]["column"] for each in expectations}


def meanings(table: str) -> dict[tuple[str, str], str]:
    """The meaning of each expectation, by metric and severity."""
    return {_key(each): each["description"] for each in suite(table)["expectations"]}


def check_thresholds(table: str, thresholds: Mapping[str, float]) -> None:
    """Raise UsageError unless the thresholds are just those that the table's suite names."""
    parameters = set(re.findall(r'"\$PARAMETER": "(\w+)"', json.dumps(suite(table))))
    problems = [
        *(f"{name} is missing" for name in sorted(parameters - thresholds.keys())),
        *(f"{name} is unknown" for name in sorted(thresholds.keys() - parameters)),
    ]
    if problems:
        raise UsageError(
            f"the thresholds of {table} are not those of its suite",
            where=f"[expectations.{table}]",
            found=", ".join(problems),
            expected=", ".join(sorted(parameters)) or "none",
            fix=f"compare the section with expectations/{table}.json",
        )


def check_all_thresholds(thresholds: Mapping[str, Mapping[str, float]]) -> None:
    """`check_thresholds` of every table; UsageError as well for a section of no table."""
    for table in VALIDATED_TABLES:
        check_thresholds(table, thresholds.get(table, {}))
    if unknown := sorted(thresholds.keys() - set(VALIDATED_TABLES)):
        raise UsageError("no such table has a suite", where="[expectations]", found=", ".join(unknown))


def evaluate(table: str, profile: Mapping[str, float | None], thresholds: Mapping[str, float]) -> list[Outcome]:
    """Evaluate a table's suite on its profile; metrics that are None are skipped.

    Raises:
        UsageError: thresholds are missing or unknown.
    """
    check_thresholds(table, thresholds)
    expectations = suite(table)["expectations"]
    measured = {name: float(value) for name, value in profile.items() if value is not None}
    evaluated = [each for each in expectations if profile[each["kwargs"]["column"]] is not None]
    passed = iter(_run_great_expectations(table, evaluated, measured, thresholds) if evaluated else [])
    return [
        Outcome(
            metric=(metric := each["kwargs"]["column"]),
            severity=each["severity"],
            observed=measured.get(metric),
            limit=_limit(each["kwargs"], thresholds),
            outcome="skipped" if metric not in measured else "success" if next(passed) else "failed",
            meaning=each["description"],
        )
        for each in expectations
    ]


def _run_great_expectations(
    table: str, expectations: list[dict[str, Any]], row: Mapping[str, float], thresholds: Mapping[str, float]
) -> list[bool]:
    """True for each expectation that holds, in their order."""
    import great_expectations as gx
    import pandas as pd

    suite_of_table = gx.ExpectationSuite(name=table, expectations=expectations)
    batch = prepare().get_batch({"dataframe": pd.DataFrame([row])})
    with _quiet_logger():
        results = batch.validate(suite_of_table, expectation_parameters=dict(thresholds)).results
    answers = [result.to_json_dict() for result in results]
    success_by_key = {_key(answer["expectation_config"]): bool(answer["success"]) for answer in answers}
    return [success_by_key[_key(each)] for each in expectations]


def _key(expectation: Any) -> tuple[str, str]:
    """Metric and severity, which no two expectations of a suite share."""
    return expectation["kwargs"]["column"], expectation["severity"]


@cache
def prepare() -> "BatchDefinition[Any]":
    """Import Great Expectations, which takes seconds, so that no table's time has it in it."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with _without_garbage_collection():
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    asset = context.data_sources.add_pandas("profiles").add_dataframe_asset("profile")
    return asset.add_batch_definition_whole_dataframe("night")


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Modules are no garbage: to look through them again and again is a fifth of the time of importing them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def _quiet_logger() -> Any:
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _limit(kwargs: Mapping[str, Any], thresholds: Mapping[str, float]) -> str:
    low, high = (_value(kwargs.get(name), thresholds) for name in ("min_value", "max_value"))
    if low is not None and low == high:
        return f"= {low:g}"
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f">= {low:g}" if low is not None else f"<= {high:g}"


def _value(limit: Any, thresholds: Mapping[str, float]) -> float | None:
    return thresholds[limit["$PARAMETER"]] if isinstance(limit, dict) else limit
