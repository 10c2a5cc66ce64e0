"""Reasons: which heard items carry a score, and which of them may be named."""

import numpy as np
import pytest
from hypothesis import given, settings

from nocturne.serving.because import NAMED, carried, reasons
from nocturne.serving.full_ranking import confidences, exact_top
from tests.fixtures.random_generations import WORLDS, World, world


@settings(deadline=None)
@given(base=WORLDS)
def test_what_heard_items_carry_adds_up_to_the_score_of_the_stored_factors(base: World):
    row = base.listeners[0]
    assert row is not None
    assert row.factors is not None
    everything = np.ones(len(base.items), bool)
    top = exact_top(base.items, row.factors, everything, 20)
    parts = carried(base.items, row, top.numbers)
    assert parts.heard.tolist() == confidences(base.items, row).columns.tolist()
    np.testing.assert_allclose(parts.by_factors.sum(axis=1), top.scores, rtol=1e-4, atol=1e-4)


def test_the_largest_shares_are_named_first_and_what_may_not_be_named_never():
    base = world(5, 130, gaps=0.0)
    row = base.listeners[0]
    assert row is not None
    assert row.factors is not None
    numbers = exact_top(base.items, row.factors, np.ones(len(base.items), bool), 10).numbers.tolist()
    everything = np.ones(len(base.items), bool)
    found = reasons(base.items, row, numbers, everything)
    assert found
    for because in found.values():
        shares = [reason.share for reason in because]
        assert 1 <= len(because) <= NAMED
        assert shares == sorted(shares, reverse=True)
        assert {reason.number for reason in because} <= set(row.heard.tolist())
    named = {reason.number for because in found.values() for reason in because}
    barred = next(iter(named))
    without = everything.copy()
    without[barred] = False
    again = reasons(base.items, row, numbers, without)
    assert barred not in {reason.number for because in again.values() for reason in because}
    # what is not named keeps its share: others get none of it
    shares = {(n, reason.number): reason.share for n, because in found.items() for reason in because}
    for number, because in again.items():
        for reason in because:
            if (number, reason.number) in shares:
                assert reason.share == shares[number, reason.number]


@pytest.mark.parametrize("listener", [2, 3])
def test_of_listeners_without_factors_nothing_carries_a_score(listener: int):
    base = world(5, 40)
    assert reasons(base.items, base.listeners[listener], [0, 1], np.ones(40, bool)) == {}
