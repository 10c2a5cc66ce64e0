"""Beam search over a trie: the likeliest items of each listener, of those that they may get.

A node below which a listener may get nothing is not entered, so that whatever is kept leads to an item, and a list is
full where there are enough items and the beam is as wide as the list. A beam as wide as a level has nodes leaves
nothing out: then lists are the exact ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Factors, Mask, Offsets, Positions
from nocturne.core.csr import entries_of
from nocturne.core.list_arrays import Lists, empty_lists
from nocturne.training.generative.trie import Level, Trie

Score = Callable[[int, Positions, Positions], Factors]
"""Log probabilities of all children of some nodes: of a level, listeners and nodes of the level above; the children of
each pair one after another, in the order of the trie."""


@dataclass(frozen=True)
class Allowed:
    """Items that listeners may get: those of a mask, less those that each of them heard.

    Attributes:
        below: running count over leaves of the mask's items; shape (items + 1,).
        heard: leaves of the mask that each listener heard, as listener * items + leaf, ascending.
        items: how many there are.
    """

    below: Offsets
    heard: Positions
    items: int

    @classmethod
    def of(cls, trie: Trie, mask: Mask, heard: csr_matrix) -> "Allowed":
        """Of a mask over items, and what each listener heard; shape (listeners, items)."""
        items = len(mask)
        listener = np.repeat(np.arange(heard.shape[0]), np.diff(heard.indptr))
        counted = mask[heard.indices]
        keys = listener[counted] * items + trie.leaf_of[heard.indices[counted]]
        return cls(trie.allowed_below(mask), np.unique(keys), items)

    def any(self, listeners: Positions, level: Level, nodes: Positions) -> Mask:
        """True where there is an item for the listener below the node; aligned with both."""
        first, end = level.leaves[nodes], level.leaves[nodes + 1]
        in_all = self.below[end] - self.below[first]
        heard = np.searchsorted(self.heard, listeners * self.items + end)
        heard -= np.searchsorted(self.heard, listeners * self.items + first)
        allowed: Mask = in_all > heard
        return allowed


def search(trie: Trie, score: Score, listeners: int, allowed: Allowed, width: int, top_k: int) -> tuple[Lists, Factors]:
    """The likeliest items of each listener.

    Args:
        listeners: how many there are, each with a place from 0 on.
        width: nodes of each level that a listener's search goes on from.

    Returns:
        Positions of items, best first, equal ones in the order of the trie, -1 where there are no more; and their log
        probabilities, -inf likewise. Shape (listeners, top_k).
    """
    owners, nodes = np.arange(listeners), np.zeros(listeners, np.int64)
    totals = np.zeros(listeners, np.float32)
    for depth, level in enumerate(trie.levels):
        offsets, children = entries_of(level.children, nodes)
        totals = np.repeat(totals, np.diff(offsets)) + score(depth, owners, nodes)
        owners = np.repeat(owners, np.diff(offsets))
        entered = allowed.any(owners, level, children)
        owners, nodes, totals = owners[entered], children[entered], totals[entered]
        last = depth == len(trie.levels) - 1
        best = _best(owners, nodes, totals, top_k if last else max(width, top_k))
        owners, nodes, totals = owners[best], nodes[best], totals[best]
    lists, scores = empty_lists(listeners, top_k), np.full((listeners, top_k), -np.inf, np.float32)
    place = np.arange(len(owners)) - np.searchsorted(owners, owners)
    lists[owners, place] = trie.items[nodes]
    scores[owners, place] = totals
    return lists, scores


def _best(owners: Positions, nodes: Positions, totals: Factors, count: int) -> Positions:
    """Places of the first so many of each owner, owner after owner, the highest totals first, then the first nodes.

    Args:
        owners: ascending.
    """
    firsts = np.searchsorted(owners, owners)
    place = np.arange(len(owners)) - firsts
    longest = int(place.max(initial=-1)) + 1
    near = np.arange(len(owners))
    if longest > count:
        grid = np.full((int(owners[-1]) + 1, longest), -np.inf, np.float32)
        grid[owners, place] = totals
        least = np.partition(grid, longest - count, axis=1)[:, longest - count]
        near = np.flatnonzero(totals >= least[owners])
    order = near[np.lexsort((nodes[near], -totals[near], owners[near]))]
    ranked = owners[order]
    kept: Positions = order[np.arange(len(order)) - np.searchsorted(ranked, ranked) < count]
    return kept
