"""Lines of takedowns: what is one, what is none and why, and what goes through a file unchanged."""

import json
from datetime import UTC, date, datetime

import pytest

from nocturne.core.takedowns import Takedown
from nocturne.ingestion.takedown_lines import LONGEST_WHY, REASONS, NoTakedown, parse_line, takedown_line
from tests.fixtures.takedowns import word

SOUND = {"takedown_id": "1", "item_id": "x", "asked_at": "2026-03-02T12:00:00Z", "why": "a reason"}


def parse(**changes):
    return parse_line(json.dumps(SOUND | changes).encode(), 20)


def test_a_line_needs_an_item_an_instant_and_a_reason_alone():
    assert parse() == Takedown("x", None, datetime(2026, 3, 2, 12, tzinfo=UTC), "1", "a reason", date(2026, 3, 2))


@pytest.mark.parametrize("said", [word("x"), word("ö/é", "SE", 7, lifts=True, from_night=date(2026, 2, 28))])
def test_a_word_reads_back_as_it_was_written(said):
    assert parse_line(takedown_line(said), 20) == said


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"item_id": None}, "missing_id"),
        ({"item_id": ""}, "missing_id"),
        ({"item_id": 7}, "missing_id"),
        ({"takedown_id": None}, "missing_id"),
        ({"item_id": "x" * 21}, "long_id"),
        ({"item_id": "\ud800"}, "unparsable"),
        ({"market": ""}, "invalid_market"),
        ({"market": "*"}, "invalid_market"),
        ({"market": ["SE"]}, "invalid_market"),
        ({"asked_at": "yesterday"}, "invalid_asked_at"),
        ({"from_night": "2026-3-2"}, "invalid_from_night"),
        ({"from_night": "2026-03-02T12:00:00"}, "invalid_from_night"),
        ({"why": " "}, "no_why"),
        ({"why": None}, "no_why"),
        ({"lifts": "no"}, "unparsable"),
    ],
)
def test_a_line_that_is_none_says_why(changes, reason):
    with pytest.raises(NoTakedown, match=reason):
        parse(**changes)
    assert reason in REASONS


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'"x"'])
def test_garbage_is_unparsable(line):
    with pytest.raises(NoTakedown, match="unparsable"):
        parse_line(line, 20)


def test_a_reason_longer_than_any_is_cut():
    assert len(parse(why="x" * 5_000).why) == LONGEST_WHY
