"""Erasure on the real components: nights published, listeners erased, everything searched, and nights after that."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.night import Night
from nocturne.lifecycle import erasure
from nocturne.lifecycle.inventory import (
    LISTENER_TABLES,
    unknown_files,
    unknown_in_landing,
    unknown_in_warehouse,
    unknown_keys,
)
from nocturne.pipeline.runner import run_nights
from nocturne.serving import publications
from nocturne.serving.cache import open_cache
from nocturne.serving.refresh_cache import refresh_cache
from nocturne.serving.rollout import rollback
from nocturne.storage import fingerprints, tables
from nocturne.storage.warehouse import leased
from tests.fixtures import landed_exposures, landed_steers
from tests.fixtures.cache_servers import RedisServer, start_redis
from tests.fixtures.erased_listeners import traces, traces_in_redis
from tests.fixtures.simulated_service import FIRST, Service, event

GONE, STAYS = "listener-who-leaves", "listener-who-stays"
KEEP_THE_MODEL = ("als.retrain_every_nights=9", "als.recipe=settings", "als.regularization=1", "tables.buckets=2")
NIGHTS = 3
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True, scope="module")
def key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOCTURNE_ERASURE_KEY", KEY)
        yield


def catalogue() -> list[dict[str, object]]:
    return [
        {"item_id": f"{word}-{number}", "content_type": "track", "title": f"{word} {number}", "tags": [word]}
        for word in ("cave", "lake")
        for number in range(8)
    ]


def listen_all(offset: int) -> list[dict[str, object]]:
    """Forty listeners of two tastes; one of them leaves later, and has a broken event a day."""
    users = [GONE, STAYS, *(f"u{user:02d}" for user in range(38))]
    events = [
        event(10 * place + turn, user, f"{'cave' if place % 2 else 'lake'}-{(place // 2 + turn + offset) % 8}", offset)
        for place, user in enumerate(users)
        for turn in range(3 if offset == 0 else 1)
    ]
    return [*events, {"event_id": f"broken-{offset}", "user_id": GONE, "item_id": "cave-1", "listened_at": "yesterday"}]


@pytest.fixture(scope="module")
def served(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Three nights, published into LMDB; with exposures, and a plan of the listener who leaves later."""
    folder = tmp_path_factory.mktemp("erased")
    for offset in range(NIGHTS + 1):
        day = FIRST + timedelta(days=offset)
        events = folder / "landing" / "events" / f"date={day}"
        events.mkdir(parents=True)
        rows = listen_all(offset)
        (events / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (events / "_SUCCESS").write_text(str(len(rows)))
        if offset < NIGHTS:
            shown = landed_exposures.line(f"shown-{offset}", user_id=GONE, shown_at=f"{day}T12:00:00Z")
            others = landed_exposures.line(f"else-{offset}", user_id=STAYS, shown_at=f"{day}T12:00:00Z")
            landed_exposures.land(folder / "landing", "web", shown, others, f'{{"user_id": "{GONE}"', day=day)
    items = folder / "landing" / "items"
    items.mkdir()
    (items / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in catalogue()))
    plans = {GONE: {"never": [{"tags": ["cave"]}], "not_taste": [{"tags": ["cave"]}], "holds": "always"}}
    landed_steers.land(folder / "landing", FIRST, plans)
    service = Service(folder)
    run_nights([service.night(offset, *KEEP_THE_MODEL) for offset in range(NIGHTS)])
    return service


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, Path]]:
    """A server that keeps its memory on the disk."""
    folder = tmp_path_factory.mktemp("redis")
    server = start_redis(folder, "--save", "3600 1", "--appendonly", "yes")
    yield server, folder
    server.stop()


def contents(night: Night, table: str, version: int) -> pa.Table:
    delta = DeltaTable(night.warehouse.table_path(table), version=version)
    return delta.to_pyarrow_table(filters=[("run_date", "=", night.run_date)])


@pytest.fixture(scope="module")
def erased(spark: SparkSession, served: Service, redis: tuple[RedisServer, Path]) -> dict[str, object]:
    """The listener erased from both caches and everything else; what was there before."""
    nights = [served.night(offset, *KEEP_THE_MODEL) for offset in range(NIGHTS)]
    for night in nights:
        refresh_cache(spark, replace(night, cache=redis[0].url), lambda *_: None)
    records = publications.all_records(nights[0].warehouse)
    before = {
        (str(record.run_date), table): contents(served.night(0).on(record.run_date), table, version)
        for record in records
        for table, version in record.manifest.versions.items()
        if table in LISTENER_TABLES
    }
    assert traces(served.folder, GONE)
    with open_cache(served.cache, read_only=True) as other:
        assert other.get(GONE)
        arguments = ["erase", GONE, "--why", "ticket 4711", "--warehouse", served.warehouse]
        asked = CliRunner().invoke(app, [*arguments, "--cache", served.cache, "--cache", redis[0].url])
        assert asked.exit_code == 0, asked.output
        withheld = other.get(GONE), other.get(STAYS)
    with open_cache(redis[0].url) as store:
        withheld_in_redis = store.get(GONE), store.get(STAYS)
    with leased(nights[-1].warehouse, FIRST + timedelta(days=NIGHTS)) as warehouse:
        urls = [served.cache, redis[0].url]
        done = erasure.carry_out(warehouse, str(served.folder / "landing"), urls, FIRST + timedelta(days=NIGHTS))
    return {
        "before": before,
        "records": records,
        "withheld": withheld,
        "withheld_in_redis": withheld_in_redis,
        "certificate": done,
    }


def test_who_asked_is_no_longer_served_at_once(erased: dict[str, object]) -> None:
    for name in ("withheld", "withheld_in_redis"):
        gone, stays = erased[name]
        assert gone is None
        assert stays is not None


def test_neither_bytes_nor_decoded_files_name_the_listener(
    served: Service, erased: dict[str, object], redis: tuple[RedisServer, Path]
) -> None:
    assert traces(served.folder, GONE, besides=("landing/events",)) == []
    assert traces(redis[1], GONE) == []
    assert traces_in_redis(redis[0].client, GONE) == []
    assert traces(served.folder, STAYS, besides=("landing/events",))
    assert traces_in_redis(redis[0].client, STAYS)


def test_the_certificate_says_what_was_looked_at_and_that_nothing_was_found(erased: dict[str, object]) -> None:
    done = erased["certificate"]
    assert done.complete
    assert (done.found, done.unknown, done.out_of_reach) == ([], [], [])
    assert done.looked_at["data files of ranked_lists, decoded"] > 0
    assert done.tables["listens"].rows == 5
    assert done.tables["quarantine"].rows == NIGHTS
    assert done.landing == {"lines": 7, "files": 4, "open_files": 0}
    assert [model.live for model in done.owed] == [True]
    assert done.owed[0].replaced_by == str(FIRST + timedelta(days=9))
    assert KEY.encode() not in done.to_json()


def test_every_published_night_is_as_it_was_without_the_listener(
    spark: SparkSession, served: Service, erased: dict[str, object]
) -> None:
    night = served.night(0, *KEEP_THE_MODEL)
    records = publications.all_records(night.warehouse)
    assert [record.state for record in records] == ["published"] * NIGHTS
    for old, record in zip(erased["records"], records, strict=True):
        assert record.checksum == record.manifest.checksum
        assert record.manifest.listeners == old.manifest.listeners - 1
        proofs = {each["table"]: each for each in record.manifest.erasures}
        assert {"listens", "quarantine", "interactions", "pools", "ranked_lists", "ingests"} <= proofs.keys()
        for table, version in record.manifest.versions.items():
            on = night.on(record.run_date)
            hashes = fingerprints.row_hashes(spark, on, [table])
            if table in LISTENER_TABLES or table == "ingests":
                assert record.manifest.row_hashes[table] == hashes[table], table
            if table not in LISTENER_TABLES:
                continue
            assert version > old.manifest.versions[table] or table not in proofs
            then, now = erased["before"][str(record.run_date), table], contents(on, table, version)
            column = "user_id" if "user_id" in then.column_names else "raw"
            gone = pc.match_substring(then[column], GONE)
            order = [
                (name, "ascending") for name in then.column_names if pa.types.is_string(then.schema.field(name).type)
            ]
            assert now.sort_by(order).equals(then.filter(pc.invert(gone)).sort_by(order)), table
        for each in proofs.values():
            total = int(each["before"], 16) - int(each["removed"], 16) + int(each["added"], 16)
            assert f"{total % 2**64:016x}" == each["after"]
            assert (each["added"] == "0" * 16) == (each["table"] != "ingests")


def test_time_travel_to_before_is_given_up(served: Service, erased: dict[str, object]) -> None:
    for record in erased["records"]:
        path = served.night(0).warehouse.table_path("ranked_lists")
        with pytest.raises(Exception, match=r"version|log|Version|not found|No such"):
            DeltaTable(path, version=record.manifest.versions["ranked_lists"]).to_pyarrow_table()


def test_duckdb_polars_and_delta_rs_read_every_night(served: Service, erased: dict[str, object]) -> None:
    warehouse = served.night(0).warehouse
    for record in publications.all_records(warehouse):
        for table in ("ranked_lists", "listens", "exposures"):
            path = warehouse.table_path(table)
            version = record.manifest.versions.get(table)
            delta = DeltaTable(path, version=version)
            rows = delta.to_pyarrow_table(filters=[("run_date", "=", record.run_date)])
            assert GONE not in rows["user_id"].to_pylist()
            assert STAYS in rows["user_id"].to_pylist()
            lazily = pl.scan_delta(path, version=version).filter(pl.col("run_date") == record.run_date)
            assert lazily.collect().height == rows.num_rows
            dataset = delta.to_pyarrow_dataset()
            query = f"SELECT count(*) FROM dataset WHERE run_date = DATE '{record.run_date}'"
            assert duckdb.sql(query).fetchall()[0][0] == rows.num_rows
            assert dataset is not None


def test_accounts_of_the_nights_count_who_left(served: Service, erased: dict[str, object]) -> None:
    for row in tables.rows(served.night(0).warehouse, "ingests").sort_by("run_date").to_pylist():
        assert row["rows_read"] == row["listens"] + row["duplicates"] + row["quarantined"] + row["erased"]
        assert row["erased"] == (4 if row["run_date"] == FIRST else 2)
        assert row["listeners"] == 39


def test_everything_that_a_service_keeps_is_known_to_erasure(
    served: Service, erased: dict[str, object], redis: tuple[RedisServer, Path]
) -> None:
    assert list(unknown_in_warehouse(Path(served.warehouse))) == []
    assert list(unknown_in_landing(served.folder / "landing")) == []
    assert list(unknown_files(served.folder / "cache")) == []
    assert list(unknown_keys(key.decode() for key in redis[0].client.keys("*"))) == []


def test_the_next_night_is_published_and_a_rollback_does_not_bring_the_listener_back(
    served: Service, erased: dict[str, object], redis: tuple[RedisServer, Path]
) -> None:
    night = served.night(NIGHTS, *KEEP_THE_MODEL)
    run_nights([night])
    (account,) = tables.night_rows(night, "ingests").to_pylist()
    assert account["erased"] == 2
    assert GONE not in tables.night_rows(night, "ranked_lists")["user_id"].to_pylist()
    for url in (served.cache, redis[0].url):
        with open_cache(url) as cache:
            assert cache.get(GONE) is None
            assert cache.get(STAYS)
            rollback(night.warehouse, cache, "to look at it")
            assert cache.get(GONE) is None
            assert cache.get(STAYS)
    assert traces(served.folder, GONE, besides=("landing/events",)) == []


def test_a_backfill_does_not_bring_the_listener_back_and_who_returns_starts_empty(
    served: Service, erased: dict[str, object]
) -> None:
    night = served.night(NIGHTS - 1, *KEEP_THE_MODEL)
    run_nights([night])
    assert GONE not in tables.night_rows(night, "interactions")["user_id"].to_pylist()
    assert traces(served.folder, GONE, besides=("landing/events",)) == []
    verified = CliRunner().invoke(
        app, ["erase", GONE, "--verify", "--warehouse", served.warehouse, "--cache", served.cache, "--json"]
    )
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["found"] == []
    instant = datetime.fromisoformat(json.loads(verified.stdout)["erased_at"])
    assert instant <= datetime.now(UTC)
    assert os.environ["NOCTURNE_ERASURE_KEY"] not in verified.output
