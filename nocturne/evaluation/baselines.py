"""Baselines: the recommenders that anyone would try first, under the same rules as ours.

Each takes plays, float32 of shape (all listeners, items), learns from every listener and answers requests: lists of
shape (requests, top_k). Nobody gets items that they have heard or that their market may not be given. Ties, and items
of which a recommender knows nothing, go by popularity, then by number.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import ItemItemRecommender
from pyspark.sql import SparkSession
from scipy.linalg.lapack import spotrf, spotri
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from nocturne.core.arrays import Counts, Factors, Mask, Positions
from nocturne.core.list_arrays import Lists, empty_lists
from nocturne.ranking.eligibility import Classes

Score = Callable[[Positions], Factors]
"""Scores of some listeners, places among all of them; shape (some, items)."""

NEIGHBOURS = 1_000
EASE_ITEMS = 8_000
EASE_REGULARIZATION = 100.0

RULE_STEPS, RULE_ITEMS = 10, 5
"""Events after an item that follow it, and last items of a listener that rules are applied to."""

_SCORES_AT_ONCE = 2**24
_LAST = np.float32(-1e30)


@dataclass(frozen=True)
class Requests:
    """Listeners to make lists for, and the items that each may not get.

    Attributes:
        listeners: places among all listeners; shape (requests,).
        heard: items that each of them may not get because of having heard them; shape (requests, items).
        masks: items that may be listed in each class of markets; shape (classes, items).
        classes: class of each listener's market; shape (requests,).
    """

    listeners: Positions
    heard: csr_matrix
    masks: Mask
    classes: Classes

    @classmethod
    def for_everyone(cls, heard: csr_matrix) -> "Requests":
        """Lists for all listeners, of anything that they have not heard."""
        listeners, items = heard.shape
        return cls(
            np.arange(listeners), heard, np.ones((1, items), dtype=np.bool_), np.zeros(listeners, dtype=np.int32)
        )


def popular(plays: csr_matrix, requests: Requests, top_k: int, older_plays: csr_matrix | None = None) -> Lists:
    """The items with most listeners, the same for everyone.

    Args:
        older_plays: ties are broken by the popularity in these.
    """
    listeners = _count_listeners(plays).astype(np.float32)
    tie_breaker = plays if older_plays is None else older_plays
    return best_lists(lambda some: np.tile(listeners, (len(some), 1)), tie_breaker, requests, top_k)


def item_knn(
    plays: csr_matrix,
    requests: Requests,
    top_k: int,
    neighbours: int = NEIGHBOURS,
    evidence: csr_matrix | None = None,
    activity_exponent: float = 0.0,
) -> Lists:
    """Sum of the cosine similarities to what was heard, from the nearest neighbours of each item.

    Plays are reduced to heard or not, as most users of item-kNN do with implicit feedback.

    Args:
        neighbours: of each item; of 20 to 1,000 the most were the best on Last.fm 2k and on Online Retail.
        evidence: plays by which lists are made, such as the last ones; all of them by default.
        activity_exponent: a listener counts items heard ^ -this in similarities.

    Source: Deshpande and Karypis (2004), "Item-based top-N recommendation algorithms".
    """
    heard = _as_ones(plays)
    lengths = np.diff(heard.indptr)
    counted = np.repeat(np.maximum(lengths, 1) ** -activity_exponent, lengths)
    norms = np.sqrt(np.bincount(heard.indices, counted**2, minlength=plays.shape[1]))
    counted /= np.where(norms > 0, norms, 1)[heard.indices]
    model = ItemItemRecommender(K=neighbours)
    model.fit(csr_matrix((counted, heard.indices, heard.indptr), heard.shape), show_progress=False)
    asked = heard if evidence is None else _as_ones(evidence)
    return best_lists(lambda some: (asked[some] @ model.similarity).toarray(), plays, requests, top_k)


def sequential_rules(plays: csr_matrix, offsets: Counts, heard: Positions, requests: Requests, top_k: int) -> Lists:
    """Items that followed the last five within ten events: how often, nearer ones more, of the times each was heard.

    Args:
        offsets: where each listener's events begin and the last one's end; shape (listeners + 1,).
        heard: position of the item of each event, oldest first; shape (events,).

    Source: Ludewig and Jannach (2018), "Evaluation of session-based recommendation algorithms", section 2.2, with the
    last five items in place of the last, weighted by one over their age.
    """
    lengths = np.diff(offsets)
    listener, age = np.repeat(np.arange(len(lengths)), lengths), np.repeat(offsets[1:], lengths) - np.arange(len(heard))
    rules = rules_of(offsets, heard, plays.shape[1])
    last = age <= RULE_ITEMS
    weights = (1 / age[last]).astype(np.float32)
    asked = csr_matrix((weights, (listener[last], heard[last])), plays.shape)
    return best_lists(lambda some: (asked[some] @ rules).toarray(), plays, requests, top_k)


def rules_of(offsets: Counts, heard: Positions, items: int) -> csr_matrix:
    """Frequencies of each item after each other one within ten events, nearer ones more; shape (items, items).

    Args:
        offsets: where each sequence begins and the last one ends.
        heard: position of the item of each event, oldest first; shape (events,).
    """
    sequence = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    rules = csr_matrix((items, items), dtype=np.float32)
    for steps in range(1, RULE_STEPS + 1):
        same = sequence[steps:] == sequence[:-steps]
        pairs = heard[:-steps][same], heard[steps:][same]
        rules += csr_matrix((np.full(len(pairs[0]), 1 / steps, np.float32), pairs), rules.shape)
    rules.data /= np.repeat(np.bincount(heard, minlength=items), np.diff(rules.indptr))
    return rules


def ease(
    plays: csr_matrix,
    requests: Requests,
    top_k: int,
    items: int = EASE_ITEMS,
    regularization: float = EASE_REGULARIZATION,
) -> Lists:
    """The best linear map from what was heard to what was heard whose diagonal is zero, in closed form.

    Plays are reduced to heard or not, as in the paper. A dense matrix of the items squared has to fit, so that of a
    larger catalogue only the most popular items take part; the others come last.

    Args:
        items: largest number of items that take part.
        regularization: of 25 to 1,000, 100 was the best on Last.fm 2k and among the best on Online Retail; the
            paper's 500 fits its data sets, which are far larger.

    Source: Steck (2019), "Embarrassingly Shallow Autoencoders for Sparse Data".
    """
    order = np.argsort(-_count_listeners(plays), kind="stable")[:items]
    heard = _as_ones(plays)[:, order]
    gram = np.asfortranarray((heard.T @ heard).toarray(), dtype=np.float32)
    gram[np.diag_indices_from(gram)] += regularization
    # One thread: how a sum is split over threads decides its last bits.
    with threadpool_limits(limits=1, user_api="blas"):
        weights = _inverse(gram)
        weights /= -np.diag(weights)
        np.fill_diagonal(weights, 0)

        def score(some: Positions) -> Factors:
            scores = np.full((len(some), plays.shape[1]), _LAST, dtype=np.float32)
            scores[:, order] = heard[some] @ weights
            return scores

        return best_lists(score, plays, requests, top_k)


def implicit_als(plays: csr_matrix, requests: Requests, top_k: int) -> Lists:
    """`implicit`'s AlternatingLeastSquares with all its defaults, on plain plays; only the seed is given."""
    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(random_state=1)
        model.fit(plays, show_progress=False)
        return _by_factors(model.user_factors, model.item_factors, plays, requests, top_k)


def mllib_als(spark: SparkSession, plays: csr_matrix, requests: Requests, top_k: int) -> Lists:
    """Spark MLlib's ALS for implicit preferences with all its defaults, on plain plays; only the seed is given.

    Listeners and items that it left without factors score 0. Ranked here and not by `recommendForAllUsers`, which
    cannot leave out what was heard.
    """
    from pyspark.ml.recommendation import ALS

    entries = plays.tocoo()
    plays_frame = spark.createDataFrame(
        pa.table({"user": entries.row, "item": entries.col, "rating": entries.data.astype(np.float32)})
    )
    with tempfile.TemporaryDirectory(prefix="nocturne-mllib-") as folder:
        # Without checkpoints the lineage of ten iterations overflows Java's stack.
        spark.sparkContext.setCheckpointDir(folder)
        model = ALS(implicitPrefs=True, seed=1, checkpointInterval=2).fit(plays_frame)
        users, items = (
            _factor_matrix(factors.toArrow(), count, model.rank)
            for factors, count in zip((model.userFactors, model.itemFactors), plays.shape, strict=True)
        )
    with threadpool_limits(limits=1, user_api="blas"):
        return _by_factors(users, items, plays, requests, top_k)


def count_left_out_by_ease(plays: csr_matrix, items: int = EASE_ITEMS) -> int:
    """Number of items that somebody has heard and EASE does not learn, because there are too many."""
    return max(0, int(np.count_nonzero(_count_listeners(plays))) - items)


def _factor_matrix(rows: pa.Table, count: int, rank: int) -> Factors:
    """Rows of id and features as a matrix; zeros where there is none."""
    factors = np.zeros((count, rank), dtype=np.float32)
    factors[rows["id"].to_numpy()] = rows["features"].combine_chunks().flatten().to_numpy().reshape(-1, rank)
    return factors


def _by_factors(users: Factors, items: Factors, plays: csr_matrix, requests: Requests, top_k: int) -> Lists:
    return best_lists(lambda some: users[some] @ items.T, plays, requests, top_k)


def best_lists(score: Score, plays: csr_matrix, requests: Requests, top_k: int) -> Lists:
    """The items with the highest scores that each listener may get.

    Args:
        plays: by whose listeners equal scores are put in order.
    """
    items = plays.shape[1]
    by_popularity = np.argsort(-_count_listeners(plays), kind="stable")
    lists = empty_lists(len(requests.listeners), top_k)
    at_once = max(1, _SCORES_AT_ONCE // max(1, items))
    for start in range(0, len(lists), at_once):
        block = slice(start, min(start + at_once, len(lists)))
        scores = np.array(score(requests.listeners[block]), dtype=np.float32)
        scores[~requests.masks[requests.classes[block]]] = -np.inf
        heard = requests.heard[block]
        scores[np.repeat(np.arange(len(scores)), np.diff(heard.indptr)), heard.indices] = -np.inf
        chosen = _top_columns(scores[:, by_popularity], top_k)
        lists[block, : chosen.shape[1]] = np.where(chosen >= 0, by_popularity[chosen], -1)
    return lists


def _top_columns(scores: Factors, top_k: int) -> Positions:
    """Columns of the highest scores of each row, the earlier of equal ones first; -1 where only -inf is left."""
    rows, columns = scores.shape
    count = min(top_k, columns)
    last = np.partition(scores, columns - count, axis=1)[:, columns - count, None]
    above, tied = scores > last, scores == last
    tied &= np.cumsum(tied, axis=1) <= count - above.sum(axis=1, keepdims=True)
    row, column = np.nonzero((above | tied) & np.isfinite(scores))
    order = np.lexsort((column, -scores[row, column], row))
    row, column = row[order], column[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    chosen = np.full((rows, count), -1, dtype=np.int64)
    chosen[row, place] = column
    return chosen


def _count_listeners(plays: csr_matrix) -> Counts:
    """Number of listeners of each item."""
    return np.bincount(plays.indices[plays.data > 0], minlength=plays.shape[1])


def _as_ones(plays: csr_matrix) -> csr_matrix:
    heard = plays.copy()
    heard.eliminate_zeros()
    heard.data = np.ones_like(heard.data, dtype=np.float32)
    return heard


def _inverse(matrix: Factors) -> Factors:
    """Inverse of a positive definite matrix, in its place."""
    factor, failed = spotrf(matrix, lower=1, overwrite_a=1)
    inverse, failed_too = spotri(factor, lower=1, overwrite_c=1)
    assert not failed
    assert not failed_too
    lower = np.tril_indices_from(inverse, -1)
    inverse[lower[1], lower[0]] = inverse[lower]
    return np.asarray(inverse, dtype=np.float32)
