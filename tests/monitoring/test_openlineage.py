"""OpenLineage events: what a stage read and wrote, in the words of the standard; whatever fails, no stage does."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nocturne.core.errors import InputError, Interrupted
from nocturne.core.night import Night
from nocturne.flow import VALIDATION, stage
from nocturne.monitoring import openlineage
from nocturne.monitoring.openlineage import Written, night_run_id, stage_run_id, told_as_run
from nocturne.storage import tables
from nocturne.storage.contracts import contract

INGEST = stage("ingest_events")


@pytest.fixture
def told(night, tmp_path: Path) -> Night:
    """A night whose events are written."""
    made: Night = night()
    return night(made.run_date, f"monitoring.openlineage_folder={tmp_path / 'lineage'}")


def events(night: Night) -> list[dict[str, Any]]:
    file = Path(night.settings.monitoring.openlineage_folder, f"{night.run_date}.ndjson")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_stage_that_ends_well_starts_and_completes_one_run_of_the_night(told: Night) -> None:
    with told_as_run(told, INGEST, pytest.fail):
        pass
    start, complete = events(told)
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"] == stage_run_id(told, "ingest_events")
    assert start["eventTime"] <= complete["eventTime"]
    namespace = f"nocturne:{told.warehouse.folder}"
    assert (start["job"]["namespace"], start["job"]["name"]) == (namespace, "night.ingest_events")
    parent = start["run"]["facets"]["parent"]
    assert (parent["run"]["runId"], parent["job"]["name"]) == (night_run_id(told), "night")
    assert start["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2025-03-02T00:00:00+00:00"
    assert all(event["schemaURL"].endswith("#/$defs/RunEvent") for event in (start, complete))


def test_tables_are_datasets_with_schema_and_what_was_written_of_them(told: Night) -> None:
    with told_as_run(told, INGEST, pytest.fail) as run:
        run.written = {"listens": Written(12, 3_456, 2)}
    start, complete = events(told)
    folder = told.warehouse.folder
    inputs = {each["name"]: each for each in start["inputs"]}
    assert inputs.keys() == {told.landing, *(f"{folder}/{name}" for name in INGEST.reads if name != "landing")}
    assert {each["namespace"] for each in start["inputs"]} == {"file"}
    outputs = {Path(each["name"]).name: each for each in complete["outputs"]}
    assert set(outputs) == set(INGEST.writes)
    listens = outputs["listens"]
    fields = [each["name"] for each in listens["facets"]["schema"]["fields"]]
    assert fields == [column.name for column in contract("listens").columns]
    statistics = listens["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"], statistics["fileCount"]) == (12, 3_456, 2)
    assert listens["facets"]["version"]["datasetVersion"] == str(tables.version(told.warehouse, "listens"))
    assert outputs["items"].get("outputFacets", {}) == {}


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (InputError("the landing day is not complete", found="u00000003"), "FAIL", "the landing day is not complete"),
        (ValueError("u00000003"), "FAIL", "ValueError"),
        (Interrupted("interrupted at ingest_events"), "ABORT", "interrupted at ingest_events"),
        (KeyboardInterrupt(), "ABORT", "KeyboardInterrupt"),
    ],
)
def test_a_stage_that_fails_is_told_with_its_error_and_no_listener(
    told: Night, error: BaseException, kind: str, message: str
) -> None:
    with pytest.raises(type(error)), told_as_run(told, INGEST, pytest.fail):
        raise error
    start, end = events(told)
    assert (start["eventType"], end["eventType"]) == ("START", kind)
    assert end["run"]["facets"]["errorMessage"]["message"] == message
    assert "u00000003" not in json.dumps(end)


def test_a_validation_tells_what_was_expected_of_its_tables(told: Night) -> None:
    row = {"expectation": "rows", "outcome": "failed", "severity": "critical", "limit": ">= 1", "observed": 0.0}
    skipped = row | {"expectation": "churn", "outcome": "skipped", "observed": None}
    with told_as_run(told, VALIDATION, pytest.fail, ["listens"]) as run:
        run.expectations = {"listens": [row, skipped]}
    _, complete = events(told)
    (listens,) = complete["inputs"]
    (assertion,) = listens["inputFacets"]["dataQualityAssertions"]["assertions"]
    told_of = ("assertion", "success", "severity", "expected", "actual")
    assert [assertion[name] for name in told_of] == ["rows", False, "error", ">= 1", "0"]
    assert complete["run"]["runId"] == stage_run_id(told, "validate_table", "listens")


def test_run_ids_are_those_of_the_attempt_and_the_night_of_all_its_attempts(told: Night) -> None:
    first, again = (replace(told, warehouse=replace(told.warehouse, token=token)) for token in (1, 2))
    assert stage_run_id(first, "train_als") == stage_run_id(first, "train_als")
    assert stage_run_id(first, "train_als") != stage_run_id(again, "train_als")
    assert stage_run_id(first, "train_als") != stage_run_id(first, "rank_users")
    assert night_run_id(first) == night_run_id(again) != night_run_id(first.on(first.run_date.replace(day=3)))


def test_without_a_folder_nothing_is_written_and_nothing_imported(night, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*.ndjson"))
    with told_as_run(night(), INGEST, pytest.fail):
        pass
    assert set(tmp_path.rglob("*.ndjson")) == before


def test_a_folder_that_cannot_be_written_is_told_once_and_fails_nothing(night, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = night(night().run_date, f"monitoring.openlineage_folder={tmp_path / 'file' / 'lineage'}")
    openlineage._unwritable.clear()
    heard: list[str] = []
    for name in ("ingest_events", "train_als"):
        with told_as_run(made, stage(name), heard.append):
            pass
    (sentence,) = heard
    assert sentence.startswith(f"OpenLineage events cannot be written to {tmp_path / 'file' / 'lineage'}: ")
