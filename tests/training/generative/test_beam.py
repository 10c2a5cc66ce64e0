"""Beam search over a trie: only what exists and is allowed, lists full, and exact where the beam is wide."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from nocturne.core.csr import entries_of
from nocturne.training.generative.beam import Allowed, Score, search
from nocturne.training.generative.trie import Trie

PATHS = np.array([[2, 0], [0, 1], [0, 0], [3, 5]], np.int32)


def drawn_paths(items: int, depth: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    paths = np.unique(rng.integers(0, 4, (items, depth)), axis=0)
    return rng.permutation(paths).astype(np.int32)


def scores_of(trie: Trie, listeners: int, seed: int) -> tuple[Score, np.ndarray]:
    """Scores of nodes drawn at random, and those of items that they add up to; shape (listeners, items)."""
    rng = np.random.default_rng(seed)
    tables = [rng.normal(size=(listeners, len(level))).astype(np.float32) for level in trie.levels]

    def score(depth: int, owners: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        offsets, children = entries_of(trie.levels[depth].children, nodes)
        return tables[depth][np.repeat(owners, np.diff(offsets)), children]

    nodes = trie.nodes_of(np.arange(len(trie.items)))
    total = np.zeros((listeners, len(nodes)), np.float32)
    for depth, table in enumerate(tables):
        total += table[:, nodes[:, depth]]
    return score, total


def test_a_trie_has_a_node_for_every_beginning_of_an_id() -> None:
    trie = Trie.of(PATHS)
    assert [level.codes.tolist() for level in trie.levels] == [[0, 2, 3], [0, 1, 0, 5]]
    assert trie.items.tolist() == [2, 1, 0, 3]
    assert trie.levels[0].children.tolist() == [0, 3]
    assert trie.levels[1].children.tolist() == [0, 2, 3, 4]
    assert trie.levels[0].leaves.tolist() == [0, 2, 3, 4]
    assert trie.nodes_of(np.array([0, 3, 2])).tolist() == [[1, 2], [2, 3], [0, 0]]


def test_a_node_without_an_allowed_leaf_is_not_entered() -> None:
    """The likeliest node of a beam of one holds what was heard; the list is full for all that."""
    trie = Trie.of(PATHS)

    def score(depth: int, owners: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        _, children = entries_of(trie.levels[depth].children, nodes)
        return -children.astype(np.float32)

    heard = csr_matrix(np.array([[0, 1, 1, 0]]))
    mask = np.array([True, True, True, True])
    lists, _ = search(trie, score, 1, Allowed.of(trie, mask, heard), 1, 1)
    assert lists.tolist() == [[0]]
    mask[0] = False
    lists, scores = search(trie, score, 1, Allowed.of(trie, mask, heard), 1, 2)
    assert lists.tolist() == [[3, -1]]
    assert scores.tolist() == [[-5.0, -np.inf]]


@given(
    items=st.integers(1, 60),
    depth=st.integers(1, 4),
    listeners=st.integers(1, 4),
    width=st.integers(1, 8),
    top_k=st.integers(1, 8),
    seed=st.integers(0, 999),
)
@settings(max_examples=150)
def test_lists_are_full_of_distinct_allowed_items(
    items: int, depth: int, listeners: int, width: int, top_k: int, seed: int
) -> None:
    trie = Trie.of(drawn_paths(items, depth, seed))
    count = len(trie.items)
    rng = np.random.default_rng(seed)
    mask, heard = rng.random(count) < 0.7, rng.random((listeners, count)) < 0.4
    score, total = scores_of(trie, listeners, seed)
    lists, scores = search(trie, score, listeners, Allowed.of(trie, mask, csr_matrix(heard)), width, top_k)
    for listener in range(listeners):
        open_ = np.flatnonzero(mask & ~heard[listener])
        listed = lists[listener][lists[listener] >= 0]
        assert len(listed) == len(set(listed.tolist())) == min(top_k, len(open_))
        assert set(listed.tolist()) <= set(open_.tolist())
        np.testing.assert_allclose(scores[listener][: len(listed)], total[listener, listed], atol=1e-5)
        assert (np.diff(scores[listener][: len(listed)]) <= 0).all()


@given(items=st.integers(1, 60), depth=st.integers(1, 4), top_k=st.integers(1, 8), seed=st.integers(0, 999))
@settings(max_examples=100)
def test_a_beam_as_wide_as_the_catalogue_finds_the_exact_lists(items: int, depth: int, top_k: int, seed: int) -> None:
    trie = Trie.of(drawn_paths(items, depth, seed))
    count = len(trie.items)
    rng = np.random.default_rng(seed)
    mask, heard = rng.random(count) < 0.7, rng.random((3, count)) < 0.4
    score, total = scores_of(trie, 3, seed)
    _, scores = search(trie, score, 3, Allowed.of(trie, mask, csr_matrix(heard)), count, top_k)
    best = -np.sort(-np.where(mask & ~heard, total, -np.inf), axis=1)[:, :top_k]
    np.testing.assert_allclose(scores[:, : best.shape[1]], best, atol=1e-5)
