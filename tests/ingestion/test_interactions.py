"""The matrix: sums derivable by hand, and a night added gives exactly what a rebuild gives."""

import itertools
from datetime import date, datetime, timedelta

import numpy as np
import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from nocturne.core.sections import InteractionSettings
from nocturne.ingestion.interactions import EPOCH, UNIT, add_listens, index_new_items, strength_scale

FOUR_DAYS = InteractionSettings(half_life_days=4.0)
LISTEN = """
    run_date DATE, user_id STRING, item_id STRING, listened_at TIMESTAMP,
    ms_played BIGINT, plays BIGINT, market STRING
"""
INDEX = "first_night DATE, item_index INT, item_id STRING"
ROW = (
    "user_id STRING, market STRING, market_heard_at TIMESTAMP, period INT, item_indexes ARRAY<INT>, "
    "play_sums ARRAY<BIGINT>, second_sums ARRAY<BIGINT>, last_heard ARRAY<DATE>, "
    "recent_items ARRAY<INT>, recent_times ARRAY<TIMESTAMP>, changed_on DATE, digest STRING"
)
ITEMS = [(EPOCH, 0, "a"), (EPOCH, 1, "b"), (EPOCH, 2, "c")]


def day(number: int) -> date:
    return EPOCH + timedelta(days=number)


def listen(
    night: int,
    user: str,
    item: str,
    *,
    on: int | None = None,
    ms: int | None = None,
    plays: int = 1,
    market: str | None = None,
) -> tuple:
    heard = datetime.combine(day(night if on is None else on), datetime.min.time()) + timedelta(hours=9)
    return (day(night), user, item, heard, ms, plays, market)


def add(spark: SparkSession, listens: list[tuple], night: int, previous: list[Row] | None = None) -> list[Row]:
    rows = add_listens(
        spark.createDataFrame(previous or [], ROW),
        spark.createDataFrame(listens, LISTEN),
        spark.createDataFrame(ITEMS, INDEX),
        day(night),
        FOUR_DAYS,
    )
    return sorted(rows.select("user_id", *(part.split()[0] for part in ROW.split(", ")[1:])).collect())


def test_a_play_is_worth_one_on_the_first_day_of_a_period_and_twice_that_a_half_life_later(spark: SparkSession) -> None:
    (row,) = add(spark, [listen(8, "u", "a"), listen(10, "u", "b", plays=3), listen(8, "u", "c", on=4, ms=2500)], 10)
    assert row.item_indexes == [0, 1, 2]
    assert row.play_sums == [UNIT, 3 * round(UNIT * 2**0.5), UNIT // 2]
    assert row.second_sums == [0, 0, 3 * UNIT // 2]
    assert row.last_heard == [day(8), day(10), day(4)]
    assert row.recent_items == [2, 0, 1]
    assert [moment.date() for moment in row.recent_times] == [day(4), day(8), day(10)]
    assert (row.period, row.changed_on) == (2, day(10))


def test_what_was_there_halves_once_per_period(spark: SparkSession) -> None:
    previous = add(spark, [listen(8, "u", "a"), listen(8, "u", "b")], 8)
    (row,) = add(spark, [listen(16, "u", "b")], 16, previous)
    assert row.play_sums == [UNIT // 4, UNIT // 4 + UNIT]
    assert row.period == 4


def test_a_listener_without_new_listens_keeps_every_byte(spark: SparkSession) -> None:
    previous = add(spark, [listen(8, "u", "a"), listen(8, "v", "b")], 8)
    after = add(spark, [listen(30, "v", "c")], 30, previous)
    assert after[0] == previous[0]
    assert after[1].digest != previous[1].digest


def test_the_market_is_that_of_the_latest_listen_that_names_one(spark: SparkSession) -> None:
    previous = add(spark, [listen(8, "u", "a", market="SE"), listen(9, "u", "a")], 9)
    assert previous[0].market == "SE"
    with_late_listen = add(spark, [listen(10, "u", "a", on=7, market="NO")], 10, previous)
    assert with_late_listen[0].market == "SE"
    moved = add(spark, [listen(10, "u", "a", market="NO")], 10, previous)
    assert moved[0].market == "NO"


def test_sums_are_brought_to_the_anchor_date() -> None:
    assert strength_scale(2, day(8), 4.0) * UNIT == 1.0
    assert strength_scale(2, day(12), 4.0) * UNIT == 0.5


def random_listens(seed: int, worlds: int, nights: int) -> list[tuple]:
    """Listens of many small worlds at once: listeners of one world share nothing with another's."""
    rng = np.random.default_rng(seed)
    listens = []
    for world in range(worlds):
        for _ in range(rng.integers(1, 15)):
            night = int(rng.integers(0, nights))
            late = int(rng.integers(0, 3))
            listens.append(
                listen(
                    100 + night,
                    f"w{world}-u{rng.integers(3)}",
                    "abc"[rng.integers(3)],
                    on=100 + night - late,
                    ms=int(rng.integers(0, 10**7)) if rng.random() < 0.7 else None,
                    plays=int(rng.integers(1, 1000)),
                    market=[None, "SE", "NO"][rng.integers(3)],
                )
            )
    return listens


@pytest.mark.parametrize("seed", [1, 2])
def test_adding_night_by_night_in_any_steps_equals_a_rebuild_from_all_listens(spark: SparkSession, seed: int) -> None:
    nights = 24  # six half-lives
    listens = random_listens(seed, worlds=150, nights=nights)
    rebuilt = add(spark, listens, 100 + nights - 1)
    steps = sorted({0, nights, *np.random.default_rng(seed).integers(1, nights, 4).tolist()})
    rows: list[Row] = []
    for start, end in itertools.pairwise(steps):
        tonight = [row for row in listens if day(100 + start) <= row[0] < day(100 + end)]
        rows = add(spark, tonight, 100 + end - 1, rows)
    assert rows == rebuilt
    assert len(rows) > 150


def test_a_century_of_listening_does_not_overflow(spark: SparkSession) -> None:
    previous = add(spark, [listen(8, "u", "a", plays=10**6, ms=86_400_000)], 8)
    (row,) = add(spark, [listen(36_000, "u", "b", plays=10**6)], 36_000, previous)
    assert row.play_sums == [0, 10**6 * UNIT]
    assert row.second_sums == [0, 0]


def indexed(spark: SparkSession, items: list[str], index: list[tuple], night: int) -> list[tuple]:
    heard = spark.createDataFrame([(item,) for item in items], "item_id STRING")
    rows: DataFrame = index_new_items(heard, spark.createDataFrame(index, INDEX), day(night))
    return sorted(tuple(row) for row in rows.collect())


def test_new_items_get_the_next_indexes_in_order_of_id_and_old_ones_keep_theirs(spark: SparkSession) -> None:
    first = indexed(spark, ["m", "k", "m"], [], 1)
    assert first == [(day(1), 0, "k"), (day(1), 1, "m")]
    second = indexed(spark, ["m", "z", "a"], first, 2)
    assert second == [(day(2), 2, "a"), (day(2), 3, "z")]
    assert indexed(spark, ["m", "z", "a"], [*first, *second], 2) == second
    assert indexed(spark, ["k", "b"], [*first, *second], 1) == [*first, (day(1), 4, "b")]
