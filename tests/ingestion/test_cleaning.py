"""Cleaning: every kind of corruption gets its own reason, by the documented order; nothing is lost."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from nocturne.core.settings import load_settings
from nocturne.ingestion.cleaning import (
    CHECKED,
    DUPLICATE,
    LISTEN,
    OUTCOMES,
    REASONS,
    UNREADABLE,
    Rules,
    accepted,
    check_events,
    mark_bots,
    mark_duplicates,
    rejected,
)
from nocturne.ingestion.landed_rows import landed_schema
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


@dataclass(frozen=True)
class Judged:
    """Events as they were judged, and their outcomes by name, in the order of the events."""

    events: pa.Table

    @property
    def outcomes(self) -> list[str]:
        return [OUTCOMES[place] for place in self.events["outcome"].to_pylist()]

    def listens(self) -> dict[str, dict[str, Any]]:
        return {row["event_id"]: row for row in accepted(self.events, DAY).to_pylist()}


def landed(*events: dict[str, object]) -> pa.RecordBatch:
    rows = [{"file": "f", "raw": f"line {n}", "parsed": True} | event for n, event in enumerate(events)]
    return pa.RecordBatch.from_pylist(rows, schema=landed_schema(EVENT_FIELDS))


def clean(*events: dict[str, object], recent: str = "", **changes: object) -> Judged:
    settings: ListenSettings = SETTINGS.model_copy(update=changes)
    known = pa.array(["known"]) if settings.unknown_items == "quarantine" else None
    checked = check_events(landed(*events), Rules(DAY, settings, known))
    assert checked.schema.equals(CHECKED)
    seen = pa.array(recent.split(), pa.string())
    return Judged(mark_bots(mark_duplicates(pa.Table.from_batches([checked]), seen), settings))


@pytest.fixture(scope="module")
def judged() -> Judged:
    events = [GOOD | {"event_id": f"e{number}"} | changes for number, (changes, _) in enumerate(EXPECTED)]
    return clean(*events, unknown_items="quarantine")


@pytest.mark.parametrize(
    "number", range(len(EXPECTED)), ids=[f"{outcome}-{changes}"[:60] for changes, outcome in EXPECTED]
)
def test_an_event_gets_the_first_reason_that_speaks_against_it(judged: Judged, number: int) -> None:
    assert judged.outcomes[number] == EXPECTED[number][1]


def test_every_reason_but_bot_is_among_the_cases_above() -> None:
    assert {outcome for _, outcome in EXPECTED} - {LISTEN} == set(REASONS) - {"bot"}


def listen_of(judged: Judged, changes: dict[str, object]) -> dict[str, Any]:
    """The listen that the event with these values became."""
    number = [case for case, _ in EXPECTED].index(changes)
    return judged.listens()[f"e{number}"]


def test_values_are_typed_and_absent_ones_have_their_defaults(judged: Judged) -> None:
    plain = listen_of(judged, {})
    assert (plain["plays"], plain["ms_played"], plain["market"], plain["late"]) == (1, None, None, False)
    most = listen_of(judged, {"ms_played": "0", "plays": "1000000"})
    assert (most["plays"], most["ms_played"]) == (1_000_000, 0)
    assert listen_of(judged, {"listened_at": "2025-02-28T00:00:00Z"})["late"]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2025-03-02 10:00", "2025-03-02T10:00:00"),
        ("2025-03-02T10:00Z", "2025-03-02T10:00:00"),
        ("2025-03-02T10:00:00,123Z", "2025-03-02T10:00:00.123000"),
        ("2025-03-03T00:30:00+01:00", "2025-03-02T23:30:00"),
        ("2025-03-03T00:30+01", "2025-03-02T23:30:00"),
        ("2025-03-02T23:30:00.5-0025", "2025-03-02T23:55:00.500000"),
        (" 2025-03-02 10:00:00.123456789 ", "2025-03-02T10:00:00.123456"),
    ],
)
def test_times_of_any_form_are_the_same_instants_in_utc(judged: Judged, text: str, time: str) -> None:
    assert listen_of(judged, {"listened_at": text})["listened_at"] == datetime.fromisoformat(f"{time}+00:00")


def test_numbers_and_times_of_parquet_are_checked_as_they_are() -> None:
    rows = landed(*(GOOD | {"event_id": f"e{number}", "raw": None} for number in range(5)))
    tonight = 1_740_909_600_000
    values = {
        "listened_at": pa.array([10**12, tonight, tonight, 10**18, tonight], pa.timestamp("ms")),
        "ms_played": pa.array([1, 2, -1, 1, 1], pa.int64()),
        "plays": pa.array([1, None, 1, 1, 2**64 - 1], pa.uint64()),
    }
    columns = [values.get(name, rows[name]) for name in rows.schema.names]
    checked = check_events(pa.record_batch(columns, rows.schema.names), Rules(DAY, SETTINGS))
    assert [OUTCOMES[place] for place in checked["outcome"].to_pylist()] == [
        "too_late",
        LISTEN,
        "invalid_ms_played",
        "invalid_time",
        "invalid_plays",
    ]
    assert checked["raw"].is_null().to_pylist() == [False, True, False, False, False]


def test_a_row_without_a_line_is_kept_as_its_fields_in_json() -> None:
    checked = check_events(landed(GOOD | {"plays": "0", "raw": None}), Rules(DAY, SETTINGS))
    assert [json.loads(text) for text in checked["raw"].to_pylist()] == [GOOD | {"plays": "0"}]


def test_a_file_that_ends_too_early_is_no_event() -> None:
    assert clean({"failure": "a.jsonl is damaged"}, GOOD).outcomes == [UNREADABLE, LISTEN]


def test_an_unknown_item_is_kept_unless_settings_say_otherwise() -> None:
    assert clean(GOOD | {"item_id": "unknown"}, unknown_items="keep").outcomes == [LISTEN]


def test_duplicates_are_counted_and_one_stays_whatever_the_order() -> None:
    first = GOOD | {"listened_at": "2025-03-02T09:00:00Z"}
    events = [GOOD, first, GOOD, GOOD | {"event_id": "seen"}, GOOD | {"event_id": None}, GOOD | {"event_id": None}]
    outcomes = clean(*events, recent="seen other").outcomes
    assert outcomes == [DUPLICATE, LISTEN, DUPLICATE, DUPLICATE, "missing_event_id", "missing_event_id"]


@pytest.mark.parametrize(
    "earlier", [{"user_id": "t"}, {"item_id": "a"}, {"raw": "before line 0"}, {"listened_at": "2025-03-02T09:59:59Z"}]
)
def test_the_first_by_time_listener_item_and_line_stays(earlier: dict[str, object]) -> None:
    assert clean(GOOD | {"raw": "line 0"}, GOOD | {"raw": "line 0"} | earlier).outcomes == [DUPLICATE, LISTEN]


def test_a_rejected_row_does_not_take_the_place_of_a_valid_one() -> None:
    assert clean(GOOD | {"plays": "0"}, GOOD).outcomes == ["invalid_plays", LISTEN]


def minute(number: int) -> str:
    return f"2025-03-02T{number // 60:02d}:{number % 60:02d}:00Z"


def test_bots_go_by_rate_baskets_stay_and_plays_are_no_rate() -> None:
    bot = [{"user_id": "bot", "listened_at": minute(number)} for number in range(11)]
    person = [{"user_id": "person", "listened_at": minute(number)} for number in range(10)]
    shopper = [{"user_id": "shopper", "listened_at": minute(7)} for _ in range(40)]
    fan = [{"user_id": "fan", "plays": "100000"}]
    events = [GOOD | {"event_id": f"e{n}"} | event for n, event in enumerate([*bot, *person, *shopper, *fan])]
    outcomes = clean(*events, bot_rows=10, basket_rows=5).outcomes
    assert outcomes == ["bot"] * 11 + [LISTEN] * 51


def test_a_rate_is_of_one_day() -> None:
    evening = [{"listened_at": f"2025-03-01T23:59:{number:02d}Z"} for number in range(6)]
    morning = [{"listened_at": f"2025-03-02T00:00:{number:02d}Z"} for number in range(6)]
    events = [GOOD | {"event_id": f"e{n}"} | event for n, event in enumerate([*evening, *morning])]
    assert set(clean(*events, bot_rows=10, basket_rows=60).outcomes) == {LISTEN}
    assert set(clean(*events, bot_rows=5, basket_rows=60).outcomes) == {"bot"}


def test_duplicates_are_no_sign_of_a_bot() -> None:
    events = [GOOD | {"event_id": f"e{n % 5}", "listened_at": minute(n % 5)} for n in range(50)]
    outcomes = clean(*events, bot_rows=10, basket_rows=60).outcomes
    assert (outcomes.count(LISTEN), outcomes.count(DUPLICATE)) == (5, 45)


def test_cleaning_keeps_every_row_exactly_once(judged: Judged) -> None:
    assert judged.events["raw"].to_pylist() == [f"line {number}" for number in range(len(EXPECTED))]


def test_every_event_belongs_into_one_table_and_both_have_an_order_of_their_own(judged: Judged) -> None:
    listens, rejects = accepted(judged.events, DAY), rejected(judged.events, DAY)
    assert listens.num_rows + rejects.num_rows == len(EXPECTED)
    turned = judged.events.take([*reversed(range(len(EXPECTED)))])
    assert accepted(turned, DAY).equals(listens)
    assert rejected(turned, DAY).equals(rejects)
    assert listens["user_id"].to_pylist() == sorted(listens["user_id"].to_pylist())
