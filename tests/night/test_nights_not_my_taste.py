"""Listens that are not a listener's taste, through whole nights: kept out, proved by the gate, and brought back."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed
from nocturne.core.night import Night
from nocturne.flow import stage
from nocturne.pipeline.runner import run_nights, run_stage, run_validation
from nocturne.storage import tables, writing
from tests.fixtures import landed_steers
from tests.fixtures.caves_and_lakes import KEEP_THE_MODEL, catalogue, listen_all, lists_of
from tests.fixtures.empty_warehouses import create_empty
from tests.fixtures.simulated_service import FIRST, Service

NO_CAVES = {"not_taste": [{"tags": ["cave"]}], "holds": "always"}
NOTHING = {"holds": "always"}
EARLY = {"not_taste": [{"days": {"last": str(FIRST)}}], "holds": "always"}


def ask(folder: Path, offset: int, **plans: dict[str, object]) -> None:
    """Land what listeners ask for on a day."""
    landed_steers.land(folder / "landing", FIRST + timedelta(days=offset), plans)


@pytest.fixture
def service(land) -> Service:
    """Four nights of listening."""
    return land({offset: listen_all(offset) for offset in range(4)}, catalogue())


def rows_of(night: Night, table: str = "interactions") -> dict[str, dict[str, Any]]:
    return {row["user_id"]: row for row in tables.night_rows(night, table).to_pylist()}


def build(spark: SparkSession, night: Night) -> None:
    """Run the stages up to `interactions`, and hold what they wrote against its suites."""
    if not Path(night.warehouse.path).exists():
        create_empty(night.warehouse)
    for name in ("ingest_events", "ingest_steers", "build_interactions"):
        run_stage(spark, night, stage(name))
        run_validation(spark, night, stage(name).writes, close=True)


def test_listens_are_kept_out_from_the_night_of_the_request_on_until_it_is_undone(
    spark: SparkSession, service: Service, tmp_path: Path
) -> None:
    asked = [service.night(offset) for offset in range(4)]
    empty = tmp_path / "undisturbed"
    shutil.copytree(service.folder / "landing", empty / "landing")
    never_asked = [Service(empty).night(offset) for offset in range(4)]
    ask(service.folder, 1, u01=NO_CAVES, u03=EARLY)
    ask(service.folder, 3, u01=NOTHING, u03=NOTHING)
    for night in (*asked, *never_asked):
        build(spark, night)
    rows, before = rows_of(asked[1]), rows_of(asked[0])
    assert not any(rows["u01"]["play_sums"])
    assert (rows["u01"]["item_indexes"], rows["u01"]["recent_items"]) == (before["u01"]["item_indexes"], [])
    assert sorted(map(bool, rows["u03"]["play_sums"])) == [False, False, True]
    assert len(rows["u03"]["recent_items"]) == 1
    told = rows_of(asked[1], "set_aside")
    assert {user: (row["listens"], row["older"]) for user, row in told.items()} == {
        "u01": (4, False),
        "u03": (3, False),
    }
    told = rows_of(asked[2], "set_aside")
    assert {user: (row["listens"], row["asked_on"]) for user, row in told.items()} == {
        user: (listens, FIRST + timedelta(days=1)) for user, listens in (("u01", 5), ("u03", 3))
    }
    for offset in (1, 2):
        without, now = rows_of(never_asked[offset]), rows_of(asked[offset])
        assert {user for user in now if now[user] != without[user]} == {"u01", "u03"}
    assert rows_of(asked[3], "set_aside") == {}
    assert rows_of(asked[3]) == rows_of(never_asked[3])


def test_a_night_made_again_gives_the_same_rows_here_and_in_tasks(
    spark: SparkSession, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = [service.night(offset) for offset in range(2)]
    ask(service.folder, 1, u01=NO_CAVES)
    for night in nights:
        build(spark, night)
    first = rows_of(nights[1]), rows_of(nights[1], "set_aside")
    monkeypatch.setattr("nocturne.ingestion.build_interactions._FEW_ROWS", -1)
    build(spark, nights[1])
    assert (rows_of(nights[1]), rows_of(nights[1], "set_aside")) == first


def test_what_only_sums_still_hold_stays_and_the_row_says_so(spark: SparkSession, service: Service) -> None:
    nights = [service.night(offset, "retention.nights.listens=1") for offset in range(3)]
    ask(service.folder, 2, u01=NO_CAVES)
    for night in nights:
        build(spark, night)
    told, row = rows_of(nights[2], "set_aside")["u01"], rows_of(nights[2])["u01"]
    assert (told["listens"], told["older"]) == (1, True)
    assert any(row["play_sums"])
    assert sum(row["play_sums"]) < sum(told["play_sums"])


def test_what_is_not_taste_is_heard_and_nothing_like_it_is_learned(service: Service) -> None:
    night = service.night(0, *KEEP_THE_MODEL)
    ask(service.folder, 0, u01=NO_CAVES)
    run_nights([night])
    heard = {row["item_id"] for row in tables.night_rows(night, "listens").to_pylist() if row["user_id"] == "u01"}
    assert heard
    assert not heard & {*lists_of(night)["u01"]}


def test_a_row_that_holds_what_was_to_be_kept_out_closes_the_gate(spark: SparkSession, service: Service) -> None:
    night = service.night(0)
    ask(service.folder, 0, u01=NO_CAVES)
    build(spark, night)
    stored = tables.night_rows(night, "interactions")
    rows = stored.to_pylist()
    (spoilt,) = [row for row in rows if row["user_id"] == "u01"]
    spoilt["play_sums"][0] = 1
    writing.replace_night(stored.from_pylist(rows, schema=stored.schema), "interactions", night)
    with pytest.raises(GateClosed, match="wrong_rows"):
        run_validation(spark, night, ["set_aside"], close=True)
    told = tables.night_rows(night, "set_aside")
    writing.replace_night(told.slice(0, 0), "set_aside", night)
    with pytest.raises(GateClosed, match="unasked"):
        run_validation(spark, night, ["set_aside"], close=True)
