"""Types that listeners have heard nothing of, through whole nights on the real components: lists by the bridge."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from nocturne.core.errors import GateClosed
from nocturne.core.night import Night
from nocturne.flow import stage
from nocturne.pipeline.runner import run_nights, run_stage, run_validation
from nocturne.storage import tables, writing
from tests.fixtures.simulated_service import Service, event

TASTES, LISTENERS, KNOWN = ("cave", "lake"), 160, 120
"""The first 120 listeners hear tracks and audiobooks of their taste, the others tracks alone."""

BACK = 100

SETTINGS = (
    *("als.recipe=settings", "als.regularization=1", "als.factors=4", "als.retrain_every_nights=9"),
    *("content.cold_items=false", "ranking.shelf_items=3", "ranking.shelf_reserve=2", "reranking.new_type_places=[3]"),
)


def catalogue() -> list[dict[str, object]]:
    """Of each taste six tracks and four audiobooks."""
    kinds = (("track", 6), ("audiobook", 4))
    return [
        {"item_id": f"{taste}-{kind}-{number}", "content_type": kind}
        for taste in TASTES
        for kind, count in kinds
        for number in range(count)
    ]


def listen(offset: int) -> list[dict[str, object]]:
    """Three tracks each, and of those who hear both kinds two audiobooks; on the next day some hear a track again."""
    if offset:
        return [
            event(user, f"u{user:03d}", f"{TASTES[user % 2]}-track-{user // 2 % 6}", offset) for user in range(BACK)
        ]
    heard = []
    for user in range(LISTENERS):
        taste = TASTES[user % 2]
        heard += [(user, f"{taste}-track-{(user // 2 + place) % 6}") for place in range(3)]
        if user < KNOWN:
            heard += [(user, f"{taste}-audiobook-{(user // 2 + place) % 4}") for place in range(2)]
    return [event(number, f"u{user:03d}", item) for number, (user, item) in enumerate(heard)]


@pytest.fixture
def service(land) -> Service:
    return land({0: listen(0), 1: listen(1)}, catalogue())


def shelves(night: Night, content_type: str) -> dict[str, dict[str, Any]]:
    rows = tables.night_rows(night, "shelf_lists").to_pylist()
    return {row["user_id"]: row for row in rows if row["content_type"] == content_type}


def test_who_heard_tracks_alone_gets_audiobooks_of_their_taste_and_the_next_night_too(
    spark: SparkSession, service: Service
) -> None:
    first, second = (service.night(offset, *SETTINGS) for offset in (0, 1))
    run_nights([first, second])

    decided = {row["content_type"]: row for row in tables.night_rows(first, "bridges").to_pylist()}
    assert decided["audiobook"]["listeners"] == KNOWN
    assert decided["audiobook"]["low"] > 0
    assert [decided[kind]["beats_popularity"] for kind in ("audiobook", "track", "podcast_episode")] == [
        *(True, True, False),
    ]
    for night in (first, second):
        rows = shelves(night, "audiobook")
        assert {user for user, row in rows.items() if row["source"] == "bridge"} == {
            f"u{user:03d}" for user in range(KNOWN, LISTENERS)
        }
        for user in range(KNOWN, LISTENERS):
            row = rows[f"u{user:03d}"]
            # Two of the four are listed for certain, the third place is drawn from the three that are left of five.
            assert {entry["item_id"].partition("-")[0] for entry in row["items"][:2]} == {TASTES[user % 2]}
            assert row["propensities"] == [1.0, 1.0, pytest.approx(1 / 3)]
        assert {row["source"] for row in shelves(night, "podcast_episode").values()} == {"global_popular"}
    (ranking,) = tables.night_rows(second, "rankings").to_pylist()
    assert dict(ranking["reasons"])["carried"] == LISTENERS - BACK
    assert ranking["mismatches"] == 0
    # Decided once: the model is the same.
    added = tables.rows(second.warehouse, "bridges", pc.field("run_date") == second.run_date)
    assert added.num_rows == 0


def swap_tastes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the first list by the bridge of each taste to the listener of the other one."""
    first, second = [place for place, row in enumerate(rows) if row["source"] == "bridge"][:2]
    swapped = {first: rows[second]["items"], second: rows[first]["items"]}
    return [row | {"items": swapped.get(place, row["items"])} for place, row in enumerate(rows)]


SPOILS = {
    "lists of the other taste": ("shelf_lists", swap_tastes, "outside_pool"),
    "other scores": (
        "shelf_lists",
        lambda rows: [row | {"items": [entry | {"score": 2.0} for entry in row["items"]]} for row in rows],
        "unlike_recomputed",
    ),
    "a list by a bridge of someone who heard the type": (
        "shelf_lists",
        lambda rows: [row | {"source": "bridge"} if row["content_type"] == "audiobook" else row for row in rows],
        "outside_pool",
    ),
    "a list by a bridge that there is not": (
        "shelf_lists",
        lambda rows: [row | {"source": "bridge"} if row["content_type"] == "podcast_episode" else row for row in rows],
        "wrong_source",
    ),
    "a propensity of 0": (
        "shelf_lists",
        lambda rows: [row | {"propensities": row["propensities"] and [1.0, 1.0, 0.0]} for row in rows],
        "propensities_unsound",
    ),
    "a decision against the evidence": (
        "bridges",
        lambda rows: [row | {"beats_popularity": True} for row in rows],
        "unlike_evidence",
    ),
    "no decision": ("bridges", lambda rows: rows[1:], "undecided"),
    "a figure that is no number": (
        "bridges",
        lambda rows: [row | {"ndcg": float("nan")} for row in rows],
        "not_finite",
    ),
    "a gain beyond its interval": ("bridges", lambda rows: [row | {"ndcg": 9.0} for row in rows], "outside_interval"),
    "a factor that is no number": (
        "bridge_factors",
        lambda rows: [row | {"factors": [float("nan"), *row["factors"][1:]]} for row in rows],
        "not_finite",
    ),
    "a factor too few": (
        "bridge_factors",
        lambda rows: [rows[0] | {"factors": rows[0]["factors"][1:]}, *rows[1:]],
        "wrong_length",
    ),
    "a bridge without factors": (
        "bridge_factors",
        lambda rows: [row for row in rows if row["content_type"] != "audiobook"],
        "unlike_bridges",
    ),
    "an item twice": ("bridge_factors", lambda rows: [*rows, rows[0]], "duplicate_items"),
    "an item that was not learned": (
        "bridge_factors",
        lambda rows: [rows[0] | {"item_index": 999}, *rows[1:]],
        "not_learned",
    ),
}


def test_a_spoilt_bridge_closes_the_gate(spark: SparkSession, service: Service) -> None:
    night = service.night(0, *SETTINGS)
    run_nights([night])
    for name, (table, spoil, metric) in SPOILS.items():
        sound = tables.night_rows(night, table)
        spoilt = pa.Table.from_pylist(spoil(sound.to_pylist()), schema=sound.schema)
        writing.replace_night(spoilt, table, night)
        with pytest.raises(GateClosed, match=metric):
            run_validation(spark, night, [table], close=True)
            pytest.fail(name)
        with pytest.raises(GateClosed, match=metric):
            run_stage(spark, night, stage("refresh_cache"))
        writing.replace_night(sound, table, night)
        run_validation(spark, night, [table], close=True)
