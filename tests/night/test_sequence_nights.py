"""Nights of a sequence model, on the real components: what comes next, carried over, proved, gated, and as an arm."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed
from nocturne.pipeline.runner import run_nights, run_validation
from nocturne.serving.cache import open_cache
from nocturne.serving.now_playing import Filters, now_playing
from nocturne.serving.reader import Reader
from nocturne.storage import tables, writing
from nocturne.training import registry
from tests.fixtures.simulated_service import FIRST, Service, event, recorded_accesses

CIRCLE, LISTENERS, HEARD, BACK = 12, 120, 4, 30
"""Items that everybody hears in a circle; who hears them, how many each, and who hears the next one on the next day."""

NETWORK = (
    *("als.sequence.length=8", "als.sequence.width=16", "als.sequence.negatives=8", "als.sequence.epochs=25"),
    *("als.sequence.learning_rate=0.01", "als.sequence.validation_listeners=40"),
)
SETTINGS = (
    *("als.family=sequence", *NETWORK, "als.retrain_every_nights=9", "als.neighbour_weight=0"),
    *("content.cold_items=false", "ranking.shelf_types=[]", "expectations.listens.min_vs_recent=0"),
)


def item(place: int) -> str:
    return f"i{place % CIRCLE:02d}"


def user(number: int) -> str:
    return f"u{number:03d}"


def listen(offset: int) -> list[dict[str, object]]:
    if offset:
        return [event(number, user(number), item(number + HEARD), offset) for number in range(BACK)]
    return [
        event(number * HEARD + step, user(number), item(number + step), minute=step)
        for number in range(LISTENERS)
        for step in range(HEARD)
    ]


@pytest.fixture
def service(land) -> Service:
    return land(
        {offset: listen(offset) for offset in range(2)},
        [{"item_id": item(place), "content_type": "track"} for place in range(CIRCLE)],
    )


def firsts(service: Service, offset: int) -> dict[str, str]:
    rows = tables.night_rows(service.night(offset), "ranked_lists").to_pylist()
    assert {row["source"] for row in rows} == {"als"}
    return {row["user_id"]: row["items"][0]["item_id"] for row in rows}


def change(rows: list[dict[str, Any]], **columns: Any) -> list[dict[str, Any]]:
    return [row | {name: of(row) for name, of in columns.items()} for row in rows]


SPOILS = {
    "a loss that is no number": ("models", lambda rows: change(rows, losses=lambda _: [float("nan")]), "not_finite"),
    "collapsed embeddings": (
        "item_factors",
        lambda rows: change(rows, factors=lambda _: rows[0]["factors"]),
        "spread",
    ),
    "a vocabulary of other items": (
        "item_factors",
        lambda rows: change(rows, item_id=lambda row: item(int(row["item_id"][1:]) + 1)),
        "unlike_index",
    ),
    "an array that is no number": (
        "encoders",
        lambda rows: [rows[0] | {"numbers": [float("nan"), *rows[0]["numbers"][1:]]}, *rows[1:]],
        "not_finite",
    ),
    "an array too few": ("encoders", lambda rows: rows[1:], "unlike_recipe"),
    "axes of another network": (
        "encoders",
        lambda rows: change(rows, numbers=lambda row: [2 * n for n in row["numbers"]]),
        "axes_not_orthogonal",
    ),
}


def test_the_next_item_is_listed_first_what_did_not_change_is_carried_over_and_spoils_close_the_gate(
    spark: SparkSession, service: Service
) -> None:
    nights = [service.night(offset, *SETTINGS) for offset in range(2)]
    with recorded_accesses() as recorded:
        run_nights(nights)
    readers = {access.stage.name for access in recorded if "encoders" in access.tables_read}
    assert {"rank_users", "relate_items"} <= readers

    right = [first == item(int(name[1:]) + HEARD) for name, first in firsts(service, 0).items()]
    assert sum(right) >= 0.9 * LISTENERS
    (model,) = registry.models(nights[1].warehouse)
    assert (model.family, model.state, model.version[:9]) == ("sequence", "live", "sequence-")
    (ranking,) = tables.night_rows(nights[1], "rankings").to_pylist()
    assert {reason: count for reason, count in ranking["reasons"] if count} == {
        "carried": LISTENERS - BACK,
        "row_changed": BACK,
    }
    assert (ranking["audited"], ranking["mismatches"]) == (LISTENERS, 0)
    moved = [
        first == item(int(name[1:]) + HEARD + 1) for name, first in firsts(service, 1).items() if int(name[1:]) < BACK
    ]
    assert sum(moved) >= 0.9 * BACK

    for name, (table, spoil, metric) in SPOILS.items():
        sound = tables.night_rows(nights[1], table)
        spoilt = pa.Table.from_pylist(spoil(sound.to_pylist()), schema=sound.schema)
        where = f"model_version = '{model.version}'"
        writing.replace_rows(spoilt, table, nights[1].warehouse, where)
        with pytest.raises(GateClosed, match=metric):
            run_validation(spark, nights[1], ["models", "item_factors", "encoders"], close=True)
            pytest.fail(name)
        writing.replace_rows(sound, table, nights[1].warehouse, where)


EXPERIMENT = f"""
hypothesis = "Whoever gets what comes next plays more."
start = {FIRST}
end = {FIRST + timedelta(days=1)}
salt = "next"
first_slot = 0
slots = 1000
looks = [2]
[arms.control]
weight = 1
[arms.next]
weight = 1
recipe = {{family = "sequence"}}
[metrics.plays]
role = "success"
measure = "plays"
minimum_effect = 0.02
"""


def test_a_blended_model_is_live_and_its_lists_are_made_again_by_the_validation(
    spark: SparkSession, service: Service
) -> None:
    night = service.night(0, *SETTINGS, "als.family=blended", "als.factors=4", "als.blend_weight=3")
    run_nights([night])  # whose gate is open: a sample of lists was worked out anew

    (model,) = registry.models(night.warehouse)
    learned = registry.load_model(night.warehouse, model.version)
    assert (model.family, learned.factors.shape[1]) == ("blended", 4 + 16)
    right = [first == item(int(name[1:]) + HEARD) for name, first in firsts(service, 0).items()]
    assert sum(right) >= 0.9 * LISTENERS
    with open_cache(night.cache) as cache:
        items = Reader(cache).served().items
        answer = now_playing(items, None, item(4), [item(3)], Filters(limit=1))
        assert items.describe(answer.suggestions[0].number).item_id == item(5)


def test_a_sequence_model_is_an_arm_beside_als_and_a_candidate_of_its_own(
    spark: SparkSession, service: Service
) -> None:
    (service.folder / "experiments").mkdir()
    (service.folder / "experiments" / "next.toml").write_text(EXPERIMENT)
    night = service.night(
        0,
        *(*SETTINGS, "als.family=als", "als.recipe=settings", "als.factors=4", "als.sequence_every_nights=1"),
        f"experiments.folder={service.folder / 'experiments'}",
    )
    run_nights([night])

    models = {model.family: model for model in registry.models(night.warehouse)}
    assert {family: (model.origin, model.state) for family, model in models.items()} == {
        "als": ("train_als", "live"),
        "sequence": ("train_sequence", "candidate"),  # of the arm's recipe too
    }
    of_next = [row for row in tables.night_rows(night, "arm_lists").to_pylist() if row["arm"] == "next"]
    assert {row["model_version"] for row in of_next} == {models["sequence"].version}
    assert len(of_next) > LISTENERS / 4
    right = [row["items"][0]["item_id"] == item(int(row["user_id"][1:]) + HEARD) for row in of_next]
    assert sum(right) >= 0.9 * len(right)
