"""Lines of exposures: each one row, with its values or the first reason that speaks against it."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nocturne.core.settings import load_settings
from nocturne.ingestion import exposure_rows
from nocturne.ingestion.exposure_rows import REASONS, SCHEMA, Rules, parse_line, parse_lines, parse_time
from tests.fixtures.landed_exposures import DAY, exposure, line

RULES = Rules.of(DAY, load_settings().listens)


def test_a_sound_line_gives_the_values_of_the_table() -> None:
    found = parse_line(line("1", surface="now_playing", playing="c").encode(), RULES)
    assert found.pop("raw") == line("1", surface="now_playing", playing="c")
    assert found == {
        "exposure_id": "1",
        "user_id": "ana",
        "shown_at": datetime(2025, 3, 2, 12, 0, 0, 123_000, tzinfo=UTC),
        "surface": "now_playing",
        "generation": "2025-03-01-abcdef01",
        "list_run_date": date(2025, 3, 1),
        "arm": "control",
        "source": "als",
        "model_version": "als-1",
        "playing_item_id": "c",
        "market": "SE",
        "items": [{"item_id": "a", "propensity": 1.0}, {"item_id": "b", "propensity": 0.25}],
        "differences": None,
        "late": False,
    }


@pytest.mark.parametrize("differences", [{"bold": 3, "calm": None}, {"bold": 2**31 - 1}, {}, None])
def test_differences_are_places_or_none_by_treatment(differences: dict[str, int | None] | None) -> None:
    text = line("1", arm="mix/control", differences=differences)
    assert parse_line(text.encode(), RULES)["differences"] == differences
    (row,) = parse_lines("web", "part-000001.jsonl", [text.encode()], RULES).to_pylist()
    assert row["differences"] == (None if differences is None else list(differences.items()))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exposure_id": None}, "missing_exposure_id"),
        ({"exposure_id": 7}, "missing_exposure_id"),
        ({"exposure_id": " \t"}, "missing_exposure_id"),
        ({"user_id": ""}, "missing_user_id"),
        ({"user_id": ["ana"]}, "missing_user_id"),
        ({"exposure_id": "L" * 512}, "long_id"),
        ({"user_id": "é" * 256}, "long_id"),
        ({"playing": "L" * 512}, "long_id"),
        ({"items": [{"item_id": "L" * 512, "propensity": 1}]}, "long_id"),
        ({"shown_at": 1_740_916_800}, "invalid_shown_at"),
        ({"shown_at": "2025-03-02"}, "invalid_shown_at"),
        ({"shown_at": "2025-02-30T12:00:00Z"}, "invalid_shown_at"),
        ({"shown_at": "2025-03-03T00:00:00Z"}, "after_day"),
        ({"shown_at": "2025-02-27T23:59:59.999Z"}, "too_late"),
        ({"surface": "radio"}, "invalid_surface"),
        ({"surface": ["list"]}, "invalid_surface"),
        ({"generation": None}, "invalid_generation"),
        ({"arm": ""}, "invalid_arm"),
        ({"source": {}}, "invalid_source"),
        ({"model_version": 1}, "invalid_model_version"),
        ({"run_date": "2025-03-01T00:00:00Z"}, "invalid_run_date"),
        ({"run_date": "2025-02-30"}, "invalid_run_date"),
        ({"run_date": "2025-03-03"}, "invalid_run_date"),
        ({"run_date": "0001-01-01"}, "invalid_run_date"),
        ({"playing": {"item_id": "c"}}, "invalid_playing"),
        ({"market": 1}, "invalid_market"),
        ({"items": None}, "invalid_items"),
        ({"items": {"item_id": "a", "propensity": 1.0}}, "invalid_items"),
        ({"items": ["a"]}, "invalid_items"),
        ({"items": [{"item_id": "a"}]}, "invalid_items"),
        ({"items": [{"item_id": "a", "propensity": 0}]}, "invalid_items"),
        ({"items": [{"item_id": "a", "propensity": 1.5}]}, "invalid_items"),
        ({"items": [{"item_id": "a", "propensity": True}]}, "invalid_items"),
        ({"items": [{"item_id": "", "propensity": 1.0}]}, "invalid_items"),
        ({"differences": ""}, "invalid_differences"),
        ({"differences": ["bold"]}, "invalid_differences"),
        ({"differences": {" ": 1}}, "invalid_differences"),
        ({"differences": {"bold": 0}}, "invalid_differences"),
        ({"differences": {"bold": 1.0}}, "invalid_differences"),
        ({"differences": {"bold": True}}, "invalid_differences"),
        ({"differences": {"calm": None, "bold": "1"}}, "invalid_differences"),
        ({"differences": {"bold": 2**31}}, "invalid_differences"),
        ({"items": None, "differences": {"bold": 0}}, "invalid_items"),
        ({"exposure_id": "", "user_id": "", "shown_at": ""}, "missing_exposure_id"),
    ],
)
def test_a_wrong_value_is_the_reason_and_the_line_stays(changes: dict[str, Any], reason: str) -> None:
    text = line("1", **changes)
    assert parse_line(text.encode(), RULES) == {"raw": text, "reason": reason}


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b"[1]",
        b'"text"',
        b"null",
        line("1").encode() + line("2").encode(),
        line("1").encode() + b",",
        line("1").replace('"user_id"', '"arm"').encode(),
        line("1").replace('"propensity": 1.0', '"propensity": 1.0, "propensity": 0.5').encode(),
        line("1").replace("0.25", "NaN").encode(),
        line("1").replace('"ana"', '"\\ud83d"').encode(),
        b"[" * 100_000,
        b'{"exposure_id": ' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_not_one_object_that_names_everything_once_is_unparsable(text: bytes) -> None:
    assert parse_line(text, RULES) == {"raw": text.decode(), "reason": "unparsable"}


def test_bytes_that_are_no_utf_8_are_written_out() -> None:
    found = parse_line(line("1").encode().replace(b"ana", b"caf\xe9"), RULES)
    assert found == {"raw": line("1").replace("ana", "caf\\xe9"), "reason": "unparsable"}


def test_of_a_line_that_is_too_long_the_beginning_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure_rows, "LONGEST_LINE", 4)
    assert parse_line(b"{}{}", RULES)["reason"] == "unparsable"
    assert parse_line(b"{}{}{", RULES) == {"raw": "{}{}", "reason": "long_line"}


@pytest.mark.parametrize("empty", [None, ""])
def test_nothing_playing_no_market_no_model_and_no_items_are_sound(empty: str | None) -> None:
    nothing = {"playing": empty, "market": empty, "model_version": empty, "items": [], "more": {"a": 1}}
    found = parse_line(line("1", **nothing).encode(), RULES)
    names = ("playing_item_id", "market", "model_version", "items")
    assert [found[name] for name in names] == [None, None, None, []]


@pytest.mark.parametrize(
    ("shown_at", "late"),
    [("2025-03-02T00:00:00Z", False), ("2025-03-02T00:59:59+01:00", True), ("2025-02-28T00:00:00Z", True)],
)
def test_an_exposure_of_an_earlier_day_is_late(shown_at: str, late: bool) -> None:
    assert parse_line(line("1", shown_at=shown_at).encode(), RULES)["late"] is late


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-03-02T10:00:00Z", "2025-03-02T10:00:00"),
        ("2025-03-02 10:00", "2025-03-02T10:00:00"),
        (" 2025-03-02T10:00Z ", "2025-03-02T10:00:00"),
        ("2025-03-02T10:00:00,123", "2025-03-02T10:00:00.123000"),
        ("2025-03-02T10:00:00.123456789Z", "2025-03-02T10:00:00.123456"),
        ("2025-03-02T10:00:00.5+02", "2025-03-02T08:00:00.500000"),
        ("2025-03-02T10:00+0230", "2025-03-02T07:30:00"),
        ("2025-03-02T10:00:00-18:00", "2025-03-03T04:00:00"),
        ("2025-03-02T10:00:00+18:01", None),
        ("2025-03-02T24:00:00Z", None),
        ("2025-03-02T10:00:60Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("٢٠٢٥-03-02T10:00:00Z", None),
        ("20250302T100000Z", None),
        ("2025-W09-7T10:00", None),
        ("2025-03-02T10:00:00Z\n", None),
    ],
)
def test_times_are_read_as_those_of_events_are(text: str, expected: str | None) -> None:
    found = parse_time(text)
    assert (found and found.replace(tzinfo=None).isoformat()) == expected


def changed_lines() -> st.SearchStrategy[bytes]:
    """Lines of exposures of which a field, or a few bytes, are anything."""
    scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
    values = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    )
    fields = st.sampled_from([*exposure("1"), "differences", "more"])
    changed = st.dictionaries(fields, values, max_size=3).map(
        lambda changes: line("1", **changes).encode(errors="replace")
    )
    spliced = st.tuples(changed, st.integers(0, 400), st.binary(max_size=4))
    return (
        changed | spliced.map(lambda each: each[0][: each[1]] + each[2] + each[0][each[1] :]) | st.binary(max_size=20)
    )


@given(lines=st.lists(changed_lines(), max_size=5))
@example(lines=[line("1").encode(), b"\x00", line("1", more=1e308).encode()])
def test_whatever_lands_becomes_one_row_a_line_sound_or_with_a_reason(lines: list[bytes]) -> None:
    rows = parse_lines("web", "part-000001.jsonl", lines, RULES)
    rows.validate(full=True)
    assert (rows.schema, rows.num_rows) == (SCHEMA, len(lines))
    for text, row in zip(lines, rows.to_pylist(), strict=True):
        assert row["raw"].encode() == text or b"\\x" in row["raw"].encode()
        if row["reason"]:
            assert row["reason"] in REASONS
            assert row["exposure_id"] is row["items"] is row["late"] is None
        else:
            assert RULES.earliest <= row["shown_at"] < RULES.end == RULES.day + timedelta(days=1)
            assert row["late"] == (row["shown_at"] < RULES.day)
            assert all(0 < item["propensity"] <= 1 and item["item_id"].strip() for item in row["items"])
            assert json.loads(text)["exposure_id"] == row["exposure_id"]


def test_no_lines_have_the_columns_of_any_other() -> None:
    assert parse_lines("web", "part-000001.jsonl", [], RULES).schema == SCHEMA
    assert isinstance(parse_lines("web", "part-000001.jsonl", [], RULES), pa.RecordBatch)
