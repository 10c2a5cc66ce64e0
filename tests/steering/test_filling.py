"""The filling of a list: size in items and minutes, items of one creator, unlikeness."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from nocturne.kernel.arguments import Traits
from nocturne.steering.filling import fill
from nocturne.steering.plan import Plan, Size

NUMBERS = np.array([4, 0, 1, 3, 2], np.int32)
SCORES = np.array([1.0, 0.9, 0.8, 0.7, 0.6])


@dataclass
class Catalogue:
    """Items 0 to 4: of minutes 1, 2, 3, an unknown number, and 5; by creators 0, 0, 1, 1 and none."""

    creators: np.ndarray = field(default_factory=lambda: np.array([0, 0, 1, 1, -1], np.int32))

    @property
    def traits(self) -> Traits:
        tags = np.array([1, 1, 2, 1, 1], np.int32)
        return Traits(self.creators, np.ones(5, np.int32), np.arange(6), tags, np.zeros(5, bool))

    def amounts(self, name: str) -> np.ndarray:
        assert name == "duration"
        return 60 * np.array([1, 2, 3, np.nan, 5])


@pytest.mark.parametrize(
    ("plan", "wanted", "places"),
    [
        (Plan(), 3, [0, 1, 2]),
        (Plan(), 9, [0, 1, 2, 3, 4]),
        (Plan(max_per_creator=1), 9, [0, 1, 3]),  # who has no creator has room
        (Plan(size=Size(minutes=5)), 9, [0]),
        (Plan(size=Size(minutes=4)), 9, [1, 2]),  # what is too long is passed over, and so is what is unknown
        (Plan(size=Size(minutes=100), max_per_creator=1), 2, [0, 1]),
    ],
)
def test_the_best_that_keep_within_every_limit_are_taken(plan: Plan, wanted: int, places: list[int]):
    assert fill(NUMBERS, SCORES, plan, Catalogue(), wanted) == places


def test_unlikeness_brings_what_is_unlike_forward():
    # item 2 alone shares neither tag nor creator with item 4
    candidates = np.array([4, 0, 2, 1, 3], np.int32)
    assert fill(candidates, SCORES, Plan(diversity=1.0), Catalogue(), 2) == [0, 2]


def test_of_no_candidate_there_is_no_list():
    assert fill(NUMBERS[:0], SCORES[:0], Plan(diversity=1.0), Catalogue(), 2) == []
