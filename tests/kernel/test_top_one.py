"""The exact top of one listener: to the last bit the list of a full sort, whichever way it is read."""

import numpy as np
import pytest
from hypothesis import given, settings

from nocturne.kernel import top_one as module
from nocturne.kernel.top_k import sort_all
from nocturne.kernel.top_one import top_one
from tests.fixtures.random_catalogues import LENGTHS, RandomQuery, random_queries


@pytest.mark.parametrize("dense", [0.0, 2.0], ids=["by blocks", "one by one"])
def test_lists_and_scores_are_those_of_a_full_sort_in_float64(monkeypatch: pytest.MonkeyPatch, dense: float):
    monkeypatch.setattr(module, "DENSE", dense)

    @settings(deadline=None)
    @given(case=random_queries(), k=LENGTHS)
    def compare(case: RandomQuery, k: int) -> None:
        for listener, user in enumerate(case.users):
            allowed = case.allowed(listener)
            positions, scores = top_one(user, case.items, allowed, k)
            expected, exact, _ = sort_all(user, case.items, np.flatnonzero(allowed).astype(np.int32), k)
            assert positions.tolist() == expected.tolist()
            assert scores.tobytes() == exact.tobytes()

    compare()


@pytest.mark.parametrize("dense", [0.0, 2.0], ids=["by blocks", "one by one"])
def test_large_catalogues_are_cut_down_to_the_same_list(monkeypatch: pytest.MonkeyPatch, dense: float):
    from tests.fixtures.random_catalogues import make

    monkeypatch.setattr(module, "DENSE", dense)
    for kind in ("normal", "near copies", "skewed norms", "negative scores", "equal"):
        case = make(7, 3, 20_000, 16, kind, forbidden=0.3)
        for listener, user in enumerate(case.users):
            allowed = case.allowed(listener)
            positions, scores = top_one(user, case.items, allowed, 30)
            expected, exact, _ = sort_all(user, case.items, np.flatnonzero(allowed).astype(np.int32), 30)
            assert positions.tolist() == expected.tolist()
            assert scores.tobytes() == exact.tobytes()
