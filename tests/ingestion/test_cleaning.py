"""Cleaning: every kind of corruption gets its own reason, by the documented order; nothing is lost."""

import json
from datetime import date
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from nocturne.core.settings import load_settings
from nocturne.ingestion.cleaning import (
    DUPLICATE,
    LISTEN,
    REASONS,
    busy_listeners,
    check_events,
    mark_bots,
    mark_duplicates,
    repeated_ids,
    split_doubtful_rows,
)
from nocturne.ingestion.landing_files import EVENT_FIELDS

if TYPE_CHECKING:
    from nocturne.core.sections import ListenSettings

DAY = date(2025, 3, 2)
SETTINGS = load_settings().listens
GOOD = {"event_id": "e", "user_id": "u", "item_id": "known", "listened_at": "2025-03-02T10:00:00Z"}

EXPECTED = [
    # what the event has instead of good values, and what becomes of it
    ({}, LISTEN),
    ({"listened_at": "2025-03-02T23:59:59.999999Z"}, LISTEN),
    ({"listened_at": "2025-03-02 10:00"}, LISTEN),
    ({"listened_at": "2025-03-03T00:30:00+01:00"}, LISTEN),
    ({"listened_at": "2025-03-02T10:00:00,123Z"}, LISTEN),
    ({"listened_at": "2025-03-02T10:00Z"}, LISTEN),
    ({"listened_at": "2025-03-03T00:30+01"}, LISTEN),
    ({"listened_at": "2025-03-02T23:30:00.5-0025"}, LISTEN),
    ({"listened_at": " 2025-03-02 10:00:00.123456789 "}, LISTEN),
    ({"user_id": "u" * 511, "event_id": "é" * 255}, LISTEN),
    ({"user_id": "\0 u"}, LISTEN),
    ({"listened_at": "2025-02-28T00:00:00Z"}, LISTEN),
    ({"ms_played": "", "plays": " "}, LISTEN),
    ({"ms_played": "0", "plays": "1000000"}, LISTEN),
    ({"parsed": False}, "unparsable"),
    ({"event_id": None, "user_id": None}, "missing_event_id"),
    ({"event_id": " "}, "missing_event_id"),
    ({"user_id": None, "plays": "-1"}, "missing_user_id"),
    ({"user_id": ""}, "missing_user_id"),
    ({"user_id": "\t"}, "missing_user_id"),
    ({"user_id": "\r\n\v\f"}, "missing_user_id"),
    ({"user_id": "\u00a0\u2003\u3000\u2028"}, "missing_user_id"),
    ({"user_id": "\u200b\ufeff\0"}, "missing_user_id"),
    ({"event_id": "e" * 512, "listened_at": None}, "long_id"),
    ({"user_id": "u" * 512}, "long_id"),
    ({"item_id": "é" * 256}, "long_id"),
    ({"item_id": None, "listened_at": None}, "missing_item_id"),
    ({"listened_at": None}, "invalid_time"),
    ({"listened_at": "2025"}, "invalid_time"),
    ({"listened_at": "2025-02-30T10:00:00Z"}, "invalid_time"),
    ({"listened_at": "yesterday"}, "invalid_time"),
    ({"listened_at": "2025-03-02"}, "invalid_time"),
    ({"listened_at": "2025-03-02T10"}, "invalid_time"),
    ({"listened_at": "2025-03-02Tgarbage"}, "invalid_time"),
    ({"listened_at": "2025-03-02T10:00:00Zgarbage"}, "invalid_time"),
    ({"listened_at": "2025-03-02T24:30Z"}, "invalid_time"),
    ({"listened_at": "2025-03-02T10:00+99"}, "invalid_time"),
    ({"listened_at": "1740909600000", "plays": "0"}, "invalid_time"),
    ({"ms_played": "-1", "plays": "0"}, "invalid_ms_played"),
    ({"ms_played": "1.5"}, "invalid_ms_played"),
    ({"ms_played": "86400001"}, "invalid_ms_played"),
    ({"ms_played": "9" * 30}, "invalid_ms_played"),
    ({"plays": "0"}, "invalid_plays"),
    ({"plays": "-24"}, "invalid_plays"),
    ({"plays": "1000001"}, "invalid_plays"),
    ({"plays": "many", "listened_at": "2030-01-01T00:00:00Z"}, "invalid_plays"),
    ({"listened_at": "2025-03-03T00:00:00Z"}, "after_day"),
    ({"listened_at": "2025-03-02T23:30:00-01:00"}, "after_day"),
    ({"listened_at": "2025-02-27T23:59:59Z", "item_id": "unknown"}, "too_late"),
    ({"item_id": "unknown"}, "unknown_item"),
    ({"item_id": "absent"}, "unknown_item"),
]


def landed(spark: SparkSession, *events: dict[str, object]) -> DataFrame:
    rows = [
        ("file", f"line {number}", event.get("parsed", True), *(event.get(field) for field in EVENT_FIELDS))
        for number, event in enumerate(events)
    ]
    return spark.createDataFrame(
        rows, "file STRING, raw STRING, parsed BOOLEAN, " + ", ".join(f"{name} STRING" for name in EVENT_FIELDS)
    )


def clean(spark: SparkSession, *events: dict[str, object], recent: str = "", **changes: object) -> list[Row]:
    settings: ListenSettings = SETTINGS.model_copy(update=changes)
    catalogue = spark.createDataFrame([("known", False), ("absent", True)], "item_id STRING, absent BOOLEAN")
    seen = spark.createDataFrame([(event_id,) for event_id in recent.split()], "event_id STRING")
    checked = check_events(landed(spark, *events), catalogue, DAY, settings)
    marked = mark_bots(mark_duplicates(checked, seen), settings)
    return sorted(marked.collect(), key=lambda row: int(row.raw.split()[1]))


@pytest.fixture(scope="module")
def judged(spark: SparkSession) -> list[Row]:
    events = [GOOD | {"event_id": f"e{number}"} | changes for number, (changes, _) in enumerate(EXPECTED)]
    return clean(spark, *events, unknown_items="quarantine")


@pytest.mark.parametrize(
    "number", range(len(EXPECTED)), ids=[f"{outcome}-{changes}"[:60] for changes, outcome in EXPECTED]
)
def test_an_event_gets_the_first_reason_that_speaks_against_it(judged: list[Row], number: int) -> None:
    assert judged[number].outcome == EXPECTED[number][1]


def test_every_reason_but_bot_is_among_the_cases_above() -> None:
    assert {outcome for _, outcome in EXPECTED} - {LISTEN} == set(REASONS) - {"bot"}


def test_values_are_typed_and_absent_ones_have_their_defaults(judged: list[Row]) -> None:
    of = {str(changes): row for (changes, _), row in zip(EXPECTED, judged, strict=True)}
    plain, most, earlier = (
        of[str(changes)]
        for changes in ({}, {"ms_played": "0", "plays": "1000000"}, {"listened_at": "2025-02-28T00:00:00Z"})
    )
    assert (plain.plays, plain.ms_played, plain.market, plain.late) == (1, None, None, False)
    assert (most.plays, most.ms_played) == (1_000_000, 0)
    assert earlier.late


def test_times_of_any_form_are_the_same_instants_in_utc(judged: list[Row]) -> None:
    times = {
        changes["listened_at"]: row
        for (changes, _), row in zip(EXPECTED, judged, strict=True)
        if "listened_at" in changes
    }
    for text, time in {
        "2025-03-02 10:00": "2025-03-02T10:00:00",
        "2025-03-02T10:00Z": "2025-03-02T10:00:00",
        "2025-03-02T10:00:00,123Z": "2025-03-02T10:00:00.123000",
        "2025-03-03T00:30:00+01:00": "2025-03-02T23:30:00",
        "2025-03-03T00:30+01": "2025-03-02T23:30:00",
        "2025-03-02T23:30:00.5-0025": "2025-03-02T23:55:00.500000",
        " 2025-03-02 10:00:00.123456789 ": "2025-03-02T10:00:00.123456",
    }.items():
        assert times[text].listened_at.isoformat() == time


def test_a_row_without_a_line_is_kept_as_its_fields_in_json(spark: SparkSession) -> None:
    rows = landed(spark, GOOD | {"plays": "0"}).withColumn("raw", F.lit(None).cast("string"))
    (row,) = check_events(rows, spark.createDataFrame([], "item_id STRING"), DAY, SETTINGS).collect()
    assert json.loads(row.raw) == GOOD | {"plays": "0"}


def test_an_unknown_item_is_kept_unless_settings_say_otherwise(spark: SparkSession) -> None:
    (row,) = clean(spark, GOOD | {"item_id": "unknown"}, unknown_items="keep")
    assert row.outcome == LISTEN


def test_duplicates_are_counted_and_one_stays_whatever_the_order(spark: SparkSession) -> None:
    first = GOOD | {"listened_at": "2025-03-02T09:00:00Z"}
    events = [GOOD, first, GOOD, GOOD | {"event_id": "seen"}, GOOD | {"event_id": None}, GOOD | {"event_id": None}]
    outcomes = [row.outcome for row in clean(spark, *events, recent="seen other")]
    assert outcomes == [DUPLICATE, LISTEN, DUPLICATE, DUPLICATE, "missing_event_id", "missing_event_id"]


def test_a_rejected_row_does_not_take_the_place_of_a_valid_one(spark: SparkSession) -> None:
    outcomes = [row.outcome for row in clean(spark, GOOD | {"plays": "0"}, GOOD)]
    assert outcomes == ["invalid_plays", LISTEN]


def minute(number: int) -> str:
    return f"2025-03-02T{number // 60:02d}:{number % 60:02d}:00Z"


def test_bots_go_by_rate_baskets_stay_and_plays_are_no_rate(spark: SparkSession) -> None:
    bot = [{"user_id": "bot", "listened_at": minute(number)} for number in range(11)]
    person = [{"user_id": "person", "listened_at": minute(number)} for number in range(10)]
    shopper = [{"user_id": "shopper", "listened_at": minute(7)} for _ in range(40)]
    fan = [{"user_id": "fan", "plays": "100000"}]
    events = [GOOD | {"event_id": f"e{n}"} | event for n, event in enumerate([*bot, *person, *shopper, *fan])]
    rows = clean(spark, *events, bot_rows=10, basket_rows=5)
    assert {row.user_id: row.outcome for row in rows} == {
        "bot": "bot",
        "person": LISTEN,
        "shopper": LISTEN,
        "fan": LISTEN,
    }
    assert sum(row.outcome == "bot" for row in rows) == 11


def test_duplicates_are_no_sign_of_a_bot(spark: SparkSession) -> None:
    events = [GOOD | {"event_id": f"e{n % 5}", "listened_at": minute(n % 5)} for n in range(50)]
    outcomes = [row.outcome for row in clean(spark, *events, bot_rows=10, basket_rows=60)]
    assert (outcomes.count(LISTEN), outcomes.count(DUPLICATE)) == (5, 45)


def test_cleaning_keeps_every_row_exactly_once(judged: list[Row]) -> None:
    assert [row.raw for row in judged] == [f"line {number}" for number in range(len(EXPECTED))]


def test_rows_set_apart_and_judged_alone_come_out_as_if_all_were_judged(spark: SparkSession) -> None:
    bot = [{"event_id": f"b{n}", "user_id": "bot", "listened_at": minute(n)} for n in range(11)]
    twins = [{"event_id": "twin"}, {"event_id": "twin", "listened_at": minute(1)}, {"event_id": "seen"}]
    others = [{"event_id": "bad", "plays": "0"}, {"event_id": None}, *({"event_id": f"e{n}"} for n in range(4))]
    events = [GOOD | event for event in (*bot, *twins, *others)]
    settings = SETTINGS.model_copy(update={"bot_rows": 10})
    checked = check_events(landed(spark, *events), spark.createDataFrame([], "item_id STRING"), DAY, settings)
    seen = spark.createDataFrame([("seen",)], "event_id STRING")
    certain, doubtful = split_doubtful_rows(checked, repeated_ids(checked, seen), busy_listeners(checked, settings))
    assert {row.event_id for row in certain.collect()} == {f"e{n}" for n in range(4)}
    parted = certain.unionByName(mark_bots(mark_duplicates(doubtful, seen), settings).select(certain.columns))
    whole = mark_bots(mark_duplicates(checked, seen), settings).select(certain.columns)
    assert sorted(parted.collect(), key=str) == sorted(whole.collect(), key=str)
