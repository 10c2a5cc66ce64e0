"""Pools that are carried over between real nights: the same lists as in full, and what is wrong is found."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed
from nocturne.core.night import Night
from nocturne.flow import stage
from nocturne.pipeline.runner import run_stage, run_validation
from nocturne.ranking.fallbacks import SOURCES
from nocturne.storage import tables, writing
from tests.fixtures.simulated_service import FIRST, NIGHTS, Service

LAST = NIGHTS - 1
SAME_MODEL = "als.retrain_every_nights=9"


def rank(spark: SparkSession, night: Night) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Rank a night; its lists in order of listener, and the account."""
    run_stage(spark, night, stage("rank_users"))
    lists = tables.night_rows(night, "ranked_lists").sort_by("user_id").to_pylist()
    (account,) = tables.night_rows(night, "rankings").to_pylist()
    return lists, account | {"reasons": dict(account["reasons"])}


def standing(account: dict[str, Any]) -> int:
    """Pools of the night before that stand, with what may be listed since in its place."""
    return account["reasons"].get("carried", 0) + account["reasons"].get("merged", 0)


def keep_the_model(spark: SparkSession, service: Service, *overrides: str) -> Night:
    """The last night again, with the model of the one before."""
    night = service.night(LAST, SAME_MODEL, *overrides)
    run_stage(spark, night, stage("train_als"))
    return night


def test_only_listeners_whose_row_changed_are_computed_and_lists_are_those_of_a_night_in_full(
    spark: SparkSession, copied: Service
) -> None:
    night = keep_the_model(spark, copied)
    rows = tables.night_rows(night, "interactions", ["changed_on"])["changed_on"].to_pylist()
    changed = sum(day == night.run_date for day in rows)
    lists, account = rank(spark, night)
    expected, in_full = rank(spark, copied.night(LAST, SAME_MODEL, "ranking.carry_over=false"))
    assert lists == expected
    assert account["carried_from"] == copied.night(LAST - 1).run_date
    assert in_full["carried_from"] is None
    assert 0 < standing(account) == account["personal"] - changed
    assert account["audited"] == in_full["audited"] == account["personal"]
    assert account["mismatches"] == in_full["mismatches"] == 0


def test_what_was_withdrawn_leaves_the_pools_and_comes_back_on_the_night_it_may(
    spark: SparkSession, copied: Service
) -> None:
    night = keep_the_model(spark, copied)
    first, _ = rank(spark, night)
    items = tables.night_rows(night, "items").to_pylist()
    withdrawn = first[0]["items"][0]["item_id"]
    gone = [row | {"markets": []} if row["item_id"] == withdrawn else row for row in items]
    writing.replace_night(pa.Table.from_pylist(gone, schema=tables.night_rows(night, "items").schema), "items", night)
    without, account = rank(spark, night)
    expected, _ = rank(spark, copied.night(LAST, SAME_MODEL, "ranking.carry_over=false"))
    assert without == expected
    assert standing(account) > 0
    assert withdrawn not in {item["item_id"] for row in without for item in row["items"]}
    run_validation(spark, night, ["pools", "item_factors", "cold_factors", "bridge_factors"])
    tomorrow = replace(night, run_date=night.run_date.replace(day=night.run_date.day + 1))
    for table in ("items", "interactions"):
        # What is released on the next day is left out, for it was in no list.
        rows = items if table == "items" else tables.night_rows(night, table).to_pylist()
        rows = [
            row | {"available_until": FIRST} if row.get("available_from") == tomorrow.run_date else row for row in rows
        ]
        schema = tables.night_rows(night, table).schema
        moved = [row | {"run_date": tomorrow.run_date} for row in rows]
        writing.replace_night(pa.Table.from_pylist(moved, schema=schema), table, tomorrow)
    back, account = rank(spark, tomorrow)
    assert [row["items"] for row in back] == [row["items"] for row in first]
    assert account["reasons"]["merged"] > 0


def test_a_night_that_is_reranked_passes_the_gate_and_its_carried_pools_give_the_lists_of_a_night_in_full(
    spark: SparkSession, copied: Service
) -> None:
    reranked = ("reranking.max_per_creator=2", "reranking.genre_calibration=0.3", "reranking.exploration_places=[3]")
    night = keep_the_model(spark, copied, *reranked)
    lists, account = rank(spark, night)
    expected, _ = rank(spark, copied.night(LAST, SAME_MODEL, *reranked, "ranking.carry_over=false"))
    assert lists == expected
    assert standing(account) > 0
    personal = [row["propensities"] for row in lists if row["source"] == "als"]
    assert all(row[2] < 1 and row[:2] + row[3:] == [1.0] * (len(row) - 1) for row in personal)
    assert {row["source"]: row["propensities"] for row in lists if row["propensities"] is None}.keys() <= {*SOURCES}
    run_validation(spark, night, ["ranked_lists"], close=True)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_wrong_pool_has_everyone_computed_afresh_and_closes_the_gate_unless_a_change_was_recorded(
    spark: SparkSession, copied: Service, recorded: bool
) -> None:
    before, night = copied.night(LAST - 1), keep_the_model(spark, copied)
    expected, _ = rank(spark, night)
    pools = tables.night_rows(before, "pools")
    wrong = [row | {"items": row["items"][::-1]} for row in pools.to_pylist()]
    writing.replace_night(pa.Table.from_pylist(wrong, schema=pools.schema), "pools", before)
    run_validation(spark, before, ["pools"])
    if recorded:
        known = tables.rows(before.warehouse, "nights", pc.field("run_date") == before.run_date)
        stale = pa.array(["stale"] * known.num_rows)
        place = known.schema.get_field_index("state")
        writing.replace_night(known.set_column(place, known.schema.field("state"), stale), "nights", before)
    lists, account = rank(spark, night)
    assert lists == expected
    assert account["mismatches"] > 0
    assert account["reasons"]["carried"] == 0
    assert (account["unexplained"] == 0) == recorded
    if recorded:
        run_validation(spark, night, ["rankings"], close=True)
    else:
        with pytest.raises(GateClosed, match="unexplained_mismatches"):
            run_validation(spark, night, ["rankings"], close=True)
