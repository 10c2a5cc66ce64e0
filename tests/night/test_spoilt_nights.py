"""Ways to spoil a whole night: each closes the gate, and listeners keep the lists that are served."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed, InputError
from nocturne.core.night import Night
from nocturne.flow import stage
from nocturne.pipeline.runner import run_nights, run_stage, run_validation
from nocturne.serving import publications
from nocturne.serving.cache import open_cache
from nocturne.storage import tables, writing
from nocturne.storage.contracts import contract
from tests.fixtures.simulated_service import NIGHTS, Service

LAST = NIGHTS - 1
Spoil = Callable[[pa.Table], pa.Table]


def change(column: str, value: Callable[[object], object]) -> Spoil:
    """Change a column of every row."""

    def spoil(rows: pa.Table) -> pa.Table:
        place = rows.schema.get_field_index(column)
        values = [value(old) for old in rows[column].to_pylist()]
        return rows.set_column(place, rows.schema.field(column), pa.array(values, rows.schema.field(column).type))

    return spoil


def duplicate_a_key(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows, rows.slice(0, 1)])


def make_a_factor_nan(rows: pa.Table) -> pa.Table:
    first = change("factors", lambda factors: [float("nan"), *factors[1:]])(rows.slice(0, 1))
    return pa.concat_tables([first, rows.slice(1)])


def list_what_nobody_may_hear(rows: pa.Table) -> pa.Table:
    first = change("items", lambda items: [{"item_id": "withdrawn", "score": 9e9}, *items[1:]])(rows.slice(0, 1))
    return pa.concat_tables([first, rows.slice(1)])


def spoil(service: Service, night: Night, table: str, how: Spoil) -> None:
    writing.replace_night(how(tables.night_rows(night, table)), table, night)


def closes(spark: SparkSession, service: Service, night: Night, table: str, metric: str) -> None:
    """The table's validation closes the gate by that metric, the refresh refuses, and what was served still is."""
    with open_cache(service.cache, read_only=True) as cache:
        before = cache.pointer()
    with pytest.raises(GateClosed, match=metric):
        run_validation(spark, night, [table], close=True)
    with pytest.raises(GateClosed, match=metric):
        run_stage(spark, night, stage("refresh_cache"))
    record = [each for each in publications.all_records(night.warehouse) if each.run_date == night.run_date][-1]
    assert record.state == "gate_closed"
    assert metric in record.reason
    with open_cache(service.cache, read_only=True) as cache:
        assert cache.pointer() == before


@pytest.mark.parametrize(
    ("table", "how", "metric"),
    [
        ("ranked_lists", duplicate_a_key, "duplicate"),
        ("item_factors", make_a_factor_nan, "finite"),
        ("ranked_lists", change("items", lambda items: items[: len(items) // 2]), "short"),
    ],
    ids=["duplicate keys", "a factor that is NaN", "lists half as long"],
)
def test_a_spoilt_table_closes_the_gate(
    spark: SparkSession, copied: Service, table: str, how: Spoil, metric: str
) -> None:
    night = copied.night(LAST)
    spoil(copied, night, table, how)
    closes(spark, copied, night, table, metric)


def test_an_ineligible_item_in_one_list_closes_the_gate(spark: SparkSession, copied: Service) -> None:
    night = copied.night(LAST)
    withdrawn = {"item_id": "withdrawn", "content_type": "track", "run_date": night.run_date, "absent": False}
    withdrawn["available_until"] = night.run_date - timedelta(days=1)
    catalogue = pa.Table.from_pylist([withdrawn], schema=contract("items").arrow_schema)
    spoil(copied, night, "items", lambda rows: pa.concat_tables([rows, catalogue]))
    spoil(copied, night, "ranked_lists", list_what_nobody_may_hear)
    closes(spark, copied, night, "ranked_lists", "ineligible")


def test_a_volume_down_by_nine_tenths_closes_the_gate(spark: SparkSession, copied: Service) -> None:
    night = copied.night(LAST)
    spoil(copied, night, "listens", lambda rows: rows.slice(0, rows.num_rows // 10))
    closes(spark, copied, night, "listens", "listens_vs_recent")


def test_lists_that_were_empty_or_heard_or_of_another_listener_are_not_served(
    spark: SparkSession, copied: Service
) -> None:
    """Three spoils of contents, one after the other, in one night."""
    night = copied.night(LAST)
    sound = tables.night_rows(night, "ranked_lists")
    best_first = change("items", lambda items: items[::-1])
    rotated = pa.concat_tables([sound.slice(1), sound.slice(0, 1)])["items"].combine_chunks()
    of_another = sound.set_column(sound.schema.get_field_index("items"), sound.schema.field("items"), rotated)
    for rows, metric in (
        (change("items", lambda _: [])(sound), "share_empty"),
        (of_another, "heard_items"),
        (best_first(sound), "unlike_recomputed"),
    ):
        spoil(copied, night, "ranked_lists", lambda _, rows=rows: rows)
        closes(spark, copied, night, "ranked_lists", metric)


@pytest.mark.parametrize(
    ("table", "stage_name"),
    [("interactions", "build_interactions"), ("item_index", "build_interactions"), ("pools", "rank_users")],
)
def test_a_night_is_not_built_on_what_changed_after_it_was_validated(
    spark: SparkSession, copied: Service, table: str, stage_name: str
) -> None:
    before = copied.night(LAST - 1)
    rows = tables.night_rows(before, table)
    own = rows.filter(pc.equal(rows["first_night"], before.run_date)) if table == "item_index" else rows
    writing.replace_night(own, table, before)

    with pytest.raises(InputError, match="changed after it was validated") as refused:
        run_stage(spark, copied.night(LAST), stage(stage_name))

    assert f"run night {copied.night(LAST - 1).run_date} again" in str(refused.value)


def test_an_item_that_the_catalogue_lost_is_listed_nowhere_until_it_is_named_again(
    spark: SparkSession, copied: Service
) -> None:
    night, landed = copied.night(LAST), next((copied.folder / "landing" / "items").glob("*.parquet"))
    whole = pq.read_table(landed)
    lost = set(whole["item_id"].slice(225).to_pylist())

    pq.write_table(whole.slice(0, 225), landed)
    run_nights([night])
    absent = {row["item_id"] for row in tables.night_rows(night, "items").to_pylist() if row["absent"]}
    listed = tables.night_rows(night, "ranked_lists")["items"].combine_chunks().flatten().field("item_id")
    assert absent == lost
    assert not lost & set(listed.to_pylist())

    pq.write_table(whole, landed)
    run_nights([night])
    listed = tables.night_rows(night, "ranked_lists")["items"].combine_chunks().flatten().field("item_id")
    assert lost & set(listed.to_pylist())


def test_a_stale_model_closes_the_gate(spark: SparkSession, copied: Service) -> None:
    month_later = replace(copied.night(LAST), run_date=copied.night(LAST).run_date + timedelta(days=30))
    rows = tables.night_rows(copied.night(LAST), "interactions")
    spoil(copied, month_later, "interactions", lambda _: change("run_date", lambda _: month_later.run_date)(rows))
    closes(spark, copied, month_later, "models", "age")


def test_a_table_that_changed_after_it_was_validated_is_not_served(spark: SparkSession, copied: Service) -> None:
    night = copied.night(LAST)
    spoil(copied, night, "ranked_lists", lambda rows: rows)
    with pytest.raises(GateClosed, match="ranked_lists changed after it was validated"):
        run_stage(spark, night, stage("refresh_cache"))


def test_a_night_that_was_not_validated_is_not_served(spark: SparkSession, copied: Service) -> None:
    night = copied.night(LAST)
    none = contract("validations").arrow_schema.empty_table()
    writing.replace_rows(none, "validations", night.warehouse, f"run_date = '{night.run_date}' AND `table` = 'items'")
    with pytest.raises(GateClosed, match="items was not validated"):
        run_stage(spark, night, stage("refresh_cache"))


def test_the_night_after_a_closed_gate_publishes_without_what_failed(spark: SparkSession, copied: Service) -> None:
    """Night 1's listens failed their gate: night 2 is built as if they had not come, and is published."""
    bad, good = copied.night(1), copied.night(2)
    spoil(copied, bad, "listens", lambda rows: rows.slice(0, rows.num_rows // 20))
    with pytest.raises(GateClosed):
        run_validation(spark, bad, ["listens"], close=True)
    run_nights([good])
    record = publications.all_records(good.warehouse)[-1]
    assert (record.run_date, record.state) == (good.run_date, "published")
    ingested = pc.field("run_date").isin([copied.night(0).run_date, good.run_date])
    heard = set(tables.rows(good.warehouse, "listens", ingested, ["user_id"])["user_id"].to_pylist())
    assert set(tables.night_rows(good, "interactions", ["user_id"])["user_id"].to_pylist()) == heard
