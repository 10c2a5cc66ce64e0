"""Whole nights on the real components: what listeners get, what readers read, what a second run changes."""

import shutil
from collections.abc import Callable, Sequence
from itertools import product

import duckdb
import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.core.spark import session
from nocturne.core.stage import Access
from nocturne.flow import NIGHTLY, TABLES, VALIDATION, stage
from nocturne.ingestion import ingest_events
from nocturne.pipeline.runner import run_nights, run_stage, run_validation, working_on
from nocturne.serving import publications
from nocturne.serving.cache import open_cache
from nocturne.storage import fingerprints, tables, writing
from tests.fixtures.simulated_service import FIRST, NIGHTS, Service, event, recorded_accesses
from tests.tools.compare_warehouses import compare_warehouses


def rows(service: Service, table: str, offset: int | None = None) -> list[dict[str, object]]:
    night = service.night(offset or 0)
    found = tables.rows(night.warehouse, table).to_pylist()
    return [row for row in found if offset is None or row["run_date"] == night.run_date]


def observed(night: Night, table_names: Sequence[str]) -> set[tuple[object, ...]]:
    found = tables.rows(night.warehouse, "validations").to_pylist()
    return {
        tuple(row[name] for name in ("table", "expectation", "severity", "observed", "outcome"))
        for row in found
        if row["run_date"] == night.run_date and row["table"] in table_names
    }


def test_every_night_is_published_and_the_last_one_is_served(published: Service) -> None:
    known = publications.all_records(published.night(0).warehouse)
    assert [record.state for record in known] == ["published"] * NIGHTS
    with open_cache(published.cache, read_only=True) as cache:
        pointer = cache.pointer()
        assert pointer
        assert [generation.name for generation in pointer.retained] == [record.generation for record in reversed(known)]


OF_EXPERIMENTS = ("arm_pools", "arm_lists", "assignments", "triggers", "experiment_looks", "experiment_results")
"""Tables that are empty where no experiment runs."""
OF_SEQUENCES = ("encoders",)
"""Tables that are empty, and that no stage reads, where no sequence model is trained."""
WHERE_ALL_IS_WELL = ("alerts", "takedowns", "tombstones")
"""Tables that are empty where nothing is unusual, and nobody asked for anything to be taken away."""

EXPERIMENT = """
hypothesis = "Fewer of a creator are played more."
start = {start}
end = {start}
salt = "one"
first_slot = 0
slots = 500
looks = [1]
[arms.control]
weight = 1
[arms.apart]
weight = 1
settings = {{ "reranking.max_per_creator" = 1 }}
[metrics.plays]
role = "success"
measure = "plays"
minimum_effect = 0.05
"""


def test_stages_read_every_table_that_they_declare(
    published: Service, copied: Service, accesses: list[Access], spark: SparkSession
) -> None:
    (copied.folder / "one.toml").write_text(
        EXPERIMENT.format(start=copied.night(NIGHTS - 2).run_date), encoding="utf-8"
    )
    folder = f'experiments.folder="{copied.folder}"'
    eve = copied.night(NIGHTS - 2, folder)
    night = copied.night(NIGHTS - 1, folder, "als.warm_start=true", "reranking.max_per_creator=2")
    learning = copied.night(NIGHTS - 1, "als.sequence_every_nights=1", "als.sequence.epochs=1", "als.sequence.width=4")
    impossible = copied.night(NIGHTS - 1, "expectations.items.min_vs_last_night=9")
    with recorded_accesses() as recorded:
        run_stage(spark, eve, stage("rank_users"))
        run_validation(spark, eve, stage("rank_users").writes)
        run_stage(spark, learning, stage("train_sequence"))
        for name in ("train_als", "rank_users", "analyse_experiment"):
            run_stage(spark, night, stage(name))
        run_validation(spark, impossible, ["items"])
    for declared in (*NIGHTLY, VALIDATION):
        opened = set().union(*(access.tables_read for access in (*accesses, *recorded) if access.stage == declared))
        assert opened - {*OF_SEQUENCES} == set(declared.reads) - {"landing", *OF_SEQUENCES}, declared.name


def test_every_listener_known_gets_a_full_list_of_unheard_eligible_items(published: Service) -> None:
    last = NIGHTS - 1
    history = {row["user_id"]: set(row["item_indexes"]) for row in rows(published, "interactions", last)}
    index = {row["item_id"]: row["item_index"] for row in rows(published, "item_index")}
    rules = {row["item_id"]: row for row in rows(published, "items", last)}
    tonight = published.night(last).run_date
    lists = rows(published, "ranked_lists", last)
    assert len(lists) == len(history) == len({row["user_id"] for row in lists}) > 250
    for row in lists:
        listed = [item["item_id"] for item in row["items"]]
        scores = [item["score"] for item in row["items"]]
        assert len(listed) == len(set(listed)) == min(20, row["candidates"])
        assert scores == sorted(scores, reverse=True)
        assert not {index[item] for item in listed} & history[row["user_id"]]
        for rule in (rules[item] for item in listed if item in rules):  # what no catalogue names has no rules
            assert rule["markets"] is None or row["market"] in rule["markets"]
            assert (rule["available_from"] or tonight) <= tonight <= (rule["available_until"] or tonight)


def test_every_listener_gets_a_full_list_of_every_content_type(published: Service) -> None:
    last, kinds = NIGHTS - 1, ("audiobook", "podcast_episode", "track")
    history = {row["user_id"]: set(row["item_indexes"]) for row in rows(published, "interactions", last)}
    index = {row["item_id"]: row["item_index"] for row in rows(published, "item_index")}
    kind_of = {row["item_id"]: row["content_type"] for row in rows(published, "items", last)}
    shelves = rows(published, "shelf_lists", last)
    assert sorted((row["user_id"], row["content_type"]) for row in shelves) == sorted(product(history, kinds))
    for row in shelves:
        listed = [item["item_id"] for item in row["items"]]
        assert len(listed) == len(set(listed)) == min(20, row["candidates"])
        assert {kind_of.get(item, "other") for item in listed} <= {row["content_type"]}
        assert not {index[item] for item in listed} & history[row["user_id"]]


def test_the_cache_answers_with_the_lists_of_the_table(published: Service) -> None:
    lists = rows(published, "ranked_lists", NIGHTS - 1)
    with open_cache(published.cache, read_only=True) as cache:
        for row in lists[::10]:
            served = cache.get(row["user_id"])
            assert served
            assert served.items == tuple((item["item_id"], np.float32(item["score"])) for item in row["items"])
        assert cache.get("nobody") is None


def test_nothing_is_lost_between_landing_and_tables(published: Service) -> None:
    for offset in range(NIGHTS):
        (ingest,) = rows(published, "ingests", offset)
        assert ingest["rows_read"] == ingest["listens"] + ingest["duplicates"] + ingest["quarantined"]
        assert ingest["listens"] == len(rows(published, "listens", offset))
        assert (
            ingest["quarantined"] == len(rows(published, "quarantine", offset)) == sum(dict(ingest["reasons"]).values())
        )
        assert ingest["quarantined"] > 0


@pytest.mark.parametrize("table", TABLES)
def test_duckdb_polars_delta_rs_and_spark_read_every_table_alike(
    spark: SparkSession, published: Service, table: str
) -> None:
    path = f"{published.warehouse}/{table}"
    counts = {
        "delta-rs": DeltaTable(path).to_pyarrow_dataset().count_rows(),
        "spark": spark.read.format("delta").load(path).count(),
        "duckdb": duckdb.arrow(DeltaTable(path).to_pyarrow_dataset()).aggregate("count(*)").fetchall()[0][0],
        "polars": pl.read_delta(path).height,
    }
    assert len(set(counts.values())) == 1, counts
    assert counts["spark"] > 0 or table in {*OF_EXPERIMENTS, *OF_SEQUENCES, *WHERE_ALL_IS_WELL}


def test_running_a_night_again_changes_nothing(copied: Service, published: Service) -> None:
    run_nights([copied.night(1)])
    assert compare_warehouses(published.warehouse, copied.warehouse) == []
    with open_cache(copied.cache, read_only=True) as cache, open_cache(published.cache, read_only=True) as before:
        assert cache.pointer() == before.pointer()


def test_a_night_planned_for_many_rows_comes_out_as_one_of_few(
    copied: Service, published: Service, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((session, "_FEW_ROWS"), (writing, "FEW_ROWS"), (ingest_events, "_FEW_EVENTS")):
        monkeypatch.setattr(module, name, 0)
    few, many = (service.night(NIGHTS - 1) for service in (published, copied))
    written = [table for name in ("ingest_events", "build_interactions") for table in stage(name).writes]
    for name in ("ingest_events", "build_interactions"):
        run_stage(spark, many, stage(name))
        run_validation(spark, many, stage(name).writes)
    assert fingerprints.row_hashes(spark, many, written) == fingerprints.row_hashes(spark, few, written)
    assert observed(many, written) == observed(few, written)


def test_an_earlier_night_made_anew_marks_later_ones_stale_and_leaves_the_pointer(
    copied: Service, published: Service
) -> None:
    day = copied.folder / "landing" / "events" / f"date={FIRST}"
    (day / "_SUCCESS").write_text("")
    late = f'{{"event_id": "extra", "user_id": "u-extra", "item_id": "i-extra", "listened_at": "{FIRST}T12:00:00Z"}}\n'
    (day / "more.jsonl").write_text(late)
    run_nights([copied.night(0)])
    assert [record.state for record in publications.all_records(copied.night(0).warehouse)] == [
        "superseded",
        "published",
        "stale",
        "stale",
    ]
    with open_cache(copied.cache, read_only=True) as cache, open_cache(published.cache, read_only=True) as before:
        assert cache.pointer() == before.pointer()


def test_tiny_and_odd_nights_publish(spark: SparkSession, land: Callable[..., Service]) -> None:
    hoarder = [event(n, "hoarder", f"item-{n:06d}", offset=2) for n in range(30_000)]
    others = [event(200_000 + n, f"u{n}", f"item-{n % 7:06d}", offset=2, minute=n) for n in range(30)]
    service = land(
        {
            0: [],  # the first night of a service that nobody uses yet
            1: [event(0, "only one", "the only item", offset=1)],
            2: hoarder + others,
            3: [],
        }
    )
    relaxed = ("expectations.item_index.max_share_new=1", "expectations.ranked_lists.max_share_empty=1")
    run_nights([service.night(offset, *relaxed) for offset in range(4)])
    states = {row["run_date"]: row["state"] for row in rows(service, "nights")}
    assert set(states.values()) == {"published"}
    assert len(states) == 4
    (lonely,) = rows(service, "ranked_lists", 1)
    assert (lonely["user_id"], lonely["items"], lonely["candidates"]) == ("only one", [], 0)
    lists = {row["user_id"]: row for row in rows(service, "ranked_lists", 3)}
    assert set(lists) == {"only one", "hoarder", *(f"u{n}" for n in range(30))}
    assert [item["item_id"] for item in lists["hoarder"]["items"]] == ["the only item"]
    assert all(len(lists[f"u{n}"]["items"]) == 20 for n in range(30))


def test_a_missed_night_is_made_up_for_by_the_next(copied: Service, spark: SparkSession) -> None:
    """Listens ingested on a night that got no further are in the matrix of the next one."""
    shutil.rmtree(copied.warehouse)
    with working_on([copied.night(0)], "night") as (session, _):
        run_stage(session, copied.night(0), stage("ingest_events"))
        run_stage(session, copied.night(1), stage("ingest_events"))
        run_stage(session, copied.night(1), stage("build_interactions"))
    heard = {row["user_id"] for offset in (0, 1) for row in rows(copied, "listens", offset)}
    assert {row["user_id"] for row in rows(copied, "interactions", 1)} == heard
