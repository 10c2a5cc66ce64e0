"""Spoilt tables, through profile, suite and gate: every spoil is told by its metric, on services of three shapes.

Of the services of a spoil the suite draws one; a campaign tries all three.
"""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from nocturne.core.night import Night
from nocturne.flow import GATED_TABLES
from nocturne.storage import fingerprints, tables, writing
from nocturne.storage.contracts import contract
from nocturne.storage.history import previous_night
from nocturne.validation.gate import gate
from nocturne.validation.suites import critical_expectations
from nocturne.validation.validate_table import validate
from tests.fixtures.service_shapes import SHAPES, Shape

Row = dict[str, Any]
Spoil = Callable[[Night], None]


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    """Three sound nights of a service."""
    sound: Shape = request.getfixturevalue(request.param)
    return sound


@pytest.fixture
def tonight(shape: Shape, tmp_path: Path) -> Night:
    """The last night, in a warehouse of the test's own."""
    copy = shutil.copytree(shape.night.warehouse.path, tmp_path / "warehouse")
    return replace(shape.night, warehouse=replace(shape.night.warehouse, path=str(copy)))


def rows_of(night: Night, table: str) -> list[Row]:
    rows: list[Row] = tables.night_rows(night, table).to_pylist()
    return rows


def write(night: Night, table: str, rows: list[Row]) -> None:
    if table == "item_factors":
        night = night.on(rows[0]["run_date"])  # of the model's training
    by_listener = sorted(rows, key=lambda row: row["user_id"]) if "user_id" in (rows or [{}])[0] else rows
    writing.replace_night(pa.Table.from_pylist(by_listener, schema=contract(table).arrow_schema), table, night)


def change(table: str, how: Callable[[Row], Row], where: Callable[[Row], bool] = lambda _: True) -> Spoil:
    """Change some columns of some rows of tonight."""

    def spoil(night: Night) -> None:
        write(night, table, [row | how(row) if where(row) else row for row in rows_of(night, table)])

    return spoil


def rotate(table: str, *columns: str, where: Callable[[Row], bool] = lambda _: True) -> Spoil:
    """Give the values of every row to the next one."""

    def spoil(night: Night) -> None:
        rows = rows_of(night, table)
        some = [row for row in rows if where(row)]
        for row, values in zip(
            some, [{name: row[name] for name in columns} for row in some[1:] + some[:1]], strict=True
        ):
            row.update(values)
        write(night, table, rows)

    return spoil


def last_nights(table: str, **changes: Any) -> Spoil:
    """Last night's rows in the place of tonight's."""

    def spoil(night: Night) -> None:
        before = previous_night(night, table)
        assert before
        model = rows_of(night, "models")[0]["model_version"]
        named = {"model_version": model} if table in {"ranked_lists", "pools"} else {}
        write(night, table, [row | {"run_date": night.run_date} | named | changes for row in rows_of(before, table)])

    return spoil


def personal(row: Row) -> bool:
    return row["source"] == "als" and len(row["items"]) > 1


def largest_market(rows: list[Row]) -> Any:
    markets = [row["market"] for row in rows]
    return max(sorted(set(markets), key=str), key=markets.count)


def empty_the_largest_market(night: Night) -> None:
    rows = rows_of(night, "ranked_lists")
    market = largest_market(rows)
    change(
        "ranked_lists",
        lambda _: {"items": [], "candidates": 0, "propensities": None},
        lambda row: row["market"] == market,
    )(night)


def list_something_heard(night: Night) -> None:
    ids = {row["item_index"]: row["item_id"] for row in rows_of(night, "item_index")}
    rows = {row["user_id"]: row for row in rows_of(night, "interactions")}

    def heard(row: Row) -> Row:
        latest = max(zip(rows[row["user_id"]]["last_heard"], rows[row["user_id"]]["item_indexes"], strict=True))
        return {"items": [{"item_id": ids[latest[1]], "score": row["items"][0]["score"]}, *row["items"][1:]]}

    first = next(row["user_id"] for row in rows_of(night, "ranked_lists") if personal(row))
    change("ranked_lists", heard, lambda row: row["user_id"] == first)(night)


def pool_something_heard(night: Night) -> None:
    rows = {row["user_id"]: row for row in rows_of(night, "interactions")}
    latest = {user: max(zip(row["last_heard"], row["item_indexes"], strict=True))[1] for user, row in rows.items()}
    change("pools", lambda row: {"items": [*row["items"][:-1], latest[row["user_id"]]]}, personal)(night)


def list_one_for_all(night: Night) -> None:
    one = next(row for row in rows_of(night, "ranked_lists") if personal(row))
    change("ranked_lists", lambda _: {name: one[name] for name in ("items", "propensities")}, personal)(night)


def lose_half_of_every_history(night: Night) -> None:
    columns = ("item_indexes", "play_sums", "second_sums", "last_heard")
    change("interactions", lambda row: {name: row[name][::2] for name in columns})(night)


def shift_indexes(night: Night) -> None:
    items = tables.count(night, "item_index")
    change("interactions", lambda row: {"item_indexes": [min(index + 1, items - 1) for index in row["item_indexes"]]})(
        night
    )


def changed_row(night: Night) -> Row:
    return next(row for row in rows_of(night, "interactions") if row["changed_on"] == night.run_date)


def undo_one_listener(night: Night) -> None:
    before = previous_night(night, "interactions")
    assert before
    old = {row["user_id"]: row for row in rows_of(before, "interactions")}
    user = next(
        row["user_id"]
        for row in rows_of(night, "interactions")
        if row["changed_on"] == night.run_date and row["user_id"] in old
    )
    columns = ("item_indexes", "play_sums", "second_sums", "last_heard", "period")
    change("interactions", lambda _: {name: old[user][name] for name in columns}, lambda row: row["user_id"] == user)(
        night
    )


def count_one_listener_twice(night: Night) -> None:
    user = changed_row(night)["user_id"]
    doubled = lambda row: {"play_sums": [2 * plays for plays in row["play_sums"]]}  # noqa: E731
    change("interactions", doubled, lambda row: row["user_id"] == user)(night)


def rewrite_a_row_that_nobody_touched(night: Night) -> None:
    user = next(row["user_id"] for row in rows_of(night, "interactions") if row["changed_on"] < night.run_date)
    more = lambda row: {"play_sums": [plays + 1 for plays in row["play_sums"]]}  # noqa: E731
    change("interactions", more, lambda row: row["user_id"] == user)(night)


def give_a_listen_to_another_item(night: Night) -> None:
    """Tonight's gain of one entry moves to the next one of the same row."""
    row = next(
        row
        for row in rows_of(night, "interactions")
        if row["changed_on"] == night.run_date and row["last_heard"][0] == night.run_date and len(row["play_sums"]) > 1
    )
    moved = [row["play_sums"][0] // 2, row["play_sums"][1] + row["play_sums"][0] - row["play_sums"][0] // 2]
    plays = {"play_sums": [*moved, *row["play_sums"][2:]]}
    change("interactions", lambda _: plays, lambda other: other["user_id"] == row["user_id"])(night)


def swap_two_items(night: Night) -> None:
    """The plays that everyone gave two items."""
    first, second = sorted(
        {
            index
            for row in rows_of(night, "interactions")
            for index in row["item_indexes"]
            if len(row["item_indexes"]) > 1
        }
    )[:2]

    def swapped(row: Row) -> Row:
        order = {first: second, second: first}
        entries = zip(
            [order.get(index, index) for index in row["item_indexes"]],
            *(row[name] for name in ("play_sums", "second_sums", "last_heard")),
            strict=True,
        )
        columns = zip(*sorted(entries), strict=True)
        names = ("item_indexes", "play_sums", "second_sums", "last_heard")
        return {name: list(values) for name, values in zip(names, columns, strict=True)}

    change("interactions", swapped)(night)


def move_a_market(night: Night) -> None:
    markets = [row["market"] for row in rows_of(night, "interactions")]
    renamed = max(sorted(set(markets), key=str), key=markets.count)
    change("interactions", lambda _: {"market": "XX"}, lambda row: row["market"] == renamed)(night)


def lift_the_licences_of_a_market(night: Night) -> None:
    rows = rows_of(night, "items")
    market = next(market for row in rows for market in row["markets"] or [])
    change("items", lambda row: {"markets": [*row["markets"], market]}, lambda row: row["markets"] is not None)(night)


def cut_the_catalogue(night: Night) -> None:
    rows = rows_of(night, "items")
    kept = {row["item_id"] for row in rows[: int(len(rows) * 0.6)]}
    change("items", lambda _: {"absent": True}, lambda row: row["item_id"] not in kept)(night)


def mistype_a_year(night: Night) -> None:
    last_year = night.run_date - timedelta(days=365)
    change("items", lambda _: {"available_from": None, "available_until": last_year})(night)


def draw_lists_by_chance(night: Night) -> None:
    """Pools and lists agree with one another, and with nothing else."""
    draw = random.Random(1)
    ids = {row["item_index"]: row["item_id"] for row in rows_of(night, "item_index")}
    pools = {row["user_id"]: row for row in rows_of(night, "pools")}
    for row in pools.values():
        draw.shuffle(row["items"])
    write(night, "pools", list(pools.values()))

    def drawn(row: Row) -> Row:
        items = [ids[index] for index in pools[row["user_id"]]["items"]]
        return {"items": [entry | {"item_id": item} for entry, item in zip(row["items"], items, strict=False)]}

    change("ranked_lists", drawn, personal)(night)


def of_two(row: Row) -> bool:
    """True for personal shelves of at least two items."""
    return row["source"] == "als" and len(row["items"]) > 1


def shelve_something_heard(night: Night) -> None:
    index = {row["item_index"]: row["item_id"] for row in rows_of(night, "item_index")}
    types = {row["item_id"]: row["content_type"] for row in rows_of(night, "items")}
    latest = {
        row["user_id"]: index[max(zip(row["last_heard"], row["item_indexes"], strict=True))[1]]
        for row in rows_of(night, "interactions")
    }

    def heard(row: Row) -> bool:
        return of_two(row) and types.get(latest[row["user_id"]], "other") == row["content_type"]

    change(
        "shelf_lists",
        lambda row: {"items": [row["items"][0] | {"item_id": latest[row["user_id"]]}, *row["items"][1:]]},
        heard,
    )(night)


def rotate_shelves(night: Night) -> None:
    """Give the items of every listener's longest shelf to the next one."""
    longest = max(rows_of(night, "shelf_lists"), key=lambda row: len(row["items"]))["content_type"]
    rotate("shelf_lists", "items", where=lambda row: of_two(row) and row["content_type"] == longest)(night)


def shelve_barred_items(night: Night) -> None:
    """The catalogue bars tonight an item that is on somebody's shelf."""
    barred = next(row["items"][0]["item_id"] for row in rows_of(night, "shelf_lists") if of_two(row))
    ended = {"available_from": None, "available_until": night.run_date - timedelta(days=1)}
    change("items", lambda _: ended, lambda row: row["item_id"] == barred)(night)


def take_down_what(table: str) -> Spoil:
    """Have an item taken down when a table lists it already."""

    def spoil(night: Night) -> None:
        listed = next(row["items"][0]["item_id"] for row in rows_of(night, table) if row["items"])
        asked_at = datetime.combine(night.run_date, time(), UTC)
        word = {"item_id": listed, "takedown_id": "1", "asked_at": asked_at, "from_night": night.run_date}
        write(night, "takedowns", [word | {"run_date": night.run_date, "lifts": False, "why": "a reason"}])

    return spoil


EVERYTHING, NOTHING = [{"days": {"first": "2000-01-01"}}], [{"item_ids": ["heard by nobody"]}]


def set_aside(
    asked: list[Row] | None, rows: int = 1, learned: Callable[[Row], Row] = lambda _: {}, said: list[Row] = EVERYTHING
) -> Spoil:
    """Have the first listener say that some listens are not their taste.

    Args:
        asked: in their plan; None: they have none.
        rows: of them in `set_aside`, each as if nothing had been taken out yet.
        learned: what is changed in their row of `interactions`.
        said: in these.
    """

    def spoil(night: Night) -> None:
        first = min(rows_of(night, "interactions"), key=lambda row: str(row["user_id"]))
        user_id, columns = first["user_id"], contract("set_aside").arrow_schema.names
        whole = {name: first[name] for name in columns if name in first}
        told = {"not_taste": json.dumps(said), "asked_on": night.run_date, "listens": 0, "older": False}
        write(night, "set_aside", [whole | told] * rows)
        if asked:
            plan = json.dumps({"not_taste": asked, "holds": "always"})
            line = {"user_id": user_id, "steer_id": "1", "asked_at": datetime.combine(night.run_date, time(), UTC)}
            write(night, "steers", [line | {"run_date": night.run_date, "plan": plan, "digest": ""}])
        change("interactions", learned, lambda row: row["user_id"] == user_id)(night)

    return spoil


def learn_nothing(row: Row) -> Row:
    nothing = [0] * len(row["item_indexes"])
    return {"play_sums": nothing, "second_sums": nothing, "recent_items": [], "recent_times": []}


def keep_the_last_alone(row: Row) -> Row:
    return learn_nothing(row) | {name: row[name] for name in ("recent_items", "recent_times")}


def scale_scores(factor: float) -> Callable[[Row], Row]:
    return lambda row: {"items": [entry | {"score": factor * entry["score"]} for entry in row["items"]]}


def drop_the_best(row: Row) -> Row:
    return {"items": row["items"][1:], "candidates": len(row["items"]) - 1, "propensities": None}


def reverse(row: Row) -> Row:
    ids = [entry["item_id"] for entry in reversed(row["items"])]
    return {"items": [entry | {"item_id": item} for entry, item in zip(row["items"], ids, strict=True)]}


def roll_the_index(night: Night) -> None:
    index = tables.rows(night.warehouse, "item_index").to_pylist()
    days = sorted({row["first_night"] for row in index})
    of_day = [row for row in index if row["first_night"] == days[0]]
    ids = [row["item_id"] for row in of_day]
    rolled = [row | {"item_id": item} for row, item in zip(of_day, ids[1:] + ids[:1], strict=True)]
    write(night.on(days[0]), "item_index", rolled)


SPOILS: dict[str, tuple[str, str, Spoil]] = {
    "everyone's list empty": (
        "ranked_lists",
        "share_empty",
        change("ranked_lists", lambda _: {"items": [], "candidates": 0, "propensities": None}),
    ),
    "lists of the largest market empty": ("ranked_lists", "largest_share_empty", empty_the_largest_market),
    "an item that was heard": ("ranked_lists", "heard_items", list_something_heard),
    "last night's lists": ("ranked_lists", "share_unmoved", last_nights("ranked_lists")),
    "all scores 0": ("ranked_lists", "share_flat", change("ranked_lists", scale_scores(0.0))),
    "all scores doubled": ("ranked_lists", "unlike_recomputed", change("ranked_lists", scale_scores(2.0), personal)),
    "another listener's list": (
        "ranked_lists",
        "unlike_recomputed",
        rotate("ranked_lists", "items", "propensities", where=personal),
    ),
    "one list for all": ("ranked_lists", "share_of_commonest_list", list_one_for_all),
    "lists the wrong way round": ("ranked_lists", "unlike_recomputed", change("ranked_lists", reverse, personal)),
    "lists drawn by chance": ("ranked_lists", "unlike_recomputed", draw_lists_by_chance),
    "lists without their best item": ("ranked_lists", "unlike_pool", change("ranked_lists", drop_the_best, personal)),
    "few candidates": (
        "ranked_lists",
        "least_candidates_vs_last_night",
        change(
            "ranked_lists",
            lambda row: {"candidates": len(row["items"]) // 4, "items": row["items"][: len(row["items"]) // 4]},
        ),
    ),
    "pools that say another order": (
        "ranked_lists",
        "unlike_pool",
        change("pools", lambda row: {"listed": row["listed"][::-1]}),
    ),
    "pools that say more than they hold": (
        "pools",
        "listed_beyond",
        change("pools", lambda row: {"listed": [*row["listed"][:-1], len(row["items"])]}),
    ),
    "lists of pools that are gone": ("ranked_lists", "without_pool", lambda night: write(night, "pools", [])),
    "last night's pools": ("pools", "other_row", last_nights("pools")),
    "another listener's pool": ("pools", "heard_items", rotate("pools", "items", "scores", where=personal)),
    "another listener's row": ("pools", "other_row", rotate("pools", "row_digest")),
    "pools of another model": ("pools", "other_model", change("pools", lambda _: {"model_version": "als-of-old"})),
    "pools of items without factors": (
        "pools",
        "outside_model",
        change("pools", lambda row: {"items": [10**6, *row["items"][1:]]}),
    ),
    "pools of negative items": (
        "pools",
        "outside_model",
        change("pools", lambda row: {"items": [-1, *row["items"][1:]]}),
    ),
    "pools with one score": (
        "pools",
        "share_flat",
        change("pools", lambda row: {"scores": [1.0] * len(row["scores"])}),
    ),
    "a pool of what was heard": ("pools", "heard_items", pool_something_heard),
    "pools of tomorrow": (
        "pools",
        "outdated",
        lambda night: change("pools", lambda _: {"computed_on": night.run_date + timedelta(days=1)})(night),
    ),
    "no shelves": ("shelf_lists", "rows_missing", lambda night: write(night, "shelf_lists", [])),
    "every other shelf": (
        "shelf_lists",
        "rows_missing",
        lambda night: write(night, "shelf_lists", rows_of(night, "shelf_lists")[::2]),
    ),
    "shelves of a type that has none": (
        "shelf_lists",
        "rows_unexpected",
        change(
            "shelf_lists",
            lambda row: {"content_type": "track" if row["content_type"] == "other" else "other"},
            lambda row: row["content_type"] in {"audiobook", "other"},
        ),
    ),
    "a shelf twice": (
        "shelf_lists",
        "duplicate_keys",
        lambda night: write(night, "shelf_lists", [*(rows := rows_of(night, "shelf_lists")), rows[0]]),
    ),
    "shelves half as long": (
        "shelf_lists",
        "short",
        change("shelf_lists", lambda row: {"items": row["items"][: len(row["items"]) // 2]}, of_two),
    ),
    "shelves twice as long": (
        "shelf_lists",
        "too_long",
        change("shelf_lists", lambda row: {"items": row["items"] * 21}, of_two),
    ),
    "shelves of one item over and over": (
        "shelf_lists",
        "lists_with_duplicates",
        change("shelf_lists", lambda row: {"items": [row["items"][0]] * len(row["items"])}, of_two),
    ),
    "shelves the wrong way round": (
        "shelf_lists",
        "unordered",
        change("shelf_lists", lambda row: {"items": row["items"][::-1]}, of_two),
    ),
    "shelves without a score": (
        "shelf_lists",
        "not_finite",
        change("shelf_lists", scale_scores(float("nan")), of_two),
    ),
    "shelves with other scores": ("shelf_lists", "unlike_recomputed", change("shelf_lists", scale_scores(2.0), of_two)),
    "shelves of another model": (
        "shelf_lists",
        "other_model",
        change("shelf_lists", lambda _: {"model_version": "als-of-old"}, of_two),
    ),
    "shelves of what was heard": ("shelf_lists", "heard_items", shelve_something_heard),
    "shelves of another listener": ("shelf_lists", "outside_pool", rotate_shelves),
    "shelves of pools that are gone": ("shelf_lists", "without_pool", lambda night: write(night, "pools", [])),
    "another item's related items": (
        "related_items",
        "unlike_recomputed",
        rotate("related_items", "items", where=lambda row: row["source"] == "model"),
    ),
    "related items the wrong way round": (
        "related_items",
        "unordered",
        change("related_items", lambda row: {"items": row["items"][::-1]}),
    ),
    "half of the related items": (
        "related_items",
        "wrong_length",
        change("related_items", lambda row: {"items": row["items"][: len(row["items"]) // 2]}),
    ),
    "related items of half the items": (
        "related_items",
        "rows_missing",
        lambda night: write(night, "related_items", rows_of(night, "related_items")[::2]),
    ),
    "half of everyone's history": ("interactions", "history_lost", lose_half_of_every_history),
    "indexes shifted by one": ("interactions", "items_out_of_balance", shift_indexes),
    "last night's rows": ("interactions", "items_out_of_balance", last_nights("interactions")),
    "tonight's listens of one listener lost": ("interactions", "items_out_of_balance", undo_one_listener),
    "one listener counted twice": ("interactions", "items_out_of_balance", count_one_listener_twice),
    "a listen given to another item": ("interactions", "items_out_of_balance", give_a_listen_to_another_item),
    "two items swapped for everyone": ("interactions", "history_lost", swap_two_items),
    "no seconds": (
        "interactions",
        "history_lost",
        change("interactions", lambda row: {"second_sums": [0] * len(row["second_sums"])}),
    ),
    "an untouched row rewritten": ("interactions", "rewritten", rewrite_a_row_that_nobody_touched),
    "last listens forgotten": (
        "interactions",
        "wrong_windows",
        change("interactions", lambda _: {"recent_items": [], "recent_times": []}),
    ),
    "last listens of another": (
        "interactions",
        "wrong_windows",
        rotate("interactions", "recent_items", "recent_times"),
    ),
    "last listens the wrong way round": (
        "interactions",
        "wrong_windows",
        change("interactions", lambda row: {"recent_times": row["recent_times"][::-1]}),
    ),
    "a market renamed": ("interactions", "largest_market_shift", move_a_market),
    "a row set aside that nobody asked for": ("set_aside", "unasked", set_aside(asked=None)),
    "another request than the listener's": ("set_aside", "unasked", set_aside(NOTHING)),
    "a request that was not heeded": ("set_aside", "unasked", set_aside(EVERYTHING, rows=0)),
    "a row set aside twice": ("set_aside", "duplicate_listeners", set_aside(EVERYTHING, 2, learn_nothing)),
    "listens that were to be set aside and count": ("set_aside", "wrong_rows", set_aside(EVERYTHING)),
    "listens set aside beyond what was asked for": (
        "set_aside",
        "wrong_rows",
        set_aside(NOTHING, learned=learn_nothing, said=NOTHING),
    ),
    "listens set aside that are still among the last": (
        "set_aside",
        "wrong_rows",
        set_aside(EVERYTHING, learned=keep_the_last_alone),
    ),
    "ids rolled against factors": ("item_factors", "unlike_index", rotate("item_factors", "item_id")),
    "two ids swapped against factors": (
        "item_factors",
        "unlike_index",
        rotate("item_factors", "item_id", where=lambda row: row["item_index"] < 2),
    ),
    "ids rolled in the index": ("item_factors", "unlike_index", roll_the_index),
}
CATALOGUE_SPOILS: dict[str, tuple[str, str, Spoil]] = {
    "an item of lists that is taken down": ("ranked_lists", "ineligible_items", take_down_what("ranked_lists")),
    "an item on shelves that is taken down": ("shelf_lists", "ineligible_items", take_down_what("shelf_lists")),
    "a related item that is taken down": ("related_items", "ineligible_items", take_down_what("related_items")),
    "an item on shelves that is barred": ("shelf_lists", "ineligible_items", shelve_barred_items),
    "a type that was changed after ranking": (
        "shelf_lists",
        "other_type",
        change("items", lambda _: {"content_type": "audiobook"}, lambda row: row["content_type"] == "track"),
    ),
    "a catalogue without markets": ("items", "share_licences_lifted", change("items", lambda _: {"markets": None})),
    "a catalogue without explicit": ("items", "share_explicit_lifted", change("items", lambda _: {"explicit": None})),
    "one market's licences for everything": ("items", "share_licences_lifted", lift_the_licences_of_a_market),
    "a catalogue cut to 60 %": ("items", "items_vs_last_night", cut_the_catalogue),
    "a mistyped year": ("items", "least_listable_vs_last_night", mistype_a_year),
}


def reasons(spark: SparkSession, night: Night, table: str) -> list[str]:
    """Why the gate would be closed by this table."""
    (verdict,) = validate(spark, night, [table])
    expected = {table: critical_expectations()[table]}
    return gate(verdict.rows, expected, {table: fingerprints.file_hashes(night, table)})


@pytest.mark.slow
def test_a_sound_night_closes_no_gate(spark: SparkSession, shape: Shape, tonight: Night) -> None:
    assert [reason for table in GATED_TABLES for reason in reasons(spark, tonight, table)] == []


@pytest.mark.slow
@pytest.mark.sampled("name")
@pytest.mark.parametrize("name", SPOILS)
def test_a_spoil_closes_the_gate(spark: SparkSession, tonight: Night, name: str) -> None:
    table, metric, spoil = SPOILS[name]

    spoil(tonight)

    told = reasons(spark, tonight, table)
    assert any(reason.startswith(f"{table}: {metric} is ") for reason in told), told


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE_SPOILS)
def test_a_spoilt_catalogue_closes_the_gate(spark: SparkSession, shape: Shape, tonight: Night, name: str) -> None:
    if not shape.has_catalogue:
        pytest.skip("a service without a catalogue")
    table, metric, spoil = CATALOGUE_SPOILS[name]

    spoil(tonight)

    told = reasons(spark, tonight, table)
    assert any(reason.startswith(f"{table}: {metric} is ") for reason in told), told
