"""Progress from look to look, by hand."""

import numpy as np
import pytest

from nocturne.experiments.courses import progress_of

UNKNOWN = float("nan")


def test_a_known_correlation_is_the_progress():
    assert progress_of([4.0, 5.0, 3.0], [UNKNOWN, np.sqrt(0.5), np.sqrt(0.8)], [0.2, 0.4, 1.0]) == pytest.approx(
        [4, 8, 10]
    )


def test_an_unknown_one_is_that_of_days_with_nothing_in_common_or_of_what_came_in():
    assert progress_of([4.0, 5.0, 15.0], [UNKNOWN] * 3, [0.25, 0.5, 1.0]) == pytest.approx([4, 8, 24])


def test_progress_begins_where_something_is_known():
    assert progress_of([0.0, 4.0, 0.0, 5.0], [UNKNOWN, UNKNOWN, UNKNOWN, 1.0], [0.25, 0.5, 0.75, 1.0]) == pytest.approx(
        [0, 4, 0, 8]
    )


def test_no_correlation_is_progress_without_a_limit_but_finite():
    assert progress_of([1.0, 1.0], [UNKNOWN, -0.2], [0.5, 1.0]) == pytest.approx([1, 10_000])
