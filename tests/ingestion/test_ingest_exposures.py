"""Exposures of a night: every line ends in one place, writers are named, and nothing that lies there is an error."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from nocturne.core.erasure import ErasureKey, Tombstones
from nocturne.core.errors import InputError
from nocturne.core.night import Night
from nocturne.core.stage import StageResult
from nocturne.flow import stage
from nocturne.ingestion import ingest_exposures as stage_module
from nocturne.ingestion.exposure_rows import REASONS
from nocturne.serving.http.exposures import Exposures, exposure
from nocturne.serving.now_playing import Answer, Suggestion
from nocturne.storage import tables
from tests.fixtures.fake_service import TUESDAY, FakeServed
from tests.fixtures.landed_exposures import DAY, land, line, mark

TABLES = stage("ingest_exposures").writes


@pytest.fixture
def tonight(night: Callable[..., Night]) -> Night:
    return night(DAY, "spark.shuffle_partitions=1")


def ingest(night: Night, spark: SparkSession | None = None) -> StageResult:
    """Ingest the night; without a session Spark has nothing to do."""
    return stage_module.ingest_exposures(spark, night, lambda *_: None)


def rows(night: Night, table: str) -> list[dict[str, Any]]:
    found = tables.night_rows(night, table).to_pylist()
    return sorted(
        found, key=lambda row: tuple(str(row.get(name)) for name in ("writer", "exposure_id", "reason", "raw"))
    )


def accounts(night: Night) -> dict[str, dict[str, Any]]:
    return {row["writer"]: row for row in rows(night, "exposure_ingests")}


def land_a_day_with_everything_in_it(landing: str) -> None:
    differing = {"arm": "mix/control", "differences": {"bold": 3, "calm": None}}
    land(landing, "web-1", line("1"), line("2", user_id="ben", **differing), "", line("1"))
    land(landing, "web-1", line("3", shown_at="2025-03-01T23:59:59Z"), name="part-000002.jsonl.gz")
    mark(landing, "web-1", 4)
    land(
        landing,
        "web-2",
        line("1", shown_at="2025-03-02T11:00:00Z"),
        line("4") + line("5"),
        line("6", user_id="caf\udce9"),
    )
    land(
        landing,
        "web-2",
        line("7", user_id=" "),
        line("L" * 512),
        line("8", shown_at="yesterday"),
        name="part-000002.jsonl",
    )
    mark(landing, "web-2", 6)
    land(landing, "web-3", *(line(f"9-{number}") for number in range(3)))
    whole = gzip.compress("".join(line(f"10-{number}") + "\n" for number in range(400)).encode(), mtime=0)
    land(landing, "web-4", line("11"))
    Path(land(landing, "web-4", name="part-000002.jsonl")).with_suffix(".jsonl.gz").write_bytes(whole[:-300])
    mark(landing, "web-4", 401)
    mark(landing, "web-5", 0)


def test_every_line_ends_in_one_place_and_every_writer_has_its_account(tonight: Night) -> None:
    land_a_day_with_everything_in_it(tonight.landing)
    result = ingest(tonight)
    found = accounts(tonight)
    assert {name: row["state"] for name, row in found.items()} == {
        "web-1": "complete",
        "web-2": "complete",
        "web-3": "unfinished",
        "web-4": "torn",
        "web-5": "complete",
    }
    for row in found.values():
        assert row["lines"] == row["accepted"] + row["duplicates"] + row["rejected"]
        assert row["rejected"] == sum(dict(row["reasons"]).values())
    shown = ("announced", "lines", "accepted", "duplicates", "rejected", "late", "remarks")
    assert [found["web-1"][name] for name in shown] == [4, 4, 2, 2, 0, 1, []]
    assert [found["web-2"][name] for name in shown] == [6, 6, 1, 0, 5, 0, []]
    assert [found["web-3"][name] for name in shown] == [None, 3, 3, 0, 0, 0, ["there is no _SUCCESS"]]
    assert [found["web-5"][name] for name in shown] == [0] * 6 + [[]]
    torn = found["web-4"]
    assert 1 < torn["lines"] < 401
    assert torn["remarks"] == [
        "part-000002.jsonl.gz is cut short or damaged",
        f"_SUCCESS announces 401 rows, and there are {torn['lines']}",
    ]
    assert dict(found["web-2"]["reasons"]) == {
        "unparsable": 2,
        "missing_user_id": 1,
        "long_id": 1,
        "invalid_shown_at": 1,
    }
    assert result.read == sum(row["lines"] for row in found.values())
    assert (torn["rejected"], dict(torn["reasons"])) == (1, {"unparsable": 1})  # the line that it was cut in
    assert result.rejected == 8
    assert result.remark == ("torn: web-4 (part-000002.jsonl.gz is cut short or damaged and 1 more); unfinished: web-3")


def test_the_tables_hold_what_landed(tonight: Night) -> None:
    land_a_day_with_everything_in_it(tonight.landing)
    ingest(tonight)
    stored = {row["exposure_id"]: row for row in rows(tonight, "exposures")}
    assert {"1", "2", "3", "11", "9-0", "9-1", "9-2", "10-0"} <= set(stored)
    assert not {"4", "5", "6", "7", "8"} & set(stored)
    assert str(stored["1"]["shown_at"]) == "2025-03-02 11:00:00+00:00"
    assert stored["1"]["items"] == [{"item_id": "a", "propensity": 1.0}, {"item_id": "b", "propensity": 0.25}]
    assert {identity for identity, row in stored.items() if row["late"]} == {"3"}
    assert stored["2"]["differences"] == [("bold", 3), ("calm", None)]
    assert {identity for identity, row in stored.items() if row["differences"] is not None} == {"2"}
    rejected = rows(tonight, "exposure_rejects")
    unparsable = [row for row in rejected if row["reason"] == "unparsable"]
    assert {row["writer"]: row["file"] for row in unparsable} == {
        "web-2": "part-000001.jsonl",
        "web-4": "part-000002.jsonl.gz",
    }
    assert [row["raw"] for row in unparsable if row["writer"] == "web-2"] == [
        line("4") + line("5"),
        line("6").replace("ana", "caf\\xe9"),
    ]
    assert {row["reason"] for row in rejected} <= set(REASONS)


def test_a_second_run_writes_the_same_rows(tonight: Night) -> None:
    land_a_day_with_everything_in_it(tonight.landing)
    ingest(tonight)
    before = {table: rows(tonight, table) for table in TABLES}
    ingest(tonight)
    assert {table: rows(tonight, table) for table in TABLES} == before


def test_many_lines_are_ingested_by_spark_as_few_are_without(
    spark: SparkSession, tonight: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    yesterday = tonight.on(DAY - timedelta(days=1))
    land(tonight.landing, "web-1", line("2", shown_at="2025-03-01T12:00:00Z"), day=yesterday.run_date)
    ingest(yesterday)
    land_a_day_with_everything_in_it(tonight.landing)
    land(tonight.landing, "web-3", line("7", user_id="gone"), '{"user_id": "gone"', line("8", user_id="dan"))
    key = ErasureKey(b"k" * 32)
    erased = Tombstones(key, {key.tombstone("gone"): datetime.combine(DAY + timedelta(days=1), time(), UTC)})
    monkeypatch.setattr(stage_module.tombstones, "read", lambda _: erased)
    few = ingest(tonight)
    before = {table: rows(tonight, table) for table in TABLES}
    assert accounts(tonight)["web-1"]["duplicates"] == 3
    assert {name: accounts(tonight)["web-3"][name] for name in ("lines", "accepted", "rejected", "erased")} == {
        "lines": 3,
        "accepted": 1,
        "rejected": 0,
        "erased": 2,
    }
    assert "gone" not in str(before)
    monkeypatch.setattr(stage_module, "_FEW_BYTES", 0)
    assert ingest(tonight, spark) == few
    assert {table: rows(tonight, table) for table in TABLES} == before


@pytest.mark.parametrize("few_bytes", [2**20, 0])
def test_a_file_that_changes_while_it_is_read_is_left_out_and_its_writer_torn(
    request: pytest.FixtureRequest, tonight: Night, monkeypatch: pytest.MonkeyPatch, few_bytes: int
) -> None:
    spark = None if few_bytes else request.getfixturevalue("spark")
    land(tonight.landing, "web-1", line("1"))
    land(tonight.landing, "web-1", line("2"), "x" * 10, name="part-000002.jsonl")
    mark(tonight.landing, "web-1", 3)
    land(tonight.landing, "web-2", line("3"))
    monkeypatch.setattr(stage_module, "_FEW_BYTES", few_bytes)
    counted = stage_module.with_counts

    def change(*arguments: Any) -> Any:
        land(tonight.landing, "web-1", line("2"), "y\n" * 10, name="part-000002.jsonl")
        return counted(*arguments)

    monkeypatch.setattr(stage_module, "with_counts", change)
    ingest(tonight, spark)
    assert [row["exposure_id"] for row in rows(tonight, "exposures")] == ["1", "3"]
    account = accounts(tonight)["web-1"]
    assert (account["state"], account["lines"], account["accepted"]) == ("torn", 1, 1)
    assert account["remarks"] == [
        "part-000002.jsonl changed while it was read",
        "_SUCCESS announces 3 rows, and there are 1",
    ]


def test_an_exposure_counts_as_seen_for_as_many_nights_as_an_event(night: Callable[..., Night]) -> None:
    for offset in range(4):
        day = DAY + timedelta(days=offset)
        tonight = night(day, "listens.dedup_nights=2", "listens.late_days=5")
        land(tonight.landing, "web", line("1"), line(f"new-{offset}", shown_at=f"{day}T00:00:00Z"), day=day)
        ingest(tonight)
    counts = [accounts(night(DAY + timedelta(days=offset)))["web"]["duplicates"] for offset in range(4)]
    assert counts == [0, 1, 1, 0]


def test_no_folder_is_an_empty_night_without_spark_and_without_a_commit(tonight: Night) -> None:
    before = [tables.version(tonight.warehouse, table) for table in TABLES]
    assert ingest(tonight) == StageResult(0)
    assert [tables.version(tonight.warehouse, table) for table in TABLES] == before


def test_a_night_run_again_when_its_folder_is_gone_has_no_exposures(tonight: Night) -> None:
    land(tonight.landing, "web", line("1"), "{")
    ingest(tonight)
    gone = replace(tonight, landing=f"{tonight.landing}-elsewhere")
    assert ingest(gone) == StageResult(0)
    assert [rows(tonight, table) for table in TABLES] == [[], [], []]


def test_a_day_without_a_readable_folder_is_an_account_and_no_error(tonight: Night) -> None:
    day = Path(tonight.landing, "exposures", f"date={DAY}")
    day.parent.mkdir(parents=True)
    day.touch()
    assert ingest(tonight).remark == "torn: . (the folder of the day cannot be read)"
    (account,) = rows(tonight, "exposure_ingests")
    assert (account["writer"], account["state"], account["lines"]) == (".", "torn", 0)


def test_only_the_first_writers_are_named_where_many_are_not_complete(tonight: Night) -> None:
    for number in range(8):
        land(tonight.landing, f"web-{number}", line(f"{number}"))
    assert ingest(tonight).remark == "unfinished: web-0, web-1, web-2, web-3, web-4, 3 more in exposure_ingests"


def test_rows_that_are_lost_on_the_way_to_the_table_are_an_error_of_ours(
    tonight: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(tonight.landing, "web", line("1"), line("2"))
    written = stage_module.judge_few
    monkeypatch.setattr(stage_module, "judge_few", lambda *arguments: written(*arguments).slice(1))
    with pytest.raises(InputError, match="rows were lost or invented"):
        ingest(tonight)


def test_what_the_service_writes_is_accepted(tonight: Night) -> None:
    wednesday = tonight.on(TUESDAY.run_date + timedelta(days=1))
    at = datetime.combine(wednesday.run_date, time(12), UTC)
    listed = Answer((Suggestion(0, 1.5, "for you", 0.25), Suggestion(2, 1.0, "for you")), "als", "control", "als-1")
    popular = Answer((), "global_popular", "control", "")
    Path(tonight.landing).mkdir()
    exposures = Exposures(Path(tonight.landing), 3600.0, 2**20, today=wednesday.run_date.isoformat)
    exposures.record(exposure(FakeServed(TUESDAY), listed, "now_playing", "ana", "t9", "SE", at))
    exposures.record(exposure(FakeServed(TUESDAY), popular, "list", "ben", None, None, at))
    exposures.record(exposure(FakeServed(TUESDAY), listed, "steer", "cec", "t9", "SE", at, exposure_id="asked"))
    exposures.close()
    assert ingest(wednesday) == StageResult(3)
    ana, ben, cec = sorted(rows(wednesday, "exposures"), key=lambda row: row["user_id"])
    assert (cec["surface"], cec["exposure_id"], cec["items"]) == ("steer", "asked", ana["items"])
    assert ana["items"] == [{"item_id": "t1", "propensity": 0.25}, {"item_id": "t3", "propensity": 1.0}]
    assert (ana["playing_item_id"], ana["generation"], ana["list_run_date"]) == ("t9", TUESDAY.name, TUESDAY.run_date)
    assert (ben["surface"], ben["model_version"], ben["items"]) == ("list", None, [])
    assert [row["state"] for row in rows(wednesday, "exposure_ingests")] == ["complete"]
