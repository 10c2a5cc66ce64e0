"""Sketches, and what sums by segment come to."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.validation.metrics.concentration import creator_metrics, distance, gini, largest_share
from nocturne.validation.metrics.metric import Metric
from nocturne.validation.metrics.sketches import quantile, share_of_largest, sketch
from nocturne.validation.metrics.sums import Labels, SegmentSums, counted, quantiles, ratios, shares

NUMBERS = st.floats(-1e9, 1e9).filter(lambda number: number == 0 or abs(number) > 1e-6)


def test_quantiles_of_small_whole_numbers_are_exact() -> None:
    of = sketch(np.array([1, 1, 2, 3, 25]))

    assert [quantile(of, share) for share in (0.05, 0.4, 0.5, 0.75, 1)] == [1, 1, 2, 3, 25]


def test_what_is_no_finite_number_is_left_out() -> None:
    assert sketch(np.array([np.nan, np.inf, -2.0, 0.0]))[0].sum() == 2


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.95]))
def test_a_quantile_is_within_two_percent_of_the_number_at_its_rank(numbers: list[float], share: float) -> None:
    exact = np.quantile(numbers, share, method="inverted_cdf")

    assert quantile(sketch(np.array(numbers)), share) == pytest.approx(exact, rel=0.04, abs=1e-9)


@given(st.lists(NUMBERS, max_size=40), st.lists(NUMBERS, max_size=40))
def test_sketches_of_parts_add_up_to_that_of_the_whole(some: list[float], others: list[float]) -> None:
    whole = sketch(np.array(some + others))

    np.testing.assert_allclose(sketch(np.array(some)) + sketch(np.array(others)), whole, rtol=1e-9, atol=1e-6)


def test_one_of_a_hundred_with_half_of_all_has_half() -> None:
    assert share_of_largest(sketch(np.array([99.0, *[1.0] * 99])), 0.01) == 0.5
    assert share_of_largest(sketch(np.zeros(3)), 0.01) == 0


def test_shares_and_ratios_are_told_of_every_segment_with_what_they_rest_on() -> None:
    sums = SegmentSums()
    market = Labels.of(pa.array(["SE", "DE", None, "SE"]))
    sums.add_by({"market": market}, {"rows": np.ones(4), "odd": np.array([True, False, False, False])})

    assert counted(sums, "rows", ("all", "market")) == [
        Metric("rows", 4),
        Metric("rows", 1, "market", ""),
        Metric("rows", 1, "market", "DE"),
        Metric("rows", 2, "market", "SE"),
    ]
    assert shares(sums, "rows", ["market"])[2] == Metric("share", 0.5, "market", "SE", 4)
    assert ratios(sums, "share_odd", "odd", "rows", ("all", "market")) == [
        Metric("share_odd", 0.25, count=4),
        Metric("share_odd", 0, "market", "", 1),
        Metric("share_odd", 0, "market", "DE", 1),
        Metric("share_odd", 0.5, "market", "SE", 2),
    ]


def test_of_no_numbers_there_are_no_quantiles() -> None:
    sums = SegmentSums()
    sums.add_numbers("length", np.zeros(0))

    assert quantiles(sums, "length") == quantiles(sums, "never added") == []


def test_labels_of_a_dictionary_are_those_of_its_texts() -> None:
    texts = pa.array(["b", None, "a", "b"])
    plain, encoded = Labels.of(texts), Labels.of(texts.dictionary_encode())

    named = [[labels.names[code] for code in labels.codes] for labels in (plain, encoded)]
    assert named == [["b", "", "a", "b"]] * 2


def test_gini_is_0_of_equals_and_grows_with_the_share_of_one() -> None:
    assert gini(np.array([2.0, 2.0, 0.0, 2.0])) == 0
    assert gini(np.array([0.0, 1.0, 3.0])) == pytest.approx(0.25)
    assert gini(np.zeros(3)) == 0


def test_spreads_are_as_far_apart_as_what_would_have_to_move() -> None:
    assert distance(np.array([1.0, 1.0, 2.0]), np.array([2.0, 2.0, 0.0])) == 0.5


def test_creators_are_ranked_by_what_their_items_have() -> None:
    amounts, creators = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 0, -1])

    assert creator_metrics(amounts, creators) == [
        Metric("share", 0.4, "creator_rank", "1", 10),
        Metric("share", 0.2, "creator_rank", "2", 10),
    ]
    assert largest_share(amounts) == 0.4
