"""Semantic ids: a few codes for each item, the first ones shared by items that are alike, by residual k-means.

The first level tells groups of items apart, the next one what each item differs by from its group, and so on; the last
code counts those that share all others. Factors of items and embeddings of their texts stand side by side, and a
distance is taken over what an item has: one that nobody has heard is placed by its text.

Between models codes keep their numbers. Centroids are means of the items that had a code before, so that they follow
factors that were learned anew, on other axes. An item keeps its code unless another centroid is nearer by more than a
margin; whatever follows a code that changed is found anew. The first fit ends as soon as nobody moves by this rule, so
that an unchanged catalogue keeps every id. Between fits new items are placed beside the others, and move nobody.

Source: residual quantisation of items after Rajput et al. (2023), "Recommender systems with generative retrieval",
section 3.1; distances over what is known after Dixon (1979), "Pattern recognition with partly missing data".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from nocturne.core.arrays import Factors, Floats, Indexes, Mask, Positions

NO_CODE = -1

_ROWS_TOGETHER = 512
_SEEDED_FROM = 16
_TINY = 1e-12

_ROUNDING = 1e-6
"""Distances of single precision differ by less."""


@dataclass(frozen=True)
class Part:
    """Vectors of items of one kind, which some of them have.

    Attributes:
        values: shape (items, width).
        present: items of which it is known; shape (items,).
        weight: of this part in distances.
    """

    values: Factors
    present: Mask
    weight: float


@dataclass(frozen=True)
class Vectors:
    """Items as vectors of several parts, side by side.

    Attributes:
        values: zero where a part is not known; shape (items, width).
        present: shape (items, parts).
        widths: of the parts.
    """

    values: Factors
    present: Mask
    widths: tuple[int, ...]

    @classmethod
    def of(cls, parts: Sequence[Part]) -> "Vectors":
        """Parts side by side, each item's share of each of the length that the part's weight says."""
        scaled = []
        for part in parts:
            lengths = np.maximum(np.linalg.norm(part.values.astype(np.float64), axis=1, keepdims=True), _TINY)
            scaled.append(np.where(part.present[:, None], part.values / lengths * part.weight, 0).astype(np.float32))
        present = np.column_stack([part.present for part in parts])
        return cls(np.concatenate(scaled, axis=1), present, tuple(part.values.shape[1] for part in parts))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, items: Positions) -> "Vectors":
        """Some of the items."""
        return replace(self, values=self.values[items], present=self.present[items])

    def less(self, centroids: Factors) -> "Vectors":
        """The rest of each item beside a centroid of its own; shape of centroids (items, width)."""
        return replace(self, values=np.where(self._known(), self.values - centroids, 0).astype(np.float32))

    def means(self, codes: Indexes, count: int) -> Floats:
        """Mean of the items of each code, of every part over those that have it; NaN where nobody has.

        Returns:
            Shape (count, width).
        """
        order = np.argsort(codes, kind="stable")
        order = order[codes[order] != NO_CODE]
        found = np.full((count, self.values.shape[1]), np.nan)
        ends = np.searchsorted(codes[order], np.arange(count + 1))
        for code in np.flatnonzero(np.diff(ends)).tolist():
            members = order[ends[code] : ends[code + 1]]
            known = np.repeat(self.present[members].sum(axis=0), self.widths)
            total = self.values[members].sum(axis=0, dtype=np.float64)
            found[code] = np.where(known > 0, total / np.maximum(known, 1), np.nan)
        return found

    def distances(self, centroids: Floats) -> Iterator[tuple[Positions, Floats]]:
        """Squared distances to centroids, of some items at a time; infinite from a centroid that is NaN everywhere.

        A part that a centroid does not know counts as one that it has nothing of. Blocks are of one shape, so that the
        bits of an item do not depend on others.
        """
        parts = np.repeat(np.arange(len(self.widths)), self.widths)
        lacking = np.isnan(centroids).all(axis=1)
        filled = np.nan_to_num(centroids).astype(np.float32)
        squares = np.stack([(filled[:, parts == part].astype(np.float64) ** 2).sum(axis=1) for part in set(parts)])
        for first in range(0, len(self), _ROWS_TOGETHER):
            rows = np.arange(first, min(first + _ROWS_TOGETHER, len(self)))
            block = np.zeros((_ROWS_TOGETHER, self.values.shape[1]), np.float32)
            block[: len(rows)] = self.values[rows]
            own = (block.astype(np.float64) ** 2).sum(axis=1)[: len(rows), None]
            found = own - 2.0 * (block @ filled.T)[: len(rows)] + self.present[rows] @ squares
            found[:, lacking] = np.inf
            yield rows, np.maximum(found, 0)

    def _known(self) -> Mask:
        return np.repeat(self.present, self.widths, axis=1)


@dataclass(frozen=True)
class SemanticIds:
    """Ids of items, and the centroids that new items are placed by.

    Attributes:
        paths: codes of each item, the last one counts those that share the others; shape (items, levels + 1).
        centroids: NaN where a code is not used; shape (levels, codes, width).
    """

    paths: Indexes
    centroids: Factors

    @property
    def levels(self) -> int:
        """Codes of an item, but for the last one."""
        return len(self.centroids)


def fit_ids(
    vectors: Vectors, levels: int, codes: int, seed: int, margin: float, before: Indexes | None = None
) -> SemanticIds:
    """Give every item an id.

    Args:
        levels, codes: how many codes an id has, and the values of each; the last code, which is no part of `levels`,
            has as many as there are items that share the others.
        seed: of the first centroids.
        margin: share by which another centroid has to be nearer, squared, for an item to move there.
        before: ids of the same items in the model before, NO_CODE for those that it did not know; of as many levels
            and no more codes.
    """
    items = len(vectors)
    paths = np.full((items, levels), NO_CODE, np.int32)
    centroids = np.zeros((levels, codes, vectors.values.shape[1]), np.float32)
    rest, follows = vectors, np.ones(items, np.bool_)
    with threadpool_limits(limits=1, user_api="blas"):
        for level in range(levels):
            own = np.full(items, NO_CODE, np.int32)
            if before is not None:
                own = np.where(follows, before[:, level], NO_CODE).astype(np.int32)
            paths[:, level], centroids[level] = _settle(rest, own, codes, seed + level, margin)
            follows &= paths[:, level] == own
            rest = rest.less(np.nan_to_num(centroids[level])[paths[:, level]])
    return SemanticIds(_with_counts(paths, before), centroids)


def place_ids(ids: SemanticIds, vectors: Vectors) -> SemanticIds:
    """The ids with those of new items behind them, placed by the centroids as they are."""
    paths = np.full((len(vectors), ids.levels), NO_CODE, np.int32)
    rest = vectors
    with threadpool_limits(limits=1, user_api="blas"):
        for level, centroids in enumerate(ids.centroids):
            for rows, distances in rest.distances(centroids.astype(np.float64)):
                paths[rows, level] = distances.argmin(axis=1)
            rest = rest.less(np.nan_to_num(centroids)[paths[:, level]])
    nobody = np.full((len(vectors), ids.paths.shape[1]), NO_CODE, np.int32)
    together = np.concatenate([ids.paths[:, :-1], paths])
    return replace(ids, paths=_with_counts(together, np.concatenate([ids.paths, nobody])))


def _settle(vectors: Vectors, codes: Indexes, count: int, seed: int, margin: float) -> tuple[Indexes, Factors]:
    """Codes of one level, at which nobody moves any more, and their centroids.

    Args:
        codes: at first; NO_CODE for an item that takes the nearest.
    """
    codes = codes.copy()
    centroids = vectors.means(codes, count) if (codes != NO_CODE).any() else _first_centroids(vectors, count, seed)
    moved = True
    while moved:  # every move makes the sum of distances less, so that it ends
        moved = False
        for rows, distances in vectors.distances(centroids):
            nearest = distances.argmin(axis=1)
            least = distances[np.arange(len(rows)), nearest]
            own = np.where(codes[rows] == NO_CODE, np.inf, distances[np.arange(len(rows)), codes[rows]])
            moves = own > (1 + margin) * least + _ROUNDING
            codes[rows[moves]] = nearest[moves]
            moved |= bool(moves.any())
        centroids = vectors.means(codes, count)
    return codes, centroids.astype(np.float32)


def _first_centroids(vectors: Vectors, count: int, seed: int) -> Floats:
    """Items far from each other, drawn by the square of their distance to those drawn before.

    Source: Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding".
    """
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(len(vectors))[: _SEEDED_FROM * count])
    sample = vectors.take(drawn)
    known = sample._known()  # noqa: SLF001 - its own class
    found = np.full((count, sample.values.shape[1]), np.nan)
    left = np.full(len(sample), 1.0)
    for code in range(min(count, len(sample))):
        total = left.sum()
        at = int(np.searchsorted(np.cumsum(left), rng.random() * total, side="right")) if total > _ROUNDING else -1
        if not 0 <= at < len(sample):
            break
        found[code] = np.where(known[at], sample.values[at], np.nan)
        to_it = np.concatenate([distances[:, 0] for _, distances in sample.distances(found[code : code + 1])])
        left = np.minimum(left, to_it) if code else to_it
        left[left < _ROUNDING] = 0
    return found


def _with_counts(paths: Indexes, before: Indexes | None) -> Indexes:
    """Paths with a last code that tells apart those that are equal: the one of before, else the lowest that is free."""
    last = np.full(len(paths), NO_CODE, np.int32)
    if before is not None:
        stays = (before[:, :-1] == paths).all(axis=1)
        last[stays] = before[stays, -1]
    _, group = np.unique(paths, axis=0, return_inverse=True)
    order = np.lexsort((last == NO_CODE, group))
    ends = np.concatenate([[0], np.cumsum(np.bincount(group))])
    kept = np.add.reduceat(last[order] != NO_CODE, ends[:-1]) if len(order) else ends[:-1]
    rank = np.empty(len(paths), np.int32)
    rank[order] = np.arange(len(paths)) - np.repeat(ends[:-1], np.diff(ends))
    last = np.where(last == NO_CODE, rank, last)
    for found in np.flatnonzero((kept > 0) & (kept < np.diff(ends))).tolist():
        taken, new = np.split(order[ends[found] : ends[found + 1]], [kept[found]])
        free = np.setdiff1d(np.arange(last[taken].max() + 1 + len(new)), last[taken])
        last[new] = free[: len(new)]
    return np.column_stack([paths, last]).astype(np.int32)
