"""A dozen faults of meaning on a small service: their truth, and what the gate and the watches say of them."""

import pytest

from benchmarks.arena.course import Fork, forked_nights, take_course
from benchmarks.arena.judging import judge_all
from benchmarks.arena.kinds import KINDS
from benchmarks.arena.scores import clean_summary
from benchmarks.arena.stored import keep, kept
from benchmarks.arena.year import Year
from benchmarks.faults_of_meaning import FAULTS

TRIED = {
    "market_missing": 3,
    "seconds_for_milliseconds": 1.0,
    "listener_ids_recased": 1.0,
    "plays_inflated": 1.0,
    "explicit_cleared": 1.0,
    "licences_lifted": 1.0,
    "items_expired": 0.6,
    "rows_frozen": 1.0,
    "factors_off_by_one": 1.0,
    "popularity_turned_round": -1.5,
    "one_list_for_all": 1.0,
    "lists_reversed": 1.0,
    "scores_scaled": 1000.0,
}
"""Kinds and their magnitudes."""


@pytest.fixture(scope="module")
def measured():
    assert FAULTS
    year = Year.of(listeners=300, items=200, nights=28, seed=1, warm_up=14)
    last = [number for number in forked_nights(year) if number % 7 == 0][-1]
    forks = [Fork(KINDS[name], KINDS[name].magnitudes.index(size), last) for name, size in TRIED.items()]
    return list(take_course(year, forks))


@pytest.fixture(scope="module")
def verdicts(measured):
    return judge_all(measured)


def of(verdicts, name):
    (verdict,) = [each for each in verdicts if each.night.fork and each.night.fork.kind.name == name]
    return verdict


@pytest.mark.parametrize(
    "name", ["lists_reversed", "one_list_for_all", "popularity_turned_round", "factors_off_by_one"]
)
def test_what_makes_lists_worse_costs_plays(verdicts, name):
    assert of(verdicts, name).night.truth.lost > 0.02


@pytest.mark.parametrize("name", ["explicit_cleared", "licences_lifted"])
def test_what_lifts_a_rule_breaks_it(verdicts, name):
    assert of(verdicts, name).night.truth.broken > 0


@pytest.mark.parametrize("name", ["scores_scaled", "seconds_for_milliseconds"])
def test_what_changes_no_list_costs_nothing(verdicts, name):
    truth = of(verdicts, name).night.truth
    assert (truth.lost, truth.losing, truth.broken) == (0, 0, 0)


@pytest.mark.parametrize("name", TRIED)
def test_a_fault_that_hurts_is_told(verdicts, name):
    verdict = of(verdicts, name)
    assert verdict.alerted or not verdict.night.truth.hurts


def test_no_night_without_a_fault_is_blocked(verdicts):
    assert clean_summary(verdicts)["blocked_by"] == []


def test_measured_nights_are_judged_alike_once_they_were_stored(measured, verdicts, tmp_path):
    keep(measured, tmp_path)
    again = judge_all(kept(tmp_path))
    assert [each.alerts for each in again] == [each.alerts for each in verdicts]
    assert [each.blocked for each in again] == [each.blocked for each in verdicts]


def test_a_third_of_the_kinds_is_held_out():
    held_out = sum(kind.held_out for kind in KINDS.values())
    assert len(KINDS) >= 40
    assert 0.2 < held_out / len(KINDS) < 0.45


def test_every_kind_says_what_goes_wrong_and_comes_in_three_magnitudes():
    assert all(kind.meaning.endswith(".") and len(kind.magnitudes) == 3 for kind in KINDS.values())
