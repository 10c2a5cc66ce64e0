"""The second stage: what resembles a candidate in the listener's row."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nocturne.core.csr import CsrRows
from nocturne.kernel.blend import blend
from nocturne.training.model import Confidences

ITEMS = 8


def csr(rows: list[list[int]]) -> CsrRows:
    flat = np.array([item for row in rows for item in row], np.int32)
    return CsrRows(np.cumsum([0, *map(len, rows)]), flat)


def heard(rows: list[list[int]], confidences: np.ndarray) -> Confidences:
    entries = csr(rows)
    return Confidences(entries.offsets, entries.positions, confidences)


def test_a_candidate_gains_by_what_resembles_it_in_the_row():
    # Candidate 1 resembles item 0 (heard, confidence 4) by 0.5; candidate 2 resembles item 3, which nobody heard.
    neighbours = np.full((4, 2), -1, np.int32)
    similarities = np.zeros((4, 2), np.float32)
    neighbours[1, 0], similarities[1, 0] = 0, 0.5
    neighbours[2, 0], similarities[2, 0] = 3, 1.0
    row = heard([[0]], np.array([4.0]))
    lists, scores = blend(csr([[2, 1]]), np.array([2.0, 1.0]), row, neighbours, similarities, 0.75)
    assert lists.positions.tolist() == [1, 2]
    assert scores.tolist() == [0.5 + 0.75, 1.0]


def test_without_a_positive_score_and_without_neighbours_heard_the_order_stays():
    neighbours, similarities = np.full((4, 1), 3, np.int32), np.ones((4, 1), np.float32)
    row = heard([[0]], np.array([4.0]))
    lists, scores = blend(csr([[2, 1]]), np.array([-1.0, -2.0]), row, neighbours, similarities, 0.75)
    assert (lists.positions.tolist(), scores.tolist()) == ([2, 1], [-1.0, -2.0])


def test_what_speaks_against_a_candidate_does_not_drown_its_factors():
    # Neighbourhoods of 0.001 and -1: shares of the largest absolute one.
    neighbours, weights = np.zeros((3, 1), np.int32), np.array([[0.0], [0.001], [-1.0]], np.float32)
    lists, scores = blend(csr([[2, 1]]), np.array([2.0, 1.0]), heard([[0]], np.array([1.0])), neighbours, weights, 0.5)
    assert lists.positions.tolist() == [1, 2]
    np.testing.assert_allclose(scores, [0.5 + 0.0005, 1.0 - 0.5], rtol=1e-6)


@st.composite
def listeners(draw):
    """Rows, candidates and scores of some listeners, and neighbours of all items."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, width = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rows = [sorted(rng.permutation(ITEMS)[: rng.integers(0, ITEMS)].tolist()) for _ in range(count)]
    candidates = [rng.permutation(ITEMS)[: rng.integers(0, ITEMS)].tolist() for _ in range(count)]
    scores = [np.sort(rng.normal(size=len(row)))[::-1] for row in candidates]
    neighbours = np.full((ITEMS, width), -1, np.int32)
    for item in range(ITEMS):
        some = np.sort(rng.permutation(ITEMS)[: rng.integers(0, width + 1)])
        neighbours[item, : len(some)] = some
    confidences = [rng.random(len(row)) for row in rows]
    return (
        rows,
        confidences,
        candidates,
        scores,
        neighbours,
        rng.random((ITEMS, width), dtype=np.float32) - np.float32(0.3),
    )


def blended(rows, confidences, candidates, scores, neighbours, similarities):
    entries = heard(rows, np.concatenate(confidences))
    return blend(csr(candidates), np.concatenate(scores), entries, neighbours, similarities, 0.5)


@given(listeners())
def test_blended_lists_are_those_of_plain_sums(world):
    rows, confidences, candidates, scores, neighbours, similarities = world
    lists, scores_together = blended(*world)
    for listener, row in enumerate(rows):
        near = [
            sum(
                float(similarities[item, place]) * confidences[listener][row.index(other)]
                for place, other in enumerate(neighbours[item])
                if other >= 0 and other in row
            )
            for item in candidates[listener]
        ]
        own = (
            scores[listener] / max(scores[listener], default=1)
            if max(scores[listener], default=0) > 0
            else scores[listener]
        )
        theirs = np.array(near) / (max(map(abs, near), default=0) or 1)
        together = own + 0.5 * theirs
        mine = slice(lists.offsets[listener], lists.offsets[listener + 1])
        np.testing.assert_allclose(scores_together[mine], np.sort(together)[::-1], rtol=1e-12)
        assert sorted(lists.positions[mine].tolist()) == sorted(candidates[listener])


@given(listeners())
def test_a_listener_is_blended_alone_to_the_last_bit(world):
    rows, confidences, candidates, scores, neighbours, similarities = world
    lists, scores_together = blended(*world)
    for listener in range(len(rows)):
        alone, alone_scores = blended(
            [rows[listener]], [confidences[listener]], [candidates[listener]], [scores[listener]],
            neighbours, similarities,
        )  # fmt: skip
        assert alone.positions.tolist() == lists.row(listener).tolist()
        assert (
            alone_scores.tobytes() == scores_together[lists.offsets[listener] : lists.offsets[listener + 1]].tobytes()
        )
