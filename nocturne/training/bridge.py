"""The bridge into a content type: item factors for listeners who have heard nothing of that type yet.

A listener is a unit vector: what they heard of the other types, on the axes of taste in those types alone. (Factors of
a model of all types know, of whoever trained them, what they heard of this type; so they tell listeners of both types
apart too well, and a hold-out believes it.) Those who listen to both types say, by a ridge regression, by how much each
item of this type is heard more by whoever is alike than by everyone; what they say of an item counts, in part, for
all items that are heard by the same listeners. The penalty is strong, for most items have few such listeners: where
nothing is known, an item is as good as it is popular.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from nocturne.core.arrays import Factors, Floats, Positions
from nocturne.core.hashing import hash_ids

LISTENER_AXES = 64
"""Axes on which listeners are placed; with 32 the gain on Douban is smaller by a tenth at most."""

ITEM_AXES = 16
"""Axes along which items of a type share what is known of them; with 8, 32 or 64 the gain on Douban is a tenth smaller
at most, without any a quarter."""

PENALTIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

FEWEST_LISTENERS = 100
"""With fewer listeners of both types, 20 held out at a time, nothing can be told from chance."""

MOST_ASKED = 5_000
"""Listeners held out in all: a difference of NDCG is then known to about .002."""

FOLDS = 5
LIST_LENGTH = 20
SEED = 8_191
"""Of the hash that deals listeners out to folds: another one than picks those who are trained on or asked."""

_ITEMS_AT_ONCE = 2**14
_SCORES_AT_ONCE = 2**24
_LEAST_SINGULAR = 1e-6
"""Share of the largest singular value below which an axis is rounding."""


@dataclass(frozen=True)
class Bridge:
    """Item factors of a content type, and the evidence for them.

    Attributes:
        factors: a score is the inner product of a listener's unit vector, with a 1 behind it, and an item's row; shape
            (items, axes + 1). Popularity alone unless held-out listeners prove that more can be said.
        penalty: of the regression, as held-out listeners prefer it.
        listeners: who were held out, count; 0 if there are too few to prove anything.
        ndcg: mean NDCG@20 of held-out listeners by the regression.
        popularity_ndcg: that of the most popular items.
        difference: between the two.
        low, high: 95 % interval of the difference, over listeners.
    """

    factors: Factors
    penalty: float
    listeners: int
    ndcg: float
    popularity_ndcg: float
    difference: float
    low: float
    high: float

    @classmethod
    def nothing(cls, items: int) -> "Bridge":
        """A bridge that nobody has crossed."""
        return cls(np.zeros((items, 1), np.float32), max(PENALTIES), 0, 0.0, 0.0, 0.0, 0.0, 0.0)

    @property
    def beats_popularity(self) -> bool:
        """True if held-out listeners prove that more than popularity can be said."""
        return self.low > 0


def taste_axes(heard: csr_matrix, axes: int = LISTENER_AXES) -> Floats:
    """Items on the main axes of what is heard together, so that listeners' vectors are sums of their items' rows.

    The right singular vectors of the listeners' rows, in which an item weighs listeners ^ -1/2 and every listener as
    much as another; an item's row is divided by the same root, as it weighs in a listener's sum.

    Args:
        heard: 1 where a listener heard an item; shape (listeners, items).
        axes: how many; fewer are returned where listeners or items do not have as many.

    Returns:
        Shape (items, axes), the main one first; zeros for items that nobody heard. Equal input gives equal bytes on
        one kind of machine, with one BLAS thread.

    Source: Cremonesi, Koren and Turrin (2010), "Performance of Recommender Algorithms on Top-N Recommendation Tasks",
        section 3.3 (PureSVD), of a matrix scaled on both sides as by Dhillon (2001), "Co-clustering documents and words
        using bipartite spectral graph partitioning".
    """
    weights = np.maximum(np.bincount(heard.indices, minlength=heard.shape[1]), 1) ** -0.5
    lengths = np.sqrt(heard @ weights**2)
    rows = np.repeat(1 / np.where(lengths > 0, lengths, 1), np.diff(heard.indptr)) * weights[heard.indices]
    matrix = csr_matrix((rows, heard.indices, heard.indptr), heard.shape)
    if min(matrix.shape) <= axes:
        _, singular, vectors = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        _, singular, vectors = svds(matrix, k=axes, v0=np.ones(min(matrix.shape)), return_singular_vectors="vh")
    largest_first = np.argsort(-singular, kind="stable")
    kept = largest_first[singular[largest_first] > _LEAST_SINGULAR * singular.max(initial=0.0)]
    return np.asarray(vectors[kept].T * weights[:, None])


def listener_vectors(heard: csr_matrix, axes: Floats) -> Floats:
    """Listeners' places on axes of taste, of length 1, or 0 if they heard none of the items; shape (listeners, axes).

    Args:
        heard: 1 where a listener heard an item of the other types; shape (listeners, items).
        axes: of those items, by `taste_axes`; shape (items, axes).
    """
    sums = heard @ axes
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.where(lengths > 0, lengths, 1))


def fit_bridge(vectors: Floats, heard: csr_matrix, penalty: float) -> Factors:
    """Regress who heard each item, less its popularity, on listeners' vectors.

    Equal input gives equal bytes on one kind of machine, with one BLAS thread.

    Args:
        vectors: of listeners of this type and of others, from the others alone; of length 1; shape (listeners, axes).
        heard: 1 where a listener heard an item of this type; shape (listeners, items).
        penalty: ridge term in units of listeners / axes, the mean eigenvalue of the Gram matrix of unit vectors; > 0.

    Returns:
        Coefficients and, last, the intercept: the score of a listener at the mean of the vectors is the item's
        popularity, the share of these listeners who heard it; shape (items, axes + 1).

    Source: Hoerl and Kennard (1970), "Ridge Regression", from one domain to the other as by Man et al. (2017),
        "Cross-Domain Recommendation: An Embedding and Mapping Approach", but onto what was heard.
    """
    return _Moments.of(vectors, heard).solve(penalty)


def choose_bridge(
    vectors: Floats, heard: csr_matrix, user_ids: pa.Array, penalties: Sequence[float] = PENALTIES
) -> Bridge:
    """The bridge of the penalty that listeners prefer who were held out of its fit, or popularity.

    Listeners are dealt out to five folds by the hash of their ids. Each fold's lists are those of the penalty that the
    other folds prefer, so that the choice does not flatter the evidence.

    Args:
        vectors: as for `fit_bridge`.
        heard: as for `fit_bridge`; at least one item for every listener.
        user_ids: of the listeners, all different; shape (listeners,).
        penalties: to choose from.
    """
    moments = _Moments.of(vectors, heard)
    if len(user_ids) < FEWEST_LISTENERS:
        return Bridge(moments.popularity_alone(), max(penalties), 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    hashes = hash_ids(user_ids, SEED)
    folds = (hashes % np.uint64(FOLDS)).astype(np.int64)
    asked = np.argsort(hashes, kind="stable")[:MOST_ASKED]
    *of_penalties, of_popularity = _held_out_ndcg(vectors, heard, folds, asked, penalties)
    by_penalty = np.array(of_penalties)
    ndcg = np.empty(len(asked))
    for fold in range(FOLDS):
        inside = folds[asked] == fold
        ndcg[inside] = by_penalty[by_penalty[:, ~inside].mean(axis=1).argmax(), inside]
    penalty = penalties[int(by_penalty.mean(axis=1).argmax())]
    gain = ndcg - of_popularity
    margin = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
    low, high = gain.mean() - margin, gain.mean() + margin
    return Bridge(
        moments.solve(penalty) if low > 0 else moments.popularity_alone(),
        penalty,
        len(asked),
        *(float(value) for value in (ndcg.mean(), of_popularity.mean(), gain.mean(), low, high)),
    )


@dataclass(frozen=True)
class _Moments:
    """Sums over listeners from which the regression follows, whatever its penalty.

    Attributes:
        listeners: count.
        mean: of the vectors; shape (axes,).
        gram: of the vectors less their mean; shape (axes, axes).
        popularity: share of listeners who heard each item; shape (items,).
        excess: sum over its listeners of their vectors less the mean, plus, along the item axes, that of items heard by
            the same listeners; shape (items, axes).
    """

    listeners: int
    mean: Floats
    gram: Floats
    popularity: Floats
    excess: Factors

    @classmethod
    def of(cls, vectors: Floats, heard: csr_matrix) -> "_Moments":
        mean = vectors.mean(axis=0)
        counts = np.bincount(heard.indices, minlength=heard.shape[1]).astype(np.float64)
        heard_by = heard.T.tocsr().astype(np.float64)
        blocks = [slice(start, start + _ITEMS_AT_ONCE) for start in range(0, len(counts), _ITEMS_AT_ONCE)]
        excess = np.empty((len(counts), len(mean)), np.float32)
        for block in blocks:
            excess[block] = heard_by[block] @ vectors - np.outer(counts[block], mean)
        item_axes = taste_axes(heard, ITEM_AXES)
        shared = sum((item_axes[block].T @ excess[block] for block in blocks), np.zeros((1, 1)))
        for block in blocks:
            excess[block] += (item_axes[block] * counts[block, None]) @ shared
        centred = vectors - mean
        return cls(len(vectors), mean, centred.T @ centred, counts / len(vectors), excess)

    def solve(self, penalty: float) -> Factors:
        """Coefficients and intercepts; shape (items, axes + 1)."""
        width = len(self.mean)
        normal = self.gram + penalty * self.listeners / width * np.eye(width)
        factors = self.popularity_alone()
        for start in range(0, len(factors), _ITEMS_AT_ONCE):
            rows = factors[start : start + _ITEMS_AT_ONCE]
            coefficients = np.linalg.solve(normal, self.excess[start : start + _ITEMS_AT_ONCE].T).T
            rows[:, :-1] = coefficients
            rows[:, -1] -= coefficients @ self.mean
        return factors

    def popularity_alone(self) -> Factors:
        """The same without anything but popularity."""
        factors = np.zeros((len(self.popularity), len(self.mean) + 1), np.float32)
        factors[:, -1] = self.popularity
        return factors


def _held_out_ndcg(
    vectors: Floats, heard: csr_matrix, folds: Positions, asked: Positions, penalties: Sequence[float]
) -> Floats:
    """NDCG of those asked, by each penalty and, last, by popularity; shape (penalties + 1, asked)."""
    values = np.empty((len(penalties) + 1, len(asked)))
    for fold in range(FOLDS):
        others, places = np.flatnonzero(folds != fold), np.flatnonzero(folds[asked] == fold)
        moments = _Moments.of(vectors[others], heard[others])
        theirs, relevant = vectors[asked[places]], heard[asked[places]]
        for row, penalty in enumerate(penalties):
            values[row, places] = _ndcg(theirs, moments.solve(penalty), relevant)
        values[-1, places] = _ndcg(theirs, moments.popularity_alone(), relevant)
    return values


def _ndcg(vectors: Floats, factors: Factors, relevant: csr_matrix) -> Floats:
    """NDCG@20 of each listener's best items; shape (listeners,)."""
    length = min(LIST_LENGTH, len(factors))
    discounts = 1 / np.log2(np.arange(length) + 2)
    gains = np.empty(len(vectors))
    at_once = max(1, _SCORES_AT_ONCE // len(factors))
    for start in range(0, len(vectors), at_once):
        block = slice(start, start + at_once)
        scores = vectors[block].astype(np.float32) @ factors[:, :-1].T + factors[:, -1]
        best = np.argpartition(-scores, length - 1, axis=1)[:, :length]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        hits = relevant[block][np.arange(len(best))[:, None], best].toarray() > 0
        gains[block] = hits @ discounts
    return np.asarray(gains / np.cumsum(discounts)[np.minimum(np.diff(relevant.indptr), length) - 1])
