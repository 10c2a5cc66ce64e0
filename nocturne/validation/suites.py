"""Suites: what a profile is held against, in Great Expectations' own JSON, thresholds from settings.

An expectation is about one metric: `expect_column_max_to_be_between` on the column of that name, in a frame
of one row. Great Expectations takes seconds to import, so that is left until a profile is held.
"""

import contextlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from nocturne import ROOT
from nocturne.core.errors import SettingsError
from nocturne.flow import GATED_TABLES

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition

CRITICAL = "critical"


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation.

    Attributes:
        limit: what the metric was held against, such as `>= 0.2`.
        outcome: success, failed or skipped.
        meaning: what a failure means and what to look at.
    """

    metric: str
    severity: str
    observed: float | None
    limit: str
    outcome: str
    meaning: str

    @property
    def closes(self) -> bool:
        """Whether it closes the gate."""
        return self.severity == CRITICAL and self.outcome == "failed"


@cache
def suite(table: str) -> dict[str, Any]:
    """The suite in expectations/<table>.json, as it stands there. Not to be changed."""
    content: dict[str, Any] = json.loads((ROOT / "expectations" / f"{table}.json").read_text(encoding="utf-8"))
    return content


def expected() -> dict[str, set[str]]:
    """Names of the critical expectations of every gated table."""
    return {table: metrics(table, CRITICAL) for table in GATED_TABLES}


def metrics(table: str, severity: str | None = None) -> set[str]:
    """Metrics that the table's suite asks for; only those of one severity if it is given."""
    asked = (each for each in suite(table)["expectations"] if severity in (None, each["severity"]))
    return {each["kwargs"]["column"] for each in asked}


def meanings(table: str) -> dict[tuple[str, str], str]:
    """What each expectation means, by metric and severity."""
    return {_key(each): each["description"] for each in suite(table)["expectations"]}


def check_thresholds(table: str, thresholds: Mapping[str, float]) -> None:
    """Raise SettingsError unless the thresholds are just those that the table's suite names."""
    wanted = set(re.findall(r'"\$PARAMETER": "(\w+)"', json.dumps(suite(table))))
    problems = [
        *(f"{name} is missing" for name in sorted(wanted - thresholds.keys())),
        *(f"{name} is unknown" for name in sorted(thresholds.keys() - wanted)),
    ]
    if problems:
        raise SettingsError(
            f"the thresholds of {table} are not those of its suite",
            where=f"[expectations.{table}]",
            found=", ".join(problems),
            expected=", ".join(sorted(wanted)) or "none",
            fix=f"compare the section with expectations/{table}.json",
        )


def check_all_thresholds(thresholds: Mapping[str, Mapping[str, float]]) -> None:
    """`check_thresholds` of every table; SettingsError as well for a section of no table."""
    for table in GATED_TABLES:
        check_thresholds(table, thresholds.get(table, {}))
    if unknown := sorted(thresholds.keys() - set(GATED_TABLES)):
        raise SettingsError("no such table has a suite", where="[expectations]", found=", ".join(unknown))


def hold(table: str, profile: Mapping[str, float | None], thresholds: Mapping[str, float]) -> list[Outcome]:
    """Hold a profile against its table's suite; metrics that are None are skipped.

    Raises:
        SettingsError: thresholds are missing or unknown.
    """
    check_thresholds(table, thresholds)
    expectations = suite(table)["expectations"]
    known = {name: float(value) for name, value in profile.items() if value is not None}
    held = [each for each in expectations if profile[each["kwargs"]["column"]] is not None]
    passed = iter(_validate(table, held, known, thresholds) if held else [])
    return [
        Outcome(
            metric=(metric := each["kwargs"]["column"]),
            severity=each["severity"],
            observed=known.get(metric),
            limit=_limit(each["kwargs"], thresholds),
            outcome="skipped" if metric not in known else "success" if next(passed) else "failed",
            meaning=each["description"],
        )
        for each in expectations
    ]


def _validate(
    table: str, expectations: list[dict[str, Any]], row: Mapping[str, float], thresholds: Mapping[str, float]
) -> list[bool]:
    """Whether each expectation holds, in their order."""
    import great_expectations as gx
    import pandas as pd

    asked = gx.ExpectationSuite(name=table, expectations=expectations)
    batch = prepare().get_batch({"dataframe": pd.DataFrame([row])})
    with _silence():
        results = batch.validate(asked, expectation_parameters=dict(thresholds)).results
    answers = [each.to_json_dict() for each in results]
    by_key = {_key(each["expectation_config"]): bool(each["success"]) for each in answers}
    return [by_key[_key(each)] for each in expectations]


def _key(expectation: Any) -> tuple[str, str]:
    """Metric and severity: what tells the expectations of a suite apart."""
    return expectation["kwargs"]["column"], expectation["severity"]


@cache
def prepare() -> "BatchDefinition[Any]":
    """Import Great Expectations, which takes seconds, so that no table's time has it in it."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    asset = context.data_sources.add_pandas("profiles").add_dataframe_asset("profile")
    return asset.add_batch_definition_whole_dataframe("night")


@contextlib.contextmanager
def _silence() -> Any:
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
