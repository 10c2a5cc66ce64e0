"""A campaign gives every search its turn, scales every property, and says how to repeat what failed."""

import os
import re
import subprocess
import sys
import time

import pytest

from tests.faults.campaign import ROOT, failed_tests, take_turns

PROPERTIES = """
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

@given(st.integers())
def test_of_default_length(number):
    print(f"<default {number}>")

@settings(max_examples=7)
@given(st.integers())
def test_of_own_length(number):
    print(f"<own {number}>")

class Machine(RuleBasedStateMachine):
    @rule(number=st.integers())
    def go_on(self, number):
        print(f"<step {number} of {Machine.TestCase.settings.max_examples} machines>")

Machine.TestCase.settings = settings(max_examples=6)
TestMachine = Machine.TestCase

def test_no_property():
    print("<other>")
"""

KINDS = ("default", "own", "other")

SAMPLED = """
import pytest

@pytest.mark.sampled("spoil")
@pytest.mark.parametrize("shape", ["round", "square", "flat"])
@pytest.mark.parametrize("spoil", ["bent", "torn", "wet", "lost"])
def test_a_spoil_is_told(shape, spoil):
    print(f"<{spoil} {shape}>")
"""


def run_properties(folder, *options, tests=PROPERTIES):
    """The output of pytest on tests, with every example."""
    (folder / "test_properties.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "tests.fixtures.properties", "-m", "search", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_suite_draws_the_same_examples_every_time(tmp_path):
    first, second = ([line for line in run_properties(tmp_path).splitlines() if "<" in line] for _ in range(2))
    assert first == second
    assert [sum(f"<{name}" in line for line in first) for name in KINDS] == [100, 7, 0]
    assert any("of 6 machines" in line for line in first)


def test_a_campaign_draws_five_times_as_many_examples_of_every_property(tmp_path):
    output = run_properties(tmp_path, "--hypothesis-profile=campaign", "--hypothesis-seed=1")
    assert [output.count(f"<{name}") for name in KINDS] == [500, 35, 0]
    assert "of 30 machines" in output


def test_the_suite_runs_one_case_of_those_that_are_sampled_always_the_same_and_a_campaign_runs_all(tmp_path):
    def cases(*options):
        return re.findall(r"<(\w+) (\w+)>", run_properties(tmp_path, *options, tests=SAMPLED))

    first, second = cases(), cases()
    assert first == second
    assert sorted(spoil for spoil, _ in first) == ["bent", "lost", "torn", "wet"]
    assert len(set(cases("--hypothesis-profile=campaign", "--hypothesis-seed=1"))) == 12


def test_searches_take_turns_with_the_next_seed_each_round_until_the_time_is_up(monkeypatch):
    clock = iter([0, 0, 60, 120, 180])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    turns = []

    def first(seed, minutes):
        turns.append(("first", seed, minutes))
        return [f"repeat {seed}"]

    def second(seed, minutes):
        turns.append(("second", seed, minutes))
        return []

    assert take_turns([first, second], 3, seed=5) == (3, ["repeat 5", "repeat 6"])
    assert turns == [("first", 5, 1.5), ("second", 5, 1.5), ("first", 6, 1.0)]


def test_a_campaign_that_is_interrupted_still_names_its_failures():
    def interrupted(seed, minutes):
        raise KeyboardInterrupt

    assert take_turns([lambda seed, _minutes: [f"repeat {seed}"], interrupted], 1, seed=5) == (2, ["repeat 5"])


@pytest.mark.parametrize(
    ("line", "tests"),
    [
        ("FAILED tests/test_x.py::test_y - assert 1 == 2\n", ["tests/test_x.py::test_y"]),
        ("FAILED tests/test_x.py::test_y[a b]\n", ["tests/test_x.py::test_y[a b]"]),
        ("ERROR tests/test_x.py - ImportError: no\n", ["tests/test_x.py"]),
        ("1 failed in 0.1s\n", []),
    ],
)
def test_failures_are_read_from_the_summary(line, tests):
    assert failed_tests([line]) == tests
