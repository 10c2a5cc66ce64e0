"""Suites are Great Expectations' own, and hold what they say."""

import math

import pytest

from nocturne.core.errors import UsageError
from nocturne.core.settings import load_settings
from nocturne.flow import VALIDATED_TABLES
from nocturne.validation import suites

ITEM_INDEX = {"duplicate_indexes": 0.0, "duplicate_items": 0.0, "gaps": 0.0, "share_new": 0.1}


@pytest.mark.parametrize("table", VALIDATED_TABLES)
def test_great_expectations_reads_every_suite(table: str) -> None:
    import great_expectations as gx  # of three seconds, which other tests need not wait

    suite = gx.ExpectationSuite(**suites.suite(table))

    assert suite.name == table
    assert len(suite.expectations) == len(suites.meanings(table))
    assert all(expectation.description for expectation in suite.expectations)


@pytest.mark.parametrize("table", VALIDATED_TABLES)
def test_the_settings_that_ship_name_every_threshold_and_no_other(table: str) -> None:
    suites.check_thresholds(table, load_settings().expectations[table])


@pytest.mark.parametrize(
    ("thresholds", "problem"),
    [({}, "max_share_new is missing"), ({"max_share_new": 0.2, "max_share_newer": 0.2}, "max_share_newer is unknown")],
)
def test_missing_and_unknown_thresholds_are_settings_errors(thresholds: dict[str, float], problem: str) -> None:
    with pytest.raises(UsageError, match=rf"(?s)item_index.*{problem}"):
        suites.evaluate("item_index", ITEM_INDEX, thresholds)


def outcome(profile: dict[str, float | None], metric: str) -> suites.Outcome:
    outcomes = suites.evaluate("item_index", ITEM_INDEX | profile, {"max_share_new": 0.2})
    return next(each for each in outcomes if each.metric == metric)


def test_a_metric_at_its_limit_holds_and_beyond_it_fails() -> None:
    assert outcome({"share_new": 0.2}, "share_new").outcome == "success"
    assert outcome({"share_new": 0.2000001}, "share_new").outcome == "failed"


def test_the_limit_is_told_with_the_threshold_of_the_settings() -> None:
    assert [outcome({}, metric).limit for metric in ("share_new", "gaps")] == ["<= 0.2", "= 0"]


def test_only_a_critical_failure_closes_the_gate() -> None:
    assert outcome({"gaps": 1.0}, "gaps").closes_gate
    assert not outcome({"share_new": 0.9}, "share_new").closes_gate


def test_a_metric_that_is_not_there_is_skipped() -> None:
    skipped = outcome({"share_new": None}, "share_new")

    assert (skipped.outcome, skipped.observed) == ("skipped", None)


def test_a_metric_that_is_no_number_fails() -> None:
    assert outcome({"gaps": math.nan}, "gaps").outcome == "failed"
