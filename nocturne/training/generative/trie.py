"""The trie of a catalogue: semantic ids in their order, as arrays, so that only what exists can be walked."""

from dataclasses import dataclass

import numpy as np

from nocturne.core.arrays import Indexes, Mask, Offsets, Positions


@dataclass(frozen=True)
class Level:
    """Nodes of one depth, ordered by their codes.

    Attributes:
        codes: last code of each node; shape (nodes,).
        parents: node of the level above; 0, the root, on the first level; shape (nodes,).
        children: where the nodes of each node of the level above begin, and where the last ones end.
        leaves: where the leaves of each node begin, and where the last ones end; shape (nodes + 1,).
    """

    codes: Indexes
    parents: Positions
    children: Offsets
    leaves: Offsets

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class Trie:
    """All ids of a catalogue; a leaf is an item.

    Attributes:
        levels: a level for each code of an id.
        items: position of the item of each leaf; shape (items,).
        leaf_of: leaf of each item; shape (items,).

    Example: of the ids [0, 0], [0, 1] and [2, 0] the first level has the codes 0 and 2, with two leaves and one.
    """

    levels: tuple[Level, ...]
    items: Positions
    leaf_of: Positions

    @classmethod
    def of(cls, paths: Indexes) -> "Trie":
        """The trie of ids, no two of which are equal; shape (items, codes of an id)."""
        count, depth = paths.shape
        items = np.lexsort(paths.T[::-1])
        ordered = paths[items]
        begins = np.zeros(count, np.bool_)
        begins[:1] = True
        node_above = np.zeros(count, np.int64)
        nodes_above = 1
        levels = []
        for level in range(depth):
            begins[1:] |= ordered[1:, level] != ordered[:-1, level]
            firsts = np.flatnonzero(begins)
            parents = node_above[firsts]
            children = np.searchsorted(parents, np.arange(nodes_above + 1))
            levels.append(Level(ordered[firsts, level], parents, children, np.append(firsts, count)))
            node_above, nodes_above = np.cumsum(begins) - 1, len(firsts)
        assert nodes_above == count, "two items have one id"
        leaf_of = np.empty(count, np.int64)
        leaf_of[items] = np.arange(count)
        return cls(tuple(levels), items, leaf_of)

    def nodes_of(self, items: Positions) -> Positions:
        """The node of some items on every level; shape (items, levels)."""
        leaves = self.leaf_of[items]
        return np.column_stack([np.searchsorted(level.leaves, leaves, side="right") - 1 for level in self.levels])

    def allowed_below(self, allowed: Mask) -> Offsets:
        """Running count over leaves of items that are allowed; shape (items + 1,)."""
        return np.concatenate([[0], np.cumsum(allowed[self.items])])
