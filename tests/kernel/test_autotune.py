"""The plan is chosen by the clock, and changes no list."""

from itertools import count

import numpy as np
import pytest

from nocturne.core.csr import CsrRows
from nocturne.kernel.autotune import KernelPlan, autotune, rank
from nocturne.kernel.top_k import Top
from tests.fixtures.random_catalogues import RandomQuery, make


@pytest.fixture(scope="module")
def case() -> RandomQuery:
    return make(11, listeners=30, items=6000, width=8)


def test_every_plan_gives_the_same_lists(case: RandomQuery) -> None:
    top = case.top(10)
    for plan in (KernelPlan(1, warm_start=False), KernelPlan(4, warm_start=True), KernelPlan(64, warm_start=True)):
        again = rank(case.query(10), plan, top.lists)
        assert again.lists.positions.tolist() == top.lists.positions.tolist()
        assert again.scores.tobytes() == top.scores.tobytes()


def test_a_start_is_warm_only_where_there_are_previous_lists(case: RandomQuery) -> None:
    assert not autotune(case.query(10), None).warm_start
    assert rank(case.query(10), KernelPlan(16, warm_start=True)).scores.tobytes() == case.top(10).scores.tobytes()


@pytest.mark.parametrize(
    "fastest", [KernelPlan(4, warm_start=False), KernelPlan(16, warm_start=True), KernelPlan(64, warm_start=False)]
)
def test_the_plan_that_takes_least_at_its_best_is_chosen_whatever_the_first_run_took(
    case: RandomQuery, monkeypatch: pytest.MonkeyPatch, fastest: KernelPlan
) -> None:
    clock, runs = 0.0, count()

    def slow(*args: object) -> Top:
        nonlocal clock
        run, plan = next(runs), args[1]
        clock += 100 if run < 6 and plan == fastest else 1 + run if plan == fastest else 30
        return case.top(1)

    monkeypatch.setattr("nocturne.kernel.autotune.rank", slow)
    monkeypatch.setattr("nocturne.kernel.autotune.perf_counter", lambda: clock)
    assert autotune(case.query(10), CsrRows.empty(30)) == fastest


def test_without_a_sample_the_simplest_plan_is_taken(case: RandomQuery) -> None:
    assert not autotune(case.take(np.arange(0)).query(10), CsrRows.empty(0)).warm_start
