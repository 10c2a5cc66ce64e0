"""Text factors: what the texts of learned items say of the factors of an item that was not learned. Pure.

Factors are a direction and a length. Both follow from the embedding by a ridge regression over the learned items, each
weighing n / (n + 10) with n listeners: the direction of an item that few have heard is mostly chance. Regressions give
means, which are shorter than what they are means of; so factors are multiplied by what the learned items' own, worked
out from the others, lack on average. Then cold items compete with learned ones at eye level.

Source: factors by attributes after Gantner et al. (2010), "Learning attribute-to-feature mappings for cold-start
recommendations", section 4; the length apart, and its scale, are of our own: docs/content.md has what each is worth.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import reduce
from operator import add

import numpy as np

from nocturne.core.arrays import Counts, Factors, Floats, Indexes
from nocturne.core.hashing import spread

_TRUSTED = 10.0
"""Listeners at which an item weighs half of the most that it can."""

_PENALTY = 1.0
_FOLDS = 5
_SHORTEST = 1e-3
"""Length of factors at least: a regression may give one below 0."""

_SHARPNESS = 3
"""Neighbours by text weigh cosine ^ this."""

_EVIDENCE = 2.0
"""Weight of all neighbours of a cold item, in those of a learned one on average."""

_ITEMS_AT_ONCE, _ROWS_TOGETHER = 4_096, 64
_NONE = np.zeros(0, np.int64)
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class _Sums:
    """Sums over some items from which a weighted ridge regression follows.

    Attributes:
        gram: of the embeddings; shape (width, width).
        moments: of embeddings and targets; shape (width, targets).
        embeddings, targets: their sums; shapes (width,) and (targets,).
        trust: the sum of weights.
    """

    gram: Floats
    moments: Floats
    embeddings: Floats
    targets: Floats
    trust: float

    @classmethod
    def of(cls, embeddings: Factors, targets: Floats, trust: Floats) -> "_Sums":
        """Of embeddings (items, width) and targets (items, targets), items weighing by their trust."""
        width, count = embeddings.shape[1], targets.shape[1]
        gram, moments, total = np.zeros((width, width)), np.zeros((width, count)), np.zeros(width)
        for first in range(0, len(embeddings), _ITEMS_AT_ONCE):
            part = slice(first, first + _ITEMS_AT_ONCE)
            block = embeddings[part].astype(np.float64)
            weighted = block * trust[part, None]
            gram += weighted.T @ block
            moments += weighted.T @ targets[part]
            total += weighted.sum(axis=0)
        return cls(gram, moments, total, np.asarray(trust @ targets), float(trust.sum()))

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(*(ours + theirs for ours, theirs in zip(astuple(self), astuple(other), strict=True)))

    def solve(self) -> "_Ridge":
        """The regression of the targets, less their mean, under the penalty."""
        mean = self.targets / self.trust
        moments = self.moments - np.outer(self.embeddings, mean)
        weights = np.linalg.solve(self.gram + _PENALTY * np.eye(len(self.gram)), moments)
        return _Ridge(np.asarray(weights, np.float64), mean)


@dataclass(frozen=True)
class _Ridge:
    """From embeddings to directions, and in the last column to lengths.

    Attributes:
        weights: shape (width, factors + 1).
        mean: shape (factors + 1,).
    """

    weights: Floats
    mean: Floats

    def of(self, embeddings: Factors) -> Floats:
        """Factors before they are scaled; shape (items, factors)."""
        mapped = embeddings.astype(np.float64) @ self.weights + self.mean
        factors: Floats = mapped[:, :-1] * np.maximum(mapped[:, -1:], _SHORTEST)
        return factors


@dataclass(frozen=True)
class TextMap:
    """From embeddings to factors, and to neighbours among the learned items, of one model.

    Attributes:
        ridge: fitted to the learned items.
        scale: what lengths are multiplied by.
        embeddings: of the learned items; shape (learned items, width).
        evidence: weight of all neighbours of a cold item together.
    """

    ridge: _Ridge
    scale: float
    embeddings: Factors
    evidence: float

    def factors(self, embeddings: Factors) -> Factors:
        """Factors of cold items, each by its own text alone; shape (items, factors).

        Args:
            embeddings: theirs; shape (items, width).
        """
        parts = [self.scale * self.ridge.of(block)[:rows] for block, rows in _blocks(embeddings)]
        return np.concatenate([np.zeros((0, len(self.ridge.mean) - 1)), *parts]).astype(np.float32)

    def neighbours(self, embeddings: Factors, width: int) -> tuple[Indexes, Factors]:
        """The learned items nearest by text, and the weight of each as evidence.

        Args:
            embeddings: of cold items; shape (items, width of an embedding).
            width: neighbours of an item at most.

        Returns:
            Places among the learned items, ascending, -1 where there are fewer, and weights, which add up to
            `evidence`; both of shape (items, width).
        """
        places = np.full((len(embeddings), width), -1, np.int32)
        weights = np.zeros((len(embeddings), width), np.float32)
        row = 0
        for block, rows in _blocks(embeddings):
            for cosines in (block @ self.embeddings.T)[:rows]:
                nearest = np.argpartition(-cosines, min(width, len(cosines)) - 1)[:width] if width else _NONE
                nearest = np.sort(nearest[cosines[nearest] > 0])
                strengths = cosines[nearest].astype(np.float64) ** _SHARPNESS
                places[row, : len(nearest)] = nearest
                weights[row, : len(nearest)] = self.evidence * strengths / max(strengths.sum(), _TINY)
                row += 1
        return places, weights


def _blocks(embeddings: Factors) -> Iterator[tuple[Factors, int]]:
    """Blocks of rows of one shape, and the rows in each: an item's bits depend on no other item, nor on how many."""
    for first in range(0, len(embeddings), _ROWS_TOGETHER):
        rows = embeddings[first : first + _ROWS_TOGETHER]
        block = np.zeros((_ROWS_TOGETHER, embeddings.shape[1]), np.float32)
        block[: len(rows)] = rows
        yield block, len(rows)


def fit_text_map(embeddings: Factors, factors: Factors, listeners: Counts, similarities: Factors) -> TextMap:
    """Learn what texts say of factors.

    Args:
        embeddings: of learned items; shape (items, width).
        factors: theirs, none of them zero; shape (items, factors).
        listeners: theirs; shape (items,).
        similarities: weights of their neighbours as evidence; shape (items, neighbours).
    """
    lengths = np.linalg.norm(factors.astype(np.float64), axis=1)
    directions = factors / lengths[:, None]
    targets, trust = np.column_stack([directions, lengths]), listeners / (listeners + _TRUSTED)
    folds = _folds(len(lengths))
    members = [folds == fold for fold in range(_FOLDS) if (folds == fold).any()]
    sums = [_Sums.of(embeddings[some], targets[some], trust[some]) for some in members]
    expected = 0.0
    for place, some in enumerate(members if len(members) > 1 else ()):
        others = reduce(add, sums[:place] + sums[place + 1 :]).solve()
        expected += float(trust[some] @ (others.of(embeddings[some]) ** 2).sum(axis=1))
    scale = float(np.sqrt(trust @ lengths**2 / expected)) if expected > 0 else 1.0
    evidence = _EVIDENCE * float(similarities.sum(axis=1, dtype=np.float64).mean()) if similarities.size else 0.0
    return TextMap(reduce(add, sums).solve(), scale, embeddings, max(evidence, 0.0))


def _folds(items: int) -> Counts:
    """A fold of each item, by hash of its place."""
    return (spread(np.arange(items, dtype=np.uint64)) % np.uint64(_FOLDS)).astype(np.int64)
