"""The decoder: a listener's last items and words -> log probabilities of codes, in NumPy alone.

What is asked for is one vector: that of the listener's last items, each the sum of its codes' embeddings, plus that of
the words. From level to level it is turned by the codes chosen so far, and scores those that can follow. Scores begin
with how often what lies below a code was heard, and are normalised over codes that exist, whoever may get them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Counts, Factors, Indexes, Mask, Positions
from nocturne.core.csr import CsrRows, entries_of
from nocturne.core.list_arrays import Lists
from nocturne.kernel.encoder import Shape, encode_rows
from nocturne.training.generative.beam import Allowed, search
from nocturne.training.generative.trie import Trie

Weights = Mapping[str, Factors]
"""Arrays by name: those of the encoder behind `encoder/`; of level l `l/codes`, `l/ask`, `l/after` and `l/mix`; by
`items` each is read beside its codes, zeros where nobody has heard it; `words` and `words/scale`."""

ENCODER = "encoder/"

SMOOTHING = 1.0
"""Listens that every item counts as having beside its own."""

Values = TypeVar("Values")

_AT_ONCE = 256
_EPSILON = 1e-6


@dataclass(frozen=True)
class Prior:
    """Shares of listens: those below each node among the nodes of one parent, as logarithms, by level."""

    of_nodes: tuple[Factors, ...]

    @classmethod
    def of(cls, trie: Trie, listens: Counts, weight: float = 1.0) -> "Prior":
        """From listens of items, shape (items,), which count by a power of them."""
        below = np.concatenate([[0.0], np.cumsum(listens[trie.items] + SMOOTHING)])
        found = []
        for level in trie.levels:
            amounts = weight * np.log(below[level.leaves[1:]] - below[level.leaves[:-1]])
            found.append(_normalised_logs(amounts.astype(np.float32), level.children))
        return cls(tuple(found))


@dataclass(frozen=True)
class Decoder:
    """A trained network over one catalogue."""

    weights: Weights
    shape: Shape
    paths: Indexes
    prior: Prior

    @cached_property
    def trie(self) -> Trie:
        """Of the catalogue."""
        return Trie.of(self.paths)

    @cached_property
    def embeddings(self) -> Factors:
        """Embeddings that the encoder reads; shape (items, width)."""
        levels = range(self.paths.shape[1])
        of_codes = np.sum([self.weights[f"{level}/codes"][self.paths[:, level]] for level in levels], axis=0)
        found: Factors = of_codes + self.weights["items"]
        return found

    def contexts(self, heard: CsrRows, words: CsrRows | None = None) -> Factors:
        """Vectors of what is asked for; shape (listeners, width).

        Args:
            heard: positions of items by listener, oldest first.
            words: places of words by listener; None: nobody says any.
        """
        found: Factors = encode_rows(encoder_of(self.weights), self.shape, self.embeddings, heard).astype(np.float32)
        return found if words is None else found + self._of_words(words)

    def recommend(
        self,
        heard: CsrRows,
        mask: Mask,
        left_out: csr_matrix,
        width: int,
        top_k: int,
        words: CsrRows | None = None,
    ) -> tuple[Lists, Factors]:
        """The likeliest items of each listener and their log probabilities; shape (listeners, top_k).

        Args:
            mask: items that may be listed; shape (items,).
            left_out: items that each of them may not get; shape (listeners, items).
            width: of the beam.
        """
        contexts = self.contexts(heard, words)
        parts = []
        for first in range(0, len(contexts), _AT_ONCE):
            rows = contexts[first : first + _AT_ONCE]
            allowed = Allowed.of(self.trie, mask, left_out[first : first + len(rows)])
            parts.append(search(self.trie, _Scores(self, rows), len(rows), allowed, width, top_k))
        lists, scores = zip(*parts, strict=True)
        return np.concatenate(lists), np.concatenate(scores)

    def score_all(self, contexts: Factors) -> Factors:
        """Log probability of every item; shape (listeners, items)."""
        scores, listeners = _Scores(self, contexts), np.arange(len(contexts))
        nodes_above = np.zeros(1, np.int64)
        total = np.zeros((len(contexts), 1), np.float32)
        for depth, level in enumerate(self.trie.levels):
            owners = np.repeat(listeners, len(nodes_above))
            of_level = scores(depth, owners, np.tile(nodes_above, len(listeners)))
            total = total[:, level.parents] + of_level.reshape(len(contexts), -1)
            nodes_above = np.arange(len(level))
        found = np.empty_like(total)
        found[:, self.trie.items] = total
        return found

    @cached_property
    def turned(self) -> list[Factors]:
        """Turns of what is asked for by the codes so far, for each node of the level above; shape (nodes, width)."""
        sums, found = np.zeros((1, self.shape.width), np.float32), []
        for depth, level in enumerate(self.trie.levels):
            found.append(sums @ self.weights[f"{depth}/after"])
            sums = sums[level.parents] + self.weights[f"{depth}/codes"][level.codes]
        return found

    def _of_words(self, words: CsrRows) -> Factors:
        rows = np.repeat(np.arange(len(words.lengths)), words.lengths)
        sums = np.zeros((len(words.lengths), self.shape.width), np.float32)
        np.add.at(sums, rows, self.weights["words"][words.positions])
        mean = sums / np.maximum(words.lengths, 1).astype(np.float32)[:, None]
        size = np.sqrt(np.mean(np.square(mean), axis=1, keepdims=True) + np.float32(_EPSILON))
        found: Factors = mean / size * self.weights["words/scale"]
        return found


def encoder_of(weights: Mapping[str, Values]) -> dict[str, Values]:
    """The arrays of the encoder, by the names that it knows them by."""
    return {name.removeprefix(ENCODER): values for name, values in weights.items() if name.startswith(ENCODER)}


class _Scores:
    """The log probabilities that a search asks for."""

    def __init__(self, decoder: Decoder, contexts: Factors) -> None:
        self._decoder, self._contexts = decoder, contexts
        weights = decoder.weights
        self._asked = [contexts @ weights[f"{depth}/ask"] for depth in range(len(decoder.trie.levels))]

    def __call__(self, depth: int, listeners: Positions, nodes: Positions) -> Factors:
        decoder = self._decoder
        level, weights = decoder.trie.levels[depth], decoder.weights
        hidden = self._asked[depth][listeners] + decoder.turned[depth][nodes]
        hidden = hidden / (1 + np.exp(-hidden))
        asked = self._contexts[listeners] + hidden @ weights[f"{depth}/mix"]
        offsets, children = entries_of(level.children, nodes)
        pairs = np.repeat(np.arange(len(nodes)), np.diff(offsets))
        scores = (asked @ weights[f"{depth}/codes"].T)[pairs, level.codes[children]]
        return _normalised_logs(scores + decoder.prior.of_nodes[depth][children], offsets)


def _normalised_logs(values: Factors, offsets: Counts) -> Factors:
    """Values less the logarithm of the sum of their exponentials, of each part from an offset to the next."""
    if not len(values):
        return values
    lengths = np.diff(offsets)
    top = np.repeat(np.maximum.reduceat(values, offsets[:-1]), lengths)
    total = np.repeat(np.log(np.add.reduceat(np.exp(values - top), offsets[:-1])), lengths)
    found: Factors = values - top - total
    return found
