"""Metrics of lists: accuracy, and what is beyond it.

Lists are arrays of shape (listeners, k), best first, -1 where a list is short. The definitions of accuracy
are those of TREC's trec_eval with binary relevance; `capped_recall` alone is not among them.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from nocturne.core.arrays import Floats
from nocturne.core.list_arrays import Lists
from nocturne.kernel.inequality import inequality

Hits = npt.NDArray[np.bool_]


def find_hits(lists: Lists, relevant: csr_matrix) -> Hits:
    """Places of the lists that hold a relevant item, true or false; shape (listeners, k).

    Args:
        relevant: any non-zero entry is relevant; shape (listeners, items).
    """
    listeners, items = relevant.shape
    rows = np.arange(listeners)[:, None]
    listener = np.repeat(np.arange(listeners), np.diff(relevant.indptr))
    pairs = listener * items + relevant.indices
    hits: Hits = np.isin(rows * items + lists, pairs) & (lists >= 0)
    return hits


def accuracy(lists: Lists, relevant: csr_matrix) -> dict[str, Floats]:
    """Every listener's metrics of accuracy, each in [0, 1].

    Args:
        relevant: at least one item for every listener; shape (listeners, items).

    Returns:
        Arrays of shape (listeners,): recall@k, the share of the relevant items that are listed; capped_recall@k, the
        same divided by min(k, relevant), so that a perfect list gets 1; ndcg@k, hits discounted by log2(place + 1),
        divided by what min(k, relevant) hits at the top give; map@k, the precision at each hit, summed and divided
        by the relevant; mrr@k, one over the place of the first hit; hit_rate@k, whether there is one.

    Source: trec_eval's recall, ndcg_cut, map_cut, recip_rank and success.
    """
    k = lists.shape[1]
    hits = find_hits(lists, relevant).astype(np.float64)
    relevant_counts = np.diff(relevant.indptr)
    reachable = np.minimum(k, relevant_counts)
    places = np.arange(1, k + 1)
    discounts = 1 / np.log2(places + 1)
    hit_counts = hits.sum(axis=1)
    precisions = np.cumsum(hits, axis=1) / places
    return {
        f"recall@{k}": hit_counts / relevant_counts,
        f"capped_recall@{k}": hit_counts / reachable,
        f"ndcg@{k}": hits @ discounts / np.cumsum(discounts)[reachable - 1],
        f"map@{k}": (precisions * hits).sum(axis=1) / relevant_counts,
        f"mrr@{k}": (hits / places).max(axis=1),
        f"hit_rate@{k}": (hit_counts > 0).astype(np.float64),
    }


def coverage(lists: Lists, listable: int) -> float:
    """Share of so many items that are in anyone's list."""
    return len(np.unique(lists[lists >= 0])) / listable


def gini(lists: Lists, listable: int) -> float:
    """Inequality of the number of places that so many items get: 0 if all get as many, towards 1 if one gets all."""
    places = np.bincount(lists[lists >= 0])
    return inequality(np.concatenate([np.zeros(listable - np.count_nonzero(places), np.int64), places[places > 0]]))


def mean_popularity(lists: Lists, listeners_of_item: Floats) -> Floats:
    """Mean number of listeners of what is in each list; NaN for an empty one."""
    return _mean(lists, listeners_of_item.astype(np.float64))


def novelty(lists: Lists, listeners_of_item: Floats, listeners: int) -> Floats:
    """Mean self-information of what is in each list: -log2 of the share of listeners who have heard it, in bits.

    An item that nobody has heard counts as one that a single listener has. NaN for an empty list.

    Source: Zhou et al. (2010), "Solving the apparent diversity-accuracy dilemma of recommender systems".
    """
    return _mean(lists, -np.log2(np.maximum(listeners_of_item, 1) / listeners))


def diversity(lists: Lists, labels: csr_matrix) -> Floats:
    """One minus the mean Jaccard similarity of the labels of any two items of each list; NaN below two items.

    Two items without labels share nothing.

    Args:
        labels: any non-zero entry is a label of the item; shape (items, labels).

    Source: Ziegler et al. (2005), "Improving recommendation lists through topic diversification".
    """
    one_hot = csr_matrix((np.ones(labels.nnz), labels.indices, labels.indptr), labels.shape)
    sizes = np.diff(labels.indptr)
    similar, pairs = np.zeros(len(lists)), np.zeros(len(lists))
    for one, other in combinations(lists.T, 2):
        both = (one >= 0) & (other >= 0)
        first, second = one[both], other[both]
        shared = np.asarray(one_hot[first].multiply(one_hot[second]).sum(axis=1)).ravel()
        either = sizes[first] + sizes[second] - shared
        similar[both] += np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
        pairs[both] += 1
    diversities: Floats = 1 - np.divide(similar, pairs, out=np.full(len(lists), np.nan), where=pairs > 0)
    return diversities


def churn(lists: Lists, earlier: Lists) -> Floats:
    """Share of each list that was not in the listener's earlier one; NaN for an empty list.

    Args:
        earlier: lists of the same listeners; any k.
    """
    shares = np.full(len(lists), np.nan)
    for place, (row, earlier_row) in enumerate(zip(lists, earlier, strict=True)):
        items = row[row >= 0]
        if len(items):
            shares[place] = np.isin(items, earlier_row, invert=True).mean()
    return shares


def _mean(lists: Lists, values: Floats) -> Floats:
    filled = lists >= 0
    lengths = filled.sum(axis=1)
    sums = np.where(filled, values[np.where(filled, lists, 0)], 0.0).sum(axis=1)
    means: Floats = np.divide(sums, lengths, out=np.full(len(lists), np.nan), where=lengths > 0)
    return means
