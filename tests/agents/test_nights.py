"""State of the nights: those that did not end, holds, and rows that fail, by the rule of one row."""

from contextlib import suppress
from datetime import UTC, date, datetime

import pytest

from nocturne.agents import nights
from nocturne.agents.service import Service
from nocturne.core.errors import ServiceError
from nocturne.core.night import Night
from nocturne.pipeline import runner
from nocturne.serving import rollout
from nocturne.serving.cache import open_cache
from nocturne.storage.warehouse import leased
from nocturne.validation.failing_rows import RULES, SHOWN, failing_rows
from nocturne.validation.suites import metric_names
from tests.fixtures import two_listeners
from tests.fixtures.published_nights import serve_two_nights
from tests.fixtures.two_listeners import TONIGHT

pytestmark = pytest.mark.slow

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)


@pytest.fixture
def monday(night):
    return serve_two_nights(night(MONDAY, "tables.buckets=1"), "song book")


def ask(night, run_date=None, last=7, rows=3):
    return nights.nights(Service(night.warehouse), run_date, last, rows, lambda *_: None)


def fail(night, error):
    with (
        suppress(type(error)),
        leased(night.warehouse, night.run_date) as writable,
        runner._attempt(Night(writable, night.run_date), "train_als"),
    ):
        raise error


def test_a_night_that_failed_says_where_and_what_to_do(monday):
    fail(monday.on(TUESDAY), ServiceError("the disk is full", fix="free some space"))
    told = ask(monday, TUESDAY)
    assert (told.nights[0].run_date, told.nights[0].state, told.gate) == (TUESDAY, "failed", None)
    assert told.nights[0].explanation.endswith(": the disk is full")
    assert told.next_step == "to do: 2026-03-03: free some space"


def test_a_night_before_the_last_ones_is_told_beside_them(monday):
    told = ask(monday, date(2026, 3, 1), last=1)
    assert [each.run_date for each in told.nights] == [MONDAY, date(2026, 3, 1)]
    assert told.gate.open


def test_a_hold_says_why_and_what_lifts_it(monday):
    with open_cache(monday.cache) as cache:
        rollout.rollback(monday.warehouse, cache, "podcasts only")
    told = ask(monday)
    assert told.serving[0].explanation == "held: podcasts only"
    assert "nocturne release" in told.next_step


def test_all_is_well_without_a_gate_that_is_closed(monday):
    told = ask(monday)
    assert (told.gate, told.next_step) == (None, "nothing is to be done; compare two nights for what changed")
    assert told.receipt.tables.keys() >= {"nights"}


@pytest.mark.parametrize("key", sorted(RULES), ids=".".join)
def test_every_rule_is_of_a_metric_and_of_a_table_whose_rows_are_told(key):
    table, metric = key
    assert metric in metric_names(table)
    assert table in SHOWN


def spoilt(table, metric, row):
    """A row of a night that fails the metric, made of a sound one."""
    late = datetime(2024, 1, 1, tzinfo=UTC)
    return row | {
        ("listens", "empty_keys"): {"item_id": ""},
        ("listens", "outside_day"): {"listened_at": late},
        ("listens", "impossible_values"): {"plays": 10**9},
        ("item_factors", "not_finite"): {"factors": [1.0, float("nan")]},
        ("ranked_lists", "share_short"): {"items": row.get("items", [])[:1]},
        ("ranked_lists", "share_empty"): {"items": []},
        ("ranked_lists", "too_long"): {"items": row.get("items", []) * 2},
        ("ranked_lists", "lists_with_duplicates"): {"items": row.get("items", [])[:1] * 2},
        ("ranked_lists", "not_finite"): {"items": [{"item_id": "c", "score": float("inf")}]},
        ("ranked_lists", "ineligible_items"): {"items": [{"item_id": "d", "score": 1.0}]},
    }.get((table, metric), {})


NOT_AGAINST_A_CONSTRAINT = sorted(RULES.keys() - {("listens", "empty_keys")})
"""Delta itself keeps a row without a key out."""


@pytest.mark.parametrize(("table", "metric"), NOT_AGAINST_A_CONSTRAINT, ids=map(".".join, NOT_AGAINST_A_CONSTRAINT))
def test_the_row_that_fails_is_found_among_sound_ones_and_none_among_those(night, table, metric):
    tonight = night(TONIGHT, *two_listeners.SETTINGS)
    two_listeners.write_sound_nights(tonight)
    assert failing_rows(tonight, table, metric, 5, lambda *_: None) == []
    sound = getattr(two_listeners, table)()
    broken = [*sound, spoilt(table, metric, sound[-1])]  # where nothing is changed, the last row is there twice
    two_listeners.write(tonight, table, broken)
    (found,) = failing_rows(tonight, table, metric, 5, lambda *_: None)
    assert found.keys() == set(SHOWN[table])
    key = "item_id" if table in {"items", "item_factors"} else "user_id"
    assert found[key] == sound[-1][key]


def test_rejected_lines_stand_for_what_is_said_of_ingests(night):
    tonight = night(TONIGHT, *two_listeners.SETTINGS)
    two_listeners.write_sound_nights(tonight)
    row = {"reason": "unparsable", "file": "events.jsonl", "raw": "{"}
    assert failing_rows(tonight, "ingests", "share_unparsable", 5, lambda *_: None) == [row]
    assert failing_rows(tonight, "ingests", "share_bots", 5, lambda *_: None) == []
    assert failing_rows(tonight, "ingests", "share_unusable", 0, lambda *_: None) == []
    assert failing_rows(tonight, "listens", "listens_vs_recent", 5, lambda *_: None) == []
