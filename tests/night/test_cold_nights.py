"""Items that nobody has heard, through whole nights on the real components: from the catalogue into lists, by text."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed
from nocturne.core.night import Night
from nocturne.flow import stage
from nocturne.pipeline.runner import run_nights, run_stage, run_validation
from nocturne.serving.cache import open_cache
from nocturne.storage import tables, writing
from nocturne.training import registry
from tests.fixtures.caves_and_lakes import KEEP_THE_MODEL, listen_all
from tests.fixtures.simulated_service import FIRST, Service

NEW = "cave-new"
SETTINGS = (*KEEP_THE_MODEL, "reranking.fresh_slots=1")


def catalogue() -> list[dict[str, object]]:
    """Two tastes of six tracks, each with a word of its own in every title."""
    return [
        {"item_id": f"{word}-{number}", "content_type": "track", "title": f"{word} song", "tags": [word]}
        for word in ("cave", "lake")
        for number in range(6)
    ]


def days() -> dict[int, list[dict[str, object]]]:
    return {offset: listen_all(offset, tracks=6) for offset in range(2)}


@pytest.fixture(scope="module")
def service(spark: SparkSession, land_of_module: Callable[..., Service]) -> Service:
    """Two nights of listening; on the second one the catalogue has a track more. Shared: leave it as it is."""
    service = land_of_module(days(), catalogue())
    run_nights([service.night(0, *SETTINGS)])
    name_a_new_item(service)
    run_nights([service.night(1, *SETTINGS)])
    return service


@pytest.fixture
def second(service: Service) -> Night:
    return service.night(1, *SETTINGS)


def name_a_new_item(service: Service) -> None:
    items = service.folder / "landing" / "items" / "items.jsonl"
    added = f'{{"item_id": "{NEW}", "content_type": "track", "title": "cave song", "tags": ["cave"]}}'
    items.write_text(items.read_text() + added + "\n")


def lists_of(night: Night) -> dict[str, dict[str, object]]:
    return {row["user_id"]: row for row in tables.night_rows(night, "ranked_lists").to_pylist()}


def test_an_item_that_nobody_has_heard_is_listed_that_night_and_marked(service: Service, second: Night) -> None:
    (row,) = tables.night_rows(second, "cold_factors").to_pylist()
    assert (row["item_id"], row["run_date"]) == (NEW, second.run_date)
    with_it = {
        user: [entry["item_id"] for entry in listed["items"]].index(NEW)
        for user, listed in lists_of(second).items()
        if NEW in [entry["item_id"] for entry in listed["items"]]
    }
    assert {user for user in lists_of(second) if int(user[1:]) % 2} <= with_it.keys()
    assert all(
        listed["cold"] == ([with_it[user]] if user in with_it else None) for user, listed in lists_of(second).items()
    )
    (related,) = [row for row in tables.night_rows(second, "related_items").to_pylist() if row["item_id"] == NEW]
    assert related["source"] == "text"
    assert {entry["item_id"].partition("-")[0] for entry in related["items"][:6]} == {"cave"}
    with open_cache(service.cache, read_only=True) as cache:
        served = cache.get("u01")
        assert served
        assert NEW in served.item_ids


def test_nobody_is_ranked_anew_for_it_and_no_listener_is_moved_by_it(service: Service, second: Night) -> None:
    before = registry.live_model(service.night(0, *SETTINGS))
    after = registry.live_model(second)
    assert before is not None
    assert after is not None
    assert after.version == before.version
    assert after.item_ids.to_pylist() == [*before.item_ids.to_pylist(), NEW]
    (ranking,) = tables.night_rows(second, "rankings").to_pylist()
    assert ranking["mismatches"] == 0
    assert "catalogue_unknown" not in {name for name, count in ranking["reasons"] if count}


def spoil(night: Night, table: str, column: str, value: list[float]) -> None:
    rows = tables.night_rows(night, table)
    own = rows.filter(pc.equal(rows["run_date"], pa.scalar(night.run_date)))
    field = own.schema.field(column)
    first = own.slice(0, 1).set_column(own.schema.get_field_index(column), field, pa.array([value], field.type))
    writing.replace_night(pa.concat_tables([first, own.slice(1)]), table, night)


SPOILS = (
    ("item_texts", "embedding", lambda vector: [-number for number in vector], "unlike_encoded"),
    ("item_texts", "embedding", lambda vector: [2 * number for number in vector], "not_unit"),
    ("item_texts", "embedding", lambda vector: vector[1:], "wrong_length"),
    ("cold_factors", "factors", lambda vector: vector[::-1], "unlike_digest"),
    ("cold_factors", "factors", lambda vector: [float("nan"), *vector[1:]], "not_finite"),
)


def test_a_spoilt_embedding_closes_the_gate_and_nobody_is_served_by_it(
    spark: SparkSession, service: Service, second: Night
) -> None:
    with open_cache(service.cache, read_only=True) as cache:
        before = cache.pointer()
    for table, column, how, metric in SPOILS:
        rows = tables.night_rows(second, table)
        own = rows.filter(pc.equal(rows["run_date"], pa.scalar(second.run_date)))
        spoil(second, table, column, how(own[column][0].as_py()))
        with pytest.raises(GateClosed, match=metric):
            run_validation(spark, second, [table], close=True)
        with pytest.raises(GateClosed, match=metric):
            run_stage(spark, second, stage("refresh_cache"))
        with open_cache(service.cache, read_only=True) as cache:
            assert cache.pointer() == before
        writing.replace_night(own, table, second)
        run_validation(spark, second, [table], close=True)


def test_a_night_that_does_without_them_lists_none(spark: SparkSession, land: Callable[..., Service]) -> None:
    service = land(days(), catalogue())
    name_a_new_item(service)
    night = service.night(0, *KEEP_THE_MODEL, "content.cold_items=false")
    run_nights([night])
    assert tables.night_rows(night, "cold_factors").num_rows == 0
    assert {entry["item_id"] for listed in lists_of(night).values() for entry in listed["items"]}.isdisjoint({NEW})
    assert night.run_date == FIRST
