"""Worth of lists, and tastes, of two listeners and four items with factors along two axes."""

import numpy as np
import pyarrow as pa
import pytest

from nocturne.validation.metrics.lists import Rows
from nocturne.validation.metrics.sums import Labels, SegmentSums
from nocturne.validation.metrics.worth import Judge, add_tastes, add_worth, asked_items, worth_metrics

ITEMS = np.array([[4.0, 0.0], [2.0, 1.0], [1.0, 2.0], [0.0, 4.0]])
ANA, BEN = [1.0, 0.0], [0.0, 1.0]
JUDGE = Judge(np.array([ANA, BEN]), ITEMS)
SEGMENTS = {"market": Labels.of(pa.array(["SE", "DE"])), "arm": Labels.of(pa.array(["control"] * 2))}
THIRD = 1 / np.log2(3)
"""What the second place counts beside the first."""


def rows(*lists: list[int]) -> Rows:
    return Rows.of(np.array([item for each in lists for item in each], np.int64), np.array([*map(len, lists)]))


def worth_of(now: Rows, then: Rows) -> dict[tuple[str, str, str], float]:
    sums = SegmentSums()
    add_worth(sums, JUDGE, now, then, SEGMENTS)
    return {(each.name, each.segment_kind, each.segment): each.value for each in worth_metrics(sums)}


def test_last_nights_lists_keep_all_of_their_worth() -> None:
    found = worth_of(rows([0, 1], [3, 2]), rows([0, 1], [3, 2]))

    assert {found["worth", kind, name] for kind, name in (("all", ""), ("market", "SE"), ("arm", "control"))} == {1.0}
    assert found["share_worse", "all", ""] == 0


def test_lists_of_each_other_are_worth_nothing_to_either() -> None:
    found = worth_of(rows([3], [0]), rows([0], [3]))

    assert (found["worth", "all", ""], found["share_worse", "all", ""]) == (0, 1)


def test_a_list_turned_around_is_worth_less_and_only_to_its_listener() -> None:
    found = worth_of(rows([1, 0], [3, 2]), rows([0, 1], [3, 2]))

    assert found["worth", "market", "SE"] == pytest.approx((2 + 4 * THIRD) / (4 + 2 * THIRD), rel=1e-8)
    assert (found["worth", "market", "DE"], found["share_worse", "all", ""]) == (1, 0.5)


def test_items_that_last_nights_model_does_not_know_count_nothing() -> None:
    found = worth_of(rows([-1, 0], [-1]), rows([0], [3]))

    assert (found["worth", "all", ""], ("worth", "market", "DE") in found) == (1, False)


def test_of_nobody_there_is_no_metric() -> None:
    assert worth_metrics(SegmentSums()) == ()


def tastes_of(tonight: Judge) -> dict[tuple[str, str, str], float]:
    sums, items = SegmentSums(), np.arange(4)
    add_tastes(sums, tonight.scores(items), JUDGE.scores(items), SEGMENTS)
    return {(each.name, each.segment_kind, each.segment): each.value for each in worth_metrics(sums)}


def test_axes_that_were_turned_and_scores_on_another_scale_are_the_same_taste() -> None:
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    found = tastes_of(Judge(3 * JUDGE.listeners @ turned, ITEMS @ turned))

    assert found["mean_taste_kept", "all", ""] == pytest.approx(1)
    assert found["share_of_other_taste", "all", ""] == 0


def test_a_listener_who_is_taken_for_another_has_another_taste() -> None:
    found = tastes_of(Judge(np.array([ANA, ANA]), ITEMS))

    assert (found["share_of_other_taste", "market", "SE"], found["share_of_other_taste", "market", "DE"]) == (0, 1)


def test_factors_of_the_item_beside_are_other_tastes() -> None:
    assert tastes_of(Judge(JUDGE.listeners, np.roll(ITEMS, 1, axis=0)))["mean_taste_kept", "all", ""] < 0.5


def test_the_same_items_are_asked_for_whatever_else_a_model_knows() -> None:
    ids = pa.array([f"t{number}" for number in range(400)])
    asked = set(ids.take(pa.array(asked_items(ids))).to_pylist())
    fewer = ids.slice(0, 300)

    assert len(asked) == 256
    assert asked & set(fewer.to_pylist()) <= set(fewer.take(pa.array(asked_items(fewer))).to_pylist())
