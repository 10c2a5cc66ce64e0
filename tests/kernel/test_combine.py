"""Lists and evidence in one order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.csr import CsrRows
from nocturne.kernel.combine import ORIGINS, EvidenceRows, combine
from tests.fixtures.random_catalogues import rows_of

Entries = list[list[tuple[int, float, float]]]
"""Items of each row with a score and evidence."""


def combined(listed: Entries, heard: Entries, k: int, weight: float = 1.0, items: int = 9) -> list[list[object]]:
    """Rows as a test writes them: position, value and origin."""
    lists, others = (rows_of([[entry[0] for entry in row] for row in entries]) for entries in (listed, heard))
    scores = np.array([entry[1] for row in listed for entry in row], float)
    evidence = EvidenceRows(
        others.offsets,
        others.positions,
        np.array([entry[1] for row in heard for entry in row], float),
        np.array([entry[2] for row in heard for entry in row], float),
    )
    found, values, origins = combine(lists, scores, evidence, weight, np.arange(items), k)
    return _rows(found, values, origins)


def _rows(found: CsrRows, values: np.ndarray, origins: np.ndarray) -> list[list[object]]:
    named = [ORIGINS[origin] for origin in origins]
    entries = list(zip(found.positions.tolist(), values.tolist(), named, strict=True))
    return [entries[start:end] for start, end in zip(found.offsets[:-1], found.offsets[1:], strict=True)]


def test_evidence_is_added_to_what_is_listed_and_brings_in_what_is_not() -> None:
    listed = [[(0, 0.5, 0.0), (1, 0.25, 0.0)]]
    heard = [[(1, 0.25, 0.5), (2, -0.5, 0.125)]]
    assert combined(listed, heard, k=3, weight=2.0) == [[(1, 1.25, "both"), (0, 0.5, "score"), (2, -0.25, "evidence")]]


def test_no_more_than_k_are_kept_and_of_equal_ones_the_first() -> None:
    listed = [[(3, 0.5, 0.0), (2, 0.0, 0.0)], []]
    assert combined(listed, [[(1, 0.0, 0.5), (4, 0.0, 0.5)], [(0, 0.0, 1.0)]], k=2) == [
        [(1, 0.5, "evidence"), (3, 0.5, "score")],
        [(0, 1.0, "evidence")],
    ]


def test_without_rows_there_are_none() -> None:
    assert combined([], [], k=2) == []


SCORES = st.dictionaries(
    st.integers(0, 8), st.tuples(st.sampled_from([-0.5, 0.0, 0.25, 0.5]), st.sampled_from([0.0, 0.5, 1.0])), max_size=9
)


@given(st.lists(SCORES, max_size=4), st.integers(1, 9), st.sampled_from([0.0, 1.0, 3.0]))
def test_a_row_is_the_head_of_everything_in_order(
    rows: list[dict[int, tuple[float, float]]], k: int, weight: float
) -> None:
    everything = [[(item, *values) for item, values in sorted(row.items())] for row in rows]
    listed = [sorted(row, key=lambda entry: (-entry[1], entry[0]))[:k] for row in everything]
    heard = [[entry for entry in row if entry[2] > 0] for row in everything]
    values = [[(item, score + weight * evidence) for item, score, evidence in row] for row in everything]
    expected = [sorted(row, key=lambda entry: (-entry[1], entry[0]))[:k] for row in values]
    assert [[entry[:2] for entry in row] for row in combined(listed, heard, k, weight)] == expected  # type: ignore[index]
