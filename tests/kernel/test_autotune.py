"""The way is chosen by the clock, and changes no list."""

from itertools import count

import numpy as np
import pytest

from nocturne.core.csr import Rows
from nocturne.kernel import autotune
from nocturne.kernel.autotune import Way, fastest_way, rank
from nocturne.kernel.top_k import Top
from tests.fixtures.random_catalogues import World, make


@pytest.fixture(scope="module")
def world() -> World:
    return make(11, listeners=30, items=6000, width=8)


def test_every_way_gives_the_same_lists(world: World) -> None:
    top = world.top(10)
    for way in (Way(1, warm=False), Way(4, warm=True), Way(64, warm=True)):
        found = rank(world.query(10), way, top.lists)
        assert found.lists.positions.tolist() == top.lists.positions.tolist()
        assert found.scores.tobytes() == top.scores.tobytes()


def test_a_way_is_warm_only_where_there_are_previous_lists(world: World) -> None:
    assert not fastest_way(world.query(10), None).warm
    assert rank(world.query(10), Way(16, warm=True)).scores.tobytes() == world.top(10).scores.tobytes()


@pytest.mark.parametrize("fastest", [Way(4, warm=False), Way(16, warm=True), Way(64, warm=False)])
def test_the_way_that_takes_least_at_its_best_is_chosen_whatever_the_first_run_took(
    world: World, monkeypatch: pytest.MonkeyPatch, fastest: Way
) -> None:
    clock, runs = 0.0, count()

    def slow(*args: object) -> Top:
        nonlocal clock
        run, way = next(runs), args[1]
        clock += 100 if run < 6 and way == fastest else 1 + run if way == fastest else 30
        return world.top(1)

    monkeypatch.setattr(autotune, "rank", slow)
    monkeypatch.setattr(autotune, "perf_counter", lambda: clock)
    assert fastest_way(world.query(10), Rows.empty(30)) == fastest


def test_without_a_sample_the_simplest_way_is_taken(world: World) -> None:
    assert not fastest_way(world.of(np.arange(0)).query(10), Rows.empty(0)).warm
