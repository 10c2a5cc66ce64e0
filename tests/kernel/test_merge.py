"""Merging gives the exact top of everything, whatever was withdrawn and added."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.core.csr import CsrRows
from nocturne.kernel.audit import audit
from nocturne.kernel.layout import Eligible, lay_out_items
from nocturne.kernel.merge import find_reaching, merge
from nocturne.kernel.query import Query
from nocturne.kernel.top_k import Top, top_k
from nocturne.kernel.warm_start import still_allowed
from tests.fixtures.random_catalogues import LENGTHS, RandomQuery, random_queries, rows_of


@pytest.mark.parametrize(
    ("added", "k", "scores", "bound"),
    [
        ([4.0, 1.0], 2, [5.0, 4.0], 3.0),
        ([4.0, 1.0], 4, [5.0, 4.0, 3.0], 2.0),
        ([2.5, 6.0], 4, [6.0, 5.0, 3.0, 2.5], 2.0),
        ([2.0], 4, [5.0, 3.0], 2.0),
        ([], 4, [5.0, 3.0], 2.0),
    ],
)
def test_what_is_above_the_bound_gets_its_place_and_the_bound_covers_the_rest(added, k, scores, bound) -> None:
    factors = np.array([[5.0], [3.0], *([each] for each in added)], np.float32)
    items = lay_out_items(factors, np.ones(len(factors)), np.arange(len(factors)))
    top = Top(rows_of([[0, 1]]), np.array([5.0, 3.0]), np.array([2.0]))
    merged = merge(np.ones((1, 1)), items, k, top, rows_of([list(range(2, len(factors)))]))
    assert merged.scores.tolist() == scores
    assert merged.bounds.tolist() == [bound]


def test_of_equal_scores_the_first_in_order_of_ties_comes_first() -> None:
    items = lay_out_items(np.ones((4, 1), np.float32), np.ones(4), np.array([1, 3, 0, 2]))
    top = Top(rows_of([[0, 1]]), np.ones(2), np.array([-np.inf]))
    merged = merge(np.ones((1, 1)), items, 4, top, rows_of([[3, 2]]))
    assert merged.lists.positions.tolist() == [2, 0, 3, 1]


@settings(max_examples=150, deadline=None)
@given(
    case=random_queries(),
    k=LENGTHS,
    nights=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_nights_of_additions_and_withdrawals_give_the_head_of_everything(
    case: RandomQuery, k: int, nights: list[float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    top, before = case.top(k), case.eligible.masks
    rounded, norms = case.users.astype(np.float32), np.sqrt(np.einsum("uf,uf->u", case.users, case.users))
    for changed in nights:
        masks = before ^ (rng.random(before.shape) < changed / 4)
        eligible = Eligible.of(masks, case.items)
        query = Query(case.users, case.items, k, case.already_heard, case.classes, eligible)
        left = withdrawn(top, masks, case.classes)
        top = merge(case.users, case.items, k, left, reaching(query, top, before, rounded, norms))
        assert audit(query, top).all()
        assert is_head(top, top_k(query))
        before = masks


def withdrawn(top: Top, masks: np.ndarray, classes: np.ndarray) -> Top:
    stays = masks[np.repeat(classes, top.lists.lengths), top.lists.positions]
    return Top(top.lists.where(stays), top.scores[stays], top.bounds)


def reaching(query: Query, top: Top, before: np.ndarray, users: np.ndarray, norms: np.ndarray) -> CsrRows:
    """Added items that may reach the bound of each listener, told as a night tells them: a class at a time."""
    lists: list[list[int]] = [[] for _ in users]
    for market in range(len(before)):
        some = np.flatnonzero(query.classes == market)
        added = np.flatnonzero(query.eligible.masks[market] & ~before[market]).astype(np.int32)
        listeners, items = find_reaching(users[some], norms[some], top.bounds[some], query.items, added)
        for listener, item in zip(some[listeners].tolist(), items.tolist(), strict=True):
            lists[listener].append(item)
    return still_allowed(rows_of(lists), query.already_heard, query.classes, query.eligible.masks)


def is_head(top: Top, whole: Top) -> bool:
    """True if every list, of any length, is the head of the other, to the bit."""
    for listener, length in enumerate(top.lists.lengths):
        first, other = top.lists.offsets[listener], whole.lists.offsets[listener]
        if top.lists.row(listener).tolist() != whole.lists.row(listener)[:length].tolist():
            return False
        if top.scores[first : first + length].tobytes() != whole.scores[other : other + length].tobytes():
            return False
    return True


def test_only_what_may_reach_the_bound_is_told() -> None:
    items = lay_out_items(np.array([[4], [2], [1], [3]], np.float32), np.array([1.0, 1.0, 2.5, 1.0]), np.arange(4))
    users = np.array([[1.0], [-1.0], [2.0]], np.float32)
    bounds = np.array([2.4, 0.0, -np.inf])
    listeners, positions = find_reaching(users, np.array([1.0, 1.0, 2.0]), bounds, items, np.array([1, 2], np.int32))
    assert list(zip(listeners.tolist(), positions.tolist(), strict=True)) == [(0, 2), (2, 1), (2, 2)]


def test_listeners_of_a_norm_that_single_precision_does_not_hold_are_reached_by_everything() -> None:
    items = lay_out_items(np.array([[4], [2]], np.float32), np.ones(2), np.arange(2))
    users = np.array([[1e-60], [1e60]])
    with np.errstate(over="ignore"):
        rounded = users.astype(np.float32)
    listeners, _ = find_reaching(rounded, np.abs(users[:, 0]), users[:, 0] * 3, items, np.array([1], np.int32))
    assert listeners.tolist() == [0, 1]
