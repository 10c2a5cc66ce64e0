"""The top K is exact, and the same to the last bit however it is computed."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.ranking.select import rounding_bound, top_k


def brute_force(
    users: np.ndarray, items: np.ndarray, multipliers: np.ndarray, tie_order: np.ndarray, allowed: np.ndarray, k: int
) -> list[list[int]]:
    """Score every pair in float64 and sort."""
    lists = []
    for user, permitted in zip(users, allowed, strict=True):
        scores = [(user * item).sum() * multiplier for item, multiplier in zip(items, multipliers, strict=True)]
        candidates = [place for place in range(len(items)) if permitted[place]]
        lists.append(sorted(candidates, key=lambda place: (-scores[place], tie_order[place]))[:k])
    return lists


@st.composite
def worlds(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Users, items, multipliers, tie order and allowed; many near-ties, for items come in almost equal copies."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    users, items, width = draw(st.integers(1, 9)), draw(st.integers(1, 60)), draw(st.integers(1, 40))
    originals = rng.normal(size=(max(1, items // 4), width))
    copies = originals[rng.integers(0, len(originals), items)] * (1 + rng.integers(-1, 2, (items, 1)) * 1e-7)
    return (
        rng.normal(size=(users, width)) * 10.0 ** draw(st.integers(-4, 4)),
        copies.astype(np.float32),
        rng.choice([0.5, 1.0, 3.0], items),
        rng.permutation(items),
        rng.random((users, items)) < draw(st.sampled_from([0.2, 0.9, 1.0])),
    )


def listed(offsets: np.ndarray, items: np.ndarray) -> list[list[int]]:
    return [items[a:b].tolist() for a, b in itertools.pairwise(offsets)]


@settings(max_examples=150, deadline=None)
@given(world=worlds(), k=st.integers(1, 20))
def test_lists_are_those_of_a_full_sort_in_float64(world: tuple[np.ndarray, ...], k: int) -> None:
    offsets, items, _ = top_k(*world, k)
    assert listed(offsets, items) == brute_force(*world, k)


@settings(max_examples=50, deadline=None)
@given(world=worlds(), k=st.integers(1, 20), cut=st.integers(0, 9))
def test_lists_and_scores_do_not_depend_on_the_batch_to_the_last_bit(
    world: tuple[np.ndarray, ...], k: int, cut: int
) -> None:
    users, items, multipliers, tie_order, allowed = world
    _, together, scores = top_k(*world, k)
    parts = [
        top_k(users[part], items, multipliers, tie_order, allowed[part], k) for part in (slice(cut), slice(cut, None))
    ]
    assert np.concatenate([part[1] for part in parts]).tolist() == together.tolist()
    assert np.concatenate([part[2] for part in parts]).tobytes() == scores.tobytes()


def test_equal_scores_are_listed_in_tie_order() -> None:
    items = np.ones((4, 2), dtype=np.float32)
    _, listed_items, scores = top_k(
        np.ones((1, 2)), items, np.ones(4), np.array([2, 0, 3, 1]), np.ones((1, 4), dtype=bool), 3
    )
    assert listed_items.tolist() == [1, 3, 0]
    assert scores.tolist() == [2.0, 2.0, 2.0]


def test_a_user_who_may_get_nothing_gets_an_empty_list() -> None:
    allowed = np.array([[False, False], [True, False]])
    offsets, items, _ = top_k(np.ones((2, 1)), np.ones((2, 1), dtype=np.float32), np.ones(2), np.arange(2), allowed, 2)
    assert listed(offsets, items) == [[], [0]]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 300), size=st.integers(-6, 6))
def test_no_float32_product_is_further_from_the_exact_one_than_the_bound(seed: int, width: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    users = rng.normal(size=(5, width)) * 10.0**size
    items = rng.normal(size=(20, width)).astype(np.float32)
    error = np.abs((users.astype(np.float32) @ items.T).astype(np.float64) - users @ items.astype(np.float64).T)
    assert (error <= rounding_bound(users, items)[:, None]).all()
